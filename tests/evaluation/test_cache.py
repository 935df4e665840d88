"""The cache is only a cache: without a home, beside other writers and beside files of others, work goes on."""

from pathlib import Path

import pytest
import torch

from morphogen.evaluation.context import cache


def test_without_a_home_nothing_is_kept_and_the_work_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("MORPHOGEN_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert cache.folder() is None
    assert torch.equal(cache.tensor(cache.key("a"), lambda: torch.ones(2)), torch.ones(2))
    assert cache.record(cache.key("b"), lambda: [1]) == [1]


def test_entries_that_cannot_be_read_are_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MORPHOGEN_CACHE", str(tmp_path))
    name = cache.key("a")
    assert cache.record(name, lambda: [1]) == [1]
    assert cache.record(name, lambda: [2]) == [1]
    for bad in ('{"a": NaN}', "[", "[" * 9999, ""):
        (tmp_path / f"{name}.json").write_text(bad)
        assert cache.record(name, lambda: [3]) == [3]
    (tmp_path / f"{name}.safetensors").write_bytes(b"nothing")
    assert torch.equal(cache.tensor(name, lambda: torch.ones(1)), torch.ones(1))


def test_only_entries_of_its_own_are_removed_to_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MORPHOGEN_CACHE", str(tmp_path))
    monkeypatch.setattr(cache, "MAX_BYTES", 10)
    (tmp_path / "thesis.txt").write_text("precious, and longer than ten bytes")
    cache.record(cache.key("a"), lambda: "x" * 20)
    cache.record(cache.key("b"), lambda: "y" * 20)
    assert (tmp_path / "thesis.txt").exists()
    assert not (tmp_path / f"{cache.key('a')}.json").exists()
