r"""Which token may follow the beginning of a SMILES string (Weininger, 1988), as far as grammar goes.

    a branch that is opened is closed, and holds an atom
    a ring bond that is opened is closed, two atoms later at the earliest
    a bond stands between two atoms, or before a ring number
    the text ends where nothing is open

What is open must also fit into the places that are left. Each rule is necessary, so a distribution under these rules
loses no molecule; together they suffice to end a text, so nothing leads to a dead end. Valence and aromaticity are not
grammar: the network has to learn these.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from morphogen.core.sequences import SPECIAL

START, ATOM, RING, OPEN, CLOSE, BOND, LINK, FINISH = range(8)  # LINK: a bond that does not follow an atom or ring
_BONDS = frozenset("-=#$:/\\~.")
_AFTER = {  # what may come next
    START: (ATOM,),
    ATOM: (ATOM, RING, OPEN, CLOSE, BOND, FINISH),
    RING: (ATOM, RING, OPEN, CLOSE, BOND, FINISH),
    OPEN: (ATOM, BOND),
    CLOSE: (ATOM, OPEN, CLOSE, BOND, FINISH),
    BOND: (ATOM, RING),
    LINK: (ATOM,),
    FINISH: (),
}
_NEAREST = 2  # a ring bond closes so many atoms after the one that opened it, or later


class SmilesGrammar(nn.Module):
    """The rules for a vocabulary of tokens of SMILES, whose ids start at `SPECIAL`."""

    kind: Tensor
    ring: Tensor
    after: Tensor
    column: Tensor

    def __init__(self, names: Sequence[str], longest: int) -> None:
        super().__init__()
        self.longest = longest
        labels = sorted({name for name in names if _kind(name) == RING})
        self.rings = len(labels)
        kinds = [START, START, FINISH, *(_kind(name) for name in names)]
        rings = [-1] * SPECIAL + [labels.index(name) if name in labels else -1 for name in names]
        # Rules are the same for all tokens of a kind, but for ring numbers, which have a column each.
        columns = [kind if ring < 0 else 8 + ring for kind, ring in zip(kinds, rings, strict=True)]
        after = [[kind in _AFTER[before] for kind in range(8)] for before in range(8)]
        for name, values in (("kind", kinds), ("ring", rings), ("column", columns), ("after", after)):
            self.register_buffer(name, torch.tensor(values), persistent=False)

    def forward(self, ids: Tensor, last_only: bool = False) -> Tensor:
        """Whether each token may follow ids (B, T), which start with the begin: (B, T, V), or (B, 1, V) of the last."""
        kind = self.kind[ids]
        depth = ((kind == OPEN).int() - (kind == CLOSE).int()).cumsum(1, dtype=torch.int32)
        atoms = (kind == ATOM).cumsum(1, dtype=torch.int32)
        toggled = self.ring[ids][..., None] == torch.arange(self.rings, device=ids.device)  # (B, T, R)
        is_open = toggled.cumsum(1, dtype=torch.int32) % 2 == 1
        since = torch.where(toggled, atoms[..., None], 0).cummax(1).values  # the atom of the last such number
        follows_atom = (kind[:, :-1] == ATOM) | (kind[:, :-1] == RING)
        linked = torch.where((kind[:, 1:] == BOND) & ~follows_atom, LINK, kind[:, 1:])
        before = torch.cat((kind[:, :1], linked), 1)
        place = torch.arange(ids.shape[1], device=ids.device)
        if last_only:
            before, depth, atoms, place = before[:, -1:], depth[:, -1:], atoms[:, -1:], place[-1:]
            is_open, since = is_open[:, -1:], since[:, -1:]
        distance = atoms[..., None] - since
        opened = is_open.sum(-1, dtype=torch.int32)
        # Atoms that have to come before all rings can be closed; the one after a branch's end or a bond is one of them.
        missing = torch.where(is_open, (_NEAREST - distance).clamp_min(0), 0).amax(-1) if self.rings else 0 * depth
        waiting = depth + opened
        free = self.longest - 2 - place - waiting  # places beyond those that close what is open
        most = missing.clamp_min(1)
        fits = {
            ATOM: (missing - 1).clamp_min(0) <= free,
            OPEN: most + 1 <= free,
            CLOSE: (torch.maximum(missing, (opened > 0).int()) - 1 <= free) & (depth > 0),
            BOND: most <= free,
            FINISH: waiting == 0,
        }
        allowed = self.after[before]  # (B, T, 8), by kind
        by_kind = allowed.clone()
        for what, fitting in fits.items():
            by_kind[..., what] &= fitting
        closing = (distance >= _NEAREST) & (missing - 1 <= free)[..., None]
        by_ring = allowed[..., RING, None] & torch.where(is_open, closing, (free >= 1 + _NEAREST)[..., None])
        found = torch.cat((by_kind, by_ring), -1).index_select(-1, self.column)
        nothing = ~found.any(
            -1, keepdim=True
        )  # only after what is no SMILES: then all tokens, so that sums stay finite
        return found | (nothing & (torch.arange(len(self.kind), device=ids.device) >= SPECIAL - 1))


def _kind(name: str) -> int:
    if name in _BONDS:
        return BOND
    if name.isdigit() or name.startswith("%"):
        return RING
    return {"(": OPEN, ")": CLOSE}.get(name, ATOM)
