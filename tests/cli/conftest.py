from __future__ import annotations

import sys

import pytest

import morphogen
import morphogen.quickstart
from morphogen.cli import models
from morphogen.cli.verbs.judge import evaluate
from morphogen.cli.verbs.keep import archive, show, verify
from morphogen.cli.verbs.use import compress, decompress
from tests.cli.fake_api import FakeApi


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    """A stand-in for `morphogen.api` in its place."""
    fake = FakeApi()
    monkeypatch.setitem(sys.modules, "morphogen.api", fake)
    monkeypatch.setattr(morphogen, "api", fake, raising=False)
    monkeypatch.setattr(morphogen.quickstart, "quickstart", fake.quickstart)
    monkeypatch.setattr(models, "require_folder", lambda model: None)
    for module in (archive, compress, decompress, evaluate, show, verify):
        monkeypatch.setattr(module, "require_folder", lambda model: None)
    return fake
