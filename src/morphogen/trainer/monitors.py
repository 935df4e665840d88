"""Stop updates with values that are not finite, and explain where these come from."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from morphogen.core.batch import Batch
from morphogen.core.errors import NonFiniteError
from morphogen.core.family import Family, Step
from morphogen.trainer.distributed import World, full
from morphogen.trainer.optim import PlayerOptimizer

_EVERY = 32  # updates between two checks on an accelerator; each check waits for it
_IN_A_ROW = 50  # after so many skipped updates in a row, training has failed


@dataclass(frozen=True)
class _Move:
    """One player's update: `value` is its loss plus its gradient norm; ids and terms of each part of the batch."""

    step: int
    player: str
    value: Tensor
    parts: Sequence[tuple[Tensor, Mapping[str, Tensor]]]


class Guard:
    """Stops an update with a loss or gradient that is not finite, and names its cause.

    On a CPU the guard checks each update before it is applied. On an accelerator each check would wait for the device.
    There a flag on the device turns off the bad update and all later ones; the guard reads the flag every 32 updates
    and before each checkpoint.

    For a player that may skip updates (`Player.skip`) the guard checks every update on every device. It skips those
    that are not finite, and fails after 50 skipped updates in a row.
    """

    def __init__(self, family: Family, world: World) -> None:
        self._names = {id(p): name for name, p in family.named_parameters()}
        self.at_once = world.device.type == "cpu" or world.sharded
        self._bad = torch.zeros((), device=world.device)
        self._recent: deque[_Move] = deque(maxlen=_EVERY)
        self._moves = 0
        self._skipped: dict[str, int] = {}  # number of skipped updates in a row, by player

    def before(
        self,
        step: int,
        optimizer: PlayerOptimizer,
        loss: Tensor,
        norm: Tensor,
        batches: Sequence[Batch],
        moves: Sequence[Step],
    ) -> bool:
        """Check an update before it is applied; returns False to skip it. Raises `NonFiniteError`."""
        value = loss + norm
        if optimizer.skip is not None:
            # The norm decides, because all processes share it and so decide alike. A bad loss makes the norm bad too.
            kept, player = optimizer.keeps(norm), moves[0].player
            self._skipped[player] = 0 if kept else self._skipped.get(player, 0) + 1
            if self._skipped[player] < _IN_A_ROW:
                return kept
            raise NonFiniteError(
                f"step {step}, player {player!r}: the last {_IN_A_ROW} moves were skipped, as the norms of their"
                f" gradients were not finite or above {optimizer.skip:g} times the usual"
                f" {optimizer.usual or 0.0:.3g} (the last one: {norm.item():.3g}). The weights were"
                " not moved. Try a smaller learning rate, precision=fp32, or"
                " a larger skip."
            )
        at_once = self.at_once or optimizer.muon is not None  # which does not obey `found_inf`
        if at_once and math.isfinite(value.item()):
            return True
        parts = [
            (batch.ids, {name: term.detach() for name, term in move.terms.items()})
            for batch, move in zip(batches, moves, strict=True)
        ]
        move = _Move(step, moves[0].player, value, parts)
        if at_once:
            bad = [p for p in optimizer.parameters if p.grad is not None and not torch.isfinite(full(p.grad)).all()]
            raise NonFiniteError(_explain(move, [self._names[id(p)] for p in bad]))
        self._bad = torch.maximum(self._bad, (~torch.isfinite(value)).float())
        optimizer.adamw.found_inf = self._bad  # type: ignore[attr-defined]  # fused AdamW obeys it, as for loss scaling
        self._recent.append(move)
        self._moves += 1
        if self._moves % _EVERY == 0:
            self.look()
        return True

    def look(self) -> None:
        """Wait for the device. Raises `NonFiniteError` if an update was turned off since the last check."""
        if not self.at_once and self._bad.item():
            raise NonFiniteError(_explain(next(m for m in self._recent if not torch.isfinite(m.value)), []))


def _explain(move: _Move, gradients: Sequence[str]) -> str:
    """Name the player, the terms and the records of an update that is not finite, and what to try."""
    found = []
    ids = torch.cat([ids for ids, _ in move.parts])
    for name in move.parts[0][1]:
        values = torch.cat([terms[name] for _, terms in move.parts]).cpu()
        bad = ~torch.isfinite(values)
        if bad.any():
            records = ids[bad].tolist()
            shown = ", ".join(map(str, records[:8])) + (f" and {len(records) - 8} more" if len(records) > 8 else "")
            found.append(f"term {name!r} is {values[bad][0].item()} for the records with id {shown}")
    if not found:
        where = ", ".join(gradients[:4]) + (" and others" if len(gradients) > 4 else "")
        found = [f"the loss of these records is finite, but the gradient is not{' in ' + where if where else ''}"]
    return (
        f"step {move.step}, player {move.player!r}: " + "; ".join(found) + "."
        " The weights were not moved, and the last checkpoint is good."
        " Try a smaller learning rate, a smaller clip or precision=fp32, and look at these records."
    )
