"""Checks that a family leaves everything outside of it alone: the global random state, files, the network."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from morphogen.core import capabilities
from morphogen.core.family import Progress
from morphogen.core.rng import Rng
from morphogen.testing.subject import Subject, as_float


def check_global_state_stays(s: Subject) -> None:
    """Nothing reads or moves torch's global random state: not steps, not samples, not scores."""
    used = []
    for seed in (1, 2):
        model = s.build()  # anew, as a step may change buffers
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        moves = list(model.steps(s.stream().batch(0), Rng(0), Progress(0, 0.0)))
        values = [float(t.detach().sum()) for move in moves for t in move.terms.values()]
        if capabilities.Samples in model.capabilities:
            values.append(float(as_float(model.sample(4, None, Rng(0))).sum()))
        if capabilities.Scores in model.capabilities:
            values.append(float(model.score(s.batch().x, s.batch().cond, Rng(0)).value.detach().sum()))
        assert torch.equal(before, torch.get_rng_state()), "the global random state was moved"
        used.append(values)
    assert used[0] == used[1], "results depend on the global random state"


def check_no_files_no_network(s: Subject) -> None:
    model, batch = s.build(), s.stream().batch(0)

    def work() -> None:
        for move in model.steps(batch, Rng(0), Progress(0, 0.0)):
            torch.stack(list(move.terms.values())).sum(0).mean().backward()
        if capabilities.Samples in model.capabilities:
            model.sample(4, None, Rng(0))

    work()  # modules that are imported late are read now
    with _watched() as events:
        work()
        s.build()
    assert not events, f"reached outside: {', '.join(sorted(set(events)))}"


_WATCHING: list[list[str]] = []
_HOOKED: list[bool] = []


@contextmanager
def _watched() -> Iterator[list[str]]:
    """The files, sockets and processes that were opened meanwhile. Audit hooks stay for good, so there is one."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if _WATCHING and event in ("open", "socket.connect", "socket.bind", "subprocess.Popen", "os.remove"):
            _WATCHING[-1].append(f"{event} {arguments[0]}")

    if not _HOOKED:
        sys.addaudithook(hook)
        _HOOKED.append(True)
    _WATCHING.append([])
    try:
        yield _WATCHING[-1]
    finally:
        _WATCHING.pop()
