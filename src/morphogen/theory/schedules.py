"""Noise schedules: the amounts of signal and of noise at time t.

    x_t = alpha_t x_0 + sigma_t eps,   eps ~ N(0, I),   t in [0, 1],

with (alpha_0, sigma_0) = (1, 0) exactly, and a signal-to-noise ratio alpha_t^2 / sigma_t^2 that falls with t:

    linear-beta     alpha = exp(-1/2 int_0^t beta),  beta from 0.1 to 20         preserving   (Song et al., 2021)
    cosine          alpha = cos(pi/2 (t + c) / (1 + c)) / cos(pi/2 c / (1 + c))  preserving   (Nichol, Dhariwal, 2021)
    edm             sigma = 80 t                                                exploding    (Karras et al., 2022)
    ve              sigma^2 = low^2 ((high / low)^(2t) - 1)                     exploding    (Song et al., 2021)
    rectified-flow  alpha = 1 - t, sigma = t                                    straight     (Liu et al., 2023)

Preserving: alpha^2 + sigma^2 = 1; exploding: alpha = 1; straight: alpha + sigma = 1. The linear-beta schedule is the
limit of the discrete chain of Ho et al. (2020), beta_1 = 1e-4 to beta_1000 = 0.02, and the VP process of Song et al.
EDM's warped sigma steps are a time grid (`sampling.grids.karras`), not another process. VE's sigma includes the
"- 1" that an exact solution of its equation has, so that x_0 is the data.

Times are tensors of shape () or (B,), one per record; coefficients have the shape and dtype of t. Use float64 times:
they are few, and 1 - t or a difference of log-SNRs then keeps its digits.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from morphogen.core.errors import SpecError, unknown

Kind = Literal["preserving", "exploding", "straight"]


def broadcast(coefficient: Tensor, x: Tensor) -> Tensor:
    """A coefficient of shape () or (B,) in the dtype and on the device of x (B, *shape), shaped to multiply it."""
    return coefficient.to(x.device, x.dtype).reshape(coefficient.shape + (1,) * (x.ndim - 1) * (coefficient.ndim > 0))


class Schedule(ABC):
    """t -> (alpha_t, sigma_t)."""

    kind: Kind

    @abstractmethod
    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(alpha_t, sigma_t), each of the shape of t."""

    def log_snr(self, t: Tensor) -> Tensor:
        """log(alpha_t^2 / sigma_t^2): infinite at t = 0, and -infinite at t = 1 where alpha_1 = 0."""
        alpha, sigma = self(t)
        return 2.0 * (alpha.log() - sigma.log())

    def time(self, log_snr: Tensor) -> Tensor:
        """The t with this log-SNR; 1 for anything noisier than the schedule's end."""
        return self._inverse(log_snr.double()).clamp(0.0, 1.0).to(log_snr.dtype)

    def _inverse(self, wanted: Tensor) -> Tensor:
        """`time`, in float64, of any value at or beyond the ends: by bisection, to 1e-16, where there is no formula."""
        low, high = torch.zeros_like(wanted), torch.ones_like(wanted)
        for _ in range(64):
            middle = 0.5 * (low + high)
            later = self.log_snr(middle) > wanted
            low, high = torch.where(later, middle, low), torch.where(later, high, middle)
        return torch.where(wanted == math.inf, 0.0, high)

    def derivatives(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(d alpha / dt, d sigma / dt), by automatic differentiation; not finite at t = 0 if sigma is a root of t."""
        pull_back = torch.func.vjp(self.__call__, t)[1]
        one, zero = torch.ones_like(t), torch.zeros_like(t)
        return pull_back((one, zero))[0], pull_back((zero, one))[0]


@dataclass(frozen=True)
class LinearBeta(Schedule):
    """d log alpha / dt = -beta_t / 2 with beta_t linear in t: the VP process."""

    beta_min: float = 0.1
    beta_max: float = 20.0
    kind = "preserving"

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        log_alpha = -0.5 * t * (self.beta_min + 0.5 * t * (self.beta_max - self.beta_min))
        return log_alpha.exp(), (-torch.expm1(2.0 * log_alpha)).sqrt()

    def _inverse(self, wanted: Tensor) -> Tensor:
        """The root of a t^2 + b t = -log alpha, with -log alpha = log(1 + 1 / SNR) / 2."""
        lost, a, b = 0.5 * F.softplus(-wanted), 0.25 * (self.beta_max - self.beta_min), 0.5 * self.beta_min
        return (2.0 * lost / (b + (b * b + 4.0 * a * lost).sqrt())).nan_to_num(nan=1.0)


@dataclass(frozen=True)
class Cosine(Schedule):
    """alpha = cos a / cos b with a = pi/2 (t + c) / (1 + c) and b = a at t = 0; alpha_1 = 0.

    sigma^2 = 1 - cos^2 a / cos^2 b = sin(a + b) sin(a - b) / cos^2 b, where nothing cancels.
    """

    offset: float = 0.008
    kind = "preserving"

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        unit = 0.5 * math.pi / (1.0 + self.offset)
        start = math.cos(unit * self.offset)
        sigma_squared = torch.sin(unit * (t + 2.0 * self.offset)) * torch.sin(unit * t)
        return torch.sin(unit * (1.0 - t)) / start, sigma_squared.sqrt() / start

    def _inverse(self, wanted: Tensor) -> Tensor:
        """From alpha where there is more noise; else from sigma, with y = tan(pi/2 t / (1 + c)) the root of

        (cos d - s) y^2 + sin d y - s = 0,   d = pi c / (1 + c),   s = sigma^2 cos^2 b.
        """
        unit = 0.5 * math.pi / (1.0 + self.offset)
        start, d = math.cos(unit * self.offset), 2.0 * unit * self.offset
        s = start * start * torch.sigmoid(-wanted.clamp_min(0.0))
        y = 2.0 * s / (math.sin(d) + (math.sin(d) ** 2 + 4.0 * s * (math.cos(d) - s)).sqrt())
        noisy = 1.0 - torch.asin(start * torch.sigmoid(wanted).sqrt()) / unit
        return torch.where(wanted > 0.0, y.atan() / unit, noisy)


@dataclass(frozen=True)
class EDM(Schedule):
    """alpha = 1, sigma proportional to t."""

    sigma_max: float = 80.0
    kind = "exploding"

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(t), self.sigma_max * t

    def _inverse(self, wanted: Tensor) -> Tensor:
        return torch.exp(-0.5 * wanted) / self.sigma_max


@dataclass(frozen=True)
class VarianceExploding(Schedule):
    """alpha = 1, sigma nearly geometric in t from about `low` to `high`, and 0 at t = 0."""

    low: float = 0.01
    high: float = 50.0
    kind = "exploding"

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(t), self.low * torch.expm1(2.0 * math.log(self.high / self.low) * t).sqrt()

    def _inverse(self, wanted: Tensor) -> Tensor:
        return torch.log1p(torch.exp(-wanted) / self.low**2) / (2.0 * math.log(self.high / self.low))


@dataclass(frozen=True)
class RectifiedFlow(Schedule):
    """The straight line from data to noise."""

    kind = "straight"

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return 1.0 - t, t.clone()

    def _inverse(self, wanted: Tensor) -> Tensor:
        return torch.sigmoid(-0.5 * wanted)


@dataclass(frozen=True)
class ZeroTerminalSNR(Schedule):
    """A preserving schedule stretched until nothing of the data is left at t = 1.

    alpha' = (alpha - alpha_1) / (1 - alpha_1) (Lin et al., "Common diffusion noise schedules and sample steps are
    flawed", 2024). Raises `SpecError` for schedules of another kind, which have their own ends.
    """

    base: Schedule
    kind = "preserving"

    def __post_init__(self) -> None:
        if self.base.kind != "preserving":
            raise SpecError(
                f"zero terminal SNR rescales variance-preserving schedules, not an {self.base.kind} one: leave it out."
            )

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = self.base(t)
        last = self.base(torch.ones_like(t))[0]
        alpha_new = (alpha - last) / (1.0 - last)
        lost = sigma.square() / ((1.0 + alpha) * (1.0 - last))  # 1 - alpha', as 1 - alpha = sigma^2 / (1 + alpha)
        return alpha_new, (lost * (1.0 + alpha_new)).sqrt()


@dataclass(frozen=True)
class Shifted(Schedule):
    """`factor` times the noise-to-signal ratio of `base` at every t; the kind stays.

    Neighboring pixels of a larger picture agree more, so that the same noise hides less of it: factor = side / 64 or
    so (Hoogeboom, Heek and Salimans, "simple diffusion", 2023). On a rectified flow this is t' = f t / (1 + (f - 1) t)
    (Esser et al., 2024).
    """

    base: Schedule
    factor: float

    def __post_init__(self) -> None:
        if not self.factor > 0.0:
            raise SpecError(f"a schedule's shift must be positive (got {self.factor}); 1 leaves it as it is.")

    @property
    def kind(self) -> Kind:  # type: ignore[override]
        return self.base.kind

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = self.base(t)
        sigma = self.factor * sigma
        if self.kind == "exploding":
            return alpha, sigma
        total = torch.hypot(alpha, sigma) if self.kind == "preserving" else alpha + sigma
        return alpha / total, sigma / total

    def _inverse(self, wanted: Tensor) -> Tensor:
        return self.base._inverse(wanted + 2.0 * math.log(self.factor))


SCHEDULES: Mapping[str, Callable[[], Schedule]] = {
    "linear-beta": LinearBeta,
    "cosine": Cosine,
    "edm": EDM,
    "ve": VarianceExploding,
    "rectified-flow": RectifiedFlow,
}


def schedule(name: str, zero_terminal_snr: bool = False, shift: float = 1.0) -> Schedule:
    """The schedule called `name` with its published constants, changed in this order. Raises `SpecError`."""
    if name not in SCHEDULES:
        raise SpecError(unknown("schedule", name, SCHEDULES))
    made = SCHEDULES[name]()
    if zero_terminal_snr:
        made = ZeroTerminalSNR(made)
    return made if shift == 1.0 else Shifted(made, shift)
