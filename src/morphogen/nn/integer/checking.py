"""An integer form beside plain Python: while a network runs, some of what each layer gives is computed again.

For each record and each layer one place is drawn, and the layer's whole output there is computed from its input by
Python's integers, which never round. As each layer's input is another's output, a network whose layers all agree agrees
as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from morphogen.nn.integer.grid import FRACTION
from morphogen.nn.integer.layers import IntegerRows
from morphogen.nn.integer.tables import PRECISION, Frequencies

UNITS: dict[type, tuple[int, int]] = {IntegerRows: (FRACTION, FRACTION), Frequencies: (PRECISION, 0)}


class Differs(ArithmeticError):
    """A layer gave something else than Python's integers."""


@contextmanager
def checked(module: nn.Module, draw: Callable[[int], int]) -> Iterator[dict[str, int]]:
    """Check every layer of `module` while the block runs; gives how many outputs were checked, by layer.

    draw   a number in 0 .. n - 1 for n: the place of the next record

    Raises `Differs` inside of the block.
    """
    seen: dict[str, int] = {}
    handles = []
    for name, layer in module.named_modules():
        if isinstance(layer, IntegerRows | Frequencies):
            seen[name] = 0
            handles.append(layer.register_forward_hook(_hook(name, layer, draw, seen)))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _hook(name: str, layer: Any, draw: Callable[[int], int], seen: dict[str, int]) -> Callable[..., None]:
    units = UNITS[type(layer)]

    def hook(_: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        a, y = given[0].flatten(1, -2) if given[0].ndim > 2 else given[0][:, None], output
        y = y.flatten(1, -2) if y.ndim > 2 else y[:, None]
        for record in range(len(a)):
            place = draw(a.shape[1])
            expected = layer.plain(_integers(a[record, place], units[0]))
            if _integers(y[record, place], units[1]) != expected:
                raise Differs(f"the layer {name} differs from plain integers.")
            seen[name] += 1

    return hook


def _integers(x: Tensor, fraction: int) -> list[int]:
    """Numbers in units of 2^-fraction. Raises `Differs` where one is no integer."""
    scaled = x.double() * 2.0**fraction
    if not torch.equal(scaled, scaled.round()):
        raise Differs("a number is not on the grid.")
    return [int(v) for v in scaled.tolist()]
