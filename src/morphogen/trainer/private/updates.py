r"""One private training step (Abadi et al., 2016): for each private player

    g = 1/b (sum_u clip(g_u, C) + s C z),     z ~ N(0, I),

over the units u that take part, with the expected number b of units and not the true one, which would tell of a unit. A
blind player is updated on records of nobody, so that it sees the records by what private players have learned alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from morphogen.core.batch import Batch, BatchSource
from morphogen.core.errors import NonFiniteError
from morphogen.core.family import Family, Progress, Step
from morphogen.core.rng import Rng
from morphogen.core.strong_noise import NoiseSource, noisy
from morphogen.trainer.log import Meters
from morphogen.trainer.optim import PlayerOptimizer
from morphogen.trainer.precision import Precision
from morphogen.trainer.private.clipping import Watch, clipped_sums, sum_of_units
from morphogen.trainer.private.ledger import Ledger
from morphogen.trainer.private.probing import nobody
from morphogen.trainer.recipe import Recipe


@runtime_checkable
class PrivateSource(BatchSource, Protocol):
    """Batches of random units, each of which takes part with the same probability."""

    units: int
    copies: int

    @property
    def rate(self) -> float:
        """The probability with which a unit takes part."""

    def units_of(self, batch: Batch) -> Tensor | None:
        """(B,) which of its units each row of a batch belongs to, rising; None where each row is a unit."""

    def passes(self, size: int = 4096) -> Iterator[Batch]:
        """All records, once."""


Sums = dict[int, Tensor]


class PrivateUpdates:
    """Computes private gradients. The caller applies them."""

    def __init__(
        self,
        family: Family,
        stream: PrivateSource,
        recipe: Recipe,
        optimizers: dict[str, PlayerOptimizer],
        ledger: Ledger,
        source: NoiseSource,
        clip: float,
        watched: bool,
    ) -> None:
        self._family, self._stream, self._optimizers = family, stream, optimizers
        self._ledger, self._source, self._clip = ledger, source, clip
        self._most = max(1, recipe.batch_size // recipe.accumulate)
        self._rng = Rng(recipe.seed, family.device).child("train")
        private = {n: o.parameters for n, o in optimizers.items() if n not in family.blind_players}
        self._watch = Watch(family, [p for some in private.values() for p in some]) if watched else None
        self.noise = 1.0  # the noise multiplier, once it is planned

    def of(self, at: Progress, precision: Precision, meters: Meters | None) -> Iterator[tuple[PlayerOptimizer, Tensor]]:
        """Yield the optimizer of each update, its noisy gradient in place, and its norm.

        Without `meters` this is a trial, of which only the time is used: it is not counted.
        """
        parts = self._parts(self._stream.batch(at.step).to(self._family.device))
        generators = [self._family.steps(part, self._rng, at) for part, _ in parts]
        public: Iterator[Step] | None = None
        if self._family.blind_players or not parts:
            size = self._most
            batch = nobody(self._family, size, address=at.step * size, seed=self._rng.seed)
            public = self._family.steps(batch, self._rng, at)
        while True:
            shown = None if public is None else next(public, None)
            if public is not None and shown is None:
                return
            if shown is not None and shown.player in self._family.blind_players:
                for generator in generators:
                    next(generator, None)
                optimizer = self._optimizers[shown.player]
                torch.stack(list(shown.terms.values())).sum(0).mean().backward(inputs=optimizer.parameters)
            else:
                found = self._sums(generators, parts, None if shown is None else shown.player)
                if found is None:
                    return
                player, sums = found
                optimizer = self._optimizers[player]
                if meters is not None:
                    self._ledger.before_round()
                self._add_noise(optimizer.parameters, sums)
            norm = optimizer.gradient_norm()
            if not bool(torch.isfinite(norm)):
                raise NonFiniteError(f"step {at.step}: the gradient is not finite. Try a smaller learning rate.")
            if meters is not None:
                prefix = f"{optimizer_name(self._optimizers, optimizer)}/" if len(self._optimizers) > 1 else ""
                meters.metrics.add(f"{prefix}grad_norm", norm)
            yield optimizer, norm
            for other in self._optimizers.values():
                other.clear()

    def _parts(self, batch: Batch) -> list[tuple[Batch, Tensor | None]]:
        """The batch in parts that fit into memory and cut no unit; unit by unit if layers cannot be watched."""
        n, units = len(batch), self._stream.units_of(batch)
        if not n:
            return []
        of = torch.arange(n) if units is None else units
        starts = torch.cat((torch.zeros(1, dtype=torch.int64), (of.diff() > 0).nonzero()[:, 0] + 1, torch.tensor([n])))
        borders = list(itertools.pairwise(starts.tolist()))
        most = self._most if self._watch is not None else 1
        edges = [0]
        for start, end in borders:
            if end - edges[-1] > most and start > edges[-1]:
                edges.append(start)
        edges.append(n)
        pieces = [slice(a, b) for a, b in itertools.pairwise(edges)]
        return [(batch[p], None if units is None else units[p] - units[p.start]) for p in pieces]

    def _sums(
        self, generators: Sequence[Iterator[Step]], parts: Sequence[tuple[Batch, Tensor | None]], player: str | None
    ) -> tuple[str, Sums] | None:
        """The player that moves and the sums of its clipped gradients; None at the end of the step."""
        sums: Sums = {}
        for generator, (batch, units) in zip(generators, parts, strict=True):
            if self._watch is None:
                move = next(generator, None)
            else:
                with self._watch.open():
                    move = next(generator, None)
            if move is None:
                return None
            player = move.player
            parameters, losses = self._optimizers[player].parameters, _losses(move)
            if self._watch is not None:
                found = self._watch.gradients(losses, parameters)
                part, _ = clipped_sums(self._family, found, self._clip, units, len(batch))
            else:
                each = torch.autograd.grad(losses.mean(), parameters, allow_unused=True)
                known = {id(p): g[None] for p, g in zip(parameters, each, strict=True) if g is not None}
                part, _ = sum_of_units(known, self._clip) if known else ({}, None)
            for i, total in part.items():
                sums[i] = sums[i] + total if i in sums else total
        return None if player is None else (player, sums)

    @torch.no_grad()
    def _add_noise(self, parameters: Sequence[nn.Parameter], sums: Sums) -> None:
        zero = torch.zeros(1)
        flat = torch.cat([sums[id(p)].flatten() if id(p) in sums else zero.to(p).expand(p.numel()) for p in parameters])
        flat = noisy(flat, self.noise * self._clip, self._source) / self._stream.batch_size
        for p, g in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
            p.grad = g.view_as(p).to(p)


def optimizer_name(optimizers: dict[str, PlayerOptimizer], optimizer: PlayerOptimizer) -> str:
    """The player that this optimizer moves."""
    return next(name for name, o in optimizers.items() if o is optimizer)


def _losses(move: Step) -> Tensor:
    return torch.stack([t.float() for t in move.terms.values()]).sum(0)
