r"""Molecules around a scaffold that is kept: its tokens are given, and a model draws what hangs on them.

A scaffold is SMILES. Where something may hang on it is marked by `*`, such as `c1cc(*)ncc1*`; without marks it is any
atom with a hydrogen. A draft is the scaffold written from a random atom, with an opened and closed branch of hidden
tokens at one to three of these places, or a hidden beginning or end. The model draws the hidden tokens given all
others. What is no molecule or has lost the scaffold, since drawn ring numbers can cut into it, is drawn again. So each
molecule that comes out holds the scaffold, and their distribution is the model's given the drafts and that event.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from morphogen.core.capabilities import Infills, Samples
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import DataError, UsageError
from morphogen.core.family import Family, require
from morphogen.core.rng import Noise
from morphogen.core.sequences import END, PADDING, SequenceSchema, lengths
from morphogen.data.molecules.chemistry import quiet, rdkit
from morphogen.data.molecules.standard_form import molecule_of, parsed
from morphogen.data.sequences.tokenizers import SPLITS, to_texts, tokenizer_of

ROUND = 64  # drafts that are drawn together, whatever is asked for
MOST = 3  # places of a draft where something hangs on the scaffold
SHORTEST = 2  # hidden tokens of a draft, at least
EMPTY_ROUNDS = 20  # in a row without a molecule: then nothing more is tried
_RING = re.compile(r"\d|%\d\d")


class Completed(NamedTuple):
    """Records (n, L) of molecules that hold the scaffold, and how many drafts it took."""

    x: Tensor
    drafts: int


@dataclass(frozen=True)
class Scaffold:
    """A molecule without its marks, and the atoms on which something may hang; `marked` ones all bear something."""

    molecule: Any
    places: tuple[int, ...]
    marked: bool

    @classmethod
    def read(cls, smiles: str) -> Scaffold:
        """From SMILES, perhaps with `*`. Raises `UsageError` for what is no molecule or has no place."""
        chem = rdkit()
        with quiet():
            try:
                whole = chem.RWMol(parsed(smiles))
            except DataError as error:
                raise UsageError(f"the scaffold is no molecule: {smiles!r} {error}.") from None
            if all(atom.GetAtomicNum() == 0 for atom in whole.GetAtoms()):
                raise UsageError("the scaffold has no atom beside its marks.")
            if len(chem.GetMolFrags(whole)) > 1:
                raise UsageError(f"a scaffold is one molecule, and {smiles!r} holds several: leave out what is apart.")
            marks = [atom for atom in whole.GetAtoms() if atom.GetAtomicNum() == 0]
            bonds = [[b for b in mark.GetBonds() if b.GetBondType() == chem.BondType.SINGLE] for mark in marks]
            bearing = [b[0].GetOtherAtomIdx(m.GetIdx()) for m, b in zip(marks, bonds, strict=True) if b]
            if any(mark.GetDegree() != 1 for mark in marks) or len(bearing) < len(marks):
                raise UsageError("a mark * of the scaffold hangs on one atom, by a single bond.")
            removed = sorted(mark.GetIdx() for mark in marks)
            for index in reversed(removed):
                whole.RemoveAtom(index)
            try:
                chem.SanitizeMol(whole)
            except (ValueError, RuntimeError):
                raise UsageError(f"the scaffold {smiles!r} is no molecule without its marks.") from None
        molecule = whole.GetMol()
        places = [i - sum(r < i for r in removed) for i in bearing]
        if not marks:
            places = [a.GetIdx() for a in molecule.GetAtoms() if a.GetTotalNumHs() and not a.GetNoImplicit()]
        if not places:
            raise UsageError(f"nothing can hang on the scaffold {smiles!r}: no atom of it has a hydrogen.")
        return cls(molecule, tuple(places), bool(marks))

    def draft(
        self, schema: SequenceSchema, size: int, rng: np.random.Generator, kekule: bool = False
    ) -> list[int | None]:
        """The scaffold's tokens as ids with None for hidden ones, `size` tokens where that is enough."""
        chem = rdkit()
        root = int(rng.integers(self.molecule.GetNumAtoms()))
        text = chem.MolToSmiles(self.molecule, rootedAtAtom=root, kekuleSmiles=kekule)
        order = [int(i) for i in self.molecule.GetPropsAsDict(True, True)["_smilesAtomOutputOrder"]]
        names, ids = SPLITS["smiles"](text), tokenizer_of(schema).tokens(text)
        if ids is None:
            raise UsageError(f"the model has read no molecule with tokens of the scaffold {text}.")
        places, room = self.places, (schema.longest - 1 - len(ids)) // 3  # a branch of one token takes three
        if room < (len(places) if self.marked else 1):
            raise UsageError(f"the scaffold is too long: the model draws at most {schema.longest - 1} tokens.")
        if not self.marked:
            count = min(len(places), int(rng.integers(1, MOST + 1)), room)
            places = tuple(int(p) for p in rng.choice(places, count, replace=False))
        after = _ends_of_atoms(names)
        first, last = order[0], order[-1]
        slots = []  # (position among the scaffold's tokens, whether it is a branch)
        for place in places:
            at = after[order.index(place)]
            if place == first and (0, False) not in slots and (at != len(ids) or rng.random() < 0.5):
                slots.append((0, False))
            else:
                end = place == last and at == len(ids) and (at, False) not in slots
                slots.append((at, not end))
        fixed = len(ids) + 2 * sum(branch for _, branch in slots)
        hidden = min(max(size - fixed, SHORTEST, len(slots)), schema.longest - 1 - fixed)
        cuts = np.sort(rng.choice(hidden - 1, len(slots) - 1, replace=False)) + 1
        sizes = np.diff([0, *cuts, hidden])
        opened, closed = _parentheses(schema)
        out: list[int | None] = []
        for at in range(len(ids) + 1):
            for (where, branch), n in zip(slots, sizes, strict=True):
                if where == at:
                    out += [opened, *[None] * n, closed] if branch else [None] * n
            out += ids[at : at + 1]
        return out


def complete(
    family: Family, scaffold: str, n: int, rng: Noise, *, steps: int | None = None, temperature: float = 1.0
) -> Completed:
    """`n` molecules that hold the scaffold; fewer where round after round has none.

    The first molecules are the same whatever `n` is. Raises `CapabilityError` for a model that cannot infill, and
    `UsageError` for a scaffold that cannot be read.
    """
    infilling = require(family, Infills, "complete")
    schema = family.data.sequence
    molecules = schema is not None and schema.content == "molecules"
    if schema is None or not molecules or schema.tokenizer != "smiles":
        theirs = f"have tokens={schema.tokenizer}" if schema is not None and molecules else "are no molecules"
        raise UsageError(
            "a scaffold is completed by a model of molecules whose tokens are those of SMILES, and the records of this"
            f" one {theirs}: train masked_diffusion on molecules with tokens=smiles."
        )
    kept, drafts, empty = Scaffold.read(scaffold), 0, 0
    found: list[Tensor] = []
    while sum(map(len, found)) < n and empty < EMPTY_ROUNDS:
        here = rng.shifted(drafts)
        x, hidden = _drafts(kept, family, schema, here)
        drawn = infilling.infill(x, hidden, None, here, steps=steps, temperature=temperature).cpu()
        holds = [_holds(text, kept) for text in to_texts(schema, family.data.decode(drawn))]
        found.append(drawn[torch.tensor(holds)])
        drafts, empty = drafts + ROUND, 0 if any(holds) else empty + 1
    return Completed(torch.cat(found)[:n], drafts)


def _drafts(scaffold: Scaffold, family: Family, schema: SequenceSchema, rng: Noise) -> tuple[Tensor, Tensor]:
    """A round of drafts x (ROUND, L) of the lengths that the model draws, and which of their tokens are hidden."""
    sizes = lengths(family.data.decode(require(family, Samples, "sample").sample(ROUND, None, rng.child("lengths"))))
    kekule = bool(family.data.preprocessing.get("kekule"))
    seeds = rng.integers("drafts", ROUND, 2**62)
    ids = torch.full((ROUND, schema.longest), PADDING, dtype=torch.int64)
    hidden = torch.zeros_like(ids, dtype=torch.bool)
    for row, (size, seed) in enumerate(zip(sizes.tolist(), seeds.tolist(), strict=True)):
        draft = scaffold.draft(schema, size, np.random.default_rng(seed), kekule)
        hidden[row, : len(draft)] = torch.tensor([token is None for token in draft])
        ids[row, : len(draft)] = torch.tensor([END + 1 if token is None else token for token in draft])
        ids[row, len(draft)] = END
    data: DataSpec = family.data
    return data.encode(ids).to(family.device), hidden.to(family.device)


def _holds(text: str, scaffold: Scaffold) -> bool:
    """Whether a text is a molecule that contains the scaffold and more."""
    molecule = molecule_of(text)
    if molecule is None or "." in text:
        return False
    more = molecule.GetNumAtoms() > scaffold.molecule.GetNumAtoms()
    return bool(more and molecule.HasSubstructMatch(scaffold.molecule))


def _ends_of_atoms(names: list[str]) -> list[int]:
    """For each atom the number of tokens up to it and its ring numbers."""
    ends: list[int] = []
    for i, name in enumerate(names):
        if _RING.fullmatch(name):
            ends[-1] = i + 1
        elif name not in "()-=#$:/\\.~":
            ends.append(i + 1)
    return ends


def _parentheses(schema: SequenceSchema) -> tuple[int, int]:
    ids = tokenizer_of(schema).tokens("()")
    if ids is None:
        raise UsageError("the model has read no molecule with a branch, so nothing can hang on a scaffold.")
    return ids[0], ids[1]
