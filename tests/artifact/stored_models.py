"""Untrained models on disk, shared by the tests of what others may have written there."""

from pathlib import Path
from typing import Any

from morphogen import artifact
from morphogen.core import registry
from morphogen.core.data_spec import DataSpec
from morphogen.core.rng import Rng

DATA = DataSpec(name="d", shape=(1, 8, 8), kind="continuous", levels=17)


def stored(root: Path, name: str = "vae", **options: Any) -> Path:
    """A tiny untrained model of the family `name`, saved in `root`."""
    kind = registry.family(name)
    with Rng(0).forked():
        family = kind(kind.Spec.parse({"hidden": (8,), "latent_dim": 2, **options}), DATA, {})
    return artifact.save(root, family, recipe={"steps": 5}, provenance={"complete": True})
