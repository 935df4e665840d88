"""The verbs quantize, export, compress, decompress and archive: what they pass on, what they say, and how they fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from morphogen.cli.main import run
from tests.cli.fake_api import FakeApi, Held

Capture = pytest.CaptureFixture[str]


def test_quantize_tells_the_loss(api: FakeApi, tmp_path: Path, capsys: Capture) -> None:
    out = str(tmp_path / "integers")
    assert run(["quantize", "m", "--out", out, "--bits", "8", "--n", "20"]) == 0
    assert api.told("quantize") == {"model": Held(Path("m"), "cpu"), "out": out, "bits": 8, "n": 20}
    said = capsys.readouterr().out
    assert "+0.1000%" in said and "plain integers: all equal" in said and "2^53" in said
    assert run(["quantize", "m", "--out", out, "--bits", "3"]) == 2


def test_export_passes_the_place_and_tells_the_difference(api: FakeApi, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "first.onnx"
    assert run(["export", "m", "--out", str(out), "--graph", "decoder"]) == 0
    assert api.told("export") == {"model": Held(Path("m"), "cpu"), "out": out, "graph": "decoder"}
    assert "decoder, z -> x; within 2.0e-07 of the model" in capsys.readouterr().out
    assert run(["export", "m", "--out", str(tmp_path / "first.pt")]) == 2


def test_compress_tells_what_counts(api: FakeApi, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "a.mgz"
    line = ["compress", "m", "--data", "digits", "--split", "test", "--with-model", "--compare", "--out", str(out)]
    assert run(line) == 0
    expected = {"model": Path("m"), "data": "digits", "out": out, "split": "test", "with_model": True, "compare": True}
    assert api.told("compress") == expected
    said = capsys.readouterr().out
    for part in (
        "360 records of 1 x 8 x 8 in 3,000 bytes, 1.0000 bits",
        "+1.00%",
        "PNG: 2.0",
        "from 700 records on",
    ):
        assert part in said
    assert run(["compress", "m", "--data", "digits", "--quality", "40", "--out", str(tmp_path / "c.mgz")]) == 0
    assert api.told("compress")["quality"] == 40
    assert run(["compress", "m", "--data", "digits", "--quality", "101", "--out", str(tmp_path / "c.mgz")]) == 2
    capsys.readouterr()
    assert run(["compress", "--data", "digits", "--out", str(tmp_path / "b.mgz"), "--json"]) == 0
    assert api.told("compress")["model"] is None
    assert json.loads(capsys.readouterr().out)["bits_per_dim"] == 1.0
    assert run(["compress", "m", "--data", "digits", "--out", str(tmp_path / "a.zip")]) == 2


def test_decompress_saves_what_is_whole_and_says_what_is_not(api: FakeApi, tmp_path: Path, capsys: Capture) -> None:
    line = ["decompress", "a.mgz", "--model", "m", "--out", str(tmp_path / "out.npz")]
    assert run(line) == 0
    assert api.told("decompress") == {"file": Path("a.mgz"), "model": Path("m"), "out": tmp_path / "out.npz"}
    assert run([*line[:-1], str(tmp_path / "out/")]) == 0
    assert api.told("decompressing") == {"file": Path("a.mgz"), "model": Path("m"), "out": tmp_path / "out"}
    capsys.readouterr()
    api.damage = ("block 3 of 40 records is damaged",)
    assert run(line) == 1
    said = capsys.readouterr()
    assert "block 3" in said.out and "4 records are saved" in said.err and "Traceback" not in said.err


def test_archive_is_1_where_it_is_damaged(api: FakeApi, capsys: Capture) -> None:
    assert run(["archive", "a.mgz", "--verify", "--model", "m"]) == 0
    assert api.told("describe_archive") == {"file": Path("a.mgz"), "model": Path("m"), "verify": True}
    assert (
        "needs the vae model ffffffffffffffff (inside, 100 bytes); the same on every machine" in capsys.readouterr().out
    )
    api.damage = ("the archive is cut off: its end is missing",)
    assert run(["archive", "a.mgz"]) == 1
    assert "cut off" in capsys.readouterr().err
