"""`expanded`: a parameter that every record of a batch reads, so that the gradient of each record can be told apart.

Layers such as `nn.Linear` read records one by one, and what they read and give tells the gradient of each record. A
module that uses a parameter of its own, such as a learned vector, calls `expanded(parameter, n)` for one copy a record.
While `watching` is open, the copies are kept beside their parameter.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

Copies = list[tuple[nn.Parameter, Tensor]]
_KEPT: ContextVar[Copies | None] = ContextVar("copies of parameters", default=None)


def expanded(parameter: nn.Parameter, n: int) -> Tensor:
    """(n, *shape) copies of a parameter, one a record, without memory of their own."""
    copies = parameter.expand(n, *parameter.shape)
    if torch.compiler.is_compiling():  # private steps are not compiled, and a compiler cannot trace what is kept
        return copies
    kept = _KEPT.get()
    if kept is not None and copies.requires_grad:
        kept.append((parameter, copies))
    return copies


@contextmanager
def watching() -> Iterator[Copies]:
    """Keep all copies that are made in the block."""
    kept: Copies = []
    token = _KEPT.set(kept)
    try:
        yield kept
    finally:
        _KEPT.reset(token)
