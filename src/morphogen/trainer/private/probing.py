"""What is found out about a family before a private training, on random records of nobody.

- Its terms depend on one record each: alone, a record has the loss that it has in a batch.
- Its steps keep no statistics of records in buffers.
- Its blind players do not see records: with other records, their losses are the same.
- Whether the gradients of single records can be told apart at its layers: they are compared with those of records one
  by one. The weights are moved at random for this, since an untrained network has gradients that are zero.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from morphogen.core.batch import Batch, RawCondition
from morphogen.core.errors import SpecError
from morphogen.core.family import Family, Progress, Step
from morphogen.core.printable import listed
from morphogen.core.rng import Rng
from morphogen.trainer.private.clipping import Unreadable, Watch, clipped_sums

_RECORDS = 12
_MOMENTS = (0.0, 0.95)  # shares of a training, for what begins late
_CLOSE = 1e-3


def nobody(family: Family, n: int, address: int = 0, seed: int = 0) -> Batch:
    """A batch of `n` random records of the shape and the range of the data, which are nobody's."""
    data, rng = family.data, Rng(seed, family.device).child("nobody")
    index = torch.arange(address, address + n)
    u = rng.uniform("x", index, data.shape)
    if data.kind in ("discrete", "sequence"):
        x = (u * (data.levels or 2)).long()
    elif data.kind == "binary":
        x = (u > 0.5).float()
    else:
        x = data.encode(data.decode(2.0 * u - 1.0))
    cond = None
    if data.classes or data.attributes:
        kinds = [len(a.values) for a in data.attributes]
        values = (
            torch.stack([rng.uniform(f"attribute {i}", index) * max(1, k) // 1 for i, k in enumerate(kinds)], 1)
            if kinds
            else None
        )
        label = rng.integers("label", index, len(data.classes)) if data.classes else None
        cond = RawCondition(label, values, None if values is None else torch.ones_like(values, dtype=torch.bool))
    if data.context_shape is not None:
        context = 2.0 * rng.uniform("context", index, data.context_shape) - 1.0
        cond = dataclasses.replace(cond or RawCondition(), context=context)
    return Batch(x, index, cond, index)


def check(family: Family) -> list[str]:
    """The names of the private players. Raises `SpecError` if the training of this family cannot be private."""
    for module in family.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            raise _refused(family, "batch normalization mixes the records of a batch")
    private: list[str] = []
    batch = nobody(family, _RECORDS)
    with _moved(family):
        for share in _MOMENTS:
            whole, alone = _losses(family, batch, share), _losses(family, batch[:1], share)
            other = _losses(family, dataclasses.replace(batch, x=nobody(family, _RECORDS, seed=1).x), share)
            for (player, losses), (_, one), (_, others) in zip(whole, alone, other, strict=True):
                if player in family.blind_players:
                    if not torch.allclose(losses, others, rtol=1e-4, atol=1e-5):
                        raise _refused(family, f"its player {player!r} sees the records, as in games of pairs")
                elif not torch.allclose(losses[:1], one, rtol=_CLOSE, atol=1e-4):
                    raise _refused(family, f"the loss of player {player!r} compares the records of a batch")
                if player not in family.blind_players and player not in private:
                    private.append(player)
    return private


def readable(family: Family, players: Mapping[str, Sequence[nn.Parameter]]) -> str | None:
    """None if the gradients of single records can be read at the layers; else why not."""
    batch, n = nobody(family, 4), 4
    try:
        watch = Watch(family, [p for some in players.values() for p in some])
        with _moved(family):
            slow = {name: [] for name in players}  # type: dict[str, list[list[Tensor | None]]]
            for i in range(n):
                for move in family.steps(batch[i : i + 1], Rng(0, family.device), Progress(0, _MOMENTS[1])):
                    if move.player in players:
                        slow[move.player].append(
                            list(torch.autograd.grad(_total(move).sum(), players[move.player], allow_unused=True))
                        )
            generator = family.steps(batch, Rng(0, family.device), Progress(0, _MOMENTS[1]))
            while True:
                with watch.open():
                    found = next(generator, None)
                if found is None:
                    return None
                if found.player not in players:
                    continue
                read = watch.gradients(_total(found), players[found.player])
                sums, _ = clipped_sums(family, read, 1e30, None, n)
                largest = max(float(g.norm()) for row in slow[found.player] for g in row if g is not None)
                for j, p in enumerate(players[found.player]):
                    each = [g[j] for g in slow[found.player]]
                    wanted = sum((g for g in each if g is not None), torch.zeros_like(p))
                    off = float((sums.get(id(p), torch.zeros_like(p)) - wanted).norm())
                    if not off <= _CLOSE * float(wanted.norm()) + 1e-5 * largest:
                        raise Unreadable(f"the parameters {_name(family, p)} are used outside of their layer")
    except (Unreadable, RuntimeError, ValueError, IndexError, TypeError) as error:
        return str(error).splitlines()[0]


def _total(move: Step) -> Tensor:
    return torch.stack([t.float() for t in move.terms.values()]).sum(0)


def _losses(family: Family, batch: Batch, share: float) -> list[tuple[str, Tensor]]:
    """The players and their losses in one step without updates. Raises `SpecError` if a buffer changes."""
    before = {name: b.clone() for name, b in family.named_buffers()}
    found = [(m.player, _total(m).detach()) for m in family.steps(batch, Rng(0, family.device), Progress(0, share))]
    changed = [name for name, b in family.named_buffers() if not torch.equal(b, before[name])]
    for name, b in family.named_buffers():
        b.copy_(before[name])
    if changed:
        raise _refused(family, f"it keeps statistics of the records ({listed(changed, 3)})")
    return found


@contextmanager
def _moved(family: Family) -> Iterator[None]:
    """Random changes of all weights, without dropout, within the block."""
    parameters = family.own_parameters()
    kept = [p.detach().clone() for p in parameters]
    rng, training = Rng(0).child("moved"), family.training
    try:
        with torch.no_grad():
            for i, p in enumerate(parameters):
                p.add_(0.05 * rng.normal(str(i), 1, (p.numel(),))[0].view_as(p).to(p))
        for module in family.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.eval()
        yield
    finally:
        family.train(training)
        family.parts.eval()
        with torch.no_grad():
            for p, before in zip(parameters, kept, strict=True):
                p.copy_(before)


def _name(family: Family, parameter: Tensor) -> str:
    return next((name for name, p in family.named_parameters() if p is parameter), "of no name")


def _refused(family: Family, why: str) -> SpecError:
    hint = {
        "gan": " Add --game non_saturating --penalty none, and leave out augment=adaptive and reconstruction.",
    }.get("gan" if family.blind_players else "", "")
    return SpecError(f"a {family.name!r} model of these options cannot be trained privately: {why}.{hint}")
