"""The options of sources of molecules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field

from morphogen.core.data_spec import DataSpec
from morphogen.core.sequences import MAX_LENGTH, MAX_VOCABULARY, TokenizerName
from morphogen.data.options import Share, SourceOptions

COLUMNS, NONE = "columns", "none"


def _joined(value: Any) -> Any:
    """Names with + between them; commas and spaces may stand there, too."""
    return "+".join(value.replace(",", " ").replace("+", " ").split()) if isinstance(value, str) else value


class MoleculeOptions(SourceOptions):
    """How molecules become records.

    tokens       "smiles": an atom is a token; "characters"; "selfies": any sequence of tokens is a molecule;
                 "trained": byte pairs
    vocabulary   trained: the most different ids
    longest      the most tokens of a molecule, its end included; None: as many as the longest has
    column       the column of SMILES; None: the one that is called so
    attributes   "columns": all columns of numbers; "none"; or names such as qed+logp, which are columns, or computed
    standardize  bring each molecule to its standard form; if not, each is only read, and its text stays
    stereo       "keep" the marks of stereochemistry, or "drop" them
    kekule       write aromatic rings with single and double bonds in turn: then valences decide what is a molecule
    skip_bad     leave out what is no molecule, and list it
    """

    preparation = ("tokens", "vocabulary", "standardize", "stereo", "kekule")
    tokens: TokenizerName = "smiles"
    vocabulary: Annotated[int, Field(ge=260, le=MAX_VOCABULARY)] = 1024
    longest: Annotated[int, Field(ge=2, le=MAX_LENGTH)] | None = None
    column: str | None = None
    attributes: Annotated[str, BeforeValidator(_joined)] = COLUMNS
    standardize: bool = True
    stereo: Literal["keep", "drop"] = "keep"
    kekule: bool = False
    validation: Share = 0.05
    test: Share = 0.10
    skip_bad: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The attributes that are asked for by name."""
        return () if self.attributes in (COLUMNS, NONE) else tuple(self.attributes.split("+"))

    @classmethod
    def settled(cls, name: str, given: Mapping[str, Any], like: DataSpec | None, same: bool) -> Self:
        """As for all sources; in `attributes=qed,logp` the names after the first comma belong to `attributes`."""
        found = dict(given)
        if isinstance(found.get("attributes"), str):
            more = [key for key, value in given.items() if value is True and key not in cls.model_fields]
            found["attributes"] = "+".join([found["attributes"], *more])
            found = {key: value for key, value in found.items() if key not in more}
        return super().settled(name, found, like, same)
