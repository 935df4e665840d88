"""`fit`: one training run and its folder.

OUT/checkpoint/   state.safetensors, log.jsonl: what a run needs to go on
OUT/samples/      where `on_sheet` may put its sheets
OUT/...           the artifact, once training has ended or was interrupted
"""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from morphogen import artifact
from morphogen.artifact.files import read_json, recover
from morphogen.artifact.store import own_state
from morphogen.core.batch import Batch, BatchSource
from morphogen.core.errors import UsageError
from morphogen.core.family import Family
from morphogen.core.rng import Rng
from morphogen.training import checkpoint, state
from morphogen.training import provenance as facts
from morphogen.training.compile import unwrap
from morphogen.training.distributed import World, full, join
from morphogen.training.interrupt import Interrupted, Stop, watched
from morphogen.training.log import Event, Log
from morphogen.training.recipe import Recipe
from morphogen.training.trainer import OnSheet, Trainer


def fit(
    family: Family,
    stream: BatchSource,
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    validation: Batch | None = None,
    provenance: Mapping[str, Any] | None = None,
    on_sheet: OnSheet | None = None,
) -> Iterator[Event]:
    """Train `family` on `stream`; iterate over the events, and `out` holds a complete artifact.

    `resume` goes on from the checkpoint in `out`, bit for bit; where there is none yet, the run begins.
    `validation` is what `family.health` looks at. `on_sheet(family, step)` is called with averaged
    weights whenever a sample sheet is due, in the leading process, but not for a sharded model.
    `provenance` is added to the artifact's.

    Ctrl-C, SIGTERM or closing the iterator ends the run between two steps, after a checkpoint and an
    artifact marked `complete: false`; a signal then raises `Interrupted`. A second Ctrl-C ends at once, and
    the last checkpoint stands. Raises `UsageError` if `out` is occupied or the run there is another
    one, `NonFiniteError` for NaN, `MorphogenError` if a checkpoint cannot be written.
    """
    out = Path(out)
    recover(out.resolve())
    going_on = resume and checkpoint.exists(out / "checkpoint")
    occupied = [entry.name for entry in out.iterdir()] if out.is_dir() else []
    if occupied and not going_on and not (resume and set(occupied) <= {"checkpoint", "samples"}):
        what = "holds no run to resume" if resume else "exists and is not empty"
        raise UsageError(f"{out} {what}: choose another folder" + ("." if resume else ", or resume the run in it."))
    return _fit(family, stream, recipe, out, going_on, validation, provenance or {}, on_sheet)


def _fit(
    family: Family,
    stream: BatchSource,
    recipe: Recipe,
    out: Path,
    going_on: bool,
    validation: Batch | None,
    given: Mapping[str, Any],
    on_sheet: OnSheet | None,
) -> Iterator[Event]:
    with watched() as stop:
        world = join(recipe)
        run = _Run(family, stream, recipe, out, world, stop, going_on, validation, given, on_sheet)
        try:
            if run.finished:
                yield run.last_event()
            else:
                yield from run.events()
        finally:
            unwrap(family)


class _Run:
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
        on_sheet: OnSheet | None,
    ) -> None:
        self.out, self.folder, self.world, self.stop, self.recipe = out, out / "checkpoint", world, stop, recipe
        self.going_on, self.validation, self.given, self.on_sheet = going_on, validation, given, on_sheet
        self.last_checkpoint = self.last_sheet = time.perf_counter()
        self.log = Log(self.folder / "log.jsonl", world)
        self.trainer = Trainer(family, stream, recipe, world, self.log, stop)
        if going_on:
            state.restore(self.trainer, self.folder)

    def events(self) -> Iterator[Event]:
        trainer = self.trainer
        if self.world.leads:
            checkpoint.prepare(self.folder)
        self.log.truncate(trainer.step if self.going_on else -1)
        trainer.prepare()
        if not self.going_on:
            self.checkpoint()  # so that the run can be resumed from now on, and a full disk shows at once
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
            self.sheet()
        self._end(complete)
        if not complete:
            raise Interrupted(
                f"training was interrupted at step {trainer.step} of {trainer.budget.total or 'an unknown number'}."
                f" The model so far and a checkpoint are in {self.out}; resume to go on."
            )
        said = (event.warnings if event else []) + trainer.take_warnings()
        event = event or trainer.event()  # of a run that was killed when only its artifact was missing
        yield replace(event, elapsed_s=trainer.elapsed_s, remaining_s=0.0, sheet=True, warnings=said)

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
            self.sheet()
        if settle:
            self.checkpoint()  # to know what it takes
            left = trainer.budget.steps_left(trainer.step, trainer.elapsed_s, trainer.training_s, trainer.pauses)
            left = -int(self.world.largest([-left])[0])
            trainer.budget.settle(trainer.step + left)
            self.log.write({"step": trainer.step, "kind": "budget", "total": trainer.budget.total})
        if save or settle:
            self.checkpoint()
        return sheet or settle, False

    def sheet(self) -> None:
        """Look at the model as it would be used now."""
        trainer, family = self.trainer, self.trainer.family
        with self._paused() as pause:
            if self.world.sharded:
                if self.on_sheet or self.validation is not None:
                    trainer.warn("a sharded model is neither sampled nor checked during training.")
            elif self.world.leads:
                with trainer.averaged():
                    if self.validation is not None:
                        rng = Rng(self.recipe.seed, self.world.device).child("health")
                        health = family.health(self.validation.to(self.world.device), rng)
                        self.log.write({"step": trainer.step, "kind": "health", "metrics": health.metrics})
                        for warning in health.warnings:
                            trainer.warn(warning)
                    if self.on_sheet:
                        self.on_sheet(family, trainer.step)
        self.last_sheet = time.perf_counter()
        trainer.pauses.sheet = pause()

    def checkpoint(self) -> None:
        """Write all that the next step depends on."""
        trainer = self.trainer
        trainer.guard.look()
        with self._paused() as pause:
            state.save(trainer, self.folder)
        self.last_checkpoint = time.perf_counter()
        trainer.pauses.checkpoint = pause()

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
        self.checkpoint()
        trainer, family = self.trainer, self.trainer.family
        with trainer.averaged():
            weights = {name: full(value) for name, value in own_state(family).items()}
            if self.world.leads:
                artifact.save(
                    self.out,
                    family,
                    recipe=self.recipe.to_dict(),
                    log=self.log.path if self.log.path.exists() else None,
                    provenance={**self.given, **self._provenance(complete)},
                    state=weights,
                )
        self.world.meet()  # who goes on to read the artifact finds it

    def _provenance(self, complete: bool) -> dict[str, Any]:
        trainer = self.trainer
        return {
            "complete": complete,
            "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "steps": trainer.step,
            "duration_s": round(trainer.elapsed_s, 1),
            "images_per_s": round(trainer.step * self.recipe.batch_size / trainer.training_s, 1),
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
