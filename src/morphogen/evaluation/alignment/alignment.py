"""Alignment: the share of drawings that show what their prompts say, for data with captions that can be checked.

    shapes   all statements of a caption, by the exact parser (`aligned_shapes.py`)
    emoji    retrieval, skin tone and gender, by the frozen dual encoder (`aligned_emoji.py`)

Prompts are captions of one split that was not used for training. Each number is a share of pictures with its interval
(`theory/statistics/shares.py`). Beside it stand the shares of the real pictures of the prompts (the floor), of the same
drawings with captions of others, and of training pictures with the nearest captions (`prompts.py`). Differences are
paired by the prompt.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import DataError, UsageError, unknown
from morphogen.core.rng import Rng
from morphogen.data import Dataset
from morphogen.evaluation.alignment.aligned_emoji import EmojiJudge
from morphogen.evaluation.alignment.aligned_shapes import ShapesJudge
from morphogen.evaluation.alignment.prompts import Prompts, deranged, nearest
from morphogen.evaluation.context.degradations import as_bytes
from morphogen.evaluation.features.extraction import Features
from morphogen.evaluation.metrics.copying import Copying, copying
from morphogen.evaluation.result import Result
from morphogen.theory.statistics.shares import difference, share

SHUFFLED, NEAREST_TRAINING_CAPTION = "captions of others", "nearest training caption"


class Judge(Protocol):
    """Checks whether pictures show what captions of one split say.

    network  the name of its network, or ""
    what     the kinds of statements, each with the name of the share of pictures
    """

    @property
    def network(self) -> str: ...

    @property
    def what(self) -> Mapping[str, str]: ...

    def __call__(self, captions: Sequence[str], pictures: Tensor) -> dict[str, Tensor]:
        """For each kind (n,): 1 or 0, or NaN if a caption has no such statement; `pictures` (n, C, H, W) uint8."""


@dataclass(frozen=True)
class Checkable:
    """A data set with captions that can be checked: the splits of prompts, the novelty of each, and the judge."""

    splits: Mapping[str, str]
    judge: Callable[[Dataset, str], Judge]


CHECKABLE = {
    "shapes": Checkable(
        {"test": "triples seen in training", "test_withheld": "a triple never seen in training"},
        lambda dataset, split: ShapesJudge(),
    ),
    "emoji": Checkable({"test_combo": "unseen tone x concept x gender", "test_concept": "unseen concepts"}, EmojiJudge),
}


def checkable(spec: DataSpec) -> Checkable:
    """The way to check the captions of these data. Raises `DataError` if there is none."""
    found = CHECKABLE.get(spec.source.partition(":")[0] or spec.name)
    if found is None:
        raise DataError(
            f"whether pictures show what their captions say is known for {' and '.join(CHECKABLE)}, not for"
            f" {spec.name}: no judge of other captions is shipped."
        )
    return found


def splits(dataset: Dataset, asked: Sequence[str] | None = None) -> list[str]:
    """The splits of prompts: those in `asked`, or all. Raises `UsageError` for an unknown one."""
    there = [name for name in checkable(dataset.spec).splits if len(dataset.splits.get(name, ()))]
    for name in asked or ():
        if name not in there:
            raise UsageError(unknown("split of prompts", name, there))
    if not there:
        raise DataError(f"{dataset.spec.name} has no split of prompts; it has {', '.join(dataset.splits) or 'none'}.")
    return list(asked or there)


class AlignmentTask:
    """Prompts of one split, with everything that does not depend on the model.

    Use the same task to compare several models, or several scales of guidance.
    """

    def __init__(self, dataset: Dataset, prompts: Prompts, seed: int) -> None:
        self.dataset, self.prompts, self.seed = dataset, prompts, seed
        self._known = checkable(dataset.spec)
        self._judge = self._known.judge(dataset, prompts.split)
        self._rng = Rng(seed).child(f"alignment/{prompts.split}")

    @cached_property
    def _real(self) -> dict[str, Tensor]:
        return self._judge(self.prompts.captions, self.prompts.real())

    @cached_property
    def _remembered(self) -> dict[str, Tensor]:
        train = self.dataset.train
        rows = nearest(self.prompts.captions, train.captions or [], self._rng)
        return self._judge(self.prompts.captions, as_bytes(train.stored.cpu()[rows], train.spec))

    @cached_property
    def _partner(self) -> Tensor | None:
        return deranged(self.prompts.captions, self._rng)

    def results(self, made: Tensor, made_by: str = "", options: Mapping[str, Any] | None = None) -> list[Result]:
        """One result for each kind of statement in the captions, for the pictures `made` (n, C, H, W) uint8.

        `made_by` names their maker for the protocol; `options` are the sampling options, for the details.
        """
        start = time.perf_counter()
        found = self._judge(self.prompts.captions, made)
        shuffled = self._shuffled(made)
        seconds = time.perf_counter() - start
        results = []
        for name, what in self._judge.what.items():
            stated = ~found[name].isnan()
            if not stated.any():
                continue
            rows = self.prompts.rows[stated]
            ours, real = found[name][stated], self._real[name][stated]
            others = {NEAREST_TRAINING_CAPTION: self._remembered[name][stated]}
            value, ceiling = share(ours, rows), share(real, rows)
            below = {other: share(holds, rows) for other, holds in others.items()}
            ignored: tuple[str, ...] = ()
            if shuffled is not None and (said := ~shuffled[name].isnan()).any():
                ignored = _ignored(name, found[name], shuffled[name], self.prompts.rows)
                below = {SHUFFLED: share(shuffled[name][said], self.prompts.rows[said]), **below}
            results.append(
                Result(
                    name=f"aligned-{name}-{self.prompts.split}",
                    value=value.value,
                    interval=value.interval,
                    unit="share",
                    n=len(ours),
                    seed=self.seed,
                    better="higher",
                    protocol=f"share of {what}; {len(ours):,} pictures{made_by} of {len(rows.unique()):,} captions of"
                    f" {self.prompts.split} ({self._known.splits[self.prompts.split]}); 95 % interval",
                    baselines={other: estimate.value for other, estimate in below.items()},
                    floor=ceiling.value,
                    floor_interval=ceiling.interval,
                    network=self._judge.network,
                    warnings=ignored,
                    details={
                        "prompts": len(rows.unique()),
                        "baseline_intervals": {other: estimate.interval for other, estimate in below.items()},
                        "above": {other: difference(ours, holds, rows)[:2] for other, holds in others.items()},
                        "below_real": difference(real, ours, rows)[:2],
                        **({"drawn_with": dict(options)} if options else {}),
                    },
                    data=f"{self.dataset.spec.source or self.dataset.spec.name} ({self.prompts.split})",
                    fingerprint=self.dataset.spec.fingerprint,
                    duration_s=round(seconds, 2),
                )
            )
        return results

    def _shuffled(self, made: Tensor) -> dict[str, Tensor] | None:
        """The shares of the same drawings with captions of others."""
        if self._partner is None:
            return None
        return self._judge([self.prompts.captions[i] for i in self._partner.tolist()], made)


def _ignored(kind: str, own: Tensor, others: Tensor, prompt: Tensor) -> tuple[str, ...]:
    """A sentence if the drawings show these words of their prompts no more often than those of other prompts.

    The shares are paired by the prompt; the sentence comes unless the 95 % interval of their difference is above 0.
    """
    both = ~own.isnan() & ~others.isnan()
    if not both.any():
        return ()
    gain = difference(own[both], others[both], prompt[both])
    if gain.interval is None or gain.interval[0] > 0.0:
        return ()
    ours, theirs = float(own[both].mean()), float(others[both].mean())
    return (
        f"the generator ignores its words ({kind}), or too few drawings show otherwise: {ours:.1%} show what was asked"
        f" for, and {theirs:.1%} what others asked for.",
    )


class Copies(NamedTuple):
    """Drawings that are copies of training pictures: the results; `drawn` (n,), the compared drawings, numbered over
    all tasks in order; and `twins` (n,), the nearest training record of each."""

    results: list[Result]
    twins: Tensor
    drawn: Tensor


def copies(tasks: Sequence[AlignmentTask], made: Sequence[Tensor], made_by: str = "") -> Copies:
    """Test whether drawings are nearer to training pictures than real pictures of the same prompts, by features and
    pixels.

    One drawing per prompt is compared, so both sides have the same prompts in the same proportions. Twins are found by
    features. Raises `DataError` for fewer than 100 prompts.
    """
    dataset, first, start = tasks[0].dataset, [], 0
    for task in tasks:
        rows = task.prompts.rows.tolist()
        seen = {row: start + i for i, row in reversed(list(enumerate(rows)))}
        first += sorted(seen.values())
        start += len(rows)
    drawn = torch.tensor(first, dtype=torch.int64)
    pictures = torch.cat(list(made))[drawn]
    real = torch.cat([task.prompts.real() for task in tasks])[drawn]
    train = as_bytes(dataset.train.stored.cpu(), dataset.spec)
    features = Features(dataset.spec)
    views: dict[str, Callable[[Tensor], Tensor]] = {
        features.name: features.of,
        "pixels": lambda x: x.float() / 255.0,
    }
    results, twins = [], torch.empty(0, dtype=torch.int64)
    for name, view in views.items():
        begin = time.perf_counter()
        found = copying(view(pictures), view(real), view(train))
        twins = found.twins if name == features.name else twins
        results.append(_copied(found, name, tasks, made_by, time.perf_counter() - begin))
    return Copies(results, twins, drawn)


def _copied(found: Copying, view: str, tasks: Sequence[AlignmentTask], made_by: str, seconds: float) -> Result:
    one, n = tasks[0], len(found.distances)
    asked = ", ".join(task.prompts.split for task in tasks)
    return Result(
        name=f"aligned-copied-{view}",
        value=found.copied.value,
        interval=found.copied.interval,
        unit="share",
        n=n,
        seed=one.seed,
        better="lower",
        protocol=f"estimated share of copies, by {'pixels' if view == 'pixels' else 'features'}; {n:,} pictures"
        f"{made_by}, one a prompt, against all {len(one.dataset.train):,} training records, beside the real pictures of"
        " the same prompts; 95 % interval",
        network="" if view == "pixels" else view,
        details={
            "flagged": found.flagged,
            "p_value": found.p_value,
            "false_alarm_rate": found.level,
            "near": found.near,
            "near_if_new": found.expected,
            "held_out_in_training": found.duplicates,
        },
        data=f"{one.dataset.spec.source or one.dataset.spec.name} (train, {asked})",
        fingerprint=one.dataset.spec.fingerprint,
        duration_s=round(seconds, 2),
    )
