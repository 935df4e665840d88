"""What a user meets who gets something wrong: an exit status, one clear paragraph, and nothing half-written.

Each case goes through the real command line and the real API; the details of each room are tested beside it.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

from morphogen.cli.main import run

SMALL = ["--latent-dim", "2", "--hidden", "16", "--batch-size", "64", "--lr-schedule", "constant", "--compile", "off"]
Fails = Callable[..., str]


def train(out: Path, *arguments: str) -> list[str]:
    return ["train", "vae", "--data", "digits", "--out", str(out), *SMALL, *arguments]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "model"
    assert run(train(out, "--steps", "3")) == 0
    return out


@pytest.fixture
def model(trained: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(trained, tmp_path / "model"))


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Fails:
    """Run a command line that must fail with `status` and say `words`; returns the paragraph."""

    def check(arguments: list[Any], status: int, *words: str) -> str:
        line = [str(a) for a in arguments]
        capsys.readouterr()
        assert run(line) == status
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("Error: ") == 1 and err.startswith("Error: "), err
        assert "\n\n" not in err and "Traceback" not in err and "fault in morphogen" not in err
        for word in words:
            assert word in err
        assert run([*line, "--debug"]) == status
        assert "Traceback" in capsys.readouterr().err
        return err

    return check


def picture(path: Path, size: tuple[int, int] = (8, 8), seed: int = 0) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def files(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


# ------------------------------------------------------------------------ data


def test_a_source_that_is_missing_or_empty(fails: Fails, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    out = tmp_path / "m"
    for source, status, words in [
        (tmp_path / "nowhere", 1, "there is no folder or file"),
        (tmp_path / "empty", 1, "there is no picture in this folder"),
        ("", 2, "the source of the data is empty; give a name such as 'digits'"),
    ]:
        fails(["train", "vae", "--data", source, "--out", out], status, words)
        fails(["data", "inspect", source], status, words)
        fails(["evaluate", trained, "--data", source], status, words)
    assert not out.exists()


def test_a_corrupt_picture_is_named_and_can_be_left_out(
    fails: Fails, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "m"
    for i in range(40):
        picture(photos / f"{i:02}.png", seed=i)
    whole = (photos / "07.png").read_bytes()
    (photos / "07.png").write_bytes(whole[: len(whole) // 2])
    line = ["train", "vae", "--data", photos, "--out", out, "--batch-size", "8", "--steps", "1", "--hidden", "4"]
    fails(line, 1, "1 record cannot be used", "07.png", "skip_bad")
    assert not out.exists()
    assert run(["data", "inspect", str(photos)]) == 0
    assert "07.png" in capsys.readouterr().out
    line[3] = f"{photos}:skip_bad"
    assert run([str(a) for a in line]) == 0
    capsys.readouterr()
    assert run(["show", str(out), "--json"]) == 0
    assert "07.png" in json.loads(capsys.readouterr().out)["provenance"]["problems"][0]


def test_pictures_of_several_sizes_need_a_policy(fails: Fails, tmp_path: Path) -> None:
    picture(tmp_path / "photos" / "a.png", (8, 8))
    picture(tmp_path / "photos" / "b.png", (8, 12))
    fails(["train", "vae", "--data", tmp_path / "photos", "--out", tmp_path / "m"], 1, "8x12", "size=", "resize=")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": np.full((4, 8, 8), 300)}, ["integers from 300 to 300", "expected 0 to 255"]),
        ({"x": np.array([[0.0, np.nan], [1.0, 2.0]])}, ["x[0]", "NaN"]),
    ],
)
def test_values_that_cannot_be(fails: Fails, tmp_path: Path, arrays: dict[str, Any], words: list[str]) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    fails(["train", "vae", "--data", tmp_path / "a.npz", "--out", tmp_path / "m"], 1, "a.npz", *words)
    assert not (tmp_path / "m").exists()


def test_fewer_records_than_a_batch(fails: Fails, tmp_path: Path) -> None:
    line = ["train", "vae", "--data", "digits", "--out", tmp_path / "m", "--batch-size", "5000"]
    fails(line, 1, "1398", "at most 1398")
    assert not (tmp_path / "m").exists()


def test_data_of_another_shape_than_the_model_s(fails: Fails, trained: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "points.npz", x=np.random.default_rng(0).normal(size=(200, 2)))
    fails(["evaluate", trained, "--data", tmp_path / "points.npz"], 1, "points.npz")


# ----------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "vea", "--data", "digits", "--out", "{out}"], "unknown family 'vea': did you mean 'vae'?"),
        (["train", "vae", "--data", "digitz", "--out", "{out}"], "'digitz': did you mean 'digits'?"),
        (["train", "vae", "--data", "digits:binarry", "--out", "{out}"], "did you mean 'binary'"),
        (["train", "vae", "--data", "digits", "--out", "{out}", "--preset", "clasic"], "did you mean 'classic'?"),
        (["train", "vae", "--data", "digits", "--out", "{out}", "--latent-dmi", "3"], "did you mean '--latent-dim'"),
        (["train", "vae", "--data", "digits", "--out", "{out}", "--prior", "vamp2"], "'vamp'"),
        (["train", "vae", "--data", "digits", "--out", "{out}", "--likelihood", "bernouli"], "'bernoulli'"),
        (["train", "vae", "--data", "digits", "--out", "{out}", "--latent-dim", "0"], "greater than or equal to 1"),
        (["train", "vae", "--data", "digits", "--out", "{out}", "--device", "warp"], "expected auto, cpu, cuda"),
        (["train", "vae", "--data", "digits", "--out", "{out}", "--device", "cuda:99"], "device"),
        (["families", "vea"], "did you mean 'vae'?"),
        (["data", "inspect", "digitz"], "did you mean 'digits'?"),
        (
            ["evaluate", "{model}", "--data", "digits", "--metrics", "nlll"],
            "unknown metric 'nlll': did you mean 'nll'?",
        ),
        (["sample", "{model}", "--out", "{out}.png", "--class", "3"], "knows no classes"),
        (["sample", "{model}", "--out", "{out}.bmp"], "FILE.webp, FILE.npz, FILE.smi"),
        (["smaple", "{model}"], "sample"),
    ],
)
def test_an_unknown_name_is_wrong_usage(
    fails: Fails, trained: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    out = tmp_path / "m"
    fails([a.format(out=out, model=trained) for a in arguments], 2, words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("length", "words"),
    [
        (["--budget", "0s"], "greater than 0"),
        (["--budget=-10min"], 'such as "90s"'),
        (["--budget", "soon"], 'such as "90s"'),
        (["--budget", "nan"], 'such as "90s"'),
        (["--steps", "0"], "--steps"),
        (["--epochs", "nan"], "finite number"),
        (["--epochs", "0"], "greater than 0"),
        (["--epochs", "1", "--steps", "3"], "--steps and --epochs both say how long to train"),
    ],
)
def test_an_impossible_length(fails: Fails, tmp_path: Path, length: list[str], words: str) -> None:
    fails(["train", "vae", "--data", "digits", "--out", tmp_path / "m", *length], 2, words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        *((flag, value) for flag in ("--lr", "--beta", "--clip", "--sheet-seconds") for value in ("nan", "inf", "-1")),
        *(("--epochs", value) for value in ("nan", "inf", "-1", "1e30")),
        *((flag, "1" + "0" * 30) for flag in ("--steps", "--batch-size", "--epochs", "--seed", "--log-every")),
        *((flag, "nan") for flag in ("--steps", "--batch-size", "--hidden", "--latent-dim", "--seed", "--budget")),
        *((flag, "1e308") for flag in ("--free-bits", "--beta", "--lr", "--variance", "--clip", "--weight-decay")),
        ("--budget", "1" + "0" * 30 + "min"),
        ("--seed", str(2**64)),
        ("--hidden", ",".join(["8"] * 10_000)),
        ("--hidden", "8," + "9" * 5000),
        ("--steps", "9" * 5000),
        ("--epochs", "9" * 5000),
        ("--importance-samples", "1000000000"),
    ],
)
def test_numbers_of_a_training_that_cannot_be(fails: Fails, tmp_path: Path, flag: str, value: str) -> None:
    said = fails(["train", "vae", "--data", "digits", "--out", tmp_path / "m", f"{flag}={value}"], 2)
    assert flag in said or f"'{flag[2:].replace('-', '_')}" in said
    assert len(said) < 600
    assert list(tmp_path.iterdir()) == []


def test_a_seed_of_64_bits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seed = ["--seed", str(2**64 - 1)]
    assert run(train(tmp_path / "m", "--steps", "1", *seed)) == 0
    assert run(["train", "--resume", "--out", str(tmp_path / "m"), *seed]) == 0
    assert run(["sample", str(tmp_path / "m"), "--n", "1", "--out", str(tmp_path / "a.npz"), *seed]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--resume", "{model}"], "morphogen train --resume --out {model}"),
        (
            ["vae", "--resume", "--out", "{model}", "--steps", "9999", "--lr-schedule=cosine"],
            "To make a run longer, say by how much",
        ),
        (["--resume", "--out", "{model}", "--budget", "+many"], "write --steps +1000 or --budget +10min"),
    ],
)
def test_how_a_run_is_resumed_is_said(fails: Fails, trained: Path, arguments: list[str], words: str) -> None:
    fails(["train", *(a.format(model=trained) for a in arguments)], 2, words.format(model=trained))


def test_pipes_and_devices_are_not_read(fails: Fails, trained: Path, tmp_path: Path) -> None:
    out = ["--out", tmp_path / "out.png"]
    os.mkfifo(tmp_path / "pipe")
    for given in (tmp_path / "pipe", "/dev/zero"):
        fails(["draw", trained, "--prompts", given, *out], 1, "expected prompts as text", "no regular file")
        fails(["sample", given, *out], 1, "is a file and no model directory")
        fails(["draw", given, "a circle", *out], 1, "is a file and no model directory")
        fails(["show", given], 1, "is a file and no model directory")
        fails(["recall", given, *out], 1, "no regular file")
        fails(["data", "inspect", given], 2, "neither a folder of pictures nor an .npz file")
        fails(["train", "vae", "--data", given, "--out", tmp_path / "m"], 2, "neither a folder of pictures nor")
        part = ["--part", f"autoencoder={given}"]
        fails(["train", "diffusion", "--data", "digits", "--out", tmp_path / "m", *part], 1, "no model directory")


def test_a_quickstart_without_time(fails: Fails, tmp_path: Path) -> None:
    fails(["quickstart", "--out", tmp_path / "q", "--budget", "2s"], 2, "at least 20 seconds", "--budget 6min")
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------- models


def _truncate(model: Path) -> None:
    file = model / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def _tamper(model: Path) -> None:
    file = model / "spec.json"
    file.write_text(file.read_text().replace('"beta": 1.0', '"beta": 2.0'))


def _age(model: Path) -> None:
    manifest = json.loads((model / "manifest.json").read_text())
    (model / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_truncate, ["weights.safetensors has", "bytes, expected"]),
        (_tamper, ["spec.json was changed after it was written"]),
        (_age, ["format 99", "Install a newer morphogen"]),
        (lambda model: (model / "weights.safetensors").unlink(), ["weights.safetensors is missing"]),
        (lambda model: (model / "manifest.json").unlink(), ["manifest.json is missing"]),
        (shutil.rmtree, ["no such model directory"]),
    ],
)
def test_a_damaged_model_is_refused_by_every_verb(
    fails: Fails, model: Path, tmp_path: Path, spoil: Callable[[Path], None], words: list[str]
) -> None:
    spoil(model)
    for line in (
        ["show", model],
        ["verify", model],
        ["sample", model, "--out", tmp_path / "a.png"],
        ["evaluate", model, "--data", "digits", "--out", tmp_path / "a.json"],
        ["train", "vae", "--data", "digits", "--out", tmp_path / "b", "--start", model, *SMALL],
    ):
        fails(line, 1, *words)
    assert {entry.name for entry in tmp_path.iterdir()} <= {"model"}


# ---------------------------------------------------------------------- output


def test_what_exists_stays(fails: Fails, model: Path, tmp_path: Path) -> None:
    before = files(model)
    fails(train(model, "--steps", "3"), 2, "exists and is not empty", "resume")
    mine = tmp_path / "mine.png"
    mine.write_text("precious")
    fails(["sample", model, "--out", mine], 2, "exists", "--overwrite")
    fails(["reconstruct", model, "--data", "digits", "--out", mine], 2, "exists", "--overwrite")
    fails(train(mine, "--steps", "3"), 1, "mine.png")
    fails(["quickstart", "--out", model], 2, "exists and is not an empty folder")
    fails(["quickstart", "--out", model / "spec.json"], 2, "exists and is not an empty folder")
    assert mine.read_text() == "precious" and files(model) == before


@pytest.fixture
def full_disk() -> Iterator[Callable[[int], None]]:
    """Let the system refuse to write files larger than some bytes, as it does on a full disk."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_while_a_checkpoint_is_written(
    capfd: pytest.CaptureFixture[str], model: Path, full_disk: Callable[[int], None]
) -> None:
    before = files(model)
    full_disk(len(before["checkpoint/state.safetensors"]) // 2)
    assert run(train(model, "--steps", "6", "--resume")) == 1
    full_disk(resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    error = capfd.readouterr().err.partition("Error: ")[2]
    assert "could not be written" in error and "The previous checkpoint is intact. Make room" in error
    assert "Traceback" not in error and "\n\n" not in error
    after = files(model)
    assert {name for name in before if after[name] != before[name]} <= {"checkpoint/log.jsonl"}
    assert run(["verify", str(model)]) == 0
    assert run(train(model, "--steps", "6", "--resume")) == 0


def test_kill_during_training_leaves_the_model_and_a_run_to_resume(
    capsys: pytest.CaptureFixture[str], fails: Fails, model: Path, tmp_path: Path
) -> None:
    """`model` is whole and its run is prolonged; `new` is trained for the first time. Both are killed."""
    new = tmp_path / "new"
    before = (model / "manifest.json").read_bytes()
    rest = ["--steps", "1000000", "--checkpoint-seconds", "0.05"]
    lines = {model: train(model, *rest, "--resume"), new: train(new, *rest)}
    processes = {}
    for out, line in lines.items():
        processes[out] = subprocess.Popen([sys.executable, "-m", "morphogen.cli", *line], stderr=subprocess.DEVNULL)
    reached = {}
    try:
        for out, process in processes.items():
            deadline = time.monotonic() + 120
            while (reached.get(out) or 0) <= 3 and time.monotonic() < deadline:
                time.sleep(0.05)
                reached[out] = _step(out)
            os.kill(process.pid, signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
            reached[out] = _step(out)
            assert reached[out] > 3
    finally:
        for process in processes.values():
            process.kill()
    assert (model / "manifest.json").read_bytes() == before
    assert run(["verify", str(model)]) == 0
    fails(["sample", new, "--out", tmp_path / "a.png"], 1, "holds a training at step", "go on with it by")
    for out in lines:
        steps = reached[out] + 2
        assert run(train(out, "--steps", str(steps), "--resume")) == 0
        capsys.readouterr()
        assert run(["show", str(out), "--json"]) == 0
        provenance = json.loads(capsys.readouterr().out)["provenance"]
        assert provenance["complete"] and provenance["steps"] == steps


def _step(out: Path) -> int:
    """The step of the checkpoint in `out`; 0 where there is none yet."""
    file = out / "checkpoint" / "state.safetensors"
    if not file.exists():
        return 0
    with safe_open(file, framework="pt") as stored:
        return int(json.loads(stored.metadata()["state"])["step"])
