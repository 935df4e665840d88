from __future__ import annotations

import sys

import pytest
from fake_api import FakeApi

import morphogen
import morphogen.quickstart


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    """A stand-in for `morphogen.api` in its place."""
    fake = FakeApi()
    monkeypatch.setitem(sys.modules, "morphogen.api", fake)
    monkeypatch.setattr(morphogen, "api", fake, raising=False)
    monkeypatch.setattr(morphogen.quickstart, "quickstart", fake.quickstart)
    return fake
