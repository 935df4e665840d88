from __future__ import annotations

import sys

import pytest
from fake_api import FakeApi

import morphogen


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    """A stand-in for `morphogen.api` in its place."""
    fake = FakeApi()
    monkeypatch.setitem(sys.modules, "morphogen.api", fake)
    monkeypatch.setattr(morphogen, "api", fake, raising=False)
    return fake
