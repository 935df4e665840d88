"""Trainings that are killed at random moments, against the same trainings left alone.

    python -m benchmarks.trust.kills --kills 200

Each training runs in a process of its own, forked from one that has loaded everything, and is killed by SIGKILL: at a
moment that is uniform over the duration of the run, or in the moments in which its model is exchanged at the end. It is
then resumed, and killed again with probability 1/2, until it ends. Its weights must equal those of the uninterrupted
training bit for bit. A model that was there before a kill must be there and sound after it. Every second training
begins with an interruption that leaves an unfinished model, so that there is one to lose.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.harness import path_of, plain_parser, write
from benchmarks.page import tables
from benchmarks.page.tables import Result, Seen, at_least
from morphogen import api, artifact, data
from morphogen.api.resuming import holds_run
from morphogen.artifact.store import own_state

OPTIONS: dict[str, dict[str, Any]] = {
    "vae": {"hidden": [16], "latent_dim": 2},
    "gan": {"backbone": "mlp", "hidden": [16], "discriminator_hidden": [16], "latent_dim": 4},
    "diffusion": {"backbone": "mlp", "hidden": [16]},
    "autoregressive": {"width": 4, "inner": 4, "blocks": 1, "hidden": 4},
}
RECIPE = {"batch_size": 8, "compile": "off", "device": "cpu", "precision": "fp32", "log_every": 10}
OFTEN = {"checkpoint_seconds": 0.05, "sheet_seconds": 0.2}


@dataclass
class Trial:
    """What happened to the trainings of one family."""

    family: str
    trainings: int = 0
    kills: int = 0
    kills_in_the_exchange: int = 0
    equal: int = 0
    models_before_a_kill: int = 0
    models_lost: int = 0
    seconds_uninterrupted: float = 0.0
    different: list[str] = field(default_factory=list)


class Training:
    """One training in a forked process, and the moment in which it begins to write its model."""

    def __init__(self, family: str, out: Path, steps: int, stop_at: int | None = None) -> None:
        self._telling, tell = os.pipe()
        self.pid = os.fork()
        if self.pid:
            os.close(tell)
            return
        status = 1
        try:
            _train(family, out, steps, stop_at, tell)
            status = 0
        except BaseException as error:
            print(f"{family} in {out}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(status)

    def wait(self) -> int:
        """Its exit status, or the negative number of the signal that ended it."""
        _, status = os.waitpid(self.pid, 0)
        os.close(self._telling)
        return os.waitstatus_to_exitcode(status)

    def kill(self, after_s: float) -> bool:
        """SIGKILL after some time; false if it had ended."""
        time.sleep(after_s)
        os.kill(self.pid, signal.SIGKILL)
        return self.wait() == -signal.SIGKILL

    def exchanges(self) -> bool:
        """Wait until it begins to write its model; false if it ends without."""
        return bool(os.read(self._telling, 1))


def _train(family: str, out: Path, steps: int, stop_at: int | None, tell: int) -> None:
    save, calls = artifact.save, []

    def announced_save(*values: Any, **how: Any) -> Path:
        calls.append(1)
        if len(calls) > 1:  # the first is the rehearsal
            os.write(tell, b".")
        return save(*values, **how)

    artifact.save = announced_save
    recipe = {**RECIPE, **OFTEN, "steps": steps}
    if holds_run(out):
        events = api.training(out=out, resume=True)
    else:
        events = api.training(family, "digits", out, options=OPTIONS[family], recipe=recipe, resume=out.exists())
    for event in events:
        if stop_at is not None and event.step >= stop_at:
            events.close()  # type: ignore[attr-defined]
            return


def _weights(out: Path) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in own_state(artifact.load(out).family).items()}


def _run(row: Trial, out: Path, steps: int, whole: dict[str, torch.Tensor], spent_s: float, rng: Any) -> None:
    """One training, killed at least once."""
    row.trainings += 1
    if row.trainings % 2 == 0:
        Training(row.family, out, steps, stop_at=int(rng.integers(1, steps))).wait()
    kills, again = 0, True
    while again:
        had_model = (out / artifact.MANIFEST).is_file()
        training = Training(row.family, out, steps)
        if rng.uniform() < 0.4:
            killed = training.exchanges() and training.kill(float(rng.uniform(0.0, 0.05)))
            row.kills_in_the_exchange += killed
        else:
            killed = training.kill(float(rng.uniform(0.0, spent_s)))
        kills += killed
        if had_model:
            row.models_before_a_kill += killed
            lost = killed and bool(_problems(out))
            row.models_lost += lost
        again = kills == 0 or (killed and rng.uniform() < 0.5)
        if not killed and not kills:
            shutil.rmtree(out, ignore_errors=True)  # it was faster than usual: begin anew
    row.kills += kills
    status = Training(row.family, out, steps).wait()
    found = _weights(out) if status == 0 else {}
    same = found.keys() == whole.keys() and all(torch.equal(value, found[name]) for name, value in whole.items())
    complete = status == 0 and bool(artifact.load(out).provenance["complete"]) and not _problems(out)
    row.equal += same and complete
    if not (same and complete):
        row.different.append(out.name)


def _problems(out: Path) -> Sequence[str]:
    try:
        return list(artifact.verify(out))
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]


def measure(kills: int, steps: int, folder: Path, seed: int = 0, say: Callable[[str], None] = print) -> list[Trial]:
    """Train and kill until so many kills are made, the families in turn."""
    torch.set_num_threads(1)  # before the first fork: threads do not survive it
    data.load("digits")
    rows, wholes = [Trial(family) for family in OPTIONS], {}
    for row in rows:
        start = time.perf_counter()
        if Training(row.family, folder / row.family, steps).wait():
            raise SystemExit(f"the uninterrupted training of {row.family} failed.")
        row.seconds_uninterrupted = round(time.perf_counter() - start, 2)
        wholes[row.family] = _weights(folder / row.family)
    rng, number = np.random.default_rng(seed), 0
    while sum(row.kills for row in rows) < kills:
        row = rows[number % len(rows)]
        out = folder / f"{row.family}-{number}"
        _run(row, out, steps, wholes[row.family], row.seconds_uninterrupted, rng)
        if not row.different or row.different[-1] != out.name:
            shutil.rmtree(out, ignore_errors=True)
        number += 1
        if number % 10 == 0:
            say(f"{sum(r.kills for r in rows)} of {kills} kills, {sum(len(r.different) for r in rows)} differ")
    return rows


def _equal(record: Result) -> Seen:
    trainings, kills, equal, lost = (
        sum(row[key] for row in record["rows"]) for key in ("trainings", "kills", "equal", "models_lost")
    )
    text = f"{equal} of {trainings} trainings"
    return Seen(equal / trainings, None, f"{kills} kills, {lost} models lost", text=text)


_figure = tables.of("trust.kills --kills 200", "kills")
FIGURES = (_figure("killed and resumed trainings that end as those left alone", at_least(1.0, "all"), _equal),)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = plain_parser(__doc__)
    found.add_argument("--kills", type=int, default=200)
    found.add_argument("--steps", type=int, default=150)
    found.add_argument("--seed", type=int, default=0)
    found.add_argument("--out", type=Path, default=path_of("kills"))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Kill, count and write."""
    asked = parser().parse_args(arguments)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(asked.kills, asked.steps, Path(folder), asked.seed)
    print(f"{'family':16}{'trainings':>10}{'kills':>7}{'in exchange':>13}{'equal':>7}{'models':>8}{'lost':>6}")
    for row in rows:
        print(
            f"{row.family:16}{row.trainings:10}{row.kills:7}{row.kills_in_the_exchange:13}{row.equal:7}"
            f"{row.models_before_a_kill:8}{row.models_lost:6}"
        )
    record = {"steps": asked.steps, "seed": asked.seed, "duration_s": round(time.perf_counter() - start, 1)}
    write(asked.out, {**record, "rows": [asdict(row) for row in rows]})


if __name__ == "__main__":
    main()
