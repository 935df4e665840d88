"""Distributions p(x | z) of data given a network's output, with their true normalizers.

Each is a `core.distributions.Distribution`: the log-probability of a record in nats, that sums (or,
for a density, integrates) to 1 over all records. So a loss built on one is a likelihood, comparable
across models; `measure` says whether it is a mass or a density.

`likelihood(name, raw, data)` turns the raw output of a network, of shape (*batch, P, *data.shape) with
P = `parameters(name, ...)` numbers per element, into the distribution:

    bernoulli                     P = 1       logit of x = 1
    categorical                   P = levels  logits
    discretized_logistic          P = 2       location, log-scale
    discretized_gaussian          P = 2       location, log-standard-deviation
    discretized_logistic_mixture  P = 3 K     logits, locations, log-scales; K mixtures
    gaussian                      P = 1       mean; the log-variance is fixed
    gaussian_learned              P = 2       mean, log-variance
    columns                       a row of a table as a whole: `theory/columns.py`; raw is (*batch, P)

Locations are the raw output itself, which never saturates (mixtures start spread over [-1, 1]).
A raw log-scale r becomes floor + softplus(r + start - floor): close to start + r for most r, and
never below the floor, so that a perfectly predicted pixel cannot make the loss fall for ever. The
floor is exp(-2.5) half bins for discretized likelihoods, where a smaller scale moves less than 1e-5 of
mass, and half a bin (exp(-5) for data without levels) for the density of `gaussian_learned`, which
would otherwise grow without bound on quantized data.

With fixed variance v, `gaussian` has -log p(x) = |x - mean|^2 / (2v) + (D/2) log(2 pi v): squared error.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from morphogen.core.columns import Table
from morphogen.core.data_spec import DataSpec
from morphogen.core.distributions import Distribution, Gaussian
from morphogen.core.errors import SpecError, unknown
from morphogen.theory.columns import row_likelihood, row_parameters
from morphogen.theory.discretized import (
    DiscretizedGaussian,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    widened,
)

__all__ = [
    "NAMES",
    "Bernoulli",
    "Categorical",
    "DiscretizedGaussian",
    "DiscretizedLogistic",
    "DiscretizedLogisticMixture",
    "automatic",
    "element_shape",
    "fitting",
    "likelihood",
    "parameters",
]

_START = -1.5  # log-scale at raw output 0: a fifth of the way from black to gray
_KINDS = {
    "bernoulli": "binary",
    "categorical": "discrete",
    "discretized_logistic": "quantized",
    "discretized_logistic_mixture": "quantized",
    "discretized_gaussian": "quantized",
    "gaussian": "continuous",
    "gaussian_learned": "continuous",
    "columns": "columns",
}
NAMES: tuple[str, ...] = tuple(_KINDS)


class Bernoulli(Distribution):
    """P(x = 1) = sigmoid(logits), x in {0, 1}; `event_dims` defaults to all dimensions but the first.

    log P(x) = log sigmoid((2x - 1) logits), binary cross-entropy without its two cancellations.
    """

    measure = "mass"

    def __init__(self, logits: Tensor, event_dims: int | None = None) -> None:
        self.logits = widened(logits)
        self.event_dims = logits.ndim - 1 if event_dims is None else event_dims

    def log_prob_elements(self, x: Tensor) -> Tensor:
        return F.logsigmoid((2.0 * x - 1.0) * self.logits)

    @property
    def mean(self) -> Tensor:
        return torch.sigmoid(self.logits)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return tuple(self.logits.shape)

    def sample(self, noise: Tensor) -> Tensor:
        """1 where the noise lies below P(x = 1)."""
        return (noise < self.mean).to(self.logits.dtype)


class Categorical(Distribution):
    """P(x = k) = softmax(logits)_k, k on the last axis of `logits`; x int64 without that axis.

    `event_dims` counts dimensions of x and defaults to all but the first.
    """

    measure = "mass"

    def __init__(self, logits: Tensor, event_dims: int | None = None) -> None:
        self.logits = widened(logits)
        self.event_dims = logits.ndim - 2 if event_dims is None else event_dims

    def log_prob_elements(self, x: Tensor) -> Tensor:
        chosen, log_masses = torch.broadcast_tensors(x.unsqueeze(-1), torch.log_softmax(self.logits, -1))
        return log_masses.gather(-1, chosen[..., :1]).squeeze(-1)

    @property
    def mean(self) -> Tensor:
        """E[x], the classes read as the numbers 0 .. K-1."""
        values = torch.arange(self.logits.shape[-1], device=self.logits.device, dtype=self.logits.dtype)
        return (torch.softmax(self.logits, -1) * values).sum(-1)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return tuple(self.logits.shape[:-1])

    def sample(self, noise: Tensor) -> Tensor:
        """The inverse of the cumulative distribution at the noise."""
        cumulative = torch.softmax(self.logits, -1).cumsum(-1)[..., :-1]
        return (noise.unsqueeze(-1) > cumulative).sum(-1)


def fitting(data: DataSpec) -> tuple[str, ...]:
    """The names of the likelihoods that fit these data, in the order of `NAMES`."""
    kinds = {data.kind, "quantized"} if data.kind == "continuous" and data.levels is not None else {data.kind}
    return tuple(name for name, kind in _KINDS.items() if kind in kinds)


def automatic(data: DataSpec) -> str:
    """The likelihood to take where none is named: the first that fits, with a learned variance for real numbers."""
    return "gaussian_learned" if data.kind == "continuous" and data.levels is None else fitting(data)[0]


def parameters(name: str, levels: int | None = None, mixtures: int = 1, table: Table | None = None) -> int:
    """P, how many numbers a network must put out for the likelihood `name`: per element, or for a row of `table`.

    Raises `SpecError` for an unknown name, and for impossible `levels` or `mixtures`.
    """
    if name not in _KINDS:
        raise SpecError(unknown("likelihood", name, _KINDS))
    if name == "categorical":
        if levels is None or levels < 2:
            raise SpecError(f"the categorical likelihood needs levels, at least 2 (got {levels}).")
        return levels
    if name in ("discretized_logistic_mixture", "columns") and mixtures < 1:
        raise SpecError(f"mixtures must be at least 1 (got {mixtures}).")
    if name == "discretized_logistic_mixture":
        return 3 * mixtures
    if name == "columns":
        if table is None:
            raise SpecError("the likelihood 'columns' is for tables, and needs the schema of one.")
        return row_parameters(table, mixtures)
    return 1 if name in ("bernoulli", "gaussian") else 2


def element_shape(name: str, data: DataSpec) -> tuple[int, ...]:
    """The elements that have `parameters` numbers each: those of a record, or () where a record is one as a whole."""
    return () if name == "columns" else data.shape


def likelihood(name: str, raw: Tensor, data: DataSpec, *, mixtures: int = 1, log_var: float = 0.0) -> Distribution:
    """The distribution that the network output `raw` (*batch, P, *data.shape) stands for.

    `mixtures` is K of "discretized_logistic_mixture", `log_var` the fixed log-variance of "gaussian";
    the others ignore them. Raises `SpecError` for a likelihood that does not fit the data, naming those
    that do, and for a `raw` of another shape.
    """
    if name in _KINDS and name not in fitting(data):
        fit = ", ".join(fitting(data)) or "none"
        raise SpecError(
            f"the likelihood {name!r} is for {_KINDS[name]} data, but {data.name!r} is {data.kind}"
            f"{'' if data.levels is None else f' with {data.levels} levels'}; likelihoods that fit: {fit}."
        )
    event = element_shape(name, data)
    dims, expected = len(event), (parameters(name, data.levels, mixtures, data.table), *event)
    if raw.ndim <= dims or tuple(raw.shape[-dims - 1 :]) != expected:
        raise SpecError(f"{name}: expected network output of shape (*batch, {expected}), got {tuple(raw.shape)}.")
    raw, axis = widened(raw), -dims - 1
    if data.table is not None:
        return row_likelihood(raw, data.table, mixtures)
    if name == "bernoulli":
        return Bernoulli(raw.squeeze(axis), dims)
    if name == "categorical":
        return Categorical(raw.movedim(axis, -1), dims)
    if name == "gaussian":
        mean = raw.squeeze(axis)
        return Gaussian(mean, torch.full((), log_var, dtype=mean.dtype, device=mean.device), dims)
    half_bin = -5.0 if data.levels is None else -math.log(data.levels - 1)
    if name == "gaussian_learned":
        mean, scale = raw.unbind(axis)
        return Gaussian(mean, 2.0 * _floored(scale, half_bin), dims)
    assert data.levels is not None  # `fitting` has seen to it
    floor = half_bin - 2.5
    if name == "discretized_logistic_mixture":
        logits, means, scales = raw.chunk(3, axis)
        spread = (2.0 * torch.arange(mixtures, device=raw.device, dtype=raw.dtype) + 1.0) / mixtures - 1.0
        means = means + spread.reshape(-1, *(1,) * dims)
        return DiscretizedLogisticMixture(logits, means, _floored(scales, floor), data.levels, dims)
    mean, scale = raw.unbind(axis)
    family = DiscretizedLogistic if name == "discretized_logistic" else DiscretizedGaussian
    return family(mean, _floored(scale, floor), data.levels, dims)


def _floored(raw: Tensor, floor: float) -> Tensor:
    """A log-scale above `floor`, about `_START` + raw; for coarse data the start is raised to the floor."""
    return floor + F.softplus(raw + (max(_START, floor) - floor))
