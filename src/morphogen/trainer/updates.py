"""One training step as a sequence of updates, one update per player.

The batch is cut into parts, with one generator `family.steps` per part. The generators advance in lockstep: the losses
of all parts are computed before the update of their player, and after the updates before it. The gradient of an update
is that of the mean over records of the summed terms.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import reduce

import torch
from torch import Tensor

from morphogen.core.batch import BatchSource
from morphogen.core.errors import UsageError, unknown
from morphogen.core.family import Family, Progress, Step
from morphogen.core.rng import Rng
from morphogen.trainer.distributed import World
from morphogen.trainer.log import Meters
from morphogen.trainer.monitors import Guard
from morphogen.trainer.optim import PlayerOptimizer
from morphogen.trainer.precision import Precision, autocast
from morphogen.trainer.recipe import Recipe
from morphogen.trainer.robust import Trimming


class UpdateSchedule:
    """Computes gradients. The caller applies them."""

    def __init__(
        self,
        family: Family,
        stream: BatchSource,
        recipe: Recipe,
        world: World,
        optimizers: Mapping[str, PlayerOptimizer],
        guard: Guard,
        trimming: Trimming,
    ) -> None:
        self._family, self._stream, self._world = family, stream, world
        self._optimizers, self._guard = optimizers, guard
        self._parts = recipe.accumulate
        self._trimming = trimming
        self._noise = Rng(recipe.seed, world.device).child("train")

    def of(self, at: Progress, precision: Precision, meters: Meters | None) -> Iterator[tuple[PlayerOptimizer, Tensor]]:
        """Yield the optimizer of each update, its gradients in place, and their norm. The caller applies the update
        before it asks for the next one. Skipped updates are not yielded.

        Losses and metrics are counted into `meters`. Raises `NonFiniteError`, and `UsageError` if
        the family breaks the contract.
        """
        batch = self._stream.batch(at.step, self._world.rank, self._world.size)
        if batch.x.device != self._world.device:
            batch = batch.to(self._world.device)
        size = len(batch) // self._parts
        parts = [batch] if self._parts == 1 else [batch[i * size : (i + 1) * size] for i in range(self._parts)]
        generators = [self._family.steps(part, self._noise, at) for part in parts]
        context = autocast(precision, self._world.device)
        while True:
            # Autocast is on while a generator runs, and off in the backward pass.
            computed = [
                self._backward(generator, context, part.ids, at.fraction)
                for generator, part in zip(generators, parts, strict=True)
            ]
            moves = [move for move, _ in computed if move is not None]
            if not moves:
                return
            if len(moves) < len(parts) or len({move.player for move in moves}) > 1:
                raise UsageError(f"family {self._family.name!r} yields different players for parts of one batch.")
            optimizer = self._optimizer_of(moves[0].player)
            optimizer.average_gradients(self._world)
            norm = optimizer.gradient_norm()
            loss = reduce(torch.add, (loss for _, loss in computed))
            kept = self._guard.before(at.step, optimizer, loss, norm, parts, moves)
            if meters is not None:
                self._count(meters, optimizer, moves, norm, kept)
            if kept:
                yield optimizer, norm
            for other in self._optimizers.values():
                other.clear()

    def _backward(
        self, generator: Iterator[Step], context: AbstractContextManager[object], ids: Tensor, fraction: float
    ) -> tuple[Step | None, Tensor]:
        """The next update of one part and its share of the loss; gradients are added to those of the other parts."""
        with context:
            move = next(generator, None)
        if move is None:
            return None, torch.zeros(())
        loss = self._trimming.mean(reduce(torch.add, move.terms.values()).float(), ids, fraction)
        loss = loss if self._parts == 1 else loss / self._parts
        # Sharded parameters are not the leaves of the graph, so the gradients of all players are computed.
        loss.backward(inputs=None if self._world.sharded else self._optimizer_of(move.player).parameters)
        return move, loss.detach()

    def _count(
        self, meters: Meters, optimizer: PlayerOptimizer, moves: Sequence[Step], norm: Tensor, kept: bool
    ) -> None:
        prefix = f"{moves[0].player}/" if len(self._optimizers) > 1 else ""
        if optimizer.skip is not None:
            meters.metrics.add(f"{prefix}skipped", torch.tensor(float(not kept), device=norm.device))
        if not kept:
            return
        for move in moves:
            for name, term in move.terms.items():
                meters.terms.add(prefix + name, term.detach().float().mean())
            for name, value in move.metrics.items():
                meters.metrics.add(prefix + name, value)
        meters.metrics.add(f"{prefix}grad_norm", norm)
        if optimizer.clip is not None:
            meters.metrics.add(f"{prefix}clipped", norm > optimizer.clip)

    def _optimizer_of(self, name: str) -> PlayerOptimizer:
        if name not in self._optimizers:
            raise UsageError(unknown(f"player of {self._family.name!r}", name, self._optimizers))
        return self._optimizers[name]
