"""The rate-distortion autoencoder: its transform, its bound, its ladder, and the contract of every family."""

import math

import pytest
import torch

from morphogen.core.batch import Batch
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import CapabilityError, SpecError
from morphogen.core.family import Progress
from morphogen.core.rng import Rng
from morphogen.families.rate_distortion import RateDistortion, RateDistortionSpec
from morphogen.nn.backbones.hyperprior import group_sizes
from morphogen.nn.backbones.quality_ladder import QualityLadder, place_of
from morphogen.nn.backbones.transform_coding import cosines, frequencies
from morphogen.testing import parametrize_with_checks
from morphogen.theory.rate_distortion import STEP
from tests.toys import LONG_CHECKS

SMALL = {"widths": (8, 8), "prior_width": 8, "hyper_channels": 2, "groups": 3, "ema": None}


def built(shape=(3, 20, 30), levels=256, **options):
    data = DataSpec(name="pictures", shape=shape, kind="continuous", levels=levels)
    with Rng(0).forked():
        return RateDistortion(RateDistortionSpec.parse({**SMALL, **options}), data)


def photos(model, n=4):
    """Smooth pictures."""
    raw = Rng(0).normal("x", n, model.data.shape)
    return model.data.encode(model.data.decode((raw.cumsum(-1).cumsum(-2) / 30).clamp(-1, 1)))


@pytest.mark.parametrize(("channels", "fold"), [(1, 4), (3, 8)])
def test_the_first_transform_is_orthonormal_and_undone_by_the_decoder(channels, fold):
    t = cosines(channels, fold).double()
    assert torch.allclose(t @ t.T, torch.eye(len(t), dtype=torch.float64), atol=1e-6)
    assert frequencies(channels, fold)[0] == (0, 0, 0) and len(set(frequencies(channels, fold))) == len(t)
    flat = torch.ones(channels * fold**2, dtype=torch.float64)
    assert torch.allclose(t @ flat, torch.eye(len(t))[0].double() * len(t) ** 0.5, atol=1e-5)
    model = built((channels, 21, 30), fold=fold)
    x, t = photos(model), torch.full((4,), 0.5)
    y, c, _ = model._latents(x, t)
    assert torch.allclose(model.synthesis(y, c), x, atol=1e-5)


def test_an_untrained_model_errs_by_its_steps():
    """Each latent errs by w^2 / 12, so pictures err by sigma: PSNR = 20 log10(255 / sigma) at fine steps."""
    model = built((1, 64, 64), finest=1.0, coarsest=4.0)
    x = Rng(0).uniform("x", 2, (1, 64, 64)) * 2 - 1
    model.requires_grad_(False)
    for q in (50, 100):
        _, made = model._coded(x, torch.full((2,), place_of(q)), Rng(0), 2, False)
        sigma = math.exp(float(model.ladder.log_error(torch.tensor(place_of(q)))))
        assert float((made - x).square().mean().sqrt()) == pytest.approx(sigma, rel=0.1)


def test_the_ladder_is_geometric_between_its_rungs():
    ladder = QualityLadder(3, 5, 0.3, 0.01, STEP)
    t = torch.linspace(0, 1, 9)
    assert torch.allclose(ladder.weights(t).sum(1), torch.ones(9))
    assert torch.allclose(ladder.log_step(t)[:, 1], (STEP * 0.3 * (0.01 / 0.3) ** t).log())
    ladder.log_steps.data[2] += 1.0
    assert torch.allclose(
        ladder.log_step(t)[:, 0] - (STEP * 0.3 * (0.01 / 0.3) ** t).log(),
        torch.tensor([0.0, 0, 0, 0.5, 1.0, 0.5, 0, 0, 0]),
        atol=1e-5,
    )
    assert place_of(1) == 0.0 and place_of(100) == 1.0


def test_groups_share_the_channels():
    assert group_sizes(192, 4) == [12, 36, 48, 96] and group_sizes(64, 1) == [64]
    assert sum(group_sizes(16, 6)) == 16


@pytest.mark.parametrize("prior", ["hyperprior", "factorized"])
def test_more_samples_tighten_the_bound(prior):
    model = built((1, 8, 8), prior=prior).eval()
    x = photos(model, 6)
    one = torch.stack([model.score(x, None, Rng(i)).value for i in range(10)]).mean()
    many = model.score(x, None, Rng(0), 20).value.mean()
    assert many > one
    terms = model.score(x, None, Rng(0))
    assert torch.allclose(sum(terms.terms.values()), terms.value, rtol=1e-5)


def test_the_bound_is_a_bound():
    """log p(x) by a fine sum over the latents of a picture of one pixel-block, beside the mean of the score."""
    model = built((1, 4, 4), prior="factorized", fold=4, finest=40.0, coarsest=60.0).eval()
    x = photos(model, 1)
    low = torch.stack([model.score(x, None, Rng(i)).value for i in range(200)]).mean()
    high = model.score(x, None, Rng(0), 4000).value
    assert low < high < low + 16 * 3.0  # at most about a nat for each latent


def test_the_quality_of_a_record_is_drawn_and_parts_of_pictures_are_seen():
    model = built((3, 40, 24), crop=16)
    batch = Batch(photos(model), torch.arange(4), None)
    (step,) = model.steps(batch, Rng(0), Progress(0, 0.0))
    assert {name: tuple(v.shape) for name, v in step.terms.items()} == {"rate": (4,), "distortion": (4,)}
    again = next(iter(model.steps(batch, Rng(0), Progress(0, 0.0))))
    other = next(iter(model.steps(batch, Rng(1), Progress(0, 0.0))))
    assert torch.equal(step.terms["rate"], again.terms["rate"])
    assert not torch.equal(step.terms["rate"], other.terms["rate"])
    x = model._cropped(batch, Rng(0))
    assert x.shape == (4, 3, 16, 16)


def test_qualities_need_more_bits_and_give_nearer_pictures():
    model = built((3, 32, 32)).eval()
    found = model.health(Batch(photos(model, 30), torch.arange(30), None), Rng(0))
    psnr, bits = found.metrics["held_out_psnr"], found.metrics["held_out_bits_per_pixel"]
    assert psnr == sorted(psnr) and bits == sorted(bits) and psnr[2] > psnr[0] + 10


def test_what_does_not_fit_is_refused():
    with pytest.raises(SpecError, match="needs pictures"):
        built((7,))
    with pytest.raises(SpecError, match="coarsest"):
        built(finest=70.0)
    with pytest.raises(SpecError, match="256 levels"):
        built(levels=None, integer=True)
    with pytest.raises(CapabilityError, match="integer form"):
        next(built().code_walk(1, 50, None))
    integers = built((1, 8, 8)).quantized(16)
    with pytest.raises(SpecError, match="already"):
        integers.quantized(16)
    with pytest.raises(SpecError, match="does not learn"):
        integers.players()


@parametrize_with_checks(["rate_distortion"], SMALL, skip=LONG_CHECKS, steps=40, records=256)
def test_the_contract(check):
    check()
