"""Distributions as objects, with `log_prob`, `rsample`, `entropy` and `kl` where these exist in closed form.

The batch dimensions come first. The last `event_dims` dimensions form one event; log_prob, entropy and kl are sums over
them. The caller gives the noise (`eps`, `uniform`), so that it can be addressed noise (`core/rng.py`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor

LOG_2PI = math.log(2.0 * math.pi)


class Distribution(ABC):
    """A distribution of events of `event_dims` dimensions, batched in front.

    `measure` is "mass" for log-probabilities of discrete events, "density" otherwise.
    """

    measure: Literal["mass", "density"] = "density"
    noise: Literal["normal", "uniform"] = "uniform"  # the noise that `sample` takes; "uniform" is uniform on (0, 1)
    event_dims: int

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-probability of each event in nats, summed over the event dimensions; broadcasts over the batch."""
        return self.sum_events(self.log_prob_elements(x))

    @abstractmethod
    def log_prob_elements(self, x: Tensor) -> Tensor:
        """The log-probability of each element in nats, before the sum over the event."""

    @property
    @abstractmethod
    def mean(self) -> Tensor:
        """E[x]."""

    @property
    @abstractmethod
    def noise_shape(self) -> tuple[int, ...]:
        """Shape of the noise that `sample` takes, batch included."""

    @abstractmethod
    def sample(self, noise: Tensor) -> Tensor:
        """The event that this noise maps to."""

    def sum_events(self, value: Tensor) -> Tensor:
        """Sum over the event dimensions."""
        return value.flatten(-self.event_dims).sum(-1) if self.event_dims else value


class Gaussian(Distribution):
    """Independent normals: N(mean, exp(log_var)).

    log p(x) = -1/2 sum_d [log 2 pi + log var_d + (x_d - mean_d)^2 / var_d].
    `event_dims` defaults to all dimensions but the first.
    """

    noise = "normal"

    def __init__(self, mean: Tensor, log_var: Tensor, event_dims: int | None = None) -> None:
        self._mean, self.log_var = mean, log_var
        self.event_dims = mean.ndim - 1 if event_dims is None else event_dims

    @property
    def mean(self) -> Tensor:
        return self._mean

    @property
    def var(self) -> Tensor:
        """Variance of each element."""
        return self.log_var.exp()

    @property
    def stddev(self) -> Tensor:
        """Standard deviation of each element."""
        return (0.5 * self.log_var).exp()

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return tuple(torch.broadcast_shapes(self._mean.shape, self.log_var.shape))

    def rsample(self, eps: Tensor) -> Tensor:
        """mean + stddev * eps (Kingma and Welling, 2014); `eps` is standard normal and may have batch dims in front."""
        return self._mean + self.stddev * eps

    def sample(self, noise: Tensor) -> Tensor:
        return self.rsample(noise)

    def log_prob_elements(self, x: Tensor) -> Tensor:
        return -0.5 * (LOG_2PI + self.log_var + (x - self._mean).square() * (-self.log_var).exp())

    def entropy_elements(self) -> Tensor:
        """1/2 log(2 pi e var) of each element."""
        return 0.5 * (1.0 + LOG_2PI + self.log_var).expand(self.noise_shape)

    def entropy(self) -> Tensor:
        """Differential entropy in nats, event dimensions summed."""
        return self.sum_events(self.entropy_elements())

    def kl_elements(self, other: Gaussian) -> Tensor:
        """KL(self || other) of each element."""
        ratio = self.log_var - other.log_var
        shift = (self._mean - other._mean).square() * (-other.log_var).exp()
        return 0.5 * (ratio.exp() + shift - 1.0 - ratio)

    def kl(self, other: Gaussian) -> Tensor:
        """KL(self || other) in nats, event dimensions summed."""
        return self.sum_events(self.kl_elements(other))

    def detach(self) -> Gaussian:
        """The same distribution without gradients."""
        return Gaussian(self._mean.detach(), self.log_var.detach(), self.event_dims)


class Point(Distribution):
    """All mass at one point. An event has all dimensions but the first."""

    measure = "mass"

    def __init__(self, at: Tensor) -> None:
        self._at, self.event_dims = at, at.ndim - 1

    @property
    def mean(self) -> Tensor:
        return self._at

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return tuple(self._at.shape)

    def sample(self, noise: Tensor) -> Tensor:
        """The point, whatever the noise."""
        return self._at.expand(noise.shape)

    def log_prob_elements(self, x: Tensor) -> Tensor:
        return torch.where(x == self._at, 0.0, -math.inf)


class GaussianMixture:
    """sum_m w_m N(x; mean_m, diag(exp(log_var_m))) over vectors.

    log_weights (M,), normalized here; mean and log_var (M, D).
    """

    measure: Literal["mass", "density"] = "density"

    def __init__(self, log_weights: Tensor, mean: Tensor, log_var: Tensor) -> None:
        dtype = torch.promote_types(mean.dtype, torch.float32)
        self.log_weights = log_weights.to(dtype).log_softmax(0)
        self.means, self.log_var = mean.to(dtype), log_var.to(dtype)

    def log_prob(self, x: Tensor) -> Tensor:
        """(..., D) -> (...) in nats.

        The squared distances are expanded into matrix products, x^2 . 1/var - 2 x . mean/var + const, about the mean of
        the means. There the rounding error is least: about 1e-7 |x|^2 / var in float32. Use float64 moments if the
        components are narrow and the value must be precise.
        """
        center = self.means.mean(0)
        x, means = x.to(center.dtype) - center, self.means - center
        precision = (-self.log_var).exp()
        const = self.log_weights - 0.5 * (LOG_2PI + self.log_var + means.square() * precision).sum(-1)
        parts = x @ (means * precision).T - 0.5 * (x.square() @ precision.T) + const
        return parts.logsumexp(-1)

    def sample(self, uniform: Tensor, eps: Tensor) -> Tensor:
        """`uniform` (n,) on (0, 1) picks the components, `eps` (n, D) is standard normal."""
        m = torch.searchsorted(self.log_weights.exp().cumsum(0), uniform).clamp_max(len(self.means) - 1)
        return self.means[m] + (0.5 * self.log_var[m]).exp() * eps


def standard_normal(shape: tuple[int, ...], like: Tensor) -> Gaussian:
    """N(0, I) with batch shape (1,) and event shape `shape`, on the device and in the dtype of `like`."""
    zeros = torch.zeros((1, *shape), device=like.device, dtype=like.dtype)
    return Gaussian(zeros, zeros)
