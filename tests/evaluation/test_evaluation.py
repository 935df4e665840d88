"""Figures that can be checked: codecs that decode, likelihoods that are known, intervals that cover."""

from __future__ import annotations

import bz2
import io
import lzma
import math
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from morphogen.core.batch import RawCondition
from morphogen.core.capabilities import Samples, Score, Scores
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import CapabilityError, DataError, UsageError
from morphogen.core.family import Family, Player
from morphogen.core.rng import Rng
from morphogen.core.spec import Spec
from morphogen.data import Dataset, Records
from morphogen.evaluation import evaluate as evaluate_all
from morphogen.evaluation.metrics.codecs import _packed, _png, bits_per_dim_of_codecs
from morphogen.evaluation.metrics.likelihood import METRICS
from morphogen.evaluation.result import Result, mean_interval

POINTS = DataSpec(name="points", shape=(2,), kind="continuous", splits={"train": 4000, "test": 4000})
ENTROPY = 1.0 + math.log(2.0 * math.pi)  # of a standard normal in the plane, in nats


def evaluate(*args: Any, **kwargs: Any) -> list[Result]:
    return evaluate_all(*args, **kwargs).results


class Options(Spec):
    gap: float = 0.0
    conditional: bool = False


class Normal(Family):
    """p(x) = N(0, I), known exactly; with z ~ N(0, I) in one dimension that x does not depend on.

    For q(z) = N(gap, 1) a weight is w = p(x) exp(-gap z + gap^2 / 2), so E[log w] = log p(x) - gap^2 / 2.
    """

    name, summary, Spec = "normal", "a standard normal", Options
    capabilities = frozenset({Scores})

    def __init__(self, spec, data, parts=None):
        super().__init__(spec, data, parts)
        self.nothing = nn.Parameter(torch.zeros(()))

    def players(self):
        return {"all": Player([self.nothing])}

    def networks(self):
        return {}

    def steps(self, batch, rng, at):
        yield from ()

    def score(self, x: Tensor, cond: RawCondition | None, rng: Rng, samples: int = 1) -> Score:
        log_p = -0.5 * (x.square() + math.log(2.0 * math.pi)).sum(1)
        gap = self.spec.gap
        z = gap + rng.normal("score", len(x), (samples,), dtype=torch.float64)
        log_w = log_p[:, None] - gap * z + 0.5 * gap**2
        if samples == 1:
            return Score(log_w[:, 0], "lower_bound", "density", {"log_likelihood": log_p, "-rate": log_w[:, 0] - log_p})
        value = log_w.logsumexp(1) - math.log(samples)
        return Score(value, "importance", "density", log_weights=log_w)


def points(n: int = 4000, spec: DataSpec = POINTS) -> Dataset:
    rng = Rng(1)
    parts = {}
    for i, name in enumerate(("train", "test")):
        parts[name] = Records(spec, rng.normal(name, n, (2,)), torch.arange(n) + i * n)
    return Dataset(spec, parts)


def measured(name: str, gap: float = 0.0, **arguments):
    (found,) = evaluate(Normal(Options(gap=gap), POINTS), points(), [name], **arguments)
    return found


# ---------------------------------------------------------------------- codecs


@pytest.mark.parametrize("channels", [1, 3])
def test_what_png_makes_of_a_picture_can_be_read_again(channels: int) -> None:
    picture = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (channels, 9, 7), dtype=np.uint8))
    again = np.asarray(Image.open(io.BytesIO(_png(picture, binary=False))))
    assert np.array_equal(again.reshape(9, 7, channels), picture.permute(1, 2, 0).numpy())


def test_binary_pictures_are_packed_without_loss() -> None:
    bits = torch.from_numpy(np.random.default_rng(0).integers(0, 2, (5, 1, 9, 7), dtype=np.uint8))
    packed = _packed(bits)
    assert len(packed) == math.ceil(bits.numel() / 8)
    unpacked = np.unpackbits(np.frombuffer(packed, np.uint8), count=bits.numel())
    assert np.array_equal(unpacked, bits.numpy().reshape(-1))
    image = Image.open(io.BytesIO(_png(bits[0], binary=True)))
    assert image.mode == "1"
    assert np.array_equal(np.asarray(image), bits[0, 0].numpy().astype(bool))


def test_bits_are_those_of_the_compressed_bytes() -> None:
    stored = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (30, 1, 16, 16), dtype=np.uint8))
    found = bits_per_dim_of_codecs(stored)
    raw = stored.numpy().tobytes()
    assert found["bz2 (all at once)"] == 8 * len(bz2.compress(raw, 9)) / stored.numel()
    assert found["lzma (all at once)"] == pytest.approx(8 * len(lzma.compress(raw)) / stored.numel(), rel=0.01)
    assert all(bits >= 8.0 for bits in found.values())  # noise cannot be compressed
    coins = bits_per_dim_of_codecs(stored % 2)
    assert 1.0 <= coins["lzma (all at once)"] < 1.2  # one bit a pixel, and some frame around it
    assert bits_per_dim_of_codecs(torch.zeros_like(stored))["lzma (all at once)"] < 0.2
    assert list(bits_per_dim_of_codecs(stored[:, 0, 0])) == ["lzma (all at once)", "bz2 (all at once)"]


# ----------------------------------------------------------------- likelihoods


def test_the_likelihood_of_a_known_density_is_its_entropy() -> None:
    nll, elbo = measured("nll", samples=2), measured("elbo")
    assert nll.value == pytest.approx(-elbo.value)
    assert nll.interval[0] < ENTROPY < nll.interval[1]
    width = 2 * 1.959964 * 1.0 / math.sqrt(4000)  # -log p has variance 1: chi squared with two degrees, halved
    assert nll.interval[1] - nll.interval[0] == pytest.approx(width, rel=0.1)
    assert nll.details["bias_by_halving"] == pytest.approx(0.0, abs=1e-6)
    assert nll.details["effective_samples"] == pytest.approx(2.0)
    assert nll.baselines["one Gaussian"] == pytest.approx(nll.value, abs=0.01)  # the best model is a Gaussian
    assert (nll.n, nll.unit, nll.better, elbo.better) == (4000, "nats", "lower", "higher")


def test_a_worse_posterior_lowers_the_bound_by_what_theory_says_and_samples_tighten_it() -> None:
    gap = 0.8
    elbo = measured("elbo", gap).value
    bounds = [-measured("nll", gap, samples=k).value for k in (2, 8, 64, 512)]
    exact = measured("elbo").value
    noise = gap / math.sqrt(4000)  # standard deviation of the mean of log w over records
    assert elbo == pytest.approx(exact - gap**2 / 2, abs=4 * noise)
    assert elbo < bounds[0] < bounds[1] < bounds[2] < bounds[3]
    assert bounds[3] == pytest.approx(exact, abs=0.01)
    halved = measured("nll", gap, samples=8).details["bias_by_halving"]
    assert abs(halved) > abs(measured("nll", gap, samples=512).details["bias_by_halving"])


def test_bits_per_dim_are_those_of_the_stored_numbers() -> None:
    spec = POINTS.replace(scale=4.0)
    data = points(spec=spec)
    scaled = {name: Records(spec, 4.0 * r.stored, r.ids) for name, r in data.splits.items()}
    (bits,) = evaluate(Normal(Options(), spec), Dataset(spec, scaled), ["bits_per_dim"])
    (elbo,) = evaluate(Normal(Options(), spec), Dataset(spec, scaled), ["elbo"])
    assert bits.value == pytest.approx(-elbo.value / (2 * math.log(2)) + 2.0)  # log2 of the scale, per dimension
    assert bits.baselines["one Gaussian"] == pytest.approx(bits.value, abs=0.01)


def test_an_interval_of_a_mean_covers_at_its_stated_rate() -> None:
    x = Rng(0).normal("x", 4000, (50,), dtype=torch.float64) + 3.0
    ends = [mean_interval(float(row.mean()), float(row.std()), len(row)) for row in x]
    share = sum(low < 3.0 < high for low, high in ends) / len(ends)
    assert abs(share - 0.944) < 4 * math.sqrt(0.05 * 0.95 / 4000)  # 0.95 but for Student's correction at 50


def test_the_seed_moves_the_noise_and_nothing_else() -> None:
    one, again, other = (measured("elbo", 0.8, seed=s, n=100) for s in (1, 1, 2))
    assert one.value == again.value != other.value
    assert one.n == 100 and one.details["terms"]["log_likelihood"] == other.details["terms"]["log_likelihood"]


def test_a_conditional_model_says_so() -> None:
    for name in METRICS:
        (plain,) = evaluate(Normal(Options(), POINTS), points(50), [name], samples=2)
        (given,) = evaluate(Normal(Options(conditional=True), POINTS), points(50), [name], samples=2)
        assert "condition" in given.protocol and "condition" not in plain.protocol


def test_data_without_a_training_split_have_no_baseline_that_is_fitted() -> None:
    data = points(50)
    (found,) = evaluate(Normal(Options(), POINTS), Dataset(POINTS, {"test": data.splits["test"]}), ["elbo"])
    assert found.baselines == {}


# -------------------------------------------------------------------- mistakes


def test_mistakes_are_explained() -> None:
    model, data = Normal(Options(), POINTS), points(50)
    with pytest.raises(UsageError, match="unknown metric 'nlll': did you mean 'nll'"):
        evaluate(model, data, ["elbo", "nlll"])
    with pytest.raises(DataError, match=r"at least 16 records; the test split gives 15"):
        evaluate(model, data, n=15)
    with pytest.raises(DataError, match="has no split 'tset'"):
        evaluate(model, data, split="tset")
    for wrong in ({"n": -5}, {"n": 0}, {"samples": 0}):
        with pytest.raises(UsageError, match="at least 1"):
            evaluate(model, data, **wrong)


def test_a_model_without_likelihoods_is_told() -> None:
    class Sampler(Normal):
        name = "sampler"
        capabilities = frozenset({Samples})

    with pytest.raises(CapabilityError, match=r"cannot measure nll: 'sampler' models give no likelihoods \(Scores\)"):
        evaluate(Sampler(Options(), POINTS), points(50), ["nll"])
