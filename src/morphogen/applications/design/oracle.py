"""`CountedOracle`: each new molecule is one call. Answers are kept, so nothing is asked twice, not even by a later run.

A call may raise, give what is no number, or hang. Then the molecule has no value, the reason is kept with it, and the
search goes on. Functions of the user's own run in a process beside, which is ended when a call takes too long.

Answers are appended to a file as they come. A run that starts again with the same seed asks the same questions and
finds their answers there: it goes on where it was, and ends as if it had never stopped.
"""

from __future__ import annotations

import importlib
import json
import math
import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from morphogen.applications.design.wants import ORACLE, SIMILARITY, Want, score
from morphogen.core.errors import DataError, UsageError
from morphogen.core.printable import one_line
from morphogen.core.reading import parse_json
from morphogen.data.molecules.alerts import refusals
from morphogen.data.molecules.chemistry import rdkit
from morphogen.data.molecules.properties import compute
from morphogen.data.molecules.similarity import fingerprints, tanimoto
from morphogen.data.molecules.standard_form import canonical, molecule_of, parsed

CALLS = "calls.jsonl"


class Exhausted(Exception):
    """All calls are used."""


@dataclass(frozen=True)
class Answer:
    """What the oracle says of a molecule: its values by name and its score, or why it has none."""

    smiles: str
    values: Mapping[str, float] = field(default_factory=dict)
    score: float = 0.0
    error: str = ""


class CountedOracle:
    """Scores molecules by wants, counting each molecule that is new.

    Args:
        wants: what is wanted.
        calls: how many molecules may be asked about.
        function: "module:function" of the user's own, from SMILES to a number.
        similar_to: a molecule, and the least similarity to it.
        keep: SMILES or SMARTS of what every molecule must contain.
        seconds: the longest that a call of `function` may take.
        file: where answers are kept; None: in memory.
        safety: leave out molecules of refused classes, without asking.
    """

    def __init__(
        self,
        wants: Sequence[Want],
        calls: int,
        *,
        function: str | None = None,
        similar_to: tuple[str, float] | None = None,
        keep: str | None = None,
        seconds: float = 60.0,
        file: Path | None = None,
        safety: bool = True,
    ) -> None:
        self.wants, self.limit, self.safety = tuple(wants), calls, safety
        self.names = [want.name for want in wants if want.name not in (ORACLE, SIMILARITY)]
        self.answers: dict[str, Answer] = {}  # of this run, in the order of asking
        self.refused: dict[str, list[str]] = {}
        self._file, self._known = file, _read(file)
        self._own = None if function is None else _Worker(function, seconds)
        if function is not None and all(want.name != ORACLE for want in wants):
            self.wants = (*self.wants, Want(ORACLE, math.inf, math.inf))  # its value itself, see `_score`
        self._similar = None
        if similar_to is not None:
            self.wants = (*self.wants, Want(SIMILARITY, similar_to[1], math.inf))
            self._similar = fingerprints([similar_to[0]])
        self._keep = None if keep is None else _pattern(keep)

    @property
    def calls(self) -> int:
        """How many molecules were asked about."""
        return len(self.answers)

    @property
    def failures(self) -> list[Answer]:
        """The molecules without a value, each with its reason."""
        return [answer for answer in self.answers.values() if answer.error]

    @property
    def best(self) -> list[Answer]:
        """All answers, the best score first; equal ones in the order of asking."""
        return sorted(self.answers.values(), key=lambda answer: -answer.score)

    def __call__(self, texts: Sequence[str]) -> list[float]:
        """The score of each text; 0 for what is no molecule, is refused, or lacks what is kept, which costs no call.

        Raises `Exhausted` where a molecule is new and no call is left.
        """
        return [self._of(text) for text in texts]

    def _of(self, text: str) -> float:
        smiles = canonical(text)
        molecule = None if smiles is None else molecule_of(smiles)
        if smiles is None or molecule is None:
            return 0.0
        if smiles in self.answers:
            return self.answers[smiles].score
        if self._keep is not None and not molecule.HasSubstructMatch(self._keep):
            return 0.0
        if self.safety and (found := self.refused.get(smiles) or refusals(molecule)):
            self.refused[smiles] = found
            return 0.0
        if self.calls >= self.limit:
            raise Exhausted
        answer = self._known.get(smiles)
        if answer is None:
            answer = self._ask(smiles)
            self._append(answer)
        self.answers[smiles] = answer
        return answer.score

    def _ask(self, smiles: str) -> Answer:
        try:
            values = dict(zip(self.names, map(float, compute(self.names, [smiles])[0]), strict=True))
            if self._similar is not None:
                values[SIMILARITY] = float(tanimoto(fingerprints([smiles]), self._similar)[0, 0])
            if self._own is not None:
                values[ORACLE] = self._own(smiles)
            bad = [name for name, value in values.items() if not math.isfinite(value)]
            if bad:
                return Answer(smiles, error=f"{', '.join(bad)} is no number")
        except _Failed as error:
            return Answer(smiles, error=str(error))
        return Answer(smiles, values, self._score(values))

    def _score(self, values: Mapping[str, float]) -> float:
        plain = [want for want in self.wants if not (want.name == ORACLE and want.low == math.inf)]
        found = score(plain, values) if plain else 1.0
        return found if len(plain) == len(self.wants) else found * values[ORACLE]

    def _append(self, answer: Answer) -> None:
        if self._file is not None:
            line = {
                "smiles": answer.smiles,
                "values": dict(answer.values),
                "score": answer.score,
                "error": answer.error,
            }
            with self._file.open("a", encoding="utf-8") as out:
                out.write(json.dumps(line) + "\n")

    def close(self) -> None:
        """End the process of the user's function."""
        if self._own is not None:
            self._own.end()


class _Failed(Exception):
    """Why a call gave no number."""


class _Worker:
    """A function of the user's own, in a process beside."""

    def __init__(self, function: str, seconds: float) -> None:
        module, colon, name = function.partition(":")
        if not colon or not module or not name:
            raise UsageError(f"expected the oracle as module:function (got {function!r}).")
        self._place, self._seconds = (module, name), seconds
        self._process: Any = None
        self._pipe: Any = None
        self._start()  # fails at once where there is no such function

    def __call__(self, smiles: str) -> float:
        if self._process is None:
            self._start()
        self._pipe.send(smiles)
        if not self._pipe.poll(self._seconds):
            self.end()
            raise _Failed(f"took more than {self._seconds:g} s")
        try:
            kind, value = self._pipe.recv()
        except EOFError:
            self.end()
            raise _Failed("the oracle's process ended") from None
        if kind != "value":
            raise _Failed(str(value))
        return float(value)

    def end(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._place, os.getcwd()), daemon=True)
        self._process.start()
        theirs.close()
        if not self._pipe.poll(60.0):
            self.end()
            raise UsageError(f"the oracle {':'.join(self._place)} could not be loaded within a minute.")
        try:
            kind, said = self._pipe.recv()
        except EOFError:
            kind, said = "error", "its process ended"
        if kind != "ready":
            self.end()
            raise UsageError(f"the oracle {':'.join(self._place)} could not be loaded: {said}.")


def _serve(pipe: Connection, place: tuple[str, str], folder: str) -> None:
    """Answer SMILES by numbers until the other end closes."""
    sys.path.insert(0, folder)
    try:
        function: Callable[[str], Any] = getattr(importlib.import_module(place[0]), place[1])
        pipe.send(("ready", ""))
    except Exception as error:  # code of others raises anything
        pipe.send(("error", one_line(f"{type(error).__name__}: {error}")[:200]))
        return
    while True:
        try:
            smiles = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(("value", float(function(smiles))))
        except Exception as error:
            pipe.send(("error", one_line(f"{type(error).__name__}: {error}")[:200]))


def _pattern(keep: str) -> Any:
    """What is to be kept, as a pattern. Raises `UsageError`."""
    try:
        return parsed(keep)
    except DataError:
        found = rdkit().MolFromSmarts(keep)
    if found is None:
        raise UsageError(f"what is to be kept is neither SMILES nor SMARTS: {one_line(keep)[:80]!r}.")
    return found


def _read(file: Path | None) -> dict[str, Answer]:
    """The answers of an earlier run. A last line that was not written whole is left out."""
    found: dict[str, Answer] = {}
    if file is None or not file.is_file():
        return found
    whole = file.read_text(encoding="utf-8")
    if whole and not whole.endswith("\n"):  # a line that was not written whole: what follows begins on a new one
        with file.open("a", encoding="utf-8") as out:
            out.write("\n")
    lines = whole.splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            held = parse_json(line)
            values = {str(name): float(value) for name, value in held["values"].items()}
            found[held["smiles"]] = Answer(str(held["smiles"]), values, float(held["score"]), str(held["error"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            if line.startswith("{") and line.endswith("}"):
                raise DataError(
                    f"{file}: line {number} is no answer of an oracle; remove the file to begin anew."
                ) from None
    return found
