"""A folder that holds no model: what is there instead, and how to go on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from morphogen.artifact.files import temporary_for
from morphogen.core.printable import one_line
from morphogen.core.reading import parse_json
from morphogen.core.shipped import names
from morphogen.core.tensor_header import read_metadata

CHECKPOINT = "checkpoint/state.safetensors"


@dataclass(frozen=True)
class Explained:
    """In words; `passing` where it is a matter of a moment, since a writer is exchanging folders."""

    said: str
    passing: bool = False


def explained(root: Path) -> Explained:
    """Why there is no manifest at `root`."""
    shown = one_line(str(root))
    try:
        siblings = os.listdir(root.parent if root.name else root.resolve().parent)
    except OSError:
        siblings = []
    if not root.exists():
        if any(temporary_for(name) == root.name for name in siblings):
            said = f"{shown} was being replaced when its training was killed: resume the training to complete it."
            return Explained(said, passing=True)
        if f".{root.name}.old" in siblings:  # two renames of earlier versions, cut short
            return Explained(
                f"{shown} is missing, and .{root.name}.old beside it may be what it was before a training was killed:"
                " look into it, and rename it."
            )
        packaged = " or ".join(names())
        return Explained(
            f"{shown}: no such model directory; give one that a training has made, or {packaged} of the package."
        )
    if not root.is_dir():
        return Explained(f"{shown} is a file and no model directory; give one that a training has made.")
    if (root / CHECKPOINT).exists():
        stands, goes_on = _step(root / CHECKPOINT), f"`morphogen train --out {shown} --resume`"
        if (root / "spec.json").exists():
            return Explained(
                f"{shown}: manifest.json is missing; this is no complete model directory. Its training{stands} is there"
                f" still: {goes_on} writes the model again."
            )
        return Explained(
            f"{shown} holds a training{stands} that has not ended, and no model yet: wait for it, or go on with it by"
            f" {goes_on}."
        )
    return Explained(f"{shown}: manifest.json is missing; this is no complete model directory.")


def _step(checkpoint: Path) -> str:
    """At which step the checkpoint stands, if that can be read."""
    try:
        facts = parse_json(read_metadata(checkpoint)["state"])
        step, total = facts["step"], facts.get("total")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ""
    if not isinstance(step, int):
        return ""
    return f" at step {step:,}" + (f" of {total:,}" if isinstance(total, int) else "")
