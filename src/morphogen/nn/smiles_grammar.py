r"""Which token may follow the beginning of a SMILES string (Weininger, 1988), and what is open in it.

    a branch that is opened is closed, and holds an atom
    a ring bond that is opened is closed, two atoms later at the earliest
    a bond stands between two atoms, or before a ring number
    the text ends where nothing is open

With `valence` also:

    an atom has no more bonds than its element and charge allow, a ring bond counting from where it opens
    both ends of a ring bond say the same order, or one says none, and no two atoms are bound twice
    while a ring bond is open, some atom can still bear the next one

What is open must also fit into the places that are left. Each rule is necessary, so a distribution under these rules
loses no molecule. Where atoms are not aromatic (`kekule` of the data) almost nothing else is needed: what follows these
rules is a molecule, but for dead ends near the last place. Aromatic rings are not grammar: the network learns these.

A string is read token by token into a `State`, in plain Python, which is faster here than many small operations.
`features` says of it what a network would have to count: which ring numbers are open and how large their rings would
be, how deep the branch is, and how many bonds the last atom can bear.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from morphogen.core.sequences import SPECIAL

START, ATOM, RING, OPEN, CLOSE, BOND, LINK, FINISH = range(8)  # LINK: a bond that does not follow an atom or ring
_ORDERS = {"-": 1, "=": 2, "#": 3, "$": 4, ":": 1, "/": 1, "\\": 1, "~": 1, ".": 0}
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
_MANY = 8  # bonds of an atom about which nothing is said
_VALENCES = {"B": 3, "C": 4, "N": 3, "O": 2, "F": 1, "Si": 6, "P": 7, "S": 6, "Cl": 1, "Se": 6, "Br": 1}
_CHARGED = {  # of an element with a charge
    ("B", -1): 4, ("C", 1): 3, ("C", -1): 3, ("N", 1): 4, ("N", -1): 2, ("O", 1): 3, ("O", -1): 1, ("S", -1): 1,
}  # fmt: skip
_BRACKET = re.compile(r"\[\d*([A-Z][a-z]?|[a-z]{1,2})@*(?:H(\d?))?([+-]*)(\d?)(?::\d+)?\]")
_SIZES = (3, 4, 5, 6, 7)  # of rings, which a feature stands for
_DEPTHS, _FREE = 4, 4  # the largest numbers that have a feature of their own


@dataclass(slots=True)
class State:
    """What is known of a string after some tokens; atoms are numbered in their order."""

    kind: int = START  # of the last token
    here: int = -1  # the atom that the next one binds to
    order: int = 0  # of a bond that was written and not used; 0 for none
    place: int = 1  # how many tokens were read, the begin included
    stack: list[int] = field(default_factory=list)  # the atom where each open branch began
    parent: list[int] = field(default_factory=list)  # the atom that each one bound to
    level: list[int] = field(default_factory=list)  # how many atoms lie above it
    free: list[int] = field(default_factory=list)  # the bonds that each atom can still bear
    opened: dict[int, tuple[int, int]] = field(default_factory=dict)  # ring number: its atom, the order written there
    closed: list[int] = field(default_factory=list)  # atoms that `here` has closed a ring to


class SmilesGrammar(nn.Module):
    """The rules for a vocabulary of tokens of SMILES, whose ids start at `SPECIAL`."""

    def __init__(self, names: Sequence[str], longest: int, valence: bool = False) -> None:
        super().__init__()
        self.longest, self.with_valence = longest, valence
        labels = sorted({name for name in names if _kind(name) == RING})
        self.rings, self.vocabulary = len(labels), SPECIAL + len(names)
        self._kinds = [START, START, FINISH, *(_kind(name) for name in names)]
        self._ring = [-1] * SPECIAL + [labels.index(name) if name in labels else -1 for name in names]
        self._bond = [0] * SPECIAL + [_ORDERS.get(name, 0) for name in names]
        most = [valence_of(name) if valence else _MANY for name in names]
        self._valence = [0] * SPECIAL + most
        tokens = range(self.vocabulary)
        self._of_kind = [sum(1 << i for i in tokens if self._kinds[i] == kind) for kind in range(8)]
        self._atoms = [  # those that can bear so many bonds
            sum(1 << i for i in tokens if self._kinds[i] == ATOM and self._valence[i] >= n) for n in range(_MANY + 2)
        ]
        self._bonds = [
            sum(1 << i for i in tokens if self._kinds[i] == BOND and self._bond[i] <= n) for n in range(_MANY + 1)
        ]
        self._numbers = [1 << self._ring.index(r) for r in range(self.rings)]
        self._any = sum(1 << i for i in tokens if i >= SPECIAL - 1)
        self._rows: dict[int, int] = {}  # the row of each set of tokens in `_table`
        self._table = torch.zeros(0, self.vocabulary, dtype=torch.bool)

    @property
    def n_features(self) -> int:
        """How many features a state has."""
        return self.rings * (2 + len(_SIZES)) + (_DEPTHS + 1) + (_FREE + 1) + 8

    def read(self, s: State, token: int) -> None:
        """Read one more token."""
        kind, follows_atom = self._kinds[token], s.kind in (ATOM, RING)
        order = s.order
        s.order, s.place = 0, s.place + 1
        if kind == ATOM:
            bound = s.here >= 0 and not (s.kind in (BOND, LINK) and order == 0)  # after a dot nothing is bound
            used = max(order, 1) if bound else 0
            if bound:
                s.free[s.here] -= used
            s.level.append(s.level[s.here] + 1 if bound else 0)
            s.parent.append(s.here if bound else -1)
            s.free.append(self._valence[token] - used)
            s.here, s.closed = len(s.free) - 1, []
        elif kind == RING and s.here >= 0:
            ring = self._ring[token]
            if ring in s.opened:
                other, said = s.opened.pop(ring)
                most = max(order, said, 1)
                s.free[s.here] -= most
                s.free[other] -= most - max(said, 1)
                s.closed.append(other)
            else:
                s.opened[ring] = (s.here, order)
                s.free[s.here] -= max(order, 1)
        elif kind == OPEN and s.here >= 0:
            s.stack.append(s.here)
        elif kind == CLOSE and s.stack:
            s.here = s.stack.pop()
        elif kind == BOND:
            s.order = self._bond[token]
            kind = BOND if follows_atom else LINK
        s.kind = kind

    def allowed(self, s: State) -> int:
        """The tokens that may come next, a bit each."""
        after, last, opened, stack = _AFTER[s.kind], len(s.free) - 1, s.opened, s.stack
        waiting = len(stack) + len(opened)
        room = self.longest - 1 - s.place - waiting  # places beyond those that close what is open
        # Atoms that have to come before all rings can be closed; the one after a branch's end or a bond is one of them.
        missing = 0
        for atom, _ in opened.values():
            missing = max(missing, _NEAREST - last + atom)
        need, found = s.order or 1, 0
        dot = s.order == 0 and s.kind in (BOND, LINK)
        left = s.free[s.here] if s.here >= 0 else _MANY
        below = False  # whether an atom of an open branch can bear more
        for atom in stack:
            if s.free[atom] > 0:
                below = True
                break
        if ATOM in after and missing - 1 <= room >= 0 and (left >= need or dot):
            used, spare = 0 if dot or s.here < 0 else need, False
            if opened:  # while a ring is open, some atom has to bear the next one
                spare = not any(s.free[a] - (need if a == s.here else 0) > 0 for a in stack)
            found |= self._atoms[min(used + spare, _MANY + 1)]
        if OPEN in after and left >= 1 and max(missing, 1) + 1 <= room:
            found |= self._of_kind[OPEN]
        if CLOSE in after and stack and (below or not opened) and max(missing, 1 if opened else 0) - 1 <= room:
            found |= self._of_kind[CLOSE]
        if BOND in after and max(missing, 1) <= room:
            found |= self._bonds[max(0, min(left, _MANY))]
        if FINISH in after and waiting == 0:
            found |= self._of_kind[FINISH]
        if RING in after and self.rings:
            if room >= 1 + _NEAREST and left >= need and (left > need or below):
                for ring, bit in enumerate(self._numbers):
                    if ring not in opened:
                        found |= bit
            if missing - 1 <= room:
                for ring, (atom, said) in opened.items():
                    if last - atom >= _NEAREST and self._closes(s, atom, said, left, below):
                        found |= self._numbers[ring]
        return found or self._any  # a dead end, or no SMILES: then all tokens, so that sums stay finite

    def _closes(self, s: State, atom: int, said: int, left: int, below: bool) -> bool:
        """Whether `here` may close the ring that `atom` opened."""
        if not self.with_valence:
            return True
        order = max(s.order, said, 1)
        if (s.order and said and s.order != said) or left < order or s.free[atom] < order - max(said, 1):
            return False
        if atom in s.closed or s.parent[s.here] == atom or atom == s.here:
            return False
        return len(s.opened) == 1 or left > order or below

    def said(self, s: State) -> list[int]:
        """The sizes of open rings, 0 for none, then what was written there; depth, bonds left, the kind."""
        sizes, orders = [0] * self.rings, [0] * self.rings
        for ring, (atom, order) in s.opened.items():
            sizes[ring] = max(1, s.level[s.here] - s.level[atom] + 1)
            orders[ring] = order
        left = s.free[s.here] if s.here >= 0 else 0
        return [*sizes, *orders, min(len(s.stack), _DEPTHS), min(max(left, 0), _FREE), s.kind]

    def features(self, said: Tensor) -> Tensor:
        """What is open, from `said` (*, 2 R + 3): (*, n_features), numbers between 0 and 1."""
        r = self.rings
        sizes, orders, (depth, left, kind) = said[..., :r], said[..., r : 2 * r], said[..., 2 * r :].unbind(-1)
        of_size = torch.stack([sizes == k for k in _SIZES], -1).flatten(-2)
        parts = [sizes > 0, orders > 1, of_size]
        for values, n in ((depth, _DEPTHS + 1), (left, _FREE + 1), (kind, 8)):
            parts.append(values[..., None] == torch.arange(n, device=said.device))
        return torch.cat([part.float() for part in parts], -1)

    def tokens(self, sets: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
        """Sets of tokens as bits (N, V) bool."""
        new = [found for found in dict.fromkeys(sets) if found not in self._rows]
        if new:
            self._rows |= {found: len(self._rows) + i for i, found in enumerate(new)}
            rows = [[bool(found >> i & 1) for i in range(self.vocabulary)] for found in new]
            self._table = torch.cat((self._table, torch.tensor(rows)))
        return self._table[torch.tensor([self._rows[found] for found in sets])].to(device)

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """After each token of ids (B, T), which start with the begin: what may follow (B, T, V), and the features."""
        sets: list[int] = []
        said = array("h")
        latest: list[int] = []
        for row in ids.tolist():
            state, ended = State(), False
            for t, token in enumerate(row):
                if t and not ended:
                    self.read(state, token)
                if not ended:
                    ended = state.kind == FINISH
                    sets.append(self._any if ended else self.allowed(state))
                    latest = self.said(state)
                else:  # padding
                    sets.append(self._any)
                said.extend(latest)
        known = torch.frombuffer(said, dtype=torch.int16).view(*ids.shape, -1).to(ids.device)
        return self.tokens(sets, ids.device).unflatten(0, ids.shape), self.features(known)

    def follow(self, states: Sequence[State], token: Tensor | None) -> tuple[Tensor, Tensor]:
        """Read a token (n,) each, none at the start: what may follow (n, V), and the features."""
        if token is not None:
            for state, one in zip(states, token.tolist(), strict=True):
                self.read(state, one)
        device = "cpu" if token is None else token.device
        said = torch.tensor([self.said(state) for state in states], device=device)
        return self.tokens([self.allowed(state) for state in states], device), self.features(said)


def valence_of(name: str) -> int:
    """The most bonds that an atom of this token can have, its own hydrogens left out."""
    found = _BRACKET.fullmatch(name)
    if found is None:
        element, hydrogens, charge = name, 0, 0
    else:
        element = found[1]
        hydrogens = 0 if found[2] is None else int(found[2] or 1)
        charge = found[3].count("+") - found[3].count("-")
        charge *= int(found[4] or 1)
    element = element.capitalize()
    most = _CHARGED.get((element, charge), _MANY) if charge else _VALENCES.get(element, _MANY)
    return max(0, most - hydrogens)


def _kind(name: str) -> int:
    if name in _ORDERS:
        return BOND
    if name.isdigit() or name.startswith("%"):
        return RING
    return {"(": OPEN, ")": CLOSE}.get(name, ATOM)
