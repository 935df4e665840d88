"""The reference of generated records: real records, drawn once, and all values that depend only on them.

The reference is n training records, and the floor is the distance of held-out records to them. The floor, the trivial
models and the ladder of degradations do not depend on the model. They are measured on demand, with the same features,
the same n and the same metric, and kept in the cache (`evaluation/context/cache.py`).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any, Literal

import torch
from torch import Tensor

from morphogen.core.batch import RawCondition
from morphogen.core.errors import DataError, MorphogenError, UsageError
from morphogen.core.rng import Rng
from morphogen.data import Dataset, Records
from morphogen.evaluation.context import baselines, cache
from morphogen.evaluation.context.degradations import available, drawn
from morphogen.evaluation.context.ladder import Ladder, Rung, degraded
from morphogen.evaluation.features.extraction import Features, Network
from morphogen.evaluation.metrics.disguised_copies import DisguisedCopies
from morphogen.evaluation.metrics.metric import SampleMetric, SampleSet
from morphogen.theory.statistics.intervals import Estimate, student_quantile

MAX_RECORDS = 10_000  # default number of generated records
SEARCHED = 500  # records of either kind for which moved and mixed training pictures are searched
DRAWS = 3  # draws of the floor
_VERSION = 1  # version of the cache entries; raise it with each change of an estimator or a degradation


@dataclass(frozen=True)
class Scale:
    """The baselines, floor and ladder of one metric; `floor` and `ladder` are None if the data do not allow them."""

    baselines: Mapping[str, float]
    floor: float | None = None
    floor_interval: tuple[float, float] | None = None
    ladder: Ladder | None = None

    def place(self, value: float) -> str:
        """The place of the value on the ladder, in words."""
        return self.ladder.place(value) if self.ladder is not None else ""

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "ladder": None if self.ladder is None else self.ladder.to_dict()}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Scale:
        ladder = found["ladder"]
        interval = found["floor_interval"]
        return cls(
            found["baselines"],
            found["floor"],
            None if interval is None else tuple(interval),
            None if ladder is None else Ladder.parse(ladder),
        )


class Reference:
    """Real records of a data set in the form that metrics take.

    n          number of records of the reference, and of every set that is compared with it
    train      all training records; `real` are the n of them in the reference
    held_out   records of a split that was not used for training
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        split: str = "test",
        n: int | None = None,
        seed: int = 0,
        network: Network | None = None,
    ) -> None:
        """Raises `UsageError` if `split` is the training split. Raises `DataError` if a split is missing, or if `n` is
        larger than the number of training records."""
        train = dataset.train
        if split == "train":
            raise UsageError(
                "generated records are compared with the training records, and the floor and copies judged by others:"
                " give a split that was not trained on, not 'train'."
            )
        if n is not None and not 1 <= n <= len(train):
            raise DataError(
                f"cannot compare {n} records: as many real ones are needed, and the training split of"
                f" {dataset.spec.name} has {len(train)}. Ask for at most as many."
            )
        self.dataset, self.split, self.seed = dataset, split, seed
        self.held_out_records = dataset.split(split)
        self.n = n or min(MAX_RECORDS, len(train))
        self.features = Features(dataset.spec, network, train.stored.cpu())
        self._rows = drawn(len(train), self.n, Rng(seed).child("reference"))

    @property
    def train_records(self) -> Records:
        return self.dataset.train

    @cached_property
    def train(self) -> Tensor:
        return self.features.judged(self.train_records.stored.cpu())

    @cached_property
    def held_out(self) -> Tensor:
        return self.features.judged(self.held_out_records.stored.cpu())

    @cached_property
    def real(self) -> SampleSet:
        return self._training(self._rows)

    @cached_property
    def train_features(self) -> Tensor:
        return self.features.of(self.train)

    @cached_property
    def held_out_features(self) -> Tensor:
        return self.features.of(self.held_out)

    @cached_property
    def disguises(self) -> DisguisedCopies:
        """The search for moved and mixed training pictures."""
        return DisguisedCopies(self.train)

    @cached_property
    def searched_rows(self) -> Tensor:
        """The held-out records whose distances to moved and mixed training pictures are found."""
        n = min(SEARCHED, len(self.held_out))
        return drawn(len(self.held_out), n, Rng(self.seed).child("searched held out"))

    def searched(self, how: Literal["moved", "mixed"]) -> Tensor:
        """The distances (M,) of these held-out records; they do not depend on the model and are kept."""
        pictures = self.held_out[self.searched_rows]
        name = cache.key("disguised copies", _VERSION, how, self.train, pictures)
        return cache.tensor(name, lambda: getattr(self.disguises, how)(pictures)[0])

    def condition(self) -> RawCondition | None:
        """The conditions of the reference's records; a conditional model samples under the same conditions."""
        return self.train_records.batch(self._rows).cond

    def made(self, judged: Tensor, labels: Tensor | None = None, places: Tensor | None = None) -> SampleSet:
        """Make a set of records from the result of `Features.judged`, with the classes of their conditions, and their
        places in the caller's order."""
        return SampleSet(judged, self.features, labels, places)

    @cached_property
    def key(self) -> str:
        """The hash of everything that the scales depend on."""
        parts = (_VERSION, self.features.name, self.features.sha256, self.n, self.seed, self.train, self.held_out)
        return cache.key(*parts)

    # ------------------------------------------------------------------ scales

    def scales(self, metrics: Sequence[SampleMetric]) -> dict[str, Scale]:
        """The scale of each metric by its name. Those that are not in the cache are measured together."""
        known = {m.name: scale for m in metrics if (scale := self._known(m)) is not None}
        wanted = [m for m in metrics if m.name not in known]
        kept: dict[str, Any] = {}
        for metric in wanted:

            def make(name: str = metric.name) -> Any:
                if not kept:
                    kept.update({k: v.to_dict() for k, v in self.measured(wanted).items()})
                return kept[name]

            known[metric.name] = Scale.from_dict(cache.record(cache.key("scale", self.key, metric.name), make))
        return known

    def _known(self, metric: SampleMetric) -> Scale | None:
        """The scale that the package ships for named sets at the default n; `python -m recipes.scales` writes them."""
        file = files("morphogen.evaluation.context") / "scales" / f"{self.key[:16]}.json"
        if not file.is_file():
            return None
        found = json.loads(file.read_text(encoding="utf-8")).get(metric.name)
        return None if found is None else Scale.from_dict(found)

    def measured(self, metrics: Sequence[SampleMetric]) -> dict[str, Scale]:
        """Measure the scales. Each set of records is made once for all metrics."""
        floors: dict[str, list[float]] = {m.name: [] for m in metrics}
        trivial: dict[str, dict[str, float]] = {m.name: {} for m in metrics}
        rungs: dict[str, list[Rung]] = {m.name: [] for m in metrics}
        for made, other in self._floor_draws():
            for metric in metrics:
                if (found := _try(metric, made, other)) is not None:
                    floors[metric.name].append(found.value)
        for name, made in self._trivial():
            for metric in metrics:
                if (found := _try(metric, made, self)) is not None:
                    trivial[metric.name][name] = found.value
        placed = [m for m in metrics if m.placed]
        if placed and self.dataset.spec.is_picture:
            kinds = available(self.train_records, self.held_out_records)
            n = min(self.n, len(self.held_out))
            for kind, strength, pictures in degraded(self.held_out, kinds, Rng(self.seed).child("ladder"), n):
                made = self.made(pictures)
                for metric in placed:
                    if (found := _try(metric, made, self)) is not None:
                        rungs[metric.name].append(Rung.of(kind, strength, found))
        return {m.name: Scale(trivial[m.name], *_mean(floors[m.name]), self._ladder(m, rungs[m.name])) for m in metrics}

    def _training(self, rows: Tensor) -> SampleSet:
        labels = self.train_records.labels
        found = self.made(self.train[rows], None if labels is None else labels.cpu()[rows])
        found.features = self.train_features[rows]
        return found

    def _floor_draws(self) -> Iterator[tuple[SampleSet, Reference]]:
        """Yield pairs of held-out and training records, drawn anew each time; draws from small sets overlap."""
        n, rng = min(self.n, len(self.held_out)), Rng(self.seed).child("floor")
        for draw in range(DRAWS):
            other = copy.copy(self)
            other.real = self._training(baselines.block(len(self.train), n, draw, rng.child("train")))
            rows = baselines.block(len(self.held_out), n, draw, rng.child("held out"))
            labels = self.held_out_records.labels
            yield self.made(self.held_out[rows], None if labels is None else labels.cpu()[rows]), other

    def _trivial(self) -> Iterator[tuple[str, SampleSet]]:
        for name, make in (baselines.TRIVIAL if self.dataset.spec.is_picture else baselines.TRIVIAL_RECORDS).items():
            n = min(self.n, len(self.held_out)) if name == "nearest neighbor" else self.n
            yield name, self.made(make(self.train, self.held_out, n, Rng(self.seed)))

    def _ladder(self, metric: SampleMetric, rungs: Sequence[Rung]) -> Ladder | None:
        if not rungs:
            return None
        return Ladder(
            metric=metric.name,
            network=self.features.name,
            n=min(self.n, len(self.held_out)),
            seed=self.seed,
            better=metric.better,
            fingerprint=self.dataset.spec.fingerprint,
            rungs=tuple(rungs),
        )


def _try(metric: SampleMetric, made: SampleSet, reference: Reference) -> Estimate | None:
    """Measure the metric; None if these records do not allow it, for example if there are too few."""
    try:
        return metric.measure(made, reference)[0]
    except MorphogenError:
        return None


def _mean(values: Sequence[float]) -> tuple[float | None, tuple[float, float] | None]:
    """The mean and its 95 % interval by Student's t."""
    if not values:
        return None, None
    x = torch.tensor(values, dtype=torch.float64)
    mean = float(x.mean())
    if len(x) < 2:
        return mean, None
    half = student_quantile(len(x) - 1) * float(x.std()) / len(x) ** 0.5
    return mean, (mean - half, mean + half)
