"""A small family, and ways to damage what is saved of it, for the tests of artifacts."""

import json

import torch
from torch import nn

from morphogen import artifact
from morphogen.artifact import manifest
from morphogen.core import registry
from morphogen.core.data_spec import DataSpec
from morphogen.core.family import Family, Player, Step
from morphogen.core.rng import Rng
from morphogen.core.spec import Spec

DATA = DataSpec(
    name="points", shape=(2,), kind="continuous", splits={"train": 90, "test": 10}, fingerprint="f00d", license="CC0"
)


class Affine(Family):
    """y = Wx + b, with an optional part that maps y further and a tied second weight."""

    name = "stored_affine"
    summary = "an affine map"
    capabilities = frozenset()

    class Spec(Spec):
        width: int = 3
        tied: bool = False

    part_names = ("base",)

    def __init__(self, spec, data, parts=None):
        super().__init__(spec, data, parts)
        self.map = nn.Linear(2, spec.width)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        if spec.tied:
            self.again = nn.Linear(2, spec.width)
            self.again.weight = self.map.weight

    def players(self):
        return {"model": Player(list(self.map.parameters()), lr=0.1)}

    def networks(self):
        return {"map": self.map}

    def steps(self, batch, rng, at):
        yield Step("model", {"size": self.map(batch.x).square().sum(1)})

    def forward(self, x):
        y = self.map(x)
        return self.parts["base"](y) if "base" in self.parts else y


registry.register("stored_affine", f"{__name__}:Affine")


class Killed(BaseException):
    """Stands for a kill: nothing but recovery on the next call may deal with it."""


def build(seed=1, parts=None, data=DATA, **options):
    with Rng(seed).forked():
        return Affine(Affine.Spec.parse(options), data, parts)


def save(path, family, **more):
    return artifact.save(path, family, recipe={"steps": 5}, provenance={"complete": True, "seed": 3}, **more)


def corrupt_json(file, change):
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def relist(root):
    """Make the manifest agree with the files, as a forger would."""
    (root / artifact.MANIFEST).unlink()
    manifest.write(root)


def lying_in(folder):
    """What a user finds there; the locks of models stay beside them."""
    return [entry.name for entry in folder.iterdir() if entry.suffix != ".lock"]


X = torch.tensor([[0.5, -1.0], [2.0, 0.25]])
