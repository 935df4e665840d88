"""What parses a command line: in linear time, with bounds that are said, and paths that mean what they say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from morphogen import UsageError
from morphogen.cli.flags import parse_fields
from morphogen.cli.main import run
from morphogen.core.errors import unknown
from morphogen.data.source import LONGEST, parse
from tests.cli.fake_api import FakeApi


@pytest.mark.parametrize("verb", ["sample", "walk"])
def test_the_home_of_a_user_is_meant_by_a_tilde(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, verb: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "data").mkdir()
    if verb == "sample":
        assert run(["sample", "~/m", "--out=~/a.png", "--n", "4"]) == 0
        assert api.told("sample")["model"].path == tmp_path / "m" and (tmp_path / "a.png").exists()
    assert parse("~/data:size=8", ()).name == str(tmp_path / "data")


@pytest.mark.parametrize("out", ["", "a\0b.png"])
def test_an_impossible_path_is_wrong_usage(api: FakeApi, capsys: pytest.CaptureFixture[str], out: str) -> None:
    assert run(["sample", "m", "--out", out]) == 2
    assert run(["train", "vae", "--data", "digits", "--out", "a\0b"]) == 2
    assert capsys.readouterr().err.count("--out") >= 2 and api.calls == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a user whom permissions bind")
def test_a_folder_that_cannot_be_written_is_seen_before_the_work(api: FakeApi, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert run(["sample", "m", "--out", str(tmp_path / "new" / "a.png")]) == 2
    assert api.calls == []


def test_a_file_in_the_place_of_a_folder_is_seen_before_the_work(api: FakeApi, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert run(["sample", "m", "--out", str(tmp_path / "file" / "a.png")]) == 2
    assert api.calls == []


def test_bounds_are_said() -> None:
    with pytest.raises(UsageError, match=f"at most {LONGEST:,} characters"):
        parse("a:" * LONGEST, ())
    assert parse("a:" * 1000 + "b" * 500, ()).name == "a"
    assert len(unknown("class", "x" * 10**6, [str(i) * 1000 for i in range(10**4)])) < 10**4
    group = [{"name": "values", "type": "dict[str, int]", "default": None, "description": ""}]
    with pytest.raises(UsageError, match="--values needs a JSON object") as error:
        parse_fields(["--values", "[" * 10**5], [group])
    assert len(str(error.value)) < 1000
