"""Trainings in bad circumstances: disks, permissions, streams, signals, limits.

    python -m benchmarks.trust.situations

Each runs `morphogen train` in a forked process and asserts three things: its exit status; that what it says has no
traceback and names the cause; and that nothing is half-written: a model is sound, a checkpoint is readable, no
temporary file is left, and where there is a checkpoint, `--resume` ends the run as the uninterrupted one would have
ended, bit for bit. Linux; some situations need a root that can become another user, and none runs under nohup, which
ignores SIGHUP.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from benchmarks.harness import path_of, plain_parser, write
from benchmarks.page import tables
from benchmarks.page.tables import Result, Seen, at_least
from benchmarks.peers.environments import ROOT
from morphogen import artifact, data
from morphogen.api.resuming import holds_run
from morphogen.artifact.store import own_state
from morphogen.cli.main import run
from morphogen.trainer import checkpoint

STEPS = 120
TRAIN = ["train", "vae", "--data", "digits", "--hidden", "16", "--latent-dim", "2", "--batch-size", "8"]
TRAIN += ["--compile", "off", "--precision", "fp32", "--device", "cpu", "--log-every", "5"]
TRAIN += ["--checkpoint-seconds", "0.1", "--sheet-seconds", "0.3"]
NOBODY = 65534


@dataclass(frozen=True)
class Outcome:
    """What a situation came to; `wrong` is empty if it is as it should be."""

    name: str
    status: int
    said: str
    wrong: list[str]


class Place:
    """A folder for one situation, and the process in it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out = folder, folder / "runs" / "m"
        self.out.parent.mkdir(parents=True)
        self.pid = self.starts = 0
        self.words = ""  # what a situation asks for instead
        self.afterwards: Callable[[], object] = lambda: None
        self._ends, self._tell = os.pipe()

    def start(self, *more: str, before: Callable[[], object] = lambda: None, steps: int = STEPS) -> None:
        """Train in a new process, in which `before` is called first; its streams go to files."""
        self.starts += 1
        self.pid = os.fork()
        if self.pid:
            return
        status = 70
        try:
            for number, file in ((1, self.folder / "stdout"), (2, self.errors)):
                os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), number)
            self._announce_the_end()
            before()
            status = run([*TRAIN, "--steps", str(steps), "--out", str(self.out), *more])
            sys.stdout.flush()
        except BaseException as error:
            print(f"Traceback: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(status)

    @property
    def errors(self) -> Path:
        """The standard error of the last process."""
        return self.folder / f"stderr-{self.starts}"

    def _announce_the_end(self) -> None:
        """Say when the model is written at the end, and take some time for it."""
        save = artifact.save

        def slowly(*values: Any, **how: Any) -> Path:
            if how["provenance"]["complete"]:  # neither the rehearsal nor a look at the model in training
                os.write(self._tell, b".")
                time.sleep(0.3)
            return save(*values, **how)

        artifact.save = slowly

    def await_moment(self, moment: Moment) -> None:
        """Wait until the folder is there, until steps are made, or until the model is about to be written."""
        log = self.out / "checkpoint" / "log.jsonl"
        while moment == "begun" and not self.out.exists():
            time.sleep(0.001)
        while moment == "training" and not (log.exists() and b'"terms"' in log.read_bytes()):
            time.sleep(0.01)
            if os.waitpid(self.pid, os.WNOHANG)[0]:
                raise RuntimeError(f"it ended at once: {self.errors.read_text()}")
        if moment == "end":
            os.read(self._ends, 1)

    def wait(self) -> int:
        """The exit status, or the negative number of a signal."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def said(self) -> str:
        """What it printed on standard error, errors first."""
        text = self.errors.read_text(errors="replace") if self.errors.exists() else ""
        return text[text.rfind("Error: ") :].strip() if "Error: " in text else text.strip()

    def half_written(self) -> list[str]:
        """What is neither whole nor absent."""
        wrong = []
        if self.out.exists():
            if (self.out / artifact.MANIFEST).exists():
                wrong += artifact.verify(self.out)
            elif any(self.out.iterdir()):
                if holds_run(self.out):
                    checkpoint.read(self.out / "checkpoint")
                else:
                    wrong.append(f"a folder with {sorted(f.name for f in self.out.iterdir())} and no checkpoint")
        found = [*self.out.parent.iterdir(), *self.out.rglob("*")]
        return wrong + [f"{f.name} is left" for f in found if f.name.startswith(".") and not f.name.endswith(".lock")]


def _limit(what: int, value: int, pid: int = 0) -> None:
    resource.prlimit(pid, what, (value, resource.getrlimit(what)[1]))


def _become_nobody() -> None:
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def _stream(number: int, file: str = "") -> Callable[[], object]:
    """A standard stream to a file, or closed with all above it."""
    return lambda: os.dup2(os.open(file, os.O_WRONLY), number) if file else os.closerange(number, 3)


def _kill(number: int) -> Callable[[Place], None]:
    return lambda place: os.kill(place.pid, number)


def _full_for_a_while(place: Place) -> None:
    _limit(resource.RLIMIT_FSIZE, 2000, place.pid)
    time.sleep(0.5)
    _limit(resource.RLIMIT_FSIZE, resource.RLIM_INFINITY, place.pid)
    time.sleep(0.3)
    os.kill(place.pid, signal.SIGTERM)


def _for_all(place: Place) -> None:
    for folder in (place.folder, place.out.parent):
        folder.chmod(0o777)


def _of_another_user(place: Place) -> None:
    _stopped(place)
    _for_all(place)
    place.start("--resume", before=_become_nobody, steps=LONG)


def _secret(place: Place) -> None:
    _for_all(place)
    (place.folder / "secret.npz").write_bytes(b"")
    (place.folder / "secret.npz").chmod(0o600)


def _stopped(place: Place) -> None:
    os.kill(place.pid, signal.SIGTERM)
    place.wait()


def _second(place: Place) -> None:
    first = place.pid
    place.start("--resume", steps=LONG)
    place.words = f"process {first} on"

    def end_the_first() -> None:
        os.kill(first, signal.SIGTERM)
        os.waitpid(first, 0)

    place.afterwards = end_the_first


def _damaged(place: Place) -> None:
    _stopped(place)
    file = place.out / "checkpoint" / checkpoint.NAME
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    place.start("--resume", steps=LONG)
    place.afterwards = lambda: file.write_bytes(whole)


def _leave() -> None:
    """Enter a folder that is then gone."""
    gone = tempfile.mkdtemp()
    os.chdir(gone)
    os.rmdir(gone)


LONG = 100_000  # steps that never end by themselves
Moment = Literal["", "begun", "training", "end"]  # what is waited for after the start


@dataclass(frozen=True)
class Situation:
    """A training, what happens to it, its statuses and what must be said.

    The folder is made ready, the process calls `before` and trains, and at a moment something is done to it. FOLDER in
    `more`, which are options, is the folder.
    """

    name: str
    statuses: tuple[int, ...] = (0,)
    words: str = ""
    before: Callable[[], object] = lambda: None
    at: Moment = ""
    then: Callable[[Place], object] = lambda place: None
    ready: Callable[[Place], object] = lambda place: None
    more: tuple[str, ...] = ()
    steps: int = STEPS


# fmt: off
FSIZE, INTERRUPTED = resource.RLIMIT_FSIZE, "resume to go on"
SITUATIONS = {one.name: one for one in (
    Situation("no room for the model at the start", (1,), "could not be written", lambda: _limit(FSIZE, 2000)),
    Situation("no room for a checkpoint at the start", (1,), "could not be written", lambda: _limit(FSIZE, 20_000)),
    Situation("the disk is full from some step to the end", (1,), "The checkpoint of step", at="training",
              then=lambda place: _limit(FSIZE, 2000, place.pid)),
    Situation("the disk is full for a while", (1,), INTERRUPTED, at="training", then=_full_for_a_while, steps=4000),
    Situation("standard error is full", before=_stream(2, "/dev/full")),
    Situation("standard output is full", (0, 1), before=_stream(1, "/dev/full")),
    Situation("standard output and error are closed", (0, 1), before=_stream(1)),
    Situation("the folder for the model is read-only", (1,), "cannot be written to", _become_nobody,
              ready=lambda place: place.out.parent.chmod(0o555)),
    Situation("a run of another user is resumed", (1,), "ermission denied", at="training", then=_of_another_user,
              steps=LONG),
    Situation("the data may not be read", (1, 2), "secret.npz", _become_nobody, ready=_secret,
              more=("--data", "FOLDER/secret.npz")),
    *(Situation(f"{one.name} before the first step", (1,), INTERRUPTED, at="begun", then=_kill(one), steps=LONG,
                before=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
      for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)),
    *(Situation(f"{one.name} in training", (1,), INTERRUPTED, at="training", then=_kill(one), steps=LONG)
      for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)),
    *(Situation(f"{one.name} while the model is written", at="end", then=_kill(one))
      for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)),
    Situation("SIGHUP under nohup", before=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN), at="training",
              then=_kill(signal.SIGHUP)),
    Situation("SIGPIPE in training", at="training", then=_kill(signal.SIGPIPE)),
    Situation("a strict umask", before=lambda: os.umask(0o077)),
    Situation("no home", before=lambda: os.environ.pop("HOME", None)),
    Situation("no folder for temporary files", before=lambda: os.environ.update(TMPDIR="/nowhere")),
    Situation("the working directory is gone", (0, 1), "working directory", _leave),
    Situation("no file can be opened any more", (1,), "The checkpoint of step", at="training",
              then=lambda place: _limit(resource.RLIMIT_NOFILE, 3, place.pid)),
    Situation("the folder is taken away in training", (0, 1), at="training", steps=2000,
              then=lambda place: place.out.rename(place.folder / "taken")),
    Situation("a second training into the same folder", (1,), at="training", then=_second, steps=LONG),
    Situation("a damaged checkpoint", (1,), "expected a checkpoint", at="training", then=_damaged, steps=LONG),
)}
# fmt: on


def outcome(name: str, folder: Path, whole: dict[str, torch.Tensor]) -> Outcome:
    """Bring a situation about and look at what is left."""
    place, of = Place(folder), SITUATIONS[name]
    of.ready(place)
    more = [word.replace("FOLDER", str(folder)) for word in of.more]
    place.start(*more, before=of.before, steps=of.steps)
    place.await_moment(of.at)
    of.then(place)
    status, words = place.wait(), place.words or of.words
    place.afterwards()
    said = place.said()
    wrong = [] if status in of.statuses else [f"status {status}, expected {' or '.join(map(str, of.statuses))}"]
    wrong += [f"{word!r} is said" for word in ("Traceback", "fault in morphogen") if word in said]
    if status and words not in said:
        wrong.append(f"{words!r} is not said")
    for folder in (place.folder, place.out.parent):
        folder.chmod(0o755)
    wrong += place.half_written()
    if holds_run(place.out) and checkpoint.facts(place.out / "checkpoint")["total"] == STEPS:
        place.start("--resume")
        if place.wait():
            wrong.append(f"it cannot be resumed: {place.said()}")
        else:
            found = own_state(artifact.load(place.out).family)
            wrong += [f"{key} differs" for key, value in whole.items() if not torch.equal(value, found[key])]
    return Outcome(name, status, said.replace(str(place.folder), "FOLDER").replace(str(ROOT), "PROJECT")[:400], wrong)


def _right(record: Result) -> Seen:
    return Seen(record["right"] / record["of"], text=f"{record['right']} of {record['of']} situations")


_figure = tables.of("trust.situations", "situations")
FIGURES = (_figure("trainings in bad circumstances that end as they should", at_least(1.0, "all"), _right),)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = plain_parser(__doc__)
    found.add_argument("--only", help="the situations whose name holds this; not written to the results")
    found.add_argument("--out", type=Path, default=path_of("situations"))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Bring each about, and write what it came to."""
    asked = parser().parse_args(arguments)
    torch.set_num_threads(1)  # before the first fork: threads do not survive it
    data.load("digits")
    start, outcomes = time.perf_counter(), []
    with tempfile.TemporaryDirectory() as root:
        os.chmod(root, 0o755)
        place = Place(Path(root) / "whole")
        place.start()
        if place.wait():
            raise SystemExit(f"the uninterrupted training failed: {place.said()}")
        whole = {name: value.clone() for name, value in own_state(artifact.load(place.out).family).items()}
        for number, name in enumerate(SITUATIONS):
            if asked.only in (None, "") or asked.only in name:
                found = outcome(name, Path(root) / str(number), whole)
                outcomes.append(found)
                print(
                    f"{'wrong' if found.wrong else 'right':6} {name} (status {found.status}) {'; '.join(found.wrong)}"
                )
                shutil.rmtree(Path(root) / str(number), ignore_errors=True)
    right = sum(not found.wrong for found in outcomes)
    print(f"{right} of {len(outcomes)} situations are as they should be")
    if asked.only is None:
        record = {"right": right, "of": len(outcomes), "duration_s": round(time.perf_counter() - start, 1)}
        write(asked.out, {**record, "situations": [asdict(found) for found in outcomes]})


if __name__ == "__main__":
    main()
