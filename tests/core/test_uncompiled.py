"""A method marked `uncompiled` runs eagerly, with the same values, and another length compiles nothing of it."""

from __future__ import annotations

import subprocess
import sys

import torch
from torch import Tensor, nn

from morphogen.core.uncompiled import uncompiled


class Doubling(nn.Module):
    """y = 2 x, then its sum times the rows of x, which the compiler would need anew for each batch."""

    def __init__(self) -> None:
        super().__init__()
        self.traced: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(2.0 * x) + 1.0

    @uncompiled
    def inner(self, x: Tensor) -> Tensor:
        self.traced.append(torch.compiler.is_compiling())
        return x.sum(1) * int(x.abs().sum())


def test_it_runs_eagerly_inside_a_compiled_network() -> None:
    network = Doubling()
    compiled = torch.compile(network.__call__, backend="eager", dynamic=False)
    for rows in (2, 3):
        x = torch.randn(rows, 3, dtype=torch.float64)
        assert torch.equal(compiled(x), 1.0 + (2.0 * x).sum(1) * int((2.0 * x).abs().sum()))
    assert network.traced == [False, False]
    assert Doubling.inner.__name__ == "inner"


def test_what_compiles_nothing_imports_no_compiler() -> None:
    code = (
        "import sys, morphogen.api, morphogen.cli.main\n"
        "from morphogen.core import registry\n"
        "for name in registry.names(): registry.family(name)\n"
        "heavy = {'torch._dynamo', 'torch._inductor', 'torch.distributed.fsdp', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
