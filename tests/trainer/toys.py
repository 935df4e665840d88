"""Two small families and a stream of 2-D points, to train in milliseconds.

Run as a script, it makes the runs told by the JSON in its first argument, for tests that need
other processes.
"""

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from morphogen import artifact
from morphogen.core import registry
from morphogen.core.batch import Batch
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import MorphogenError
from morphogen.core.family import Family, Health, Player, Step
from morphogen.core.rng import Rng
from morphogen.core.spec import Spec
from morphogen.trainer import Recipe, fit

DATA = DataSpec(name="points", shape=(2,), kind="continuous", splits={"train": 256}, fingerprint="f00d")
SCRIPT = __file__


class Autoencoder(Family):
    """A linear-Gaussian autoencoder: q(z | x) = N(Wx + b, I), p(x | z) = N(Vz + c, I)."""

    name = "toy_autoencoder"
    part_names = ("base", "teacher")
    summary = "a linear-Gaussian autoencoder"
    capabilities = frozenset()

    class Spec(Spec):
        lr: float = 0.01
        hidden: int = 2
        dropout: float = 0.0
        ema: float | None = 0.9
        complaint: str = ""

    def __init__(self, spec, data, parts=None):
        super().__init__(spec, data, parts)
        self.encoder = nn.Sequential(nn.Linear(2, spec.hidden), nn.Dropout(spec.dropout))
        self.decoder = nn.Linear(spec.hidden, 2)
        self.shift = nn.Parameter(torch.zeros(2))  # in a player, but in no network
        self.register_buffer("seen", torch.zeros(()))

    def players(self):
        mine = [p for p in self.parameters() if not any(p is q for q in self.parts.parameters())]
        return {"model": Player(mine, lr=self.spec.lr, ema=self.spec.ema)}

    def networks(self):
        return {"encoder": self.encoder, "decoder": self.decoder}

    def steps(self, batch, rng, at):
        self.seen += len(batch)
        mean = self.network("encoder")(batch.x)
        z = mean + rng.normal("z", batch.address, mean.shape[1:])
        error = batch.x - self.network("decoder")(z) - self.shift
        terms = {"reconstruction": error.square().sum(1), "kl": 0.5 * mean.square().sum(1)}
        yield Step("model", terms, {"norm": mean.detach().square().mean(0)})

    def health(self, batch, rng):
        return Health({"size": float(len(batch))}, [self.spec.complaint] if self.spec.complaint else [])


class Game(Family):
    """A generator and a discriminator; each move reports the discriminator's bias as it is then."""

    name = "toy_game"
    summary = "two players"
    capabilities = frozenset()

    class Spec(Spec):
        lr: float = 0.01

    def __init__(self, spec, data, parts=None):
        super().__init__(spec, data, parts)
        self.generator = nn.Linear(2, 2)
        self.discriminator = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))

    def players(self):
        return {
            "discriminator": Player(list(self.discriminator.parameters()), lr=self.spec.lr, betas=(0.0, 0.9)),
            "generator": Player(list(self.generator.parameters()), lr=self.spec.lr, ema=0.9),
        }

    def networks(self):
        return {"generator": self.generator, "discriminator": self.discriminator}

    def steps(self, batch, rng, at):
        judge, make = self.network("discriminator"), self.network("generator")
        z = rng.normal("z", batch.address, (2,))
        soft = nn.functional.softplus
        terms = {"real": soft(-judge(batch.x))[:, 0], "fake": soft(judge(make(z).detach()))[:, 0]}
        yield Step("discriminator", terms, {"bias": self._bias()})
        yield Step("generator", {"fooled": soft(-judge(make(z)))[:, 0]}, {"bias": self._bias()})

    def _bias(self) -> Tensor:
        return self.discriminator[2].bias.detach().clone()[0]


registry.register("toy_autoencoder", f"{__name__}:Autoencoder")
registry.register("toy_game", f"{__name__}:Game")


@dataclass
class Points:
    """An endless stream over `x` (N, 2): step s takes rows drawn at the addresses sB .. sB + B - 1."""

    x: Tensor
    batch_size: int = 32
    delay_s: float = 0.0

    @property
    def records(self):
        return len(self.x)

    def batch(self, step, rank=0, world=1):
        time.sleep(self.delay_s)
        share = self.batch_size // world
        index = torch.arange(share) + step * self.batch_size + rank * share
        rows = Rng(7).integers("rows", index, len(self.x)).reshape(-1)
        return Batch(self.x[rows], ids=rows + 1000, index=index)


def points(n=256):
    """A correlated Gaussian."""
    return Rng(3).normal("points", n, (2,)) @ torch.tensor([[1.0, 0.6], [0.0, 0.5]])


def build(kind=Autoencoder, **options):
    with Rng(11).forked():
        return kind(kind.Spec.parse(options), DATA)


def recipe(**options):
    return Recipe.parse({"batch_size": 32, "device": "cpu", "precision": "fp32", "compile": "off", **options})


def run(out, kind=Autoencoder, resume=False, options=None, **more):
    """The events of a run in `out`."""
    return fit(build(kind, **(options or {})), Points(points()), recipe(**more), out, resume=resume)


def say(**what):
    if os.environ.get("RANK", "0") == "0":
        print(json.dumps(what), flush=True)


def run_as_told(told):
    family = build({"autoencoder": Autoencoder, "game": Game}[told["family"]], **told.get("spec", {}))
    stream = Points(points(), delay_s=told.get("delay_s", 0.0))
    try:
        for event in fit(family, stream, recipe(**told["recipe"]), Path(told["out"]), resume=told.get("resume", False)):
            say(out=told["out"], step=event.step, warnings=event.warnings)
    except MorphogenError as error:
        say(out=told["out"], error=str(error))


def train(out, family=None, stream=None, **options):
    family = family or build()
    events = list(fit(family, stream or Points(points()), recipe(**options), out))
    return family, events


def weights(out):
    return artifact.load(out).family.state_dict()


if __name__ == "__main__":
    torch.set_num_threads(1)
    for each in json.loads(sys.argv[1]):
        run_as_told(each)
