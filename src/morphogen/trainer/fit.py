"""`fit`: one training run and its folder.

    OUT/checkpoint/   state.safetensors and log.jsonl, for continuing the run
OUT/samples/      the folder for the sheets of `on_sheet`
OUT/...           the artifact, after training has ended or was interrupted
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from morphogen.artifact.folders import recover_locked
from morphogen.artifact.locks import locked
from morphogen.core.batch import Batch, BatchSource
from morphogen.core.errors import MorphogenError, UsageError
from morphogen.core.family import Family
from morphogen.trainer import checkpoint
from morphogen.trainer.compile import unwrap
from morphogen.trainer.distributed import join, leads
from morphogen.trainer.interrupt import watched
from morphogen.trainer.log import Event
from morphogen.trainer.plan import Advice
from morphogen.trainer.recipe import Recipe
from morphogen.trainer.run import Run
from morphogen.trainer.trainer import OnSheet


def fit(
    family: Family,
    stream: BatchSource,
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    prolonged: bool = False,
    validation: Batch | None = None,
    provenance: Mapping[str, Any] | None = None,
    begun_with: Mapping[str, Any] | None = None,
    on_sheet: OnSheet | None = None,
    began: float | None = None,
    advice: Advice | None = None,
    moments: Family | None = None,
) -> Generator[Event, None, None]:
    """Train `family` on `stream` and yield events. At the end of the iteration `out` holds a complete artifact.

    `resume` continues from the checkpoint in `out`, bit for bit; without a checkpoint the run begins. A `prolonged` run
    goes on with another length. `validation` are the records for `family.health`. Whenever a sample sheet is due, the
    leading process calls `on_sheet(family, step)` with averaged weights, but not for a sharded model. A budget of time
    counts from `began`, a moment of `time.perf_counter()`; by default from now. `advice` is for the plan, which is told
    and logged before the first step. `provenance` is added to the artifact's. `begun_with` is kept in the checkpoint,
    which is private to the run, for resuming it. `moments` is the family whose samples a private training learns first,
    where its terms ask for that.

    Ctrl-C, SIGTERM, closing the terminal or closing the iterator ends the run between two steps, after a checkpoint and
    an artifact marked `complete: false`; a signal then raises `Interrupted`. A second Ctrl-C ends the run at once, and
    the last checkpoint stays. A failure without harm (a sheet, a health check, a line of the log, a checkpoint before
    the end) is a warning. Raises `UsageError` if `out` is occupied or holds another run, `ArtifactError` if another
    process trains there, and `NonFiniteError` for NaN. Raises `MorphogenError` before the first step if checkpoints or
    the model cannot be written, and at the end if they were not.
    """
    out = Path(out)
    with _alone(out, family):
        going_on = _goes_on(out, resume)
    told = provenance or {}, begun_with or {}
    how = on_sheet, began, advice or Advice(), moments
    return _fit(family, stream, recipe, out, resume, going_on, prolonged, validation, told, *how)


def _goes_on(out: Path, resume: bool) -> bool:
    """Whether `out` holds a run to continue. Raises `UsageError` if it holds anything else."""
    recover_locked(out.resolve())
    if resume and checkpoint.exists(out / "checkpoint"):
        return True
    occupied = {entry.name for entry in out.iterdir()} if out.is_dir() else set()
    if occupied and not (resume and occupied <= {"checkpoint", "samples"}):
        what = "holds no run to resume" if resume else "exists and is not empty"
        raise UsageError(f"{out} {what}: choose another folder" + ("." if resume else ", or resume the run in it."))
    return False


@contextmanager
def _alone(out: Path, family: Family) -> Iterator[None]:
    """Within the block, the leading process locks `out`, so that no other process trains into it."""
    with ExitStack() as stack:
        if leads():
            try:
                stack.enter_context(locked(out, "training", f"training {family.name}"))
            except OSError as error:
                raise MorphogenError(f"{out} cannot be written to ({error}). Choose another place.") from error
        yield


def _fit(
    family: Family,
    stream: BatchSource,
    recipe: Recipe,
    out: Path,
    resume: bool,
    going_on: bool,
    prolonged: bool,
    validation: Batch | None,
    told: tuple[Mapping[str, Any], Mapping[str, Any]],
    on_sheet: OnSheet | None,
    began: float | None,
    advice: Advice,
    moments: Family | None,
) -> Generator[Event, None, None]:
    with watched() as stop, _alone(out, family):
        if leads():
            going_on = _goes_on(out, resume)  # another run may have written there before the lock
        world = join(recipe)
        run: Run | None = None
        try:
            run = Run(
                family,
                stream,
                recipe,
                out,
                world,
                stop,
                going_on,
                prolonged,
                validation,
                *told,
                on_sheet,
                began,
                advice,
                moments,
            )
            if run.finished:
                yield run.last_event()
            else:
                yield from run.events()
        except RuntimeError as error:
            lost = world.lost(error)
            if lost is None:
                raise
            step = None if run is None else run.kept_step
            kept = (
                "" if step is None else f" The checkpoint of step {step} is in {out}: start all of them with --resume."
            )
            raise MorphogenError(
                f"process {world.rank} of {world.size} has lost {lost}, whose own message says why it ended"
                f" ({str(error).splitlines()[0]}).{kept}"
            ) from error
        finally:
            unwrap(family)
