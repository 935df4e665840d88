"""Chains and variances, as the API gives them: they end at records and samples, and exact models say exact variances.

Networks are hardly trained. Where a truth is needed the posterior of Gaussian data takes the network's place.
"""

from __future__ import annotations

from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from morphogen import api
from morphogen.core.batch import RawCondition
from morphogen.core.distributions import Gaussian
from morphogen.core.errors import CapabilityError, UsageError
from morphogen.core.rng import Rng
from morphogen.families.diffusion import Diffusion
from morphogen.theory.schedules import broadcast, schedule
from morphogen.trainer import compile as compilation

TINY: dict[str, Any] = {"backbone": "mlp", "hidden": (16,)}
STDS = (1.0, 0.5, 2.0)  # of the points' coordinates


def trained(family: str, data: str, out: Path, parts: dict[str, Path] | None = None, **options: Any) -> Path:
    recipe = {"steps": 2, "compile": "off", "precision": "fp32"}
    list(api.training(family, data, out, options=options, recipe=recipe, parts=parts))
    return out


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained("diffusion", "digits", tmp_path_factory.mktemp("chain") / "digits", conditional=True, **TINY)


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A model of independent normal coordinates, and its data."""
    folder = tmp_path_factory.mktemp("points")
    np.savez(folder / "points.npz", x=np.random.default_rng(0).normal(size=(4000, 3)) * STDS)
    return trained("diffusion", str(folder / "points.npz"), folder / "model", **TINY), str(folder / "points.npz")


# ------------------------------------------------------------------ compiled draws


@pytest.mark.skipif(not compilation.compiler(torch.device("cpu")), reason="compiling needs a C++ compiler")
def test_compiled_draws_differ_by_rounding(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, plainly = [], Diffusion.sample

    @wraps(plainly)
    def counted(self: Diffusion, n: int, *given: Any, **how: Any) -> Tensor:
        sizes.append(n)
        return plainly(self, n, *given, **how)

    monkeypatch.setattr(Diffusion, "sample", counted)
    plain, fast = (
        api.sample(digits, 5, label=3, steps=3, batch_size=4, guidance=2.0, compile=c) for c in (False, True)
    )
    assert sizes == [4, 1, 3, 3], "compiled for one size"
    assert fast.x.shape == plain.x.shape and not fast.warnings
    assert np.abs(fast.x.astype(int) - plain.x.astype(int)).max() <= 1


@pytest.mark.skipif(not compilation.compiler(torch.device("cpu")), reason="compiling needs a C++ compiler")
def test_weights_are_constants_of_what_is_compiled_for_drawing() -> None:
    network, x = torch.nn.Linear(3, 2), torch.ones(4, 3)
    compiled = compilation.Constant(network, torch.device("cpu"))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        before = compiled(x)
        network.weight.zero_()
        assert compiled.warning is None and torch.equal(compiled(x), before)


def test_what_cannot_be_compiled_is_said(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give exact or compile"):
        api.sample(digits, 5, exact=True, compile=True)
    vae = trained("vae", "digits", tmp_path / "vae", backbone="mlp", hidden=(16,))
    with pytest.raises(UsageError, match=r"'vae' model is not compiled: .* families whose is: .*diffusion"):
        api.sample(vae, 5, compile=True)


def test_a_compiler_that_is_not_there_or_fails_is_one_warning(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = api.sample(digits, 5, steps=2)

    def fails(*given: Any, **named: Any) -> None:
        raise RuntimeError("no such header\nand more")

    monkeypatch.setattr(torch, "compile", lambda network, **how: fails)
    failed = api.sample(digits, 5, steps=2, compile=True)
    monkeypatch.setattr(compilation, "compiler", lambda device: False)
    missing = api.sample(digits, 5, steps=2, compile=True)
    for found, why in ((failed, "RuntimeError: no such header)."), (missing, "there is no C++ compiler")):
        assert np.array_equal(found.x, plain.x)
        assert len(found.warnings) == 1 and why in found.warnings[0]


# ------------------------------------------------------------------ the forward chain


def test_the_forward_chain_begins_with_the_records_and_adds_one_noise_a_row(points: tuple[Path, str]) -> None:
    model, data = points
    chain = api.forward_chain(model, data, 40, times=7, seed=3)
    records = api.load_data(data).split("test").select(slice(0, 40))
    assert chain.x.shape == (40, 7, 3) and chain.estimates is None
    assert chain.ids is not None and np.array_equal(chain.ids, records.ids.numpy())
    assert np.allclose(chain.x[:, 0], records.stored.numpy(), rtol=1e-5, atol=1e-5)
    assert chain.t[0] == 0.0 and chain.t[-1] == 1.0
    alpha, sigma = (v.numpy() for v in schedule("cosine")(torch.from_numpy(chain.t)))
    angles = np.arctan2(sigma, alpha)
    assert np.allclose(np.diff(angles), angles[-1] / 6, atol=1e-9), "equally noisy steps"
    assert np.allclose(np.exp(-0.5 * chain.log_snr[:-1]), np.tan(angles[:-1])) and chain.log_snr[-1] == -np.inf
    x = (chain.x - chain.spec.shift) / chain.spec.scale
    inside = np.abs(x) < 0.9999  # what is shown is clamped to the records' range
    eps = (x - alpha[:, None] * x[:, :1]) / np.maximum(sigma, 1e-9)[:, None]
    for i in range(1, 6):
        both = inside[:, i] & inside[:, 6]
        assert both.mean() > 0.4 and np.allclose(eps[:, i][both], eps[:, 6][both], atol=1e-3)
    assert abs(np.mean(~inside[:, 6]) - 0.3173) < 0.2, "noise of unit variance; z = 4.7 for 120 numbers"
    with pytest.raises(UsageError, match="--times is a whole number from 2"):
        api.forward_chain(model, data, times=1)


# ------------------------------------------------------------------ the reverse chain


@pytest.mark.parametrize("how", [{}, {"stepper": "heun", "grid": "uniform"}, {"stepper": "ddpm", "guidance": 2.0}])
@pytest.mark.parametrize("label", [None, 4])
def test_the_reverse_chain_ends_at_what_sample_draws(digits: Path, how: dict[str, Any], label: int | None) -> None:
    chain = api.reverse_chain(digits, 66, 5, label=label, times=4, steps=6, **how)
    drawn = api.sample(digits, 66, 5, label=label, steps=6, **how)
    assert chain.x.shape == (66, 4, 1, 8, 8) and chain.estimates is not None
    assert np.array_equal(chain.x[:, -1], drawn.x) and np.array_equal(chain.estimates[:, -1], drawn.x)
    assert chain.t[0] == 1.0 and chain.t[-1] == 0.0 and (np.diff(chain.t) < 0).all()
    assert not np.array_equal(chain.x[:, 0], chain.x[:, -1])
    assert (chain.labels is None) == (label is None)


def test_every_state_stands_beside_its_own_estimate(digits: Path) -> None:
    chain = api.reverse_chain(digits, 3, 1, times=None, steps=5, stepper="ddim", grid="uniform")
    assert np.allclose(chain.t, np.linspace(1, 0, 6)) and chain.estimates is not None
    family: Any = api.load(digits).module
    states = list(family.trajectory(3, None, Rng(1), steps=5, stepper="ddim", grid="uniform"))
    for i, state in enumerate(states[:-1]):
        mean = family.posterior(state.x, state.t.expand(3)).mean
        assert np.array_equal(chain.estimates[:, i], chain.spec.decode(mean.clamp(-1, 1)).numpy())
        shown = state.x / float(torch.hypot(*family.schedule(state.t)))
        assert np.abs(chain.x[:, i].astype(int) - chain.spec.decode(shown).numpy()).max() <= 1
    few = api.reverse_chain(digits, 3, 1, times=40, steps=5, stepper="ddim", grid="uniform")
    assert np.array_equal(few.x, chain.x), "no more columns than states"
    for impossible in ({"n": 0}, {"times": 1}):
        with pytest.raises(UsageError, match="is a whole number from"):
            api.reverse_chain(digits, **impossible)
    with pytest.raises(UsageError, match="not sampled with 'stride'"):
        api.reverse_chain(digits, options={"stride": 2})


def test_chains_of_latents_are_shown_decoded(tmp_path: Path) -> None:
    first = trained("autoencoder", "digits", tmp_path / "first", widths=(8,), blocks=1, latent_channels=2)
    model = trained("diffusion", "digits", tmp_path / "latent", {"autoencoder": first}, **TINY)
    reverse = api.reverse_chain(model, 4, 2, times=3, steps=3)
    assert np.array_equal(reverse.x[:, -1], api.sample(model, 4, 2, steps=3).x)
    forward = api.forward_chain(model, "digits", 4, times=3)
    assert forward.x.shape == reverse.x.shape == (4, 3, 1, 8, 8)
    found = api.variances(model, "digits", 32, steps=4)
    assert found.learned.shape == (3,) and np.isfinite(found.measured).all()


# ---------------------------------------------------------------------- the variances


def exact(self: Any, x_t: Tensor, t: Tensor, cond: RawCondition | None = None) -> Gaussian:
    """p(x_0 | x_t) of the points."""
    alpha, sigma = (broadcast(v, x_t) for v in self.schedule(t))
    prior = (torch.tensor(STDS) / self.data.scale).square()
    mean = torch.full((3,), -self.data.shift / self.data.scale)
    gain = alpha * prior / (alpha**2 * prior + sigma**2)
    var = prior * sigma**2 / (alpha**2 * prior + sigma**2)
    return Gaussian(mean + gain * (x_t - alpha * mean), var.log().expand_as(x_t))


@pytest.mark.parametrize("how", [{"steps": 12, "grid": "uniform"}, {"steps": 9, "grid": "karras"}, {}])
def test_an_exact_model_says_the_exact_variance_and_the_data_agree(
    points: tuple[Path, str], how: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The truth is the conditional variance of the joint normal of (x_s, x_t), coordinate by coordinate.

    The measured one is a mean over 400 records: at z = 5, 50 strides fail once in 35,000 choices of the seed.
    """
    monkeypatch.setattr(Diffusion, "posterior", exact)
    model, data = points
    found = api.variances(model, data, 400, **how)
    assert found.n == 400 and len(found.t) == how.get("steps", 50) - 1
    assert (found.s[:-1] == found.t[1:]).all() and found.s[-1] > 0
    (alpha, sigma), (alpha_s, sigma_s) = (
        [v.numpy()[:, None] for v in schedule("cosine")(torch.from_numpy(t))] for t in (found.t, found.s)
    )
    prior = np.square(np.array(STDS) / api.load(model).module.data.scale)
    var_t, var_s = alpha**2 * prior + sigma**2, alpha_s**2 * prior + sigma_s**2
    truth = (var_s - np.square(alpha / alpha_s * var_s) / var_t).mean(1)
    assert np.allclose(found.learned, truth, rtol=1e-4)
    assert (found.beta_tilde < found.learned).all() and (found.learned < found.beta).all()
    error = (found.interval[:, 1] - found.interval[:, 0]) / (2 * 1.959964)
    assert (np.abs(found.measured - found.learned) < 5 * error).all()


def test_what_has_no_chain_or_no_learned_variance_says_so(tmp_path: Path) -> None:
    vae = trained("vae", "digits", tmp_path / "vae", latent_dim=2, hidden=(8,))
    for ask in (
        lambda: api.forward_chain(vae, "digits"),
        lambda: api.reverse_chain(vae),
        lambda: api.variances(vae, "digits"),
    ):
        with pytest.raises(CapabilityError, match="Denoises; families that have it: diffusion, flow_matching"):
            ask()
    flow = trained("flow_matching", "digits", tmp_path / "flow", **TINY)
    assert api.reverse_chain(flow, 2, steps=2).x.shape == (2, 3, 1, 8, 8)
    with pytest.raises(UsageError, match=r"'flow_matching' model is fixed \(beta\)"):
        api.variances(flow, "digits")


def test_one_step_has_no_variance(digits: Path) -> None:
    with pytest.raises(UsageError, match="at least 2 steps"):
        api.variances(digits, "digits", steps=1)
