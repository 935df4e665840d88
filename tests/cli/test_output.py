"""What goes out: text of others is escaped, JSON is pure, any encoding will do, a closed or full stream is no fault."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from morphogen import DataError, Description, MorphogenError, UsageError
from morphogen.cli import console, main
from morphogen.cli.main import run
from morphogen.cli.outputs import FOLDER, PICTURE, Output
from morphogen.cli.verbs.use.design import _target as design_target
from morphogen.core.reading import parse_json
from morphogen.report.json_text import as_json
from morphogen.report.saving import picture_file
from tests.cli.fake_api import FakeApi, digits

BAD = "\x1b]0;owned\x07\x1b[31mred\x9b\u202e\x7f\udce9\nwhole and unaltered  True"
UNSAFE = set("\x1b\x07\x9b\u202e\x7f\udce9")


def test_text_of_others_is_escaped_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_text(BAD)
    console.print_table([BAD], [[BAD]], BAD)
    console.print_fields({BAD: BAD, "list": [BAD], "inside": {BAD: 1}})
    out = capsys.readouterr().out
    assert not UNSAFE & set(out) and "\nwhole and unaltered" not in out
    assert out.count("\\x1b]0;owned\\x07") == 8


def test_a_narrow_table_keeps_its_names_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [["--a-flag-with-a-long-name", "–", "what it does " * 9], ["--b", "–", "more"]]
    for columns, shown in (("60", False), ("160", True)):
        monkeypatch.setenv("COLUMNS", columns)
        console.print_table(["flag", "floor", "meaning"], rows)
        out = capsys.readouterr().out
        assert "--a-flag-with-a-long-name" in out and ("floor" in out) == shown and "…" not in out


def test_errors_and_their_tracebacks_are_escaped(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    api.error = DataError(f"{BAD} cannot be read.")
    assert run(["data", "inspect", "x", "--debug"]) == 1
    assert run(["data", "inspect", "x", f"--{BAD}"]) == 2
    assert run(["sample", "m", "--out", f"{BAD}.bmp"]) == 2
    err = capsys.readouterr().err
    assert not UNSAFE & set(err) and "\nwhole and unaltered" not in err and err.count("Error: ") >= 3


def test_json_is_pure_whatever_it_holds(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_json({BAD: [BAD, "ü", float("nan"), float("inf")]})
    out = capsys.readouterr().out
    assert not UNSAFE & set(out) and "ü" in out
    ((name, values),) = parse_json(out).items()
    assert name == values[0] == BAD.replace("\udce9", "\\xe9") and values[1:] == ["ü", None, None]
    assert json.loads(as_json("\u4e2d")) == "\u4e2d"


@pytest.fixture
def stdout(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Put a stream in the place of standard output."""
    with monkeypatch.context() as patch:
        yield lambda stream: patch.setattr(sys, "stdout", stream)


def outcome(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit status of the command."""
    monkeypatch.setattr(sys, "argv", ["morphogen", *arguments])
    with pytest.raises(SystemExit) as end:
        main.main()
    return int(end.value.code or 0)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
@pytest.mark.parametrize("arguments", [["show", "m"], ["show", "m", "--json"], ["families"], ["train", "--help"]])
def test_any_encoding_will_do(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, stdout: Any, encoding: str, arguments: list[str]
) -> None:
    facts = {"name": "中 → ü \udce9", "evaluations": [], "data": {"splits": ["test"], "source": "\udce9"}}
    monkeypatch.setattr(api, "describe", lambda model: Description(facts), raising=False)
    raw = io.BytesIO()
    stdout(io.TextIOWrapper(raw, encoding=encoding, errors="strict"))
    assert outcome(arguments, monkeypatch) == 0
    text = raw.getvalue().decode(encoding)
    if "--json" in arguments:
        assert parse_json(text)["name"] == "中 → ü \\xe9"


def test_who_stops_reading_ends_the_command_quietly(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, stdout: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (["families"], ["show", "m", "--json"], ["sample", "--help"]):
        read, write = os.pipe()
        os.close(read)
        stdout(os.fdopen(write, "w"))
        assert outcome(arguments, monkeypatch) == main.CLOSED
        sys.stdout.close()  # nothing is left in it that could not be written
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_streams_are_said_or_suffered(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, stdout: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (["families"], ["show", "m", "--json"]):
        stdout(os.fdopen(os.open("/dev/full", os.O_WRONLY), "w"))
        assert outcome(arguments, monkeypatch) == 1
        assert "Error: standard output cannot be written: No space left" in capsys.readouterr().err
    stdout(sys.__stdout__)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", os.fdopen(os.open("/dev/full", os.O_WRONLY), "w"))
        assert outcome(["train", "vae", "--data", "digits", "--out", "x"], patch) == 0
        patch.setattr(sys, "stderr", os.fdopen(os.open("/dev/full", os.O_WRONLY), "w"))
        assert outcome(["smaple"], patch) == 2


def test_no_streams_at_all(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert run(["families"]) == 0 and run(["smaple"]) == 2


def test_no_dictionary_is_printed_and_long_lists_have_an_end(capsys: pytest.CaptureFixture[str]) -> None:
    tone = {"name": "tone", "values": ["light", "dark"]}
    console.print_fields({"attributes": [tone, {"name": "age", "values": []}], "classes": [str(i) for i in range(500)]})
    out = capsys.readouterr().out
    assert "{" not in out and "light, dark" in out and out.index("attributes 1") < out.index("attributes 2")
    assert "39, and 460 more" in out and "40" not in out


def test_what_is_left_out_for_one_reason_is_said_once(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate-samples", "made", "--data", "digits"]) == 0
    out = capsys.readouterr().out
    assert out.count("too few records") == 1 and "left out fd, kid: too few records" in out
    assert out.count("note: real numbers are taken for shades") == 1


@pytest.mark.parametrize(("suffix", "kind"), [("jpg", "JPEG"), ("jpeg", "JPEG"), ("webp", "WEBP")])
def test_pictures_go_to_other_formats_with_their_recipe(api: FakeApi, tmp_path: Path, suffix: str, kind: str) -> None:
    png, other = tmp_path / "a.png", tmp_path / f"a.{suffix}"
    for out in (png, other):
        assert run(["sample", "/home/nobody/secret/m", "--n", "4", "--seed", "3", "--out", str(out)]) == 0
    with Image.open(png) as expected, Image.open(other) as image:
        assert image.format == kind and image.size == expected.size
        told = json.loads(image.getexif()[ExifTags.Base.ImageDescription])
        assert told == json.loads(expected.text["morphogen"]) and told["seed"] == 3
        assert told["model"] == "m", "and no folder of its maker"
        off = np.abs(np.asarray(image.convert("RGB"), dtype=int) - np.asarray(expected.convert("RGB")))
        assert off.max() == 0 if kind == "WEBP" else off.mean() < 8


def test_more_pixels_than_a_format_holds_are_wrong_usage() -> None:
    wide = Image.new("L", (16_384, 1))
    with pytest.raises(UsageError, match="16,383 pixels a side"):
        picture_file(wide, suffix=".webp")
    with Image.open(io.BytesIO(picture_file(wide, suffix=".jpg"))) as image:
        assert image.size == wide.size


def test_transparent_pictures_are_on_white_as_jpeg() -> None:
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    with Image.open(io.BytesIO(picture_file(clear, suffix=".jpg"))) as image:
        assert image.getpixel((3, 3)) == (255, 255, 255)


def test_threads_and_device_are_passed_on(api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[int] = []
    monkeypatch.setattr("torch.set_num_threads", limits.append)
    line = ["sample", "m", "--threads", "2", "--device", "cpu", "--batch-size", "5", "--out", str(tmp_path / "a.png")]
    assert run(line) == 0
    assert limits == [2] and api.told("load")["device"] == "cpu" and api.told("sample")["batch_size"] == 5
    assert run(["train", "vae", "--data", "digits", "--out", "x", "--device", "cpu", "--threads", "3"]) == 0
    assert limits == [2, 3] and api.told("training")["recipe"] == {"device": "cpu"}


def test_results_save_in_the_formats_of_the_command_line(tmp_path: Path) -> None:
    for suffix in PICTURE:
        path = digits(4).save(tmp_path / f"a{suffix}")
        with Image.open(path) as image:
            assert image.size == digits(4).image().size
    with pytest.raises(UsageError, match="ends in"):
        digits(4).save(tmp_path / "a.bmp")


@pytest.mark.parametrize(("name", "formats"), [("a.png", [".png"]), ("d/", [FOLDER])])
def test_a_full_disk_is_said_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, formats: list[str]
) -> None:
    target = Output.parse(f"{tmp_path}/new/{name}", formats, overwrite=False)

    def full(path: Path, data: bytes) -> int:
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(MorphogenError, match=r"--out .*/new/.* could not be written \(No space left on device\)"):
        target.write_folder({"0.png": b"x"}) if formats == [FOLDER] else target.write(b"x")
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize("end", ["", "x.png"])
def test_a_path_that_is_too_deep_is_said(end: str) -> None:
    with pytest.raises(UsageError, match=r"2,00\d folders is too deep"):
        Output.parse("a/" * 2000 + end, (".png", FOLDER), overwrite=False)


def test_a_design_goes_on_in_its_folder(tmp_path: Path) -> None:
    out = tmp_path / "design"
    out.mkdir()
    (out / "calls.jsonl").write_text("")
    assert design_target(str(out), False).path == out
    (out / "molecules.csv").write_text("")
    assert design_target(str(out), True).path == out
    with pytest.raises(UsageError, match="to go on in it"):
        design_target(str(out), False)
    (out / "calls.jsonl").unlink()
    with pytest.raises(UsageError, match="holds more than numbered pictures"):
        design_target(str(out), True)
