"""The trainer. For each update of each step it computes the gradient and lets the player's optimizer apply it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import torch

from morphogen.core.batch import BatchSource
from morphogen.core.capabilities import Releases
from morphogen.core.errors import SpecError, UsageError
from morphogen.core.family import Family, Progress
from morphogen.core.printable import printable
from morphogen.core.rng import Rng
from morphogen.trainer import compile as compilation
from morphogen.trainer import precision
from morphogen.trainer.budget import Budget, Pauses
from morphogen.trainer.distributed import World
from morphogen.trainer.interrupt import Stop
from morphogen.trainer.log import Event, Log, Meters
from morphogen.trainer.monitors import Guard
from morphogen.trainer.optim import PlayerOptimizer, factor
from morphogen.trainer.private.ledger import Ledger
from morphogen.trainer.private.releasing import Exact, Passes, ReleaseUpdates
from morphogen.trainer.private.training import PrivateTraining, private_source
from morphogen.trainer.recipe import Recipe
from morphogen.trainer.robust import Trimming
from morphogen.trainer.updates import UpdateSchedule

EVENT_S = 0.5  # observers get an event at least this often
_TRIALS, _TRIALS_SHARE = 5, 0.02  # at most so many trial steps, of this share of the budget
_EARLY = 0.4  # share of a training before which nothing is said about its samples
_TRIALS_S, _MANY = 5.0, 200  # the same without a budget, for a run of many steps
Updates = UpdateSchedule | PrivateTraining | ReleaseUpdates
OnSheet = Callable[[Family, int], Mapping[str, str] | None]  # what is wrong with the samples, by its cause


class Trainer:
    """Trains a family. It does not write the results; `trainer/run.py` does."""

    def __init__(
        self,
        family: Family,
        stream: BatchSource,
        recipe: Recipe,
        world: World,
        log: Log,
        stop: Stop,
        began: float | None = None,
        moments: Family | None = None,
    ) -> None:
        """`moments`: the family whose samples a private training learns first, where its terms ask for that."""
        self.family, self.stream, self.recipe = family, stream, recipe
        self.world, self.log, self.stop = world, log, stop
        if world.sharded and not family.shardable:
            raise SpecError(
                f"a {family.name!r} model with these options (a penalty on gradients, or muon) cannot be sharded: use"
                " distributed=ddp."
            )
        family.to(world.device).train()
        family.parts.eval()
        world.share_weights(family)
        self.optimizers = {name: PlayerOptimizer(player, recipe.clip) for name, player in family.players().items()}
        self.guard = Guard(family, world)
        self.budget = Budget(recipe, stream.records)
        self.precision = precision.resolve(recipe.precision, world.device)
        self.compiled: bool | None = None  # not chosen yet
        self.step = 0
        self.elapsed_before = 0.0  # seconds of earlier sessions
        self.paused_s = 0.0  # seconds of all sessions that went into checkpoints and sheets
        self.pauses = Pauses()
        self.meters = Meters()
        self.best: list[float] | None = None  # the step whose model describes held-out records best, and their loss
        self.unimproved = 0  # looks at held-out records since then
        self.warned: list[str] = []
        self.standing: dict[str, str] = {}  # warnings about the model that hold, by their cause
        self._seen: set[str] = set()  # causes at the last look
        self._mended: list[str] = []
        self._new_warnings: list[str] = []
        self.private: PrivateTraining | None = None
        self.trimming = Trimming(family, recipe.robust)
        self._updates: Updates
        if recipe.privacy is not None:
            self.precision, self.compiled = "fp32", False
            stream = private_source(stream)
            self.private = PrivateTraining(family, stream, recipe, world, self.optimizers, log, moments)
            self._updates = self.private
        elif isinstance(family, Releases):
            self.compiled = False
            if not isinstance(stream, Passes):
                raise UsageError(f"a {family.name!r} model reads all records in order, which this stream cannot give.")
            self._updates = ReleaseUpdates(family, stream, Exact(), Ledger(None), self.optimizers, recipe.seed)
        else:
            self._updates = UpdateSchedule(family, stream, recipe, world, self.optimizers, self.guard, self.trimming)
        self._globals = Rng(recipe.seed).child(f"global:{world.rank}")
        self._last_event = self._prepared = time.perf_counter()
        self._began = self._last_event if began is None else began  # a budget counts from here
        self._first_step = self._last_step = 0
        self._since_paused = 0.0

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run began, over all sessions."""
        return self.elapsed_before + time.perf_counter() - self._began

    @property
    def training_s(self) -> float:
        """Seconds since the run began, without those of checkpoints and sheets."""
        return self.elapsed_s - self.paused_s

    @property
    def done(self) -> bool:
        """True once all steps are done."""
        return self.budget.total is not None and self.step >= self.budget.total

    def warn(self, message: str) -> None:
        """Give a warning once, and record it in the log."""
        message = printable(message)
        if message not in self.warned:
            self.warned.append(message)
            self._new_warnings.append(message)
            self.log.write({"step": self.step, "kind": "warning", "message": message})

    def judge(self, found: Mapping[str, str], last: bool, all_of_them: bool = True) -> None:
        """Tell what is wrong with the model, by its cause, once it lasts; take back what is mended.

        Early in a training nothing is told. Later a cause is told that two looks in a row have found, and at the last
        look each that is found. Without `all_of_them` nothing is taken back.
        """
        lasting = self.budget.fraction(self.step) >= _EARLY
        for cause, message in found.items():
            if cause not in self.standing and (last or (lasting and cause in self._seen)):
                self.standing[cause] = message
                self.warn(message)
        for cause in sorted(self.standing.keys() - found.keys()) if all_of_them else ():
            mended = self.standing.pop(cause)
            told = printable(mended)
            self.warned = [w for w in self.warned if w != told]  # so that it is told again if it comes back
            self._mended.append(mended)
            self.log.write({"step": self.step, "kind": "mended", "cause": cause})
        self._seen = set(found)

    def take_mended(self) -> list[str]:
        """The warnings that were taken back since the last call."""
        said, self._mended = self._mended, []
        return said

    def take_warnings(self) -> list[str]:
        """The warnings since the last call."""
        if self.log.problem is not None:
            self.warn(f"{self.log.path} could not be written ({self.log.problem}): entries are missing.")
        said, self._new_warnings = self._new_warnings, []
        return said

    def prepare(self, tell: Callable[[str], object] = lambda line: None) -> None:
        """Compile as the checkpoint says, or decide and record it; plan the length; start to count steps."""
        if self.private is not None or isinstance(self.family, Releases):
            self._prepare_private()
        elif self.compiled is None:
            if self.budget.limit is not None or (self.budget.total or 0) >= _MANY:
                self.budget.pace = self.try_steps(_TRIALS_SHARE * (self.budget.limit or _TRIALS_S / _TRIALS_SHARE))
            if compilation.may_compile(self.recipe, self.world, self._expected_s()):
                tell("compiling the networks, which takes up to a minute or two (Ctrl-C skips it)")
            with self.isolated():
                self.compiled, warnings = compilation.choose(
                    self.family, self.recipe, self.world, self.budget.total, self._trial
                )
            if self.compiled and self.budget.limit is not None:
                self.budget.pace = self.try_steps(_TRIALS_SHARE * self.budget.limit)
            for warning in warnings:
                self.warn(warning)
            choices = {"compiled": self.compiled, "precision": self.precision}
            self.log.write({"step": self.step, "kind": "choices", **choices})
        elif self.compiled:
            compilation.wrap(self.family)
        if self.budget.limit is not None and self.budget.pace is None:  # of a checkpoint of an earlier version
            self.budget.pace = self.try_steps(_TRIALS_SHARE * self.budget.limit)
        self.replan()
        self._first_step = self._last_step = self.step
        self._last_event = self._prepared = time.perf_counter()

    def _prepare_private(self) -> None:
        """Plan the steps of a private training, and the noise for them; they never become more."""
        if self.budget.limit is not None and self.budget.pace is None:
            self.budget.pace = self.try_steps(_TRIALS_SHARE * self.budget.limit)
        self.replan()
        if self.private is None:
            return
        self.private.plan(self.budget.total or 1)
        self.private.begin()
        left = self.private.steps_left(self.step)
        self.budget.asked = min(self.budget.asked or self.step + left, self.step + left)
        if self.budget.total is None or self.budget.total > self.budget.asked:
            self.budget.total = self.budget.asked
        self.log.write({"step": self.step, "kind": "choices", "compiled": False, "precision": self.precision})

    def try_steps(self, most_s: float) -> float:
        """The seconds of a step: the fewest of some trial steps, which take about `most_s` seconds or are only two."""
        times: list[float] = []
        with self.isolated():
            while len(times) < 2 or (len(times) < _TRIALS and sum(times) < most_s):
                start = time.perf_counter()
                self._trial()
                if self.world.device.type == "cuda":
                    torch.cuda.synchronize(self.world.device)
                times.append(self.world.largest([time.perf_counter() - start])[0])
        return min(times)

    def _expected_s(self) -> float | None:
        """About the seconds of the whole run."""
        pace, total = self.budget.pace, self.budget.total
        steps_s = None if pace is None or total is None else pace * total
        return steps_s if self.budget.limit is None else min(self.budget.limit, steps_s or self.budget.limit)

    def replan(self) -> bool:
        """Plan the length of a run with a budget anew, from the time that is left. Returns whether it was due."""
        budget = self.budget
        if budget.limit is None:
            return False
        if not self.world.largest([float(budget.due(self.elapsed_s))])[0]:
            return False
        budget.measure(self.step, self.training_s)
        left = -int(self.world.largest([-budget.steps_left(self.elapsed_s, self.pauses)])[0])
        if budget.plan(self.step, left, self.elapsed_s):
            self.log.write({"step": self.step, "kind": "budget", "total": budget.total, "pace_s": budget.pace})
        return True

    def advance(self) -> None:
        """Train until something is due: a line of the log, an event, or the end."""
        with self.isolated():
            while not self.done:
                self._seed_globals()
                at = Progress(self.step, self.budget.fraction(self.step))
                for optimizer, norm in self._updates.of(at, self.precision, self.meters):
                    optimizer.move(norm, factor(self.recipe, self.step, at.fraction, optimizer.until))
                self.step += 1
                late = time.perf_counter() - self._last_event > min(EVENT_S, 0.02 * (self.recipe.budget or 60.0))
                if self.step % self.recipe.log_every == 0 or (self.world.size == 1 and (late or self.stop.requested)):
                    return

    def event(self) -> Event:
        """The current event. Writes a line of the log if one is due."""
        now = time.perf_counter()
        spent = now - self._last_event - (self.paused_s - self._since_paused)
        made = self.step - self._last_step
        speed = made * self.stream.batch_size / spent if made and spent > 0 else None
        self._last_event, self._last_step, self._since_paused = now, self.step, self.paused_s
        terms, metrics = self.meters.terms.means(self.world), self.meters.metrics.means(self.world)
        if made and (self.done or self.step % self.recipe.log_every == 0):
            entry = {"step": self.step, "elapsed_s": round(self.elapsed_s, 3), "images_per_s": speed}
            self.log.write({**entry, "terms": terms, "metrics": metrics})
            self.meters.clear()
            if self.done and (left_out := self.trimming.entry(self.step)) is not None:
                self.log.write(left_out)
        said = self.take_warnings()
        about = self.step, self.budget.total, self.elapsed_s, self._remaining()
        return Event(*about, terms, metrics, speed, said, mended=self.take_mended())

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within the block, the model has averaged weights, evaluation mode, eager networks and no gradients."""
        with ExitStack() as stack, torch.no_grad():
            for optimizer in self.optimizers.values():
                for context in optimizer.averaged():
                    stack.enter_context(context)
            wrapped = {name: self.family.network(name) for name in self.family.networks()}
            compilation.unwrap(self.family)
            self.family.eval()
            try:
                with self.isolated():
                    yield
            finally:
                for name, network in wrapped.items():
                    self.family.wrap(name, network)
                self.family.train()
                self.family.parts.eval()

    @contextmanager
    def isolated(self) -> Iterator[None]:
        """Restore torch's global random state after the block."""
        with torch.random.fork_rng([self.world.device] if self.world.device.type == "cuda" else []):
            yield

    def _trial(self) -> None:
        """Compute the gradients of one step, without an update, without counting it, and without changing a buffer."""
        buffers = [b.clone() for b in self.family.buffers()]
        usual = {name: optimizer.usual for name, optimizer in self.optimizers.items()}
        for _ in self._updates.of(Progress(self.step, 0.0), self.precision, None):
            pass
        for name, optimizer in self.optimizers.items():
            optimizer.usual = usual[name]
        for buffer, before in zip(self.family.buffers(), buffers, strict=True):
            buffer.copy_(before)

    def _seed_globals(self) -> None:
        """Seed the global random state from (seed, step), for dropout and other code without addressed noise."""
        seed = self._globals.child(str(self.step)).seed
        # torch.manual_seed takes 80 us of bookkeeping; the generators themselves take one.
        torch.default_generator.manual_seed(seed)
        if self.world.device.type == "cuda":
            torch.cuda.default_generators[self.world.device.index].manual_seed(seed)

    def _remaining(self) -> float | None:
        made, limit = self.step - self._first_step, self.budget.limit
        of_budget = None if limit is None else max(0.0, limit - self.elapsed_s)
        if self.budget.total is None or not made:
            return of_budget
        left = (self.budget.total - self.step) * (time.perf_counter() - self._prepared) / made
        return left if of_budget is None else min(left, of_budget)
