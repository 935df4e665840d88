"""How many tensors and layers a constructor makes, counted while it makes them, so that none runs without an end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch.nn.modules import module as hooks


class TooMany(Exception):
    """More were made than were allowed."""


@contextmanager
def at_most(most: int) -> Iterator[None]:
    """Raise `TooMany` as soon as modules have registered more than `most` parameters, buffers and modules."""
    count = 0

    def another(module: object, name: str, value: object) -> None:
        nonlocal count
        count += 1
        if count > most:
            raise TooMany

    handles = [
        hooks.register_module_parameter_registration_hook(another),
        hooks.register_module_buffer_registration_hook(another),
        hooks.register_module_module_registration_hook(another),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
