"""A release: a family that is made of a few sums over all records, which are looked at once (`Releases`)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from morphogen.core.batch import Batch
from morphogen.core.capabilities import Releases
from morphogen.core.errors import NonFiniteError, UsageError
from morphogen.core.family import Family, Progress, require
from morphogen.core.privacy import PrivacyTerms, Spending
from morphogen.core.rng import Noise, Rng
from morphogen.core.strong_noise import NoiseSource, noisy
from morphogen.theory.privacy import concentrated_epsilon, concentrated_rho, gaussian_epsilon, gaussian_noise
from morphogen.trainer.log import Meters
from morphogen.trainer.optim import PlayerOptimizer
from morphogen.trainer.precision import Precision
from morphogen.trainer.private.ledger import Ledger
from morphogen.trainer.private.probing import nobody

_SLACK = 1e-6


@runtime_checkable
class Passes(Protocol):
    """Records that can be read from the first to the last."""

    def passes(self, size: int = 4096) -> Iterator[Batch]:
        """All records, once."""


class Exact:
    """No noise."""

    deviations: Mapping[str, float] = {}
    noise = 0.0

    def gaussian(self, value: Tensor, sensitivity: float, share: float, what: str) -> Tensor:
        """`value` itself."""
        return value.double()

    def choose(self, scores: Tensor, sensitivity: float, share: float, what: str) -> int:
        """The place of the largest score."""
        return int(scores.argmax())


class Shared:
    """Divides epsilon among the uses: noise with 1 / s^2 = share / s_0^2, and choices that cost share * rho.

    Gaussian uses alone are as private as one of noise s_0. With choices the costs rho add up.
    """

    def __init__(self, terms: PrivacyTerms, source: NoiseSource, with_choices: bool, whole: float = 1.0) -> None:
        """`whole`: the share of the terms' privacy that all uses may take together."""
        self._terms, self._source, self._left = terms, source, 1.0
        self.rho = whole * concentrated_rho(terms.epsilon, terms.delta) if with_choices else 0.0
        self.noise = 1.0 / math.sqrt(2.0 * self.rho) if with_choices else gaussian_noise(terms.epsilon, terms.delta)
        if not with_choices:
            self.noise /= math.sqrt(whole)
        self.deviations: dict[str, float] = {}
        self.spent: list[Spending] = []

    def gaussian(self, value: Tensor, sensitivity: float, share: float, what: str) -> Tensor:
        """`value` with noise of `sensitivity` * s_0 / sqrt(share)."""
        self._take(share, what)
        noise = self.noise / math.sqrt(share)
        self.deviations[what] = noise * sensitivity
        cost = gaussian_epsilon(noise, self._terms.delta)
        self.spent.append(Spending(what=what, epsilon=cost, delta=self._terms.delta, noise=noise, rounds=1))
        return noisy(value, noise * sensitivity, self._source)

    def choose(self, scores: Tensor, sensitivity: float, share: float, what: str) -> int:
        """The exponential mechanism, by the largest score plus Gumbel noise."""
        if not self.rho:
            raise UsageError("a family that chooses by its records says so in `chooses`.")
        self._take(share, what)
        epsilon = math.sqrt(8.0 * self.rho * share)
        gumbel = -torch.log(-torch.log(self._source.uniform(len(scores))))
        self.spent.append(Spending(what=what, epsilon=epsilon, delta=0.0, rounds=1))
        return int((scores.double() * (epsilon / (2.0 * sensitivity)) + gumbel).argmax())

    def _take(self, share: float, what: str) -> None:
        if not 0.0 < share <= self._left + _SLACK:
            raise UsageError(f"{what}: the uses of the records take more than the whole of epsilon.")
        self._left -= share

    @property
    def epsilon(self) -> float:
        """What all uses so far cost together."""
        share, delta = 1.0 - max(0.0, self._left), self._terms.delta
        if share <= 0.0:
            return 0.0
        if self.rho:
            return concentrated_epsilon(share * self.rho, delta)
        return gaussian_epsilon(self.noise / math.sqrt(share), delta)


class ReleaseUpdates:
    """The steps of such a family: the release, and then updates of blind players on records of nobody."""

    def __init__(
        self,
        family: Family,
        stream: Passes,
        mechanism: Exact | Shared,
        ledger: Ledger,
        optimizers: Mapping[str, PlayerOptimizer],
        seed: int,
    ) -> None:
        self._family, self._stream, self._mechanism, self._ledger = family, stream, mechanism, ledger
        self._optimizers, self._rng = optimizers, Rng(seed, family.device).child("train")
        if strangers := set(optimizers) - family.blind_players:
            raise UsageError(f"players of a release are blind, and {sorted(strangers)[0]!r} is not declared so.")

    def of(self, at: Progress, precision: Precision, meters: Meters | None) -> Iterator[tuple[PlayerOptimizer, Tensor]]:
        """Release everything in the first step; a trial does not."""
        if meters is not None and at.step == 0:
            self._ledger.before_round()
            require(self._family, Releases, "release").release(self._stream.passes, self._mechanism)
        if not self._optimizers:
            return
        batch = nobody(self._family, 1, address=at.step)
        yield from unlimited(self._family, self._optimizers, batch, self._rng, at, meters)


def unlimited(
    family: Family,
    optimizers: Mapping[str, PlayerOptimizer],
    batch: Batch,
    rng: Noise,
    at: Progress,
    meters: Meters | None,
) -> Iterator[tuple[PlayerOptimizer, Tensor]]:
    """The updates of one step on records of nobody, which need no limits: each optimizer with its gradient's norm."""
    for move in family.steps(batch, rng, at):
        optimizer = optimizers[move.player]
        loss = torch.stack(list(move.terms.values())).sum(0).mean()
        loss.backward(inputs=optimizer.parameters)
        norm = optimizer.gradient_norm()
        if not bool(torch.isfinite(norm)):
            raise NonFiniteError(f"step {at.step}: the gradient is not finite. Try a smaller learning rate.")
        if meters is not None:
            meters.metrics.add("grad_norm", norm)
            for name, term in move.terms.items():
                meters.terms.add(name, term.mean())
        yield optimizer, norm
        for other in optimizers.values():
            other.clear()
