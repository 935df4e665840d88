"""RDKit and SELFIES, which are extras: imported when they are needed, with words where they are missing."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import ModuleType
from typing import Any

from morphogen.core.errors import UsageError


@lru_cache(maxsize=32)
def rdkit(module: str = "Chem") -> Any:
    """The module `rdkit.NAME`. Raises `UsageError` if RDKit is not installed."""
    return _imported(f"rdkit.{module}", "RDKit")


@lru_cache(maxsize=1)
def selfies() -> Any:
    """The package selfies. Raises `UsageError` if it is not installed."""
    return _imported("selfies", "selfies")


def is_installed() -> bool:
    """Whether molecules can be read as molecules."""
    return importlib.util.find_spec("rdkit") is not None


@contextmanager
def quiet() -> Iterator[None]:
    """Without RDKit's own messages, which would repeat what we say by record."""
    with rdkit("rdBase").BlockLogs():
        yield


def _imported(name: str, package: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UsageError(f"molecules need {package}: install it with `pip install 'morphogen[molecules]'`.") from None
