"""One run: a trainer, what it writes to its folder and when.

Before the first step everything is tried that the end will do. Between steps come checkpoints and sheets, whose failure
is a warning. At the end the state is written first, then the model, then what can be done without.
"""

from __future__ import annotations

import datetime
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from morphogen import artifact
from morphogen.artifact.store import own_state
from morphogen.core.batch import Batch, BatchSource
from morphogen.core.errors import MorphogenError
from morphogen.core.family import Family
from morphogen.core.reading import read_json
from morphogen.core.rng import Rng
from morphogen.trainer import checkpoint, rehearsal, state
from morphogen.trainer import provenance as facts
from morphogen.trainer.checkpoint import CheckpointError
from morphogen.trainer.distributed import World, full
from morphogen.trainer.interrupt import Interrupted, Stop
from morphogen.trainer.log import Event, Log
from morphogen.trainer.recipe import Recipe
from morphogen.trainer.trainer import OnSheet, Trainer


class Run:
    """A trainer, and where its results go."""

    def __init__(
        self,
        family: Family,
        stream: BatchSource,
        recipe: Recipe,
        out: Path,
        world: World,
        stop: Stop,
        going_on: bool,
        validation: Batch | None,
        given: Mapping[str, Any],
        begun_with: Mapping[str, Any],
        on_sheet: OnSheet | None,
    ) -> None:
        self.out, self.folder, self.world, self.stop, self.recipe = out, out / "checkpoint", world, stop, recipe
        self.going_on, self.validation, self.given, self.on_sheet = going_on, validation, given, on_sheet
        self.begun_with = begun_with
        self.last_checkpoint = self.last_sheet = time.perf_counter()
        self.kept_step: int | None = None  # that of the last checkpoint
        self.failed: set[str] = set()  # what has been said not to work
        self.log = Log(self.folder / "log.jsonl", world)
        self.trainer = Trainer(family, stream, recipe, world, self.log, stop)
        self.to_say: list[str] = []
        if going_on:
            self.to_say = state.restore(self.trainer, self.folder)
            self.kept_step = self.trainer.step

    def events(self) -> Iterator[Event]:
        trainer = self.trainer
        try:
            self._prepare()
        finally:
            if self.world.leads and self.kept_step is None:
                checkpoint.discard(self.folder)  # a run that did not begin leaves nothing
        event = None
        while not trainer.done:
            trainer.advance()
            event = trainer.event()
            sheet, stopped = self._between()
            if stopped:
                break
            if trainer.done:
                continue
            try:
                yield replace(event, sheet=sheet)
            except GeneratorExit:
                if not sys.is_finalizing():  # too late to write
                    self._end(complete=False)
                raise
        complete = trainer.done
        if complete:
            self.look()
        self._end(complete)
        if not complete:
            raise Interrupted(
                f"training was interrupted at step {trainer.step} of {trainer.budget.total or 'an unknown number'}."
                f" The model so far and a checkpoint are in {self.out}; resume to go on:"
                f" morphogen train --resume --out {shlex.quote(str(self.out))}"
            )
        self.draw()  # when the model is safe
        said = (event.warnings if event else []) + trainer.take_warnings()
        event = event or trainer.event()  # of a run that was killed when only its artifact was missing
        yield replace(event, elapsed_s=trainer.elapsed_s, remaining_s=0.0, sheet=True, warnings=said)

    def _prepare(self) -> None:
        """All that can fail, before the first step."""
        if self.world.leads:
            checkpoint.prepare(self.folder, self.out / "samples")
        self.log.begin(self.trainer.step if self.going_on else -1)
        for message in self.to_say:
            self.trainer.warn(message)
        self._rehearse()
        self.trainer.prepare()
        if not self.going_on:
            self._save()  # so that the run can be resumed from now on

    def _between(self) -> tuple[bool, bool]:
        """Sheets and checkpoints that are due, and the number of steps once it can be known."""
        trainer, now = self.trainer, time.perf_counter()
        settle = trainer.budget.observe(trainer.step, trainer.elapsed_s, trainer.training_s)
        wishes = (
            self.stop.requested,
            settle,
            now - self.last_sheet >= self.recipe.sheet_seconds,
            now - self.last_checkpoint >= self.recipe.checkpoint_seconds,
        )
        stop, settle, sheet, save = (bool(w) for w in self.world.largest([float(w) for w in wishes]))
        if stop or trainer.done:
            return False, stop
        if sheet or settle:
            self.look()
            self.draw()
        if settle:
            self.checkpoint()  # to know what it takes
            left = trainer.budget.steps_left(trainer.step, trainer.elapsed_s, trainer.training_s, trainer.pauses)
            left = -int(self.world.largest([-left])[0])
            trainer.budget.settle(trainer.step + left)
        if save or settle:
            self.checkpoint()
        if settle:
            self.log.write({"step": trainer.step, "kind": "budget", "total": trainer.budget.total})
        return sheet or settle, False

    def look(self) -> None:
        """Check the model's health as it would be used now."""
        trainer, family = self.trainer, self.trainer.family
        with self._paused() as pause:
            if self.world.sharded:
                if self.on_sheet or self.validation is not None:
                    trainer.warn("a sharded model is neither sampled nor checked during training.")
            elif self.world.leads and self.validation is not None:
                with self._harmless("the health check"), trainer.averaged():
                    rng = Rng(self.recipe.seed, self.world.device).child("health")
                    health = family.health(self.validation.to(self.world.device), rng)
                    self.log.write({"step": trainer.step, "kind": "health", "metrics": health.metrics})
                    for warning in health.warnings:
                        trainer.warn(warning)
        trainer.pauses.sheet = pause()

    def draw(self) -> None:
        """Give the model as it would be used now to whoever draws sheets."""
        with self._paused() as pause:
            if self.on_sheet and self.world.leads and not self.world.sharded:
                with self._harmless("a sheet of samples"), self.trainer.averaged():
                    self.on_sheet(self.trainer.family, self.trainer.step)
        self.last_sheet = time.perf_counter()
        self.trainer.pauses.sheet += pause()

    def checkpoint(self) -> None:
        """Write all that the next step depends on; a failure is a warning, and the last one stays."""
        try:
            self._save()
        except CheckpointError as error:
            self.last_checkpoint = time.perf_counter()
            if "checkpoint" not in self.failed:
                self.failed.add("checkpoint")
                self.trainer.warn(
                    f"{error} Training goes on, and tries again every {self.recipe.checkpoint_seconds:g} s."
                )

    def _save(self) -> None:
        trainer = self.trainer
        trainer.guard.look()
        with self._paused() as pause:
            state.save(trainer, self.folder, self.begun_with)
        self.last_checkpoint = time.perf_counter()
        self.kept_step = trainer.step
        trainer.pauses.checkpoint = pause()

    @contextmanager
    def _harmless(self, what: str) -> Iterator[None]:
        """An error in the block is a warning, and training goes on."""
        try:
            yield
        except Exception as error:
            self._warn_of(what, error)

    def _warn_of(self, what: str, error: Exception) -> None:
        if what not in self.failed:
            self.failed.add(what)
            reason = str(error) if isinstance(error, MorphogenError) else f"{type(error).__name__}: {error}"
            self.trainer.warn(f"{what} could not be made at step {self.trainer.step}: {reason}. Training goes on.")

    @property
    def finished(self) -> bool:
        """True if all steps were made and the artifact says so."""
        spec = self.out / "spec.json"
        made = self.trainer.done and (self.out / artifact.MANIFEST).exists()
        return made and bool(read_json(spec)["provenance"]["complete"])

    def last_event(self) -> Event:
        """The one event of a run that has nothing left to do."""
        trainer = self.trainer
        message = f"{self.out} is finished: all {trainer.step} steps are made."
        return Event(trainer.step, trainer.budget.total, trainer.elapsed_s, 0.0, warnings=[message])

    def _end(self, complete: bool) -> None:
        """Keep the state and the model; a failure of one does not keep the other from being written."""
        trainer = self.trainer
        unsaved: MorphogenError | None = None
        try:
            self._save()
        except CheckpointError as error:
            unsaved = error
        try:
            self._write_model(self.out, complete)
        except (MorphogenError, OSError) as error:
            reason = str(error) if isinstance(error, MorphogenError) else f"the model could not be written ({error})."
            raise MorphogenError(
                f"{reason} The checkpoint of step {self.kept_step} is in {self.folder}: make room, and resume."
            ) from error
        self.world.meet()  # who goes on to read the artifact finds it
        if unsaved is None:
            return
        if not complete:
            raise MorphogenError(f"{unsaved} The model so far is in {self.out}.") from unsaved
        trainer.warn(f"{unsaved} The model is complete.")

    def _write_model(self, path: Path, complete: bool) -> None:
        trainer, family = self.trainer, self.trainer.family
        with trainer.averaged():
            weights = {name: full(value) for name, value in own_state(family).items()}
            if self.world.leads:
                with self._counting_log() as log:
                    artifact.save(
                        path,
                        family,
                        recipe=self.recipe.to_dict(),
                        log=log,
                        provenance={**self.given, **self._provenance(complete)},
                        state=weights,
                    )

    @contextmanager
    def _counting_log(self) -> Iterator[Path | None]:
        """The entries of the log that count, in a file; None where that fails, as a model without its log is one."""
        file, log = self.folder / ".log.tmp.jsonl", None
        with self._harmless("the model's log"):
            if self.log.path.exists():
                self.log.copy(file)
                log = file
        try:
            yield log
        finally:
            with suppress(OSError):
                file.unlink(missing_ok=True)

    def _rehearse(self) -> None:
        """Write the model as if this were the end, and take the room of the end."""
        with self._paused():
            if not self.world.leads:
                self._write_model(self.out, complete=False)  # its part of a sharded model
                return
            with rehearsal.rehearsing(self.folder) as room:
                self._write_model(room / "model", complete=False)
                rehearsal.reserve(room, state.size(self.trainer), checkpoint.exists(self.folder))

    def _provenance(self, complete: bool) -> dict[str, Any]:
        trainer = self.trainer
        return {
            "complete": complete,
            "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "steps": trainer.step,
            "duration_s": round(trainer.elapsed_s, 1),
            "images_per_s": round(trainer.step * self.recipe.batch_size / max(trainer.training_s, 1e-9), 1),
            "peak_memory_mb": facts.peak_memory_mb(),
            "seed": self.recipe.seed,
            "precision": trainer.precision,
            "compiled": bool(trainer.compiled),
            "versions": facts.versions(),
            "hardware": facts.hardware(self.world.device, self.world.size),
        }

    @contextmanager
    def _paused(self) -> Iterator[Callable[[], float]]:
        """Count the block's seconds as a pause; gives a function that tells them."""
        start = time.perf_counter()
        seconds = 0.0
        try:
            yield lambda: seconds
        finally:
            seconds = time.perf_counter() - start
            self.trainer.paused_s += seconds
