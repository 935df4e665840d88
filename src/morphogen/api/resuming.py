"""What a run was begun with, read from its checkpoint, so that going on with it needs no option again.

A checkpoint is private to whoever trains: it keeps the source of the data and the paths of parts as they were typed,
and the folder that they were typed in. A model keeps neither.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from morphogen.api import prolonging
from morphogen.api.opened import OpenModel
from morphogen.api.parts import named
from morphogen.artifact.folders import recover_locked
from morphogen.core import registry
from morphogen.core.errors import ArtifactError, UsageError
from morphogen.core.family import resolve_preset
from morphogen.data.in_memory import AnyData, is_source
from morphogen.data.load import sources
from morphogen.data.source import parse
from morphogen.trainer import Recipe, checkpoint, state


@dataclass(frozen=True)
class Asked:
    """What a training is made from, as a user gives it; `started_from` names the model whose weights it began with."""

    family: str | None
    data: AnyData | None
    preset: str | None
    options: Mapping[str, Any]
    recipe: Mapping[str, Any]
    start: Path | str | None
    parts: Mapping[str, Path | str]
    started_from: Mapping[str, Any] | None = None
    complete: bool = False  # it goes on with a run: there is nothing left to choose
    prolonged: bool = False  # with a new length
    fingerprint: str | None = None  # of the data of a private run, which its model does not tell

    @classmethod
    def of(
        cls,
        family: str | None,
        source: AnyData | None,
        preset: str | None,
        start: OpenModel | Path | str | None,
        parts: Mapping[str, OpenModel | Path | str] | None,
        options: Mapping[str, Any] | None,
        recipe: Mapping[str, Any] | None,
        settings: Mapping[str, Any],
    ) -> Asked:
        """From the arguments of `train`. Raises `UsageError` for an option that is given twice."""
        plan, own = dict(recipe or {}), dict(options or {})
        for name, value in settings.items():
            of = plan if name in Recipe.model_fields else own
            if name in of:
                raise UsageError(f"{name} is given twice.")
            of[name] = value
        stands_on = {name: _place(model) for name, model in (parts or {}).items()}
        return cls(family, source, preset, own, plan, None if start is None else _place(start), stands_on)

    def kept(self) -> dict[str, Any]:
        """What a checkpoint keeps of it beside what the run says of itself."""
        where = None
        with suppress(OSError):
            where = _storable(os.getcwd())
        parts = {name: _storable(str(path)) for name, path in self.parts.items()}
        about = {"preset": self.preset, "parts": parts, "started_from": self.started_from}
        about |= {} if self.fingerprint is None else {"fingerprint": self.fingerprint}
        return {**about, "data": _storable(str(self.data)) if is_source(self.data) else None, "where": where}


def holds_run(out: Path | str) -> bool:
    """Whether there is a run in `out` to go on with, after what a kill has cut short there has been ended."""
    recover_locked(Path(out).resolve())
    return checkpoint.exists(Path(out) / "checkpoint")


def family_of(out: Path | str) -> str:
    """The family that the run in `out` trains. Raises `ArtifactError` if its checkpoint cannot be read."""
    return str(_record(Path(out))["run"]["family"]["name"])


def completed(asked: Asked, out: Path) -> Asked:
    """`asked`, and where it says nothing what the run in `out` was begun with.

    Raises `UsageError` that names what is asked for and differs, and what is not known any more.
    """
    record = _record(out)
    run, begun = record["run"], record.get("begun_with") or {}
    name = run["family"]["name"]
    if asked.family not in (None, name):
        raise UsageError(f"the run in {out} trains {name!r} and not {asked.family!r}: train into another folder.")
    if asked.data is None and begun.get("data") is None:
        raise UsageError(f"the checkpoint in {out} does not tell which data the run is trained on: add --data SOURCE.")
    kind, where = registry.family(name), begun.get("where")
    new_preset = None if asked.preset == begun.get("preset") else asked.preset
    options = {**run["spec"], **resolve_preset(kind, new_preset), **asked.options}
    more = {name: asked.recipe[name] for name in ("steps", "budget") if str(asked.recipe.get(name)).startswith("+")}
    recipe = {**run["recipe"], **asked.recipe}
    if more:
        recipe |= prolonging.longer(more, record)
    elif asked.recipe.get("steps") is not None or asked.recipe.get("epochs") is not None:
        recipe |= {length: asked.recipe.get(length) for length in ("steps", "epochs")}
    plan = Recipe.parse(recipe).to_dict()
    now = {**run, "spec": kind.Spec.parse(options).to_dict(), "recipe": plan}
    state.check_settings(out, state.settings(now), state.settings(run), bool(more))
    kept = begun.get("parts") or {}
    if missing := [part for part, path in kept.items() if path is None and part not in asked.parts]:
        raise UsageError(f"the checkpoint in {out} does not tell where a part lies: add --part {missing[0]}=MODEL.")
    parts = {part: _found(path, where) for part, path in kept.items() if path is not None} | dict(asked.parts)
    started_from = begun.get("started_from")
    if begun and asked.start is not None and named(asked.start)["sha256"] != (started_from or {}).get("sha256"):
        raise UsageError(f"the run in {out} did not begin with the weights of {asked.start}: leave out --start.")
    data = _found(begun["data"], where) if asked.data is None else asked.data
    about = begun.get("preset"), options, recipe, None, parts, started_from
    return Asked(name, data, *about, True, bool(more), begun.get("fingerprint"))


def _record(out: Path) -> dict[str, Any]:
    facts = checkpoint.facts(out / "checkpoint")
    run = facts.get("run")
    if not isinstance(run, dict) or not all(isinstance(run.get(k), dict) for k in ("family", "spec", "recipe")):
        raise ArtifactError(f"{out}: the checkpoint does not tell what is trained.")
    return facts


def _place(model: OpenModel | Path | str) -> Path | str:
    return model.path if isinstance(model, OpenModel) else model


def _storable(path: str) -> str | None:
    """A path, or None if no JSON can hold it: its name is not UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return None
    return path


def _found(source: str, where: str | None) -> str:
    """A source or a path as typed, seen from the folder that it was typed in if it leads nowhere from here."""
    known = sources()
    name = parse(source, known).name
    if where is None or name in known or Path(name).exists() or Path(name).is_absolute():
        return source
    there = os.path.join(where, source)
    return there if Path(parse(there, known).name).exists() else source
