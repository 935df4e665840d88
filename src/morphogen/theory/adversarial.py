r"""Two-player games of a generator and a discriminator, as formulas on the discriminator's logits.

The discriminator gives a logit l(x) to each record; p is the density of the data, q that of the generator's records.
A logit of 0 is undecided, and a larger one is more real. In a `Game` the discriminator minimizes

    L_D = E_p[real(l)] + E_q[fake(l)],

and the generator E_q[generator(l)]. If p and q are known, the best logit l*(x) for D is known too:

    minimax          real = softplus(-l), fake = softplus(l), generator = -softplus(l)     (Goodfellow et al., 2014)
                     l* = log p - log q, that is D = sigmoid(l*) = p / (p + q), where
                     -L_D = E_p[log D] + E_q[log(1 - D)] = 2 JSD(p, q) - log 4;
                     the generator's gradient vanishes where D is sure, as d softplus(l) / dl = D
    non_saturating   the same D, and generator = softplus(-l), which has the same optimum and does not vanish there
    least_squares    real = (1 - l)^2 / 2, fake = (1 + l)^2 / 2, generator = (1 - l)^2 / 2   (Mao et al., 2017)
                     l* = (p - q) / (p + q), where L_D = 1 - 1/2 int (p - q)^2 / (p + q)
    hinge            real = max(0, 1 - l), fake = max(0, 1 + l), generator = -l            (Lim and Ye, 2017)
                     l* = sign(p - q), where L_D = 2 int min(p, q) = 2 - 2 TV(p, q), and the generator's
                     loss, -E_q[l*], lies between 1 (disjoint) and 0 (equal)
    wasserstein      real = -l, fake = l, generator = -l             (Arjovsky, Chintala and Bottou, 2017)
                     for l of slope at most 1, -L_D is at most W_1(p, q), the cost of moving p to q; a penalty has to
                     keep the slope there, and only differences of logits mean something

In a `PairedGame` a record and a sample are compared, m = l(x) - l(y) (Jolicoeur-Martineau, "The relativistic
discriminator", 2019): D minimizes E_{p x q}[loss(m)], and the generator E_{p x q}[loss(-m)].

    relativistic     loss = softplus(-m)                              (Huang et al., "The GAN is dead; long live the
                     GAN!", 2024). sigmoid(m) is the probability that x is the real one of two, by Bayes' rule
                     p(x) q(y) / (p(x) q(y) + q(x) p(y)); so l* = log p - log q plus any constant, where
                     -L_D = JSD(p(x) q(y), q(x) p(y)) - log 2. A sample is held against records instead of a fixed
                     level, so no half of the data can be given up for another: mode collapse is no local optimum
                     (Sun, Fang and Schwing, 2020)

Under conditions c, a logit l(x, c) decides whether x is real and whether c belongs to x. To teach the second from the
start, D also gets records with the conditions c' of other records (matching-aware; Reed et al., 2016). The game treats
these as samples, E[fake(l(x, c'))], or compares them, E[loss(l(x, c) - l(x, c'))]. For such pairs alone, the best logit
is log p(c | x) - log p(c) plus any function of x: how much x raises the probability of c.

No game converges by itself: with data at 0, samples at theta and a linear l = psi x, descent of both turns (psi, theta)
around the optimum, to first order for ever. A penalty on the slope of l damps it (Mescheder, Geiger and Nowozin, "Which
training methods for GANs do actually converge?", 2018). With g = grad_x l(x), for one record,

    zero-centered    1/2 |g|^2, at the data (R1), at samples (R2), or at both
    one-centered     (|g| - 1)^2, between a record and a sample      (WGAN-GP; Gulrajani et al., 2017).

A linear l = w.x + b has 1/2 |w|^2 and (|w| - 1)^2 everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

SUREST = 0.9993  # tanh(4): the largest logit of least squares that is read as a ratio of densities


@dataclass(frozen=True)
class Game:
    """Losses as functions of logits, element by element, and the best logit for densities p and q of one shape.

    best_logit  None if there is none without a constraint on l
    log_ratio   log p - log q as a function of the best logit, up to a constant; None if the logit gives only its sign
    absolute    whether the level of a logit has a meaning: 0 is undecided
    """

    real: Callable[[Tensor], Tensor]
    fake: Callable[[Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]
    best_logit: Callable[[Tensor, Tensor], Tensor] | None = None
    log_ratio: Callable[[Tensor], Tensor] | None = None
    absolute: bool = True
    paired: ClassVar[bool] = False  # whether the generator's loss needs the logits of records, too

    def discriminator_terms(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """The discriminator's loss in parts, each (B,), for logits of records and of samples, each (B,)."""
        return {"real": self.real(real), "fake": self.fake(fake)}

    def generator_term(self, real: Tensor | None, fake: Tensor) -> Tensor:
        """The generator's loss (B,) for the logits of its samples; the logits of records have no effect."""
        return self.generator(fake)

    def mismatch_term(self, own: Tensor, other: Tensor) -> Tensor:
        """The discriminator's loss (B,) for logits of records with conditions of others."""
        return self.fake(other)

    def verdict(self, real: Tensor, fake: Tensor) -> Tensor:
        """(B,), positive where the discriminator takes a record for real."""
        return real if self.absolute else real - fake

    def discriminator_loss(self, logit: Tensor, p: Tensor, q: Tensor, cell: float = 1.0) -> Tensor:
        """L_D on a grid: densities p and q and the logit at points of volume `cell` each (or masses, with cell 1)."""
        return cell * (p * self.real(logit) + q * self.fake(logit)).sum()

    def generator_loss(self, logit: Tensor, p: Tensor, q: Tensor, cell: float = 1.0) -> Tensor:
        """The generator's loss on such a grid."""
        return cell * (q * self.generator(logit)).sum()


@dataclass(frozen=True)
class PairedGame:
    """One loss of the margin m = l(x) - l(y) of a record x and a sample y; otherwise as `Game`."""

    loss: Callable[[Tensor], Tensor]
    best_logit: Callable[[Tensor, Tensor], Tensor]
    log_ratio: Callable[[Tensor], Tensor]
    absolute: ClassVar[bool] = False
    paired: ClassVar[bool] = True

    def discriminator_terms(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """The discriminator's loss (B,): record i is compared with sample i."""
        return {"pairs": self.loss(real - fake)}

    def generator_term(self, real: Tensor | None, fake: Tensor) -> Tensor:
        """The generator's loss (B,) for the same pairs."""
        if real is None:
            raise ValueError("a paired game compares samples with records: it needs the logits of both")
        return self.loss(fake - real)

    def mismatch_term(self, own: Tensor, other: Tensor) -> Tensor:
        """The discriminator's loss (B,) for logits of records with their own conditions and with those of others."""
        return self.loss(own - other)

    def verdict(self, real: Tensor, fake: Tensor) -> Tensor:
        """(B,), positive where the discriminator takes the record of a pair for the real one."""
        return real - fake

    def discriminator_loss(self, logit: Tensor, p: Tensor, q: Tensor, cell: float = 1.0) -> Tensor:
        """L_D over all pairs of points of a grid: densities p and q and the logit, each (N,)."""
        return cell**2 * (p[:, None] * q * self.loss(logit[:, None] - logit)).sum()

    def generator_loss(self, logit: Tensor, p: Tensor, q: Tensor, cell: float = 1.0) -> Tensor:
        """The generator's loss over all pairs of points of a grid."""
        return cell**2 * (p[:, None] * q * self.loss(logit - logit[:, None])).sum()


def _log_ratio(p: Tensor, q: Tensor) -> Tensor:
    return p.log() - q.log()


def _as_it_is(logit: Tensor) -> Tensor:
    return logit


MINIMAX = Game(
    real=lambda logit: F.softplus(-logit),
    fake=F.softplus,
    generator=lambda logit: -F.softplus(logit),
    best_logit=_log_ratio,
    log_ratio=_as_it_is,
)
NON_SATURATING = Game(
    real=lambda logit: F.softplus(-logit),
    fake=F.softplus,
    generator=lambda logit: F.softplus(-logit),
    best_logit=_log_ratio,
    log_ratio=_as_it_is,
)
LEAST_SQUARES = Game(
    real=lambda logit: 0.5 * (1.0 - logit).square(),
    fake=lambda logit: 0.5 * (1.0 + logit).square(),
    generator=lambda logit: 0.5 * (1.0 - logit).square(),
    best_logit=lambda p, q: (p - q) / (p + q),
    # (p - q) / (p + q) = tanh(log(p / q) / 2); networks pass 1, and no ratio is known to more than e^8 there
    log_ratio=lambda logit: 2.0 * logit.clamp(-SUREST, SUREST).atanh(),
)
HINGE = Game(
    real=lambda logit: F.relu(1.0 - logit),
    fake=lambda logit: F.relu(1.0 + logit),
    generator=torch.neg,
    best_logit=lambda p, q: (p - q).sign(),
)
WASSERSTEIN = Game(real=torch.neg, fake=lambda logit: logit, generator=torch.neg, absolute=False)
RELATIVISTIC = PairedGame(loss=lambda margin: F.softplus(-margin), best_logit=_log_ratio, log_ratio=_as_it_is)
GAMES: Mapping[str, Game | PairedGame] = {
    "relativistic": RELATIVISTIC,
    "non_saturating": NON_SATURATING,
    "hinge": HINGE,
    "least_squares": LEAST_SQUARES,
    "wasserstein": WASSERSTEIN,
    "minimax": MINIMAX,
}


def zero_centered(squared_slope: Tensor) -> Tensor:
    """1/2 |g|^2 of |g|^2, element by element: R1 at records, R2 at samples."""
    return 0.5 * squared_slope


def one_centered(squared_slope: Tensor) -> Tensor:
    """(|g| - 1)^2 of |g|^2, element by element; its derivative stays finite at g = 0."""
    return (squared_slope.clamp_min(1e-12).sqrt() - 1.0).square()


def penalty_weight(dimensions: int) -> float:
    """A weight of the zero-centered penalties that suits records of so many elements: in proportion, at least 0.02.

    Distances between records grow as sqrt(D), and slopes for the same change of l shrink as they do.
    """
    return max(0.02, 1e-3 * dimensions)


def balance(reconstruction: Tensor, adversarial: Tensor) -> Tensor:
    """The weight |a| / |b| that gives the gradient b of an adversarial loss the norm of a reconstruction's gradient a.

    Both are gradients for the generator's last layer, of one shape. The weight is at most 10^4, so a vanishing gradient
    is not amplified without limit (Esser, Rombach and Ommer, "Taming transformers", 2021). It is a scalar without
    gradient.
    """
    return (reconstruction.norm() / adversarial.norm().clamp_min(1e-12)).clamp(max=1e4).detach()
