"""One run: a trainer, the files that it writes to its folder, and when it writes them.

Before the first step the run tries everything that its end will do. Between steps it writes checkpoints and sheets; a
failure there is a warning. At the end it writes the state first, then the model, then the dispensable files.
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
from morphogen.trainer import checkpoint, rehearsal, snapshots, state
from morphogen.trainer import provenance as facts
from morphogen.trainer.checkpoint import CheckpointError
from morphogen.trainer.distributed import World, full
from morphogen.trainer.interrupt import Interrupted, Stop
from morphogen.trainer.log import Event, Log
from morphogen.trainer.plan import Advice, plan
from morphogen.trainer.recipe import Recipe
from morphogen.trainer.snapshots import BEST, LAST
from morphogen.trainer.trainer import OnSheet, Trainer


class Run:
    """A trainer and the folder of its results."""

    def __init__(
        self,
        family: Family,
        stream: BatchSource,
        recipe: Recipe,
        out: Path,
        world: World,
        stop: Stop,
        going_on: bool,
        prolonged: bool,
        validation: Batch | None,
        given: Mapping[str, Any],
        begun_with: Mapping[str, Any],
        on_sheet: OnSheet | None,
        began: float | None,
        advice: Advice,
        moments: Family | None,
    ) -> None:
        self.advice, self.prolonged = advice, prolonged
        self.out, self.folder, self.world, self.stop, self.recipe = out, out / "checkpoint", world, stop, recipe
        self.going_on, self.validation, self.given, self.on_sheet = going_on, validation, given, on_sheet
        self.begun_with = begun_with
        self.last_checkpoint = self.last_sheet = time.perf_counter()
        self.kept_step: int | None = None  # the step of the last checkpoint
        self.found: dict[str, Mapping[str, str]] = {}  # by whom: what is wrong with the model, by its cause
        self.failed: set[str] = set()  # tasks that have failed, each reported once
        self.log = Log(self.folder / "log.jsonl", world)
        self.trainer = Trainer(family, stream, recipe, world, self.log, stop, began, moments)
        self.looked = False  # whether a health check and a sheet were made in this session
        self.to_say: list[str] = []
        if going_on:
            self.to_say = state.restore(self.trainer, self.folder, prolonged)
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
            replanned = trainer.replan()
            event = trainer.event()
            sheet, stopped = self._between(replanned)
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
            trainer.judge(self.found.get("health", {}), last=True, all_of_them=False)  # so that the log has it
        self._end(complete)
        if not complete:
            raise Interrupted(
                f"training was interrupted at step {trainer.step} of {trainer.budget.total or 'an unknown number'}."
                f" The model so far and a checkpoint are in {self.out}; resume to go on:"
                f" morphogen train --resume --out {shlex.quote(str(self.out))}"
            )
        self.draw()  # after the model is safe
        trainer.judge(self._causes(), last=True)
        said = (event.warnings if event else []) + trainer.take_warnings()
        event = event or trainer.event()  # None if the run was killed when only its artifact was missing
        yield replace(
            event,
            total=trainer.budget.total,
            elapsed_s=trainer.elapsed_s,
            remaining_s=0.0,
            sheet=True,
            warnings=said,
            mended=[*event.mended, *trainer.take_mended()],
        )

    def _prepare(self) -> None:
        """Do everything that can fail before the first step."""
        if self.world.leads:
            checkpoint.prepare(self.folder, self.out / "samples")
        self.log.begin(self.trainer.step if self.going_on else -1)
        for message in self.to_say:
            self.trainer.warn(message)
        self._rehearse()
        if self.prolonged:
            self.log.write({"step": self.trainer.step, "kind": "prolonged", "total": self.trainer.budget.total})
        self.trainer.prepare(self.advice.say)
        if not self.going_on:
            self._tell_plan()
            self._save()  # so that the run can be resumed from now on

    def _tell_plan(self) -> None:
        found = plan(self.trainer, self.trainer.stream.records, self.advice)
        self.log.write({"step": 0, "kind": "plan", **found.choices()})
        private = self.trainer.private
        if self.world.leads and (self.trainer.budget.pace is not None or self.advice.chosen or private is not None):
            self.advice.say(*found.lines())

    def _between(self, replanned: bool) -> tuple[bool, bool]:
        """Write the sheets and checkpoints that are due; with a budget the first ones come early, to be measured."""
        trainer, now = self.trainer, time.perf_counter()
        early = replanned and not self.looked
        wishes = (
            self.stop.requested,
            early or trainer.budget.sheet_due(now - self.last_sheet, trainer.elapsed_s, trainer.pauses),
            early or now - self.last_checkpoint >= self.recipe.checkpoint_seconds,
        )
        stop, sheet, save = (bool(w) for w in self.world.largest([float(w) for w in wishes]))
        if stop or trainer.done:
            return False, stop
        if sheet:
            self.look()
            self.draw()
            self.looked = True
            trainer.judge(self._causes(), last=False)
            with self._paused() as pause, self._harmless("the model so far"):
                self._write_model(self.folder / LAST, complete=False)
            trainer.pauses.sheet += pause()
            if snapshots.ends(trainer):
                return sheet, False
        if save:
            self.checkpoint()
        return sheet, False

    def _causes(self) -> dict[str, str]:
        return {cause: said for found in self.found.values() for cause, said in found.items()}

    def look(self) -> None:
        """Check the health of the model with averaged weights."""
        trainer, family = self.trainer, self.trainer.family
        loss: float | None = None
        with self._paused() as pause:
            if self.world.sharded:
                if self.on_sheet or self.validation is not None:
                    trainer.warn("a sharded model is neither sampled nor checked during training.")
            elif self.world.leads and self.validation is not None:
                with self._harmless("the health check"), trainer.averaged():
                    rng = Rng(self.recipe.seed, self.world.device).child("health")
                    health = family.health(self.validation.to(self.world.device), rng)
                    self.log.write({"step": trainer.step, "kind": "health", "metrics": health.metrics})
                    self.found["health"] = {w.partition(":")[0]: w for w in health.warnings}
                    loss = health.held_out
            if loss is not None:
                with self._harmless("the best model"):
                    snapshots.rank(trainer, loss, lambda: self._write_model(self.folder / BEST, complete=False))
        trainer.pauses.sheet = pause()

    def draw(self) -> None:
        """Call `on_sheet` with the averaged weights."""
        with self._paused() as pause:
            if self.on_sheet and self.world.leads and not self.world.sharded:
                with self._harmless("a sheet of samples"), self.trainer.averaged():
                    self.found["samples"] = self.on_sheet(self.trainer.family, self.trainer.step) or {}
        self.last_sheet = time.perf_counter()
        self.trainer.pauses.sheet += pause()

    def checkpoint(self) -> None:
        """Write everything that the next step depends on. A failure is a warning, and the last checkpoint stays."""
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
        """Turn an error in the block into a warning; training continues."""
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
        """True if all steps are done and the artifact says so."""
        spec = self.out / "spec.json"
        made = self.trainer.done and (self.out / artifact.MANIFEST).exists()
        return made and bool(read_json(spec)["provenance"]["complete"])

    def last_event(self) -> Event:
        """The only event of a run that has nothing left to do."""
        trainer = self.trainer
        message = f"{self.out} is finished: all {trainer.step} steps are made."
        return Event(trainer.step, trainer.budget.total, trainer.elapsed_s, 0.0, warnings=[message])

    def _end(self, complete: bool) -> None:
        """Write the state and the model; if one fails, the other is still written."""
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
        if self.world.leads:
            snapshots.discard_last(self.folder)  # the model itself is there now
        self.world.meet()  # after this, every process can read the artifact
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
        """Write the valid entries of the log to a file; None if that fails, because a model is complete without it."""
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
        """Write the model as at the end, and reserve the disk space of the end."""
        with self._paused():
            if not self.world.leads:
                self._write_model(self.out, complete=False)  # every process writes its part of a sharded model
                return
            with rehearsal.rehearsing(self.folder) as room:
                start = time.perf_counter()
                self._write_model(room / "model", complete=False)
                self.trainer.pauses.model = time.perf_counter() - start
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
            **({} if trainer.private is None else {"privacy": trainer.private.guarantee().to_dict()}),
        }

    @contextmanager
    def _paused(self) -> Iterator[Callable[[], float]]:
        """Count the seconds of the block as a pause; yields a function that returns them."""
        start = time.perf_counter()
        seconds = 0.0
        try:
            yield lambda: seconds
        finally:
            seconds = time.perf_counter() - start
            self.trainer.paused_s += seconds
