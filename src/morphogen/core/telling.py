"""What long work says of where it is, to whoever listens: a spinner most often, else nobody.

with heard_by(print):
    tell("fd (2 of 7)")
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")
_listener: ContextVar[Callable[[str], object] | None] = ContextVar("listener", default=None)


@contextmanager
def heard_by(listener: Callable[[str], object]) -> Iterator[None]:
    """Within the block, what is told goes to `listener`."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def tell(what: str) -> None:
    """Say what is done now."""
    listener = _listener.get()
    if listener is not None:
        listener(what)


def told(items: Sequence[T], name: Callable[[T], str] = str) -> Iterator[T]:
    """Each item, after its name and place among all were told."""
    for i, item in enumerate(items, start=1):
        tell(f"{name(item)} ({i} of {len(items)})")
        yield item
