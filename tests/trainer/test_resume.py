import errno
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch

from morphogen import artifact
from morphogen.artifact import files
from morphogen.core.errors import ArtifactError, MorphogenError, UsageError
from morphogen.core.rng import Rng
from morphogen.trainer import Interrupted, checkpoint, fit
from tests.trainer.toys import DATA, SCRIPT, Autoencoder, Game, Points, build, points, recipe, run

TIMES = ("elapsed_s", "images_per_s")


def log(out):
    lines = [json.loads(line) for line in (out / "log.jsonl").open()]
    return [{name: value for name, value in line.items() if name not in TIMES} for line in lines]


def same(a, b, prolonged=False):
    """Weights, averages, optimizer states and logs of two finished runs, bit for bit; plans, but of a prolonged one."""
    (ta, fa), (tb, fb) = (checkpoint.read(out / "checkpoint") for out in (a, b))
    assert set(ta) == set(tb)
    assert all(torch.equal(ta[name], tb[name]) for name in ta)
    assert fa["step"] == fb["step"]
    la, lb = ([line for line in log(out) if not (prolonged and line.get("kind") == "plan")] for out in (a, b))
    assert la == lb
    wa, wb = (artifact.load(out).family.state_dict() for out in (a, b))
    assert all(torch.equal(wa[name], wb[name]) for name in wa)


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("kind", [Autoencoder, Game])
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(tmp_path, kind, accumulate, schedule):
    more = {"steps": 47, "log_every": 10, "accumulate": accumulate, "lr_schedule": schedule, "clip": 3.0}
    options = {"dropout": 0.3} if kind is Autoencoder else {}
    list(run(tmp_path / "whole", kind, options=options, **more))
    for stop_after in (1, 3):  # twice, so that a resumed run is interrupted too
        events = run(tmp_path / "parts", kind, resume=stop_after == 3, options=options, **more)
        for _ in range(stop_after):
            next(events)
        events.close()
        assert artifact.load(tmp_path / "parts").provenance["complete"] is False
    list(run(tmp_path / "parts", kind, resume=True, options=options, **more))
    assert artifact.load(tmp_path / "parts").provenance["complete"] is True
    same(tmp_path / "whole", tmp_path / "parts")


def test_an_interruption_between_two_lines_of_the_log_is_resumed_bit_for_bit(tmp_path):
    """At step 7 of a line every 10, the running means must survive too."""
    more = {"steps": 25, "log_every": 10}
    list(run(tmp_path / "whole", **more))

    class Interrupting(Points):
        def batch(self, step, rank=0, world=1):
            if step == 6:
                signal.raise_signal(signal.SIGINT)
            return super().batch(step, rank, world)

    with pytest.raises(Interrupted, match="step 7 of 25"):
        list(fit(build(), Interrupting(points()), recipe(**more), tmp_path / "parts"))
    assert checkpoint.read(tmp_path / "parts" / "checkpoint")[1]["step"] == 7
    list(run(tmp_path / "parts", resume=True, **more))
    same(tmp_path / "whole", tmp_path / "parts")


def test_ctrl_c_leaves_a_checkpoint_and_an_unfinished_model(tmp_path):
    handler = signal.getsignal(signal.SIGINT)
    events = run(tmp_path / "m", steps=100_000, log_every=5)
    next(events)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.01)
    with pytest.raises(Interrupted, match="resume to go on"):
        list(events)
    assert signal.getsignal(signal.SIGINT) is handler
    loaded = artifact.load(tmp_path / "m")
    assert loaded.provenance["complete"] is False
    assert "interrupted" in (tmp_path / "m" / "card.md").read_text()
    assert checkpoint.read(tmp_path / "m" / "checkpoint")[1]["step"] == loaded.provenance["steps"]


@pytest.fixture
def listening():
    """Ctrl-C raises, also where the tests run as a background job, for which shells ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_second_ctrl_c_acts_at_once(tmp_path, listening):
    events = run(tmp_path / "m", steps=100_000, log_every=5)
    next(events)
    with pytest.raises(KeyboardInterrupt):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
    events.close()


def test_it_runs_in_a_thread_where_signals_do_not_reach(tmp_path):
    thread = threading.Thread(target=lambda: list(run(tmp_path / "m", steps=10)))
    thread.start()
    thread.join()
    assert artifact.load(tmp_path / "m").provenance["complete"] is True


def test_a_run_killed_at_any_time_goes_on_from_its_last_checkpoint(tmp_path):
    more = {"steps": 60, "log_every": 5, "checkpoint_seconds": 0.05}
    told = {"family": "autoencoder", "recipe": more, "out": str(tmp_path / "parts"), "delay_s": 0.02}
    process = subprocess.Popen([sys.executable, SCRIPT, json.dumps([told])], stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if json.loads(line)["step"] >= 20:
            break
    process.kill()  # SIGKILL
    process.wait()
    process.stdout.close()
    step = checkpoint.read(tmp_path / "parts" / "checkpoint")[1]["step"]
    assert 0 < step < 60
    assert not (tmp_path / "parts" / artifact.MANIFEST).exists()
    files.temporary(tmp_path / "parts" / "checkpoint" / "state.safetensors").write_text("half a checkpoint")
    with (tmp_path / "parts" / "checkpoint" / "log.jsonl").open("a") as stream:
        stream.write('{"step": 59, "terms": {}}\n{"step": 6')  # lines after the checkpoint, one of them cut short
    list(run(tmp_path / "parts", resume=True, **more))
    list(run(tmp_path / "whole", **more))
    same(tmp_path / "whole", tmp_path / "parts")
    assert {f.name for f in (tmp_path / "parts" / "checkpoint").iterdir()} == {"state.safetensors", "log.jsonl"}


@pytest.fixture
def full(monkeypatch):
    """Turns writing checkpoints into writing onto a full disk, from the call on."""

    def write_half(path, tensors, metadata):
        with files.replacing(path) as sibling:
            sibling.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

    return lambda: monkeypatch.setattr(checkpoint, "write_tensors", write_half)


def test_a_full_disk_leaves_the_previous_checkpoint_and_training_goes_on(tmp_path, full, monkeypatch):
    more = {"steps": 100, "log_every": 5, "checkpoint_seconds": 1e-6}
    events = run(tmp_path / "m", **more)
    next(events)
    before = (tmp_path / "m" / "checkpoint" / "state.safetensors").read_bytes()
    full()
    said = [next(events).warnings for _ in range(3)]
    monkeypatch.undo()  # room was made
    assert sum(map(len, said)) == 1
    assert "the checkpoint of step" in str(said)
    assert "No space left on device" in str(said)
    assert "previous checkpoint is intact" in str(said)
    assert (tmp_path / "m" / "checkpoint" / "state.safetensors").read_bytes() == before
    assert {f.name for f in (tmp_path / "m" / "checkpoint").iterdir()} == {"state.safetensors", "log.jsonl"}
    events.close()
    list(run(tmp_path / "m", resume=True, **more))
    list(run(tmp_path / "whole", **more))
    assert any(line.get("kind") == "warning" for line in log(tmp_path / "m"))
    wa, wb = (artifact.load(tmp_path / name).family.state_dict() for name in ("whole", "m"))
    assert all(torch.equal(wa[name], wb[name]) for name in wa)


def test_a_last_checkpoint_that_cannot_be_written_costs_no_finished_model(tmp_path, full):
    events = run(tmp_path / "m", steps=10, log_every=5)
    next(events)
    full()
    (last,) = events
    assert "step 10 could not be written" in last.warnings[0]
    assert artifact.load(tmp_path / "m").provenance["complete"] is True


def test_an_interrupted_run_whose_state_cannot_be_written_says_what_there_is(tmp_path, full):
    events = run(tmp_path / "m", steps=100, log_every=5)
    next(events)
    full()
    with pytest.raises(MorphogenError, match=r"step 5 could not be written.*intact.*The model so far is in"):
        events.close()
    assert artifact.load(tmp_path / "m").provenance["steps"] == 5


def test_a_model_that_cannot_be_written_leaves_its_state(tmp_path, monkeypatch):
    events = run(tmp_path / "m", steps=10, log_every=5)
    next(events)

    def fail(*_, **__):
        raise ArtifactError("no room for it.")

    with monkeypatch.context() as patch:
        patch.setattr(artifact, "save", fail)
        with pytest.raises(MorphogenError, match=r"no room for it\. The checkpoint of step 10 is in .*resume"):
            list(events)
    list(run(tmp_path / "m", resume=True, steps=10, log_every=5))
    assert artifact.load(tmp_path / "m").provenance["complete"] is True


def test_what_would_fail_at_the_end_fails_before_the_first_step(tmp_path):
    """A name that no UTF-8 can hold, for example, in what is stored with the model."""

    class Counting(Points):
        def batch(self, step, rank=0, world=1):
            raise AssertionError("a step was made")

    told = {"note": "caf\udce9"}
    with pytest.raises(MorphogenError, match=r"training does not begin.*surrogates not allowed"):
        list(fit(build(), Counting(points()), recipe(steps=5), tmp_path / "m", provenance=told))
    assert not (tmp_path / "m").exists()


def test_a_limit_on_the_size_of_files_is_the_clear_error_too(tmp_path):
    """The operating system itself refuses the write here: of the model, or of the checkpoint, which is larger."""

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (6144, 6144))

    told = [
        {"family": "autoencoder", "recipe": {"steps": 5}, "out": str(tmp_path / "m"), "spec": {"hidden": hidden}}
        for hidden in (1024, 128)
    ]
    done = subprocess.run(
        [sys.executable, SCRIPT, json.dumps(told)], preexec_fn=limited, capture_output=True, text=True, check=False
    )
    model, state = (json.loads(line)["error"] for line in done.stdout.splitlines())
    assert "the model could not be written at the end, so training does not begin" in model
    assert "a checkpoint of" in state
    assert "File too large" in model
    assert "File too large" in state
    assert not (tmp_path / "m").exists()


def test_a_folder_that_cannot_be_made_is_the_clear_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MorphogenError, match="cannot be written to"):
        list(run(tmp_path / "file" / "m", steps=5))


def test_an_occupied_folder_is_refused_before_anything_is_done(tmp_path):
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(UsageError, match=r"exists and is not empty.*resume"):
        run(tmp_path, steps=5)
    with pytest.raises(UsageError, match="holds no run to resume"):
        run(tmp_path, steps=5, resume=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine"]


def test_resuming_where_nothing_was_begun_begins(tmp_path):
    list(run(tmp_path / "a", steps=20, resume=True))
    (tmp_path / "b" / "checkpoint").mkdir(parents=True)
    (tmp_path / "b" / "checkpoint" / "log.jsonl").write_text('{"step": 0, "kind": "of a run killed too early"}\n')
    list(run(tmp_path / "b", steps=20, resume=True))
    same(tmp_path / "a", tmp_path / "b")


def test_a_finished_run_is_left_as_it_is(tmp_path):
    list(run(tmp_path / "m", steps=10))
    before = {f: (f.stat().st_mtime_ns, f.read_bytes()) for f in (tmp_path / "m").rglob("*") if f.is_file()}
    (event,) = run(tmp_path / "m", steps=10, resume=True)
    assert event.step == event.total == 10
    assert "is finished" in event.warnings[0]
    assert {f: (f.stat().st_mtime_ns, f.read_bytes()) for f in before} == before


def test_a_run_killed_before_its_artifact_was_written_writes_it(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def kill(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(artifact, "save", kill)
        with pytest.raises(Killed):
            list(run(tmp_path / "m", steps=10))
    (event,) = run(tmp_path / "m", steps=10, resume=True)
    assert event.step == 10
    assert artifact.load(tmp_path / "m").provenance["complete"] is True


@pytest.mark.parametrize(
    "options, more, said",
    [
        ({}, {"batch_size": 16}, "recipe.batch_size is 16 and was 32"),
        ({}, {"steps": 40}, "recipe.steps is 40 and was 30"),
        ({}, {"seed": 1}, "recipe.seed is 1 and was 0"),
        ({"hidden": 3}, {}, "spec.hidden is 3 and was 2"),
    ],
)
def test_another_run_cannot_be_resumed_and_the_difference_is_named(tmp_path, options, more, said):
    next(events := run(tmp_path / "m", steps=30, log_every=5))
    events.close()
    with pytest.raises(UsageError, match=said):
        list(run(tmp_path / "m", resume=True, options=options, **{"steps": 30, "log_every": 5, **more}))


def test_other_data_cannot_take_the_place_of_a_run_s_but_may_have_moved(tmp_path):
    next(events := run(tmp_path / "m", steps=30, log_every=5))
    events.close()

    def again(**changes):
        with Rng(11).forked():
            family = Autoencoder(Autoencoder.Spec(), DATA.replace(**changes))
        return list(fit(family, Points(points()), recipe(steps=30, log_every=5), tmp_path / "m", resume=True))

    with pytest.raises(UsageError, match=r"the data hold other records \(fingerprint beef, and was f00d\)"):
        again(fingerprint="beef")
    assert again(source="/elsewhere", name="moved", preprocessing={"resize": "crop"})[-1].step == 30


def test_other_parts_cannot_take_the_place_of_a_run_s(tmp_path):
    """What counts is what is in them: their weights and options, not which object or file they come from."""

    def begun(part, out="m", resume=True):
        with Rng(11).forked():
            family = Autoencoder(Autoencoder.Spec(), DATA, {} if part is None else {"teacher": part})
        return fit(family, Points(points()), recipe(steps=30, log_every=5), tmp_path / out, resume=resume)

    for out, part in (("m", build()), ("alone", None)):
        next(events := begun(part, out, resume=False))
        events.close()
    moved = build()
    moved.shift.data[1] += 1e-6
    another = "another model .* than it was"
    for out, part, said in (
        ("m", moved, another),
        ("m", build(complaint="another option"), another),
        ("m", build(Game), another),
        ("m", None, "missing"),
        ("alone", build(), "new"),
    ):
        with pytest.raises(UsageError, match=f"(?s)the part 'teacher' is {said}.*Resume with the old ones"):
            list(begun(part, out))
    assert list(begun(build()))[-1].step == 30


def test_a_constant_schedule_can_be_prolonged(tmp_path):
    """The steps before are those of the longer run then, but for a family that looks at `fraction`."""
    list(run(tmp_path / "whole", steps=40, lr_schedule="constant", warmup=0, log_every=10))
    list(run(tmp_path / "parts", steps=20, lr_schedule="constant", warmup=0, log_every=10))
    list(run(tmp_path / "parts", steps=40, lr_schedule="constant", warmup=0, log_every=10, resume=True))
    same(tmp_path / "whole", tmp_path / "parts", prolonged=True)
    with pytest.raises(UsageError, match="at step 40, past the 30 asked for"):
        list(run(tmp_path / "parts", steps=30, lr_schedule="constant", warmup=0, log_every=10, resume=True))


def test_checkpoints_come_when_they_are_due(tmp_path):
    """Seldom ones leave the one of the beginning in place until the end."""
    events = run(tmp_path / "seldom", steps=1000, log_every=10, checkpoint_seconds=1000)
    next(events)
    assert checkpoint.read(tmp_path / "seldom" / "checkpoint")[1]["step"] == 0
    events.close()
    events = run(tmp_path / "often", steps=1000, log_every=10, checkpoint_seconds=1e-6)
    for _ in range(3):
        event = next(events)
        assert checkpoint.read(tmp_path / "often" / "checkpoint")[1]["step"] == event.step
    events.close()


def test_a_damaged_checkpoint_is_told(tmp_path):
    next(events := run(tmp_path / "m", steps=30, log_every=5))
    events.close()
    file = tmp_path / "m" / "checkpoint" / "state.safetensors"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(MorphogenError, match="expected a checkpoint"):
        list(run(tmp_path / "m", steps=30, log_every=5, resume=True))
