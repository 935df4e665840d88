"""A private training: its plan, its updates, its ledger, and the guarantee that comes out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from morphogen.core.batch import BatchSource
from morphogen.core.capabilities import Releases
from morphogen.core.errors import SpecError, UsageError
from morphogen.core.family import Family, Progress
from morphogen.core.privacy import RECORD, PrivacyGuarantee, Spending
from morphogen.core.strong_noise import NoiseSource, SeededSource, StrongSource
from morphogen.theory.privacy import subsampled_epsilon, subsampled_noise
from morphogen.trainer.distributed import World
from morphogen.trainer.log import Log, Meters
from morphogen.trainer.optim import PlayerOptimizer
from morphogen.trainer.precision import Precision
from morphogen.trainer.private import probing
from morphogen.trainer.private.ledger import NAME, Ledger
from morphogen.trainer.private.releasing import ReleaseUpdates, Shared
from morphogen.trainer.private.updates import PrivateSource, PrivateUpdates
from morphogen.trainer.private.warming import WarmUp
from morphogen.trainer.recipe import Recipe

_NOT_COVERED = ("records outside of the training split", "how long the training took")
_UNBOUND = 10**9  # steps
_ALWAYS_PUBLIC = ("the number of units", "the shape of a record", "the names of classes")
_WORDS = {
    "ranges": "the ranges and values in the description of the data",
    "parts": "the models that it stands on",
    "start": "the weights that it began with",
}


def private_source(stream: BatchSource) -> PrivateSource:
    """The stream, if its batches are random as the accountant counts. Raises `UsageError`."""
    if not isinstance(stream, PrivateSource):
        raise UsageError("a private training takes its batches from a PoissonStream, which draws each unit at random.")
    return stream


class PrivateTraining:
    """What `Recipe.privacy` asks for, carried out on one family and one source of batches."""

    def __init__(
        self,
        family: Family,
        stream: PrivateSource,
        recipe: Recipe,
        world: World,
        optimizers: dict[str, PlayerOptimizer],
        log: Log,
        moments: Family | None = None,
    ) -> None:
        """`moments`: the family whose release and samples come first, where the terms have a share for them."""
        terms = recipe.terms
        assert terms is not None
        self.terms, self._family, self._stream, self._recipe = terms, family, stream, recipe
        if world.size > 1:
            raise UsageError("a private training runs in one process: start it without torchrun.")
        if terms.delta >= 1.0 / stream.units:
            raise UsageError(
                f"delta={terms.delta:g} would allow the release of a whole unit: take less than 1/n ="
                f" {1.0 / stream.units:.2g}, for n = {stream.units:,} units."
            )
        family.private = True
        devnull = str(log.path) == os.devnull
        self.ledger = Ledger(None if devnull else log.path.parent / NAME)
        self._source: NoiseSource = SeededSource(recipe.seed, session=1) if terms.seeded else StrongSource()
        self.planned, self.noise = 0, 0.0
        self._known: tuple[int, float] = (-1, 0.0)
        self.slow: str | None = None  # why gradients are computed unit by unit
        self._mechanism: Shared | None = None
        self._released: PrivacyGuarantee | None = None
        self.warming: WarmUp | None = None
        self._updates: PrivateUpdates | ReleaseUpdates
        if isinstance(family, Releases):
            if terms.copies > 1 or terms.moments:
                raise SpecError(f"a {family.name!r} model reads each record once: leave out copies and moments.")
            self.players: list[str] = []
            self._mechanism = Shared(terms, self._source, family.chooses)
            self._updates = ReleaseUpdates(family, stream, self._mechanism, self.ledger, optimizers, recipe.seed)
            return
        if any(len(list(part.parameters())) for part in family.parts.values()) and "parts" not in terms.public:
            raise SpecError(
                "a private model cannot stand on parts, whose weights tell of the records that they have seen: leave"
                " them out, or say that they have seen public records alone, --privacy ...,public=parts."
            )
        self.players = probing.check(family)
        named = {name: optimizers[name].parameters for name in self.players}
        self.slow = probing.readable(family, named)
        self._updates = PrivateUpdates(
            family, stream, recipe, optimizers, self.ledger, self._source, terms.clip, self.slow is None
        )
        if terms.moments:
            if moments is None:
                raise UsageError("a warm-up on moments needs the model that releases them.")
            mechanism = Shared(terms, self._source, False, terms.moments)
            size = max(1, recipe.batch_size // recipe.accumulate)
            self.warming = WarmUp(family, moments, mechanism, optimizers, size, recipe.seed)

    def plan(self, steps: int) -> None:
        """Plan the noise of so many steps. Raises `MorphogenError` without the package that computes it."""
        if self._mechanism is not None or self.planned:
            return
        terms = self.terms
        if self.warming is not None:
            steps = self.warming.plan(steps)
        self.planned = steps * len(self.players)
        self.noise = subsampled_noise(terms.epsilon, terms.delta, self._stream.rate, self.planned, self._before)
        self._use(self.noise)

    def begin(self) -> None:
        """Release the moments of a warm-up, unless a checkpoint has them; the next one keeps them."""
        if self.warming is not None and not self.warming.mechanism.spent:
            self.warming.release(self._stream)

    @property
    def _before(self) -> float | None:
        """The noise of the release that comes before the rounds."""
        return None if self.warming is None else self.warming.mechanism.noise

    def of(self, at: Progress, precision: Precision, meters: Meters | None) -> Iterator[tuple[PlayerOptimizer, Tensor]]:
        """The updates of one step, as `UpdateSchedule.of`."""
        if self.warming is not None and meters is not None and at.step < self.warming.steps:
            return self.warming.of(at, meters)
        return self._updates.of(at, precision, meters)

    def steps_left(self, step: int) -> int:
        """How many more steps may be made."""
        if self._mechanism is not None:  # steps after the release see no record
            return max(0, (self._recipe.steps or _UNBOUND) - step)
        warm = 0 if self.warming is None else max(0, self.warming.steps - step)
        return warm + max(0, self.planned - self.ledger.spent) // max(1, len(self.players))

    def lines(self) -> list[str]:
        """The plan, before the first step."""
        t, stream = self.terms, self._stream
        whom = "a record" if t.unit is None else f"all records of one {t.unit!r}"
        said = [
            f"privacy: epsilon {t.epsilon:g} at delta {t.delta:g} (below 1/n = {1 / stream.units:.2g}) for adding or"
            f" removing {whom}; n = {stream.units:,} is public, and the class of a record is not"
        ]
        if self._mechanism is not None:
            read = "all records are" if t.unit is None else f"one record of each {t.unit!r}, drawn at random, is"
            said.append(f"{read} read once; noise {self._mechanism.noise:.3g} for all uses together")
        else:
            if (warming := self.warming) is not None:
                said.append(
                    f"moments of classes take {t.moments:g} of the privacy, with noise {warming.mechanism.noise:.3g};"
                    f" the first {warming.steps:,} steps learn samples of them"
                )
            said.append(
                f"{self.planned:,} rounds, in each of which a unit takes part with probability {stream.rate:.3g}; noise"
                f" {self.noise:.3g} times the largest norm {t.clip:g} of a unit's gradient"
            )
        if self.slow is not None:
            said.append(f"gradients unit by unit, which is slow: {self.slow}")
        if t.seeded:
            said.append("warning: the noise is seeded, so the model is not for release")
        return said

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        released = None if self._mechanism is None or not self.ledger.spent else self.guarantee().to_dict()
        about = {"spent": self.ledger.spent, "planned": self.planned, "noise": self.noise, "released": released}
        return about if self.warming is None else {**about, "warm": self.warming.state()}

    def tensors(self) -> dict[str, Tensor]:
        """The moments of a warm-up, which a checkpoint keeps beside."""
        return {} if self.warming is None else dict(self.warming.moments.state_dict())

    def load_state(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> int:
        """The inverse of `state` and `tensors`. Returns the rounds made after the checkpoint, which are lost."""
        if self.warming is not None:
            self.warming.load_state(state["warm"], tensors)
        lost = self.ledger.recover(int(state["spent"]))
        self.planned, self.noise = int(state["planned"]), float(state["noise"])
        if self.noise:
            self._use(self.noise)
        if self._mechanism is not None:
            self._released = PrivacyGuarantee.stored({"privacy": state["released"]})
            if lost:
                raise UsageError(
                    "this run was killed while it read the records, and its whole epsilon counts as spent: a new run"
                    " would spend it again. Train into another folder if that is meant."
                )
        return lost

    def guarantee(self) -> PrivacyGuarantee:
        """What holds for the model as it is now."""
        t = self.terms
        public = (*_ALWAYS_PUBLIC, *(_WORDS[name] for name in t.public))
        about: dict[str, Any] = {"delta": t.delta, "unit": t.unit or RECORD, "public": public}
        about |= {"not_covered": _NOT_COVERED, "release": not t.seeded}
        if self._released is not None:
            return self._released
        if self._mechanism is not None:
            how = "zero-concentrated, sums of rho" if self._mechanism.rho else "Gaussian mechanism, closed form"
            return PrivacyGuarantee(
                epsilon=self._mechanism.epsilon, accountant=how, ledger=tuple(self._mechanism.spent), **about
            )
        spent, rate = self.ledger.spent, self._stream.rate
        epsilon = self._epsilon(spent)
        alone = epsilon if self._before is None else subsampled_epsilon(self.noise, rate, spent, t.delta)
        used = Spending(
            what="training", epsilon=alone, delta=t.delta, noise=self.noise or None, rate=rate, rounds=spent
        )
        first = () if self.warming is None else tuple(self.warming.mechanism.spent)
        how = "Gaussian mechanism, closed form" if rate == 1.0 else "privacy loss distributions, dp-accounting"
        return PrivacyGuarantee(epsilon=epsilon, accountant=how, ledger=(*first, used), **about)

    def _epsilon(self, rounds: int) -> float:
        if self._known[0] != rounds:
            found = subsampled_epsilon(self.noise, self._stream.rate, rounds, self.terms.delta, self._before)
            self._known = rounds, found
        return self._known[1]

    def _use(self, noise: float) -> None:
        if isinstance(self._updates, PrivateUpdates):
            self._updates.noise = noise
