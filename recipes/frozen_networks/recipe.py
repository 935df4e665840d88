"""The recipe of each frozen feature network, and the loop that trains it.

A step shows clean pictures of every source and degraded copies of them. The loss adds each source's own task, the
strength of the degradation, and a thumbnail of the clean picture; `morphogen.evaluation.features.frozen` says why.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from morphogen.core.batch import Batch
from morphogen.core.rng import Rng
from morphogen.data import Stream, load
from morphogen.evaluation.features.frozen import FeatureNetwork, fitted
from morphogen.evaluation.features.trunk import Trunk
from morphogen.trainer.precision import autocast, resolve
from recipes.frozen_networks.degradations import degraded, principal
from recipes.frozen_networks.figures import caption_accuracies, class_accuracy
from recipes.frozen_networks.tasks import Attributes, Captions, Classes, Degradation, Mentions, Thumbnail

WIDTHS, DIM, SEED = (32, 64, 96), 64, 0
LEARNING_RATE, WEIGHT_DECAY = 3e-3, 0.05
SHIFT = 2  # pixels
MIRRORED = ("fashion_mnist", "bccd", "ucmerced")
CPU = torch.device("cpu")
REFERENCE = 20_000  # clean training pictures that set the mean and the scale of the features


@dataclass(frozen=True)
class Recipe:
    """`batch` records of each source a step, for `steps` steps, as pictures of `channels` and `size`."""

    sources: tuple[str, ...]
    channels: int
    size: int
    batch: int
    steps: int
    minutes: int  # of one core, as it took; it is no input


_EMOJI = "emoji:size=32,vendor=both"
_SEVERAL = ("pneumonia_mnist", "bccd", "ucmerced:size=32", "ucmerced:size=64", "shapes:size=32")
RECIPES = {
    "mnist": Recipe(("mnist",), channels=1, size=28, batch=128, steps=2400, minutes=6),
    "fashion_mnist": Recipe(("fashion_mnist",), channels=1, size=28, batch=128, steps=2400, minutes=6),
    "general": Recipe(
        ("mnist", "fashion_mnist", _EMOJI, *_SEVERAL), channels=3, size=32, batch=16, steps=1700, minutes=6
    ),
    "emoji": Recipe((_EMOJI,), channels=3, size=32, batch=128, steps=1900, minutes=6),
}


class Source:
    """One data set: its stream of batches as the network reads them, and its task."""

    def __init__(self, recipe: Recipe, source: str, seed: int) -> None:
        self.data = load(source)
        name = self.data.spec.name
        self.rng = Rng(seed).child(source)
        self.stream = Stream(self.data.train, recipe.batch, seed, flips=name in MIRRORED)
        channels, side = self.data.spec.shape[0], self.data.spec.shape[-1]
        self.size = min(side, recipe.size)
        self.basis = principal(fitted(self.reference(4000 if channels == 1 else 1500), channels, self.size))
        self.task: Classes | Mentions = (Classes if self.data.spec.classes else Mentions)(self.data.train, DIM)

    def batch(self, step: int) -> tuple[Tensor, Batch]:
        """Pictures of their own channels and at most the network's size, shifted or cut out at random, and the batch
        they are of."""
        batch = self.stream.batch(step)
        x = F.pad(batch.x, (SHIFT,) * 4, mode="replicate")
        slack = x.shape[-1] - self.size + 1
        top, left = self.rng.integers("shift", batch.address, slack, (2,)).view(-1, 2, 1).unbind(1)
        at = torch.arange(self.size)
        rows, columns = (top + at)[:, None, :, None], (left + at)[:, None, None, :]
        channel = torch.arange(x.shape[1]).view(1, -1, 1, 1)
        return x[torch.arange(len(x)).view(-1, 1, 1, 1), channel, rows, columns], batch

    def figures(self, network: FeatureNetwork) -> dict[str, float]:
        """How well the network knows the pictures that were set aside; all are shares."""
        found: dict[str, float] = {}
        for split, records in self.data.splits.items():
            if split.startswith("test"):
                features = network(records.batch().x)
                classifier = network.classify if network.classes else self.task.linear
                right = {"class": class_accuracy(classifier, features, records)} if self.data.spec.classes else {}
                right |= caption_accuracies(network, features, records) if network.words else {}
                found |= {f"{what} of {split}": round(value, 4) for what, value in right.items()}
        return found

    def reference(self, n: int) -> Tensor:
        """The first `n` training pictures as they are."""
        return self.data.train.batch(slice(0, n)).x


def train(name: str, recipe: Recipe) -> FeatureNetwork:
    """The trained network, as it is shipped."""
    rng, start = Rng(SEED), time.process_time()
    with rng.forked():
        sources = [Source(recipe, s, SEED) for s in recipe.sources]
        trunk = with_batch_norm(Trunk(recipe.channels, WIDTHS, DIM))
        trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        degradation, thumbnail = Degradation(DIM), Thumbnail(recipe.channels, DIM)
        captions = Captions(sources[0].data.train, DIM) if name == "emoji" else None
        attributes = Attributes(sources[0].data.train, DIM) if name == "emoji" else None
    tasks = [m for m in (*(s.task for s in sources), captions, attributes) if m is not None]
    modules = nn.ModuleList([trunk, degradation, thumbnail, *tasks])
    optimizer = torch.optim.AdamW(modules.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, recipe.steps, pct_start=0.1)

    for step in range(recipe.steps):
        drawn = [s.batch(step) for s in sources]
        changed, strengths = [], []
        for j, (source, (x, _)) in enumerate(zip(sources, drawn, strict=True)):
            index = (step * len(sources) + j) * recipe.batch + torch.arange(recipe.batch)
            worse, strength = degraded(x, source.basis, rng, index)
            changed.append(worse)
            strengths.append(strength)
        pictures = [fitted(x, recipe.channels, recipe.size) for x in (*(x for x, _ in drawn), *changed)]
        clean = torch.cat(pictures[: len(sources)])
        with autocast(resolve("auto", CPU), CPU):
            both = trunk(torch.cat(pictures)).float()
        reference = both.chunk(2)[0]  # clean pictures set the scale here as they do in the end
        of_clean, of_changed = ((both - reference.mean(0)) / (reference.std(0) + 1e-4)).chunk(2)
        terms = {
            "class": 2.0 * sum(task_loss(of, drawn, sources) for of in (of_clean, of_changed)),
            "degradation": 3.0 * degradation(of_clean, of_changed, torch.cat(strengths)),
            "thumbnail": thumbnail(of_clean, clean) + thumbnail(of_changed, clean),
        }
        if captions is not None and attributes is not None:
            batch = drawn[0][1]
            terms["captions"] = 2.0 * (captions(of_clean, batch) + captions(of_changed, batch))
            terms["attributes"] = attributes(of_clean, batch) + attributes(of_changed, batch)
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            values = "  ".join(f"{k} {v.item():.4f}" for k, v in terms.items())
            print(f"{name} step {step + 1:5d}  {values}  {(time.process_time() - start) / 60:.1f} min", flush=True)

    network = shippable(trunk, recipe, sources, captions)
    network.about = {
        "recipe": f"python -m recipes.frozen_networks {name}",
        "data": {s.data.spec.source: s.data.spec.fingerprint for s in sources},
        "seed": SEED,
        "steps": recipe.steps,
        "minutes of one core": recipe.minutes,
        "torch": torch.__version__,
        "accuracy": {s.data.spec.source: s.figures(network) for s in sources},
    }
    print(f"{name}: {(time.process_time() - start) / 60:.1f} minutes of one core")
    return network


def task_loss(features: Tensor, drawn: list[tuple[Tensor, Batch]], sources: list[Source]) -> Tensor:
    """The sources' mean loss on the task of each."""
    parts = features.split([len(b) for _, b in drawn])
    return torch.stack([s.task(f, b) for s, f, (_, b) in zip(sources, parts, drawn, strict=True)]).mean()


def shippable(trunk: Trunk, recipe: Recipe, sources: list[Source], captions: Captions | None) -> FeatureNetwork:
    """What is kept of the training: weights as half precision can hold them, and features of variance 1 with those."""
    single = sources[0] if len(sources) == 1 else None
    classes = single.data.spec.classes if single else ()
    words = list(captions.bag.number) if captions else ()
    network = FeatureNetwork(recipe.channels, recipe.size, WIDTHS, DIM, classes, words)
    network.trunk.load_state_dict(folded(trunk).state_dict())
    if network.classifier is not None and single:
        network.classifier.load_state_dict(single.task.linear.state_dict())
    if network.captions is not None and captions:
        network.captions.load_state_dict(captions.bag.state_dict())
    network.half().float().requires_grad_(False)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    features = torch.cat([network(s.reference(REFERENCE // len(sources))) for s in sources])
    network.mean.copy_(features.mean(0))
    network.scale.copy_(features.std(0))
    return network


def with_batch_norm(trunk: Trunk) -> Trunk:
    """The trunk with a batch normalization behind every convolution."""
    for name, module in list(trunk.named_modules()):
        if isinstance(module, nn.Conv2d):
            trunk.set_submodule(name, nn.Sequential(module, nn.BatchNorm2d(module.out_channels)))
    return trunk


def folded(trunk: Trunk) -> Trunk:
    """The trunk with its batch normalizations folded into the convolutions, as it is at evaluation."""
    trunk.eval()
    for name, module in list(trunk.named_modules()):
        if isinstance(module, nn.Sequential):
            convolution, normalization = module
            assert isinstance(convolution, nn.Conv2d) and isinstance(normalization, nn.BatchNorm2d)
            trunk.set_submodule(name, fuse_conv_bn_eval(convolution, normalization))
    return trunk
