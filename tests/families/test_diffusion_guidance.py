"""Guidance in the faces of diffusion and flow matching: `sample` reaches the wrappers, and models obey it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from morphogen import artifact
from morphogen.core.batch import Batch, RawCondition
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import SpecError, UsageError
from morphogen.core.family import Progress
from morphogen.core.rng import Rng
from morphogen.families.autoencoder import Autoencoder, AutoencoderSpec
from morphogen.families.diffusion import Diffusion, DiffusionSpec
from morphogen.families.flow_matching import FlowMatching, FlowMatchingSpec
from morphogen.sampling import grids, loop
from morphogen.sampling.guidance import autoguidance, classifier_free
from morphogen.sampling.steppers import stepper
from morphogen.theory.gaussian_denoiser import GaussianMixtureDenoiser

POINTS = DataSpec(name="points", shape=(2,), kind="continuous", classes=("a", "b", "c"))
TINY = {"backbone": "mlp", "hidden": (24, 24), "conditional": True, "steps": 4, "grid": "uniform", "stepper": "heun"}
BOTH = pytest.mark.parametrize("kind", [Diffusion, FlowMatching])
COND = RawCondition(label=torch.tensor([0, 1, 2, 1, 0]))


def build(kind: type = Diffusion, parts: Any = None, seed: int = 0, data: DataSpec = POINTS, **options: Any) -> Any:
    """A model whose every weight matters: those that start at zero are moved."""
    spec = {Diffusion: DiffusionSpec, FlowMatching: FlowMatchingSpec}[kind]
    with Rng(seed).forked():
        model = kind(spec.parse({**TINY, **options}), data, parts)
        for network in model.networks().values():
            for p in network.parameters():
                p.data.add_(0.2 * torch.randn_like(p))
    return model.eval()


def by_hand(model: Any, guided: Any, cond: RawCondition | None = COND) -> Tensor:
    """Five samples of a wrapped denoiser, without the face."""
    noise = loop.starting_noise(model.schedule, Rng(3), 5, (2,))
    times = grids.grid("uniform", model.schedule, 4)
    x = loop.sample(guided, stepper("heun"), noise, times, loop.addressed(Rng(3), 5, noise), cond, from_noise=True)
    return x.clamp(-1, 1)


def label(k: int, n: int = 5) -> RawCondition:
    return RawCondition(label=torch.full((n,), k))


# ------------------------------------------------------------------------------- the faces


@BOTH
def test_of_exact_classes_a_face_draws_from_the_product_of_gaussians(kind: type) -> None:
    """Two Gaussians of one covariance: away from class 0, the mean is m_0 + scale (m_1 - m_0), whatever the class."""
    model, moved = build(kind).double(), build(kind).double()
    means, cov = torch.tensor([[0.1, -0.2], [-0.1, 0.1]]).double(), torch.tensor([[0.05, 0.02], [0.02, 0.03]]).double()
    classes = GaussianMixtureDenoiser(
        model.schedule, torch.ones(2).double(), means, cov.expand(2, 2, 2), torch.tensor([0, 1])
    )
    model.posterior = classes.posterior
    moved.posterior = GaussianMixtureDenoiser.gaussian(
        model.schedule, means[0] + 2.5 * (means[1] - means[0]), cov
    ).posterior
    found = model.sample(5, label(1), Rng(3), guidance=2.5, avoid=0)
    torch.testing.assert_close(found, moved.sample(5, None, Rng(3)))
    assert not torch.allclose(found, model.sample(5, label(1), Rng(3)), atol=0.1)


@BOTH
def test_options_reach_the_wrappers_from_the_call_and_from_the_spec(kind: type) -> None:
    guide = build(kind, seed=1, hidden=(8,))
    model = build(kind, {"guide": guide})
    away, narrow = label(2), (0.4, 0.8)
    draw = lambda cond=COND, **how: model.sample(5, cond, Rng(3), **how)  # noqa: E731
    assert torch.equal(draw(guidance=2.0, avoid=2), by_hand(model, classifier_free(model, 2.0, negative=away)))
    limited = by_hand(model, classifier_free(model, 2.0, narrow))
    assert torch.equal(draw(guidance=2.0, guidance_interval=narrow), limited)
    assert torch.equal(draw(autoguidance=1.7), by_hand(model, autoguidance(model, guide, 1.7)))
    everything = autoguidance(classifier_free(model, 2.0, narrow, away), guide, 1.7, narrow)
    how: dict[str, Any] = {"guidance": 2.0, "autoguidance": 1.7, "guidance_interval": narrow}
    assert torch.equal(draw(avoid=2, **how), by_hand(model, everything))
    stored = build(kind, {"guide": guide}, **how)
    assert torch.equal(stored.sample(5, COND, Rng(3), avoid=2), by_hand(model, everything))
    nobody = by_hand(model, classifier_free(model, 2.0, negative=away), None)
    assert torch.equal(draw(None, guidance=2.0, avoid=2), nobody)


@BOTH
def test_scale_one_and_an_interval_without_a_step_are_no_guidance_bit_for_bit(kind: type) -> None:
    plain = build(kind).sample(5, COND, Rng(3))
    model = build(kind, {"guide": build(kind, seed=1)}, guidance=2.0, autoguidance=2.0)
    assert torch.equal(model.sample(5, COND, Rng(3), guidance=1.0, autoguidance=1.0, avoid=1), plain)
    assert torch.equal(model.sample(5, COND, Rng(3), guidance_interval=(0.6, 0.7)), plain)  # between two times
    assert not torch.equal(model.sample(5, COND, Rng(3)), plain)


def test_a_guide_is_stored_with_the_model_and_does_not_learn(tmp_path: Any) -> None:
    guide = build(FlowMatching, seed=1, hidden=(8,), conditional=False)
    model = build(FlowMatching, {"guide": guide}, autoguidance=1.5)
    mine = {id(p) for p in model.players()["denoiser"].parameters}
    assert mine.isdisjoint({id(p) for p in guide.parameters()})
    artifact.save(tmp_path / "model", model, recipe={}, provenance={})
    copy = artifact.load(tmp_path / "model").family
    assert torch.equal(copy.sample(5, COND, Rng(3)), model.sample(5, COND, Rng(3)))


def test_a_class_to_avoid_keeps_the_picture_that_is_given() -> None:
    data = DataSpec(name="p", shape=(1, 8, 8), kind="continuous", classes=("a", "b"), context_shape=(1, 4, 4))
    model = build(data=data, backbone="unet", widths=(8, 8), blocks=(1,), attention=0)
    given = RawCondition(label=torch.tensor([0, 0]), context=Rng(1).normal("c", 2, (1, 4, 4)))
    away = RawCondition(label=torch.tensor([1, 1]), context=given.context)
    noise = loop.starting_noise(model.schedule, Rng(3), 2, data.shape)
    times = grids.grid("uniform", model.schedule, 4)
    guided = classifier_free(model, 2.0, negative=away)
    x = loop.sample(guided, stepper("heun"), noise, times, loop.addressed(Rng(3), 2, noise), given, from_noise=True)
    assert torch.equal(model.sample(2, given, Rng(3), guidance=2.0, avoid=1), x.clamp(-1, 1))


# ------------------------------------------------------------------------ a trained model


@pytest.fixture(scope="module")
def trained() -> Any:
    """Three wide, overlapping classes on a line, after 300 steps."""
    with Rng(0).forked():
        spec = DiffusionSpec.parse({"backbone": "mlp", "hidden": (48, 48), "conditional": True, "steps": 12})
        model = Diffusion(spec, POINTS)
    optimizer = torch.optim.Adam([p for n in model.networks().values() for p in n.parameters()], lr=3e-3)
    for step in range(300):
        index = torch.arange(128) + 128 * step
        k = index % 3
        x = 0.2 * Rng(1).normal("x", index, (2,)) + torch.stack((0.3 * (k - 1.0), 0.0 * k), 1)
        (moved,) = model.steps(Batch(x, index, RawCondition(label=k), index), Rng(2), Progress(step, 0.0))
        optimizer.zero_grad()
        sum(moved.terms.values()).mean().backward()
        optimizer.step()
    return model.eval()


def share_beyond_its_mean(x: Tensor) -> float:
    return float((x[:, 0] > 0.3).float().mean())


def test_guided_samples_of_a_trained_model_obey_more_and_avoid_what_they_are_told_to(trained: Any) -> None:
    """Of the class half lie beyond its mean, and of guided samples nearly all: margins of four deviations of 0.025."""
    n, right = 400, label(2, 400)
    plain = share_beyond_its_mean(trained.sample(n, right, Rng(0)))
    guided = share_beyond_its_mean(trained.sample(n, right, Rng(0), guidance=4.0))
    assert guided > plain + 0.1
    middle = trained.sample(n, None, Rng(0))
    away = trained.sample(n, None, Rng(0), guidance=3.0, avoid=2)
    assert share_beyond_its_mean(away) < share_beyond_its_mean(middle) - 0.1


# ---------------------------------------------------------------------------------- errors


def test_guidance_that_cannot_be_says_what_it_needs() -> None:
    model = build()
    with pytest.raises(UsageError, match="its scale is 1, which is none"):
        model.sample(5, COND, Rng(0), avoid=1)
    for wrong in (3, -1, "a"):
        with pytest.raises(UsageError, match="a number from 0 to 2"):
            model.sample(5, COND, Rng(0), guidance=2.0, avoid=wrong)
    with pytest.raises(UsageError, match="knows no classes to avoid"):
        build(conditional=False).sample(5, None, Rng(0), guidance=2.0, avoid=1)
    with pytest.raises(UsageError, match="train with --part guide=MODEL"):
        model.sample(5, COND, Rng(0), autoguidance=2.0)
    with pytest.raises(SpecError, match="interval of guidance"):
        model.sample(5, COND, Rng(0), guidance=2.0, guidance_interval=(0.8, 0.2))
    with pytest.raises(SpecError, match="guidance_interval must lie in"):
        build(guidance_interval=(0.2, 1.5))
    with pytest.raises(SpecError, match="give --part guide=MODEL"):
        build(autoguidance=2.0)


def test_a_guide_that_does_not_fit_is_refused() -> None:
    cosine = build(seed=1)
    assert build(parts={"guide": cosine}).parts["guide"] is cosine
    for model, said in (
        ({"schedule": "linear-beta"}, r"schedule Cosine\(.*and this model LinearBeta\("),
        ({"shift": 2.0}, "and this model Shifted"),
        ({"data": POINTS.replace(shape=(3,))}, r"of shape \(2,\), but 'points' has \(3,\)"),
        ({"data": POINTS.replace(classes=("a", "b"))}, "of classes"),
    ):
        with pytest.raises(SpecError, match=said):
            build(parts={"guide": cosine}, **model)
    with pytest.raises(SpecError, match="schedule RectifiedFlow"):
        build(parts={"guide": build(FlowMatching)})
    assert build(parts={"guide": build(FlowMatching)}, schedule="rectified-flow").parts["guide"].name == "flow_matching"
    with pytest.raises(SpecError, match="must be a diffusion or flow model, not a Linear"):
        build(parts={"guide": nn.Linear(1, 1)})
    with pytest.raises(SpecError, match="unknown part of a 'diffusion' model 'guid': did you mean 'guide'"):
        build(parts={"guid": cosine})


def test_a_guide_runs_on_the_same_latents() -> None:
    data = DataSpec(name="small", shape=(1, 8, 8), kind="continuous", levels=17, classes=("a", "b"))

    def stage(seed: int) -> Any:
        with Rng(seed).forked():
            options = {"widths": (8,), "blocks": 0, "latent_channels": 2}
            return Autoencoder(AutoencoderSpec.parse(options), data).eval()

    guide = build(data=data, parts={"autoencoder": stage(1)})
    build(data=data, parts={"autoencoder": stage(1), "guide": guide})
    for parts in ({"guide": guide}, {"autoencoder": stage(2), "guide": guide}):
        with pytest.raises(SpecError, match="must run on the same latents"):
            build(data=data, parts=parts)
