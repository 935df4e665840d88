"""Monitors that explain: values that are not finite."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from morphogen.core.batch import Batch
from morphogen.core.errors import NonFiniteError
from morphogen.core.family import Family, Step
from morphogen.train.distributed import World, full
from morphogen.train.optim import Mover

_CUDA_EVERY = 32  # moves between two looks at an accelerator, which each wait for it


class Guard:
    """Stops a move whose loss or gradient is not finite, and says where it came from.

    On a CPU each move is looked at before it is made. On an accelerator that would wait for the
    device at every step, so a flag that stays on the device turns all moves off from the bad one on,
    and is read every 32 moves and before each checkpoint.
    """

    def __init__(self, family: Family, world: World) -> None:
        self._names = {id(p): name for name, p in family.named_parameters()}
        self._waits = world.device.type != "cpu" and not world.sharded
        self._bad = torch.zeros((), device=world.device)
        self._recent: deque[tuple[int, Sequence[tuple[Batch, Step]]]] = deque(maxlen=_CUDA_EVERY)
        self._moves = 0

    def before(self, step: int, mover: Mover, value: Tensor, moves: Sequence[tuple[Batch, Step]]) -> None:
        """Look at `value`, loss plus gradient norm, before a move. Raises `NonFiniteError`."""
        if not self._waits:
            if not torch.isfinite(value).item():
                raise NonFiniteError(_explain(step, moves, self._gradients(mover)))
            return
        self._bad = torch.maximum(self._bad, (~torch.isfinite(value)).float())
        mover.optimizer.found_inf = self._bad  # type: ignore[attr-defined]  # read by fused AdamW, as for loss scaling
        self._recent.append(
            (step, [(b, Step(m.player, {n: t.detach() for n, t in m.terms.items()})) for b, m in moves])
        )
        self._moves += 1
        if self._moves % _CUDA_EVERY == 0:
            self.look()

    def look(self) -> None:
        """Wait for the device and raise `NonFiniteError` if a move was turned off."""
        if not self._waits or not self._bad.item():
            return
        for step, moves in self._recent:
            if any(not torch.isfinite(t).all() for _, move in moves for t in move.terms.values()):
                raise NonFiniteError(_explain(step, moves, []))
        raise NonFiniteError(_explain(self._recent[0][0], self._recent[0][1], []))

    def _gradients(self, mover: Mover) -> list[str]:
        bad = [p for p in mover.parameters if p.grad is not None and not torch.isfinite(full(p.grad)).all()]
        return [self._names.get(id(p), "an unnamed parameter") for p in bad]


def _explain(step: int, moves: Sequence[tuple[Batch, Step]], gradients: Sequence[str]) -> str:
    """The player, the terms and the records of a move that is not finite, and what to try."""
    found = []
    for name in moves[0][1].terms:
        bad = [~torch.isfinite(move.terms[name].detach()).cpu() for _, move in moves]
        ids = [int(i) for (batch, _), rows in zip(moves, bad, strict=True) for i in batch.ids[rows]]
        if ids:
            values = torch.cat([m.terms[name].detach().cpu()[rows] for (_, m), rows in zip(moves, bad, strict=True)])
            shown = ", ".join(str(i) for i in ids[:8]) + (f" and {len(ids) - 8} more" if len(ids) > 8 else "")
            found.append(f"term {name!r} is {values[0].item()} for the records with id {shown}")
    if not found:
        where = ", ".join(gradients[:4]) + (" and others" if len(gradients) > 4 else "")
        found = [f"the loss is finite, but its gradient is not{' in ' + where if where else ''}"]
    return (
        f"step {step}, player {moves[0][1].player!r}: " + "; ".join(found) + "."
        " The weights were not moved, and the last checkpoint is good."
        " Try a smaller learning rate, a smaller clip or precision=fp32, and look at these records."
    )
