"""What must not end a training: signals but those that ask it to, sheets, health checks, a log that cannot grow."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

from morphogen import artifact
from morphogen.artifact import files
from morphogen.core.batch import Batch
from morphogen.core.errors import ArtifactError
from morphogen.report.log import read_log
from morphogen.trainer import Interrupted, checkpoint, fit
from tests.trainer.toys import SCRIPT, Points, build, points, recipe, run


def test_a_closed_terminal_saves_and_ends(tmp_path):
    before = signal.getsignal(signal.SIGHUP)
    events = run(tmp_path / "m", steps=100_000, log_every=5)
    next(events)
    os.kill(os.getpid(), signal.SIGHUP)
    with pytest.raises(Interrupted, match="resume to go on"):
        list(events)
    assert signal.getsignal(signal.SIGHUP) == before
    step = artifact.load(tmp_path / "m").provenance["steps"]
    assert checkpoint.read(tmp_path / "m" / "checkpoint")[1]["step"] == step > 0


def test_under_nohup_it_goes_on(tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        events = run(tmp_path / "m", steps=50, log_every=5)
        next(events)
        os.kill(os.getpid(), signal.SIGHUP)
        assert list(events)[-1].step == 50
    finally:
        signal.signal(signal.SIGHUP, before)


def test_sheets_and_health_checks_that_fail_are_warnings_said_once(tmp_path):
    family = build()

    def fail(*_):
        raise RuntimeError("no picture \x1b[2J")

    family.health = fail
    options = recipe(steps=30, log_every=5, sheet_seconds=1e-6)
    events = list(
        fit(
            family,
            Points(points()),
            options,
            tmp_path / "m",
            validation=Batch(points(4), ids=None),
            on_sheet=fail,
        )
    )
    said = [warning for event in events for warning in event.warnings]
    assert len(said) == 2
    assert all("RuntimeError: no picture \\x1b[2J. Training goes on." in warning for warning in said)
    assert artifact.load(tmp_path / "m").provenance["complete"] is True
    logged = [e["message"] for e in read_log(tmp_path / "m" / "log.jsonl") if e.get("kind") == "warning"]
    assert logged[:1] == said[:1]


def test_a_log_that_cannot_be_written_costs_entries_only(tmp_path):
    events = run(tmp_path / "m", steps=30, log_every=5)
    next(events)
    file = tmp_path / "m" / "checkpoint" / "log.jsonl"
    file.unlink()
    file.mkdir()
    said = [warning for event in events for warning in event.warnings]
    assert len([warning for warning in said if "entries are missing" in warning]) == 1
    assert artifact.load(tmp_path / "m").provenance["complete"] is True


def test_the_log_only_grows_and_what_is_void_is_left_out(tmp_path):
    """The bytes of an interrupted run stay where they are; readers see each step once."""
    more = {"steps": 40, "log_every": 5, "checkpoint_seconds": 1000}
    events = run(tmp_path / "m", **more)
    for _ in range(3):
        next(events)
    file = tmp_path / "m" / "checkpoint" / "log.jsonl"
    with file.open("a") as stream:  # as of a process that was killed: the checkpoint is that of step 0
        stream.write('{"step": 20, "terms"')
    before = file.read_bytes()
    shutil.copytree(tmp_path / "m", tmp_path / "k")
    events.close()
    list(run(tmp_path / "n", **more))
    list(run(tmp_path / "k", resume=True, **more))
    assert (tmp_path / "k" / "checkpoint" / "log.jsonl").read_bytes().startswith(before)
    steps = [[e["step"] for e in read_log(tmp_path / n / "log.jsonl")] for n in ("n", "k")]
    assert steps[0] == steps[1] == [0, 0, *range(5, 41, 5)]  # choices and the plan come first


def test_leftovers_of_sheets_are_removed_and_nothing_else(tmp_path):
    next(events := run(tmp_path / "m", steps=30, log_every=5))
    events.close()
    samples = tmp_path / "m" / "samples"
    samples.mkdir()
    ours = [files.temporary(samples / name) for name in ("step-0000140.png", "captions.txt")]
    theirs = [samples / name for name in (".step-0000140.png", "step-0000005.png", ".mine.tmp", "notes.txt")]
    theirs.append(files.temporary(samples / "notes.txt"))
    for file in [*ours, *theirs]:
        file.touch()
    list(run(tmp_path / "m", steps=30, log_every=5, resume=True))
    assert set(samples.iterdir()) == set(theirs)


def test_two_trainings_cannot_share_a_folder(tmp_path):
    events = run(tmp_path / "m", steps=60, log_every=5)
    next(events)
    for resume in (False, True):
        with pytest.raises(ArtifactError, match=f"process {os.getpid()} .*has been training toy_autoencoder"):
            list(run(tmp_path / "m", steps=60, log_every=5, resume=resume))
    events.close()
    list(run(tmp_path / "m", steps=60, log_every=5, resume=True))


def test_a_lost_process_is_told_in_words(tmp_path):
    """One of two is killed between two steps; the other one says so, and where the checkpoint is."""
    told = [{"family": "autoencoder", "recipe": {"steps": 500}, "out": str(tmp_path / "m"), "delay_s": 0.01}]
    port = str(20000 + os.getpid() % 20000)
    environment = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    both = [
        subprocess.Popen(
            [sys.executable, SCRIPT, json.dumps(told)],
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    assert "step" in json.loads(both[0].stdout.readline())
    both[1].kill()
    said = [json.loads(line) for line in both[0].stdout]
    for process in both:
        process.wait()
        process.stdout.close()
    assert "process 0 of 2 has lost process 1" in said[-1]["error"]
    assert "The checkpoint of step 0 is in" in said[-1]["error"]
    events = list(run(tmp_path / "m", steps=500, resume=True))
    assert "made by 1 process, and was by 2" in events[0].warnings[0]
