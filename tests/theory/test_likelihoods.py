"""Likelihoods by name: their shapes, ranges, fit to the data, and normalizers."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from morphogen.core.columns import Column, Table
from morphogen.core.data_spec import DataSpec
from morphogen.core.distributions import Gaussian
from morphogen.core.errors import SpecError
from morphogen.core.rng import Rng
from morphogen.theory.discretized import DiscretizedLogistic, DiscretizedLogisticMixture
from morphogen.theory.likelihoods import (
    NAMES,
    Bernoulli,
    Categorical,
    element_shape,
    fitting,
    likelihood,
    parameters,
)

BINARY = DataSpec(name="bits", shape=(1, 2, 2), kind="binary", levels=2)
CODES = DataSpec(name="codes", shape=(1, 2, 2), kind="discrete", levels=5)
BYTES = DataSpec(name="bytes", shape=(1, 2, 2), kind="continuous", levels=256)
COARSE = DataSpec(name="coarse", shape=(1, 1, 2), kind="continuous", levels=17)
POINTS = DataSpec(name="points", shape=(2,), kind="continuous")
ELEMENTWISE = [name for name in NAMES if name != "columns"]  # that of whole rows is in test_columns.py
COLUMNS = tuple(Column(name=name, type="number", high=1.0) for name in "ab")
TABLE = DataSpec(name="table", shape=(2,), kind="columns", table=Table(columns=COLUMNS))


def noise(*shape: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def records(data: DataSpec, n: int) -> Tensor:
    stored = Rng(0).integers("x", n, data.levels or 2, data.shape)
    return data.encode(stored, torch.float64)


def test_bernoulli_equals_scipy_and_stays_exact_for_large_logits() -> None:
    logits = torch.tensor([-3.0, -0.2, 0.0, 1.7]).double()
    for x in (0.0, 1.0):
        want = scipy.stats.bernoulli.logpmf(x, scipy.special.expit(logits.numpy()))
        np.testing.assert_allclose(Bernoulli(logits, 0).log_prob(torch.full((4,), x).double()), want, rtol=1e-13)
    # log(1 - sigmoid(-60)) = -exp(-60) to first order: a difference of logits would give 0.
    far = Bernoulli(torch.tensor([60.0, -60.0, 60.0, -60.0]).double(), 0).log_prob(torch.tensor([1.0, 0.0, 0.0, 1.0]))
    np.testing.assert_allclose(far, [-math.exp(-60), -math.exp(-60), -60.0, -60.0], rtol=1e-12)


def test_bernoulli_gradient_is_the_residual() -> None:
    logits = noise(50, scale=30.0).requires_grad_()
    x = (noise(50) > 0).double()
    (gradient,) = torch.autograd.grad(Bernoulli(logits, 0).log_prob(x).sum(), logits)
    torch.testing.assert_close(gradient, x - torch.sigmoid(logits), rtol=1e-12, atol=1e-14)


def test_categorical_equals_scipy_and_its_samples_have_the_masses() -> None:
    logits = torch.tensor([0.1, -2.0, 1.3, 0.4]).double()
    d = Categorical(logits, 0)
    masses = d.log_prob(torch.arange(4)).exp()
    np.testing.assert_allclose(masses, scipy.special.softmax(logits.numpy()), rtol=1e-13)
    assert float(d.mean) == pytest.approx(float((masses * torch.arange(4)).sum()), rel=1e-13)
    n = 40_000
    draws = Categorical(logits.expand(n, 4), 0).sample(Rng(5).uniform("x", n, (), torch.float64))
    counts = torch.bincount(draws, minlength=4)
    statistic = ((counts - n * masses).square() / (n * masses)).sum()
    assert draws.dtype == torch.int64 and statistic < scipy.stats.chi2.isf(1e-6, 3)  # false alarms: 1 in 10^6


def test_bernoulli_samples_have_the_probability() -> None:
    n, d = 40_000, Bernoulli(torch.full((1,), 0.8).double(), 0)
    ones = int(d.sample(Rng(6).uniform("x", n, (), torch.float64)).sum())
    assert scipy.stats.binomtest(ones, n, float(d.mean)).pvalue > 1e-6  # false alarms: 1 in 10^6


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("bernoulli", BINARY),
        ("categorical", DataSpec(name="c", shape=(1, 1, 2), kind="discrete", levels=7)),
        ("discretized_logistic", COARSE),
        ("discretized_gaussian", COARSE),
        ("discretized_logistic_mixture", COARSE),
    ],
)
def test_every_mass_sums_to_one_over_all_records(name: str, data: DataSpec) -> None:
    """By enumeration of whole records, so event dimensions and the parameter axis are right too."""
    assert data.levels is not None
    raw = noise(1, parameters(name, data.levels, 3), *data.shape, scale=2.0)
    everything = torch.tensor(list(itertools.product(range(data.levels), repeat=data.dimensions)))
    x = data.encode(everything.reshape(-1, *data.shape), torch.float64)
    d = likelihood(name, raw, data, mixtures=3)
    assert d.measure == "mass"
    assert abs(float(d.log_prob(x).exp().sum()) - 1.0) < 1e-10


@pytest.mark.parametrize("name", ("gaussian", "gaussian_learned"))
def test_every_density_integrates_to_one(name: str) -> None:
    data = DataSpec(name="one", shape=(1,), kind="continuous")
    d = likelihood(name, noise(1, parameters(name), 1), data, log_var=-1.0)
    x = torch.linspace(-30, 30, 60_001).double()[:, None]
    assert d.measure == "density"
    assert abs(float(torch.trapezoid(d.log_prob(x).exp(), x[:, 0])) - 1.0) < 1e-10


def test_fixed_variance_gaussian_is_squared_error() -> None:
    raw, x = noise(3, 1, *BYTES.shape), records(BYTES, 3)
    for var in (0.5, 2.0):
        nll = -likelihood("gaussian", raw, BYTES, log_var=math.log(var)).log_prob(x)
        error = (x - raw[:, 0]).square().sum((1, 2, 3))
        constant = 0.5 * BYTES.dimensions * math.log(2 * math.pi * var)
        torch.testing.assert_close(nll, error / (2 * var) + constant, rtol=1e-13, atol=0)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_shapes_with_leading_sample_dimensions(name: str) -> None:
    data = next(d for d in (BINARY, CODES, BYTES) if name in fitting(d))
    raw = noise(6, 3, parameters(name, data.levels, 4), *data.shape)
    d, x = likelihood(name, raw, data, mixtures=4), records(data, 3)
    assert d.log_prob(x).shape == (6, 3) and d.mean.shape == (6, 3, *data.shape)
    one = likelihood(name, raw[1], data, mixtures=4)
    torch.testing.assert_close(d.log_prob(x)[1], one.log_prob(x), rtol=1e-12, atol=0)
    draw = Rng(0).normal if one.noise == "normal" else Rng(0).uniform
    sample = one.sample(draw("x", 3, one.noise_shape[1:], torch.float64))
    assert sample.shape == x.shape and sample.dtype == x.dtype
    if one.measure == "mass":
        data.check(sample)
        assert torch.isfinite(one.log_prob(sample)).all()


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_gradients_are_finite_in_float32_even_for_absurd_outputs(name: str) -> None:
    data = next(d for d in (BINARY, CODES, BYTES) if name in fitting(d))
    for scale in (1.0, 50.0, 1e4):
        raw = noise(4, parameters(name, data.levels, 3), *data.shape, scale=scale).float().requires_grad_()
        x = records(data, 4)
        loss = -likelihood(name, raw, data, mixtures=3).log_prob(x if data.kind == "discrete" else x.float()).mean()
        (gradient,) = torch.autograd.grad(loss, raw)
        assert torch.isfinite(loss) and torch.isfinite(gradient).all() and gradient.abs().sum() > 0


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_every_likelihood_is_traced_as_one_graph(name: str) -> None:
    data = next(d for d in (BINARY, CODES, BYTES) if name in fitting(d))
    raw, x = noise(4, parameters(name, data.levels, 3), *data.shape).requires_grad_(), records(data, 4)

    def loss(raw: Tensor) -> Tensor:
        return likelihood(name, raw, data, mixtures=3).log_prob(x).sum()

    traced = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(*(torch.autograd.grad(f(raw), raw)[0] for f in (traced, loss)), rtol=1e-10, atol=1e-12)


def test_scales_have_a_floor_and_follow_the_output_above_it() -> None:
    raw = torch.zeros(4, 2, *BYTES.shape).double()
    raw[:, 1] = torch.tensor([-100.0, -2.0, 0.0, 3.0])[:, None, None, None]
    d = likelihood("discretized_logistic", raw, BYTES)
    assert isinstance(d, DiscretizedLogistic)
    got = d.log_scale[:, 0, 0, 0]
    assert float(got[0]) == pytest.approx(-math.log(255) - 2.5, abs=1e-9)
    assert got[1:].tolist() == pytest.approx([-3.5, -1.5, 1.5], abs=0.02)
    learned = likelihood("gaussian_learned", raw, BYTES)
    assert isinstance(learned, Gaussian) and float(learned.stddev.min()) == pytest.approx(1 / 255, rel=1e-9)
    # At the floor a bin holds all but 1e-5 of the mass around its middle: nothing is lost by the floor.
    assert float(d.log_prob(BYTES.encode(torch.full(BYTES.shape, 127), torch.float64))[0]) < 0
    middle = DiscretizedLogistic(BYTES.encode(torch.tensor([127]), torch.float64), got[:1], 256, 0)
    assert float(middle.log_prob(BYTES.encode(torch.tensor([127]), torch.float64))) > -2e-5


def test_mixture_components_start_apart_within_the_range() -> None:
    d = likelihood("discretized_logistic_mixture", torch.zeros(1, 12, *BYTES.shape), BYTES, mixtures=4)
    assert isinstance(d, DiscretizedLogisticMixture)
    assert d.location[0, :, 0, 0, 0].tolist() == pytest.approx([-0.75, -0.25, 0.25, 0.75])


def test_fitting_follows_the_kind_of_data() -> None:
    assert fitting(BINARY) == ("bernoulli",)
    assert fitting(CODES) == ("categorical",)
    assert fitting(POINTS) == ("gaussian", "gaussian_learned")
    assert set(fitting(BYTES)) == set(ELEMENTWISE) - {"bernoulli", "categorical"}
    assert fitting(TABLE) == ("columns",)


@pytest.mark.parametrize(("name", "data"), [(n, d) for d in (BINARY, CODES, POINTS, TABLE) for n in NAMES])
def test_a_likelihood_that_does_not_fit_names_those_that_do(name: str, data: DataSpec) -> None:
    raw = torch.zeros(1, parameters(name, 5, 1, TABLE.table), *element_shape(name, data))
    if name in fitting(data):
        likelihood(name, raw, data)
        return
    with pytest.raises(SpecError) as error:
        likelihood(name, raw, data)
    assert name in str(error.value) and data.name in str(error.value)
    assert all(f in str(error.value) for f in fitting(data) or ("none",))


def test_errors_say_what_was_expected() -> None:
    with pytest.raises(SpecError, match="did you mean 'bernoulli'"):
        parameters("bernouli")
    with pytest.raises(SpecError, match="mixtures must be at least 1"):
        parameters("discretized_logistic_mixture", 256, 0)
    with pytest.raises(SpecError, match=r"\(2, 1, 2, 2\).*got \(3, 1, 1, 2, 2\)"):
        likelihood("discretized_logistic", torch.zeros(3, 1, 1, 2, 2), BYTES)
    with pytest.raises(SpecError, match="expected network output"):
        likelihood("bernoulli", torch.zeros(2, 2), BINARY)
