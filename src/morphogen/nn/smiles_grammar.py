r"""Which token may follow the beginning of a SMILES string (Weininger, 1988), as far as grammar goes.

    a branch that is opened is closed, and holds an atom
    a ring bond that is opened is closed, two atoms later at the earliest
    a bond stands between two atoms, or before a ring number
    the text ends where nothing is open

What is open must also fit into the places that are left. A prefix of a correct text always leaves the tokens of that
text, so a distribution under these rules loses no molecule. Valence and aromaticity are not grammar: the network has to
learn these. Where nothing may follow, everything may: such a text is no molecule, and its probability stays defined.
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
_NEAREST = 2  # atoms between the two ends of a ring bond


class SmilesGrammar(nn.Module):
    """The rules for a vocabulary of tokens of SMILES, whose ids start at `SPECIAL`."""

    kind: Tensor
    ring: Tensor
    after: Tensor
    opens: Tensor
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
        self.register_buffer("opens", torch.tensor([0, 0, 1, 2, -1, 1, 1, 0]), persistent=False)

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
        waiting = depth + is_open.sum(-1, dtype=torch.int32)
        free = (self.longest - 2 - place - waiting)[..., None]  # places beyond those that close what is open
        allowed = self.after[before]  # (B, T, 8), by kind
        by_kind = allowed & (self.opens <= free)
        by_kind[..., CLOSE] &= depth > 0
        by_kind[..., FINISH] = allowed[..., FINISH] & (waiting == 0)
        apart = atoms[..., None] - since >= _NEAREST
        by_ring = allowed[..., RING, None] & torch.where(is_open, apart, free >= 1)
        found = torch.cat((by_kind, by_ring), -1).index_select(-1, self.column)
        nothing = ~found.any(-1, keepdim=True)
        return found | (nothing & (torch.arange(len(self.kind), device=ids.device) >= SPECIAL - 1))


def _kind(name: str) -> int:
    if name in _BONDS:
        return BOND
    if name.isdigit() or name.startswith("%"):
        return RING
    return {"(": OPEN, ")": CLOSE}.get(name, ATOM)
