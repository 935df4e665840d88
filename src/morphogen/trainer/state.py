"""Save and restore the state of a trainer: everything that its next step depends on.

A run continues only with the same family, spec, data, parts and recipe.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from morphogen.artifact.store import own_state
from morphogen.core.errors import UsageError
from morphogen.core.family import Family
from morphogen.core.printable import one_line
from morphogen.trainer import checkpoint
from morphogen.trainer.budget import Pauses
from morphogen.trainer.checkpoint import prefixed, under
from morphogen.trainer.distributed import fill, full
from morphogen.trainer.trainer import Trainer

# Settings that change no result.
_FREE = ("recipe.auto", "recipe.device", "recipe.checkpoint_seconds", "recipe.sheet_seconds")
_LENGTH = ("recipe.steps", "recipe.epochs", "recipe.budget")
_MAX_SAID = 8  # the most differences in a message
_FACTS = ("step", "compiled", "precision", "warned", "paused_s", "best", "unimproved", "standing")


def save(trainer: Trainer, folder: Path, begun_with: Mapping[str, Any]) -> None:
    """Write the checkpoint. All processes call this if the model is sharded; the leading one writes."""
    world = trainer.world
    if world.leads or world.sharded:
        tensors = prefixed("weights", {name: full(value) for name, value in own_state(trainer.family).items()})
        for name, optimizer in trainer.optimizers.items():
            tensors |= prefixed(f"players/{name}", optimizer.state())
        if trainer.private is not None:
            tensors |= prefixed("private", trainer.private.tensors())
        tensors |= prefixed("terms", trainer.meters.terms.state()) | prefixed("metrics", trainer.meters.metrics.state())
    if world.leads:
        facts = {name: getattr(trainer, name) for name in _FACTS}
        length = {"total": trainer.budget.total, "plan": trainer.budget.state(), "elapsed_s": trainer.elapsed_s}
        length["pauses"] = dataclasses.asdict(trainer.pauses)
        if trainer.private is not None:
            length["private"] = trainer.private.state()
        known = {"run": _run(trainer), "begun_with": dict(begun_with), "processes": world.size}
        checkpoint.write(folder, tensors, {**facts, **length, **known})
        if trainer.private is not None:
            trainer.private.ledger.settle()


def size(trainer: Trainer) -> int:
    """The approximate bytes of a checkpoint: weights, AdamW's two moments, averages."""
    weights = sum(value.nbytes for value in own_state(trainer.family).values())
    moved = sum(
        p.nbytes * (3 if optimizer.emas else 2)
        for optimizer in trainer.optimizers.values()
        for p in optimizer.parameters
    )
    return weights + moved


def restore(trainer: Trainer, folder: Path, prolonged: bool = False) -> list[str]:
    """Read the checkpoint into a new trainer. Returns warnings about it. A `prolonged` run has a new length.

    Raises `UsageError` if it belongs to another run.
    """
    tensors, facts = checkpoint.read(folder)
    other_length = check_settings(folder.parent, settings(_run(trainer)), settings(facts["run"]), prolonged)
    asked = trainer.budget.asked
    if other_length and asked is not None and asked < facts["step"]:
        raise UsageError(f"the run in {folder.parent} is at step {facts['step']}, past the {asked} asked for.")
    for name in _FACTS:
        setattr(trainer, name, facts.get(name, getattr(trainer, name)))
    trainer.elapsed_before = facts["elapsed_s"]
    older = {"total": facts["total"], "from": [0, 0.0], "pace": None, "planned_at": None}  # of an earlier version
    trainer.budget.load_state(facts.get("plan") or older)
    trainer.pauses = Pauses(**facts.get("pauses", {}))
    if other_length:
        trainer.budget.prolong(trainer.step, trainer.elapsed_before)
    with torch.no_grad():
        for name, value in own_state(trainer.family).items():
            fill(value, tensors[f"weights/{name}"])
    for name, optimizer in trainer.optimizers.items():
        optimizer.load_state(under(tensors, f"players/{name}"))
    trainer.meters.terms.load_state(under(tensors, "terms"), trainer.world.device)
    trainer.meters.metrics.load_state(under(tensors, "metrics"), trainer.world.device)
    said = []
    if trainer.private is not None and (
        lost := trainer.private.load_state(facts["private"], under(tensors, "private"))
    ):
        said.append(f"{lost} private rounds of the killed run are lost, and count: so many fewer are left.")
    before, now = facts.get("processes", trainer.world.size), trainer.world.size
    if before == now:
        return said
    return [
        f"from step {trainer.step} on, the run is made by {now} process{'es' * (now > 1)}, and was by {before}: sums"
        " are rounded otherwise, so that it is not bit for bit what it would have been."
    ]


def _run(trainer: Trainer) -> dict[str, Any]:
    """The identity of a run. The content of data and parts counts, and their place does not."""
    family = trainer.family
    data = {name: value for name, value in family.data.to_dict().items() if name not in ("source", "license")}
    about = {"family": {"name": family.name}, "spec": family.spec.to_dict(), "data": data}
    parts = {name: digest(part) for name, part in family.parts.items()}
    return {**about, "parts": parts, "recipe": trainer.recipe.to_dict()}


def digest(part: nn.Module) -> str:
    """The beginning of the sha256 of a part: of its family's name, its spec, and its weights by name."""
    about = [part.name, part.spec.to_dict()] if isinstance(part, Family) else [type(part).__name__]
    found = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, value in sorted(part.state_dict().items()):
        found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()[:16]


def check_settings(out: Path, now: Mapping[str, Any], then: Mapping[str, Any], prolonged: bool = False) -> bool:
    """Compare the new settings with those of the run in `out`, by "section.name".

    Returns whether only the length differs; a constant schedule and a `prolonged` run allow that. Raises `UsageError`
    that lists the other differences, one per line.
    """
    changed = [name for name in {**then, **now} if now.get(name) != then.get(name) and name not in _FREE]
    constant = prolonged or now.get("recipe.lr_schedule") == "constant"
    wrong = sorted(name for name in changed if name not in _LENGTH or not constant)
    if not wrong:
        return bool(changed)
    lines = [f"  {_difference(name, now.get(name), then.get(name))}" for name in wrong[:_MAX_SAID]]
    if len(wrong) > _MAX_SAID:
        lines.append(f"  and {len(wrong) - _MAX_SAID} more")
    settled = ""
    if any(name in _LENGTH for name in wrong):
        settled = " To make a run longer, say by how much: --steps +1000 or --budget +10min."
    raise UsageError(
        f"the run in {out} cannot go on with other settings:\n" + "\n".join(lines) + "\n"
        f"Resume with the old ones (--resume --out {out} needs no other option), or train into another folder.{settled}"
    )


def settings(run: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a resumed run must keep, as "section.name" -> value without dictionaries.

    For data this is their content. Their place, their name and the options that prepared them do not count. Only the
    option `context` counts by itself, because contexts are drawn during training.
    """
    data = {name: value for name, value in run["data"].items() if name not in ("name", "preprocessing")}
    context = (run["data"].get("preprocessing") or {}).get("context")
    return dict(_flat({**run, "data": {**data, "context": context}}))


def _difference(name: str, now: Any, then: Any) -> str:
    section, _, field = name.partition(".")
    if name == "data.fingerprint":
        return f"the data hold other records (fingerprint {str(now)[:12]}, and was {str(then)[:12]})"
    if section != "parts":
        return f"{name} is {_shown(now)} and was {_shown(then)}"
    if now is None or then is None:
        return f"the part {field!r} is {'missing' if now is None else 'new'}"
    return f"the part {field!r} is another model ({now}) than it was ({then})"


def _shown(value: Any) -> str:
    text = one_line(repr(value))
    return text if len(text) <= 60 else f"{text[:57]}..."


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
