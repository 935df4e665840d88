import os
from pathlib import Path

import pytest

from morphogen.core.reading import parse_json, read_bytes, read_json


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"a": NaN}', "[Infinity]", "1e999", '{"a": [-1e400]}', '"\\ud800"', "[" * 5000 + "]" * 5000, "1" * 9999],
)
def test_what_is_no_strict_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_json(text)


def test_json_is_read_as_it_is() -> None:
    assert parse_json(b'{"a": [1, 2.5, null, "\xc3\xa9", true]}') == {"a": [1, 2.5, None, "é", True]}
    with pytest.raises(ValueError):
        parse_json(b'"\xff"')


def test_only_regular_files_of_bounded_size_are_read(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text("[1]")
    assert read_json(file) == [1]
    with pytest.raises(ValueError, match="3 bytes"):
        read_bytes(file, 2)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="regular"):
        read_bytes(tmp_path / "pipe", 10)
    with pytest.raises((ValueError, OSError)):
        read_bytes(tmp_path, 10)
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(OSError):
        read_bytes(tmp_path / "circle", 10)
