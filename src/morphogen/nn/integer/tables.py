r"""Functions as integer tables: exp, log(1 + n), the logistic function and what is made of it, the normal distribution.

A library's exp differs in its last bit from machine to machine. So its values are computed once, when the integer form
of a model is made, rounded, and stored with the model. exp takes two tables, exp(-(64 i + j) u) = A_i B_j. A smooth
function takes one, between whose entries a straight line runs; with integers as entries the line is exact in float64.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from morphogen.nn.integer.grid import UNIT

PRECISION = 24  # bits of a frequency: those of one element sum to 2^24
LOGIT_STEP = 2.0**-10
_RANGE, _FINE, _BITS = 14, 1 << 6, 20  # nats below the likeliest value; fine steps in a coarse one; bits of exp(0)


class Log1p(nn.Module):
    """log(1 + n) on the grid for the counts n = 0 .. N."""

    table: Tensor

    def __init__(self, largest: int) -> None:
        super().__init__()
        self.register_buffer("table", torch.tensor([round(math.log1p(n) / UNIT) for n in range(largest + 1)]))

    def forward(self, n: Tensor) -> Tensor:
        return self.table[n.long().clamp_max(len(self.table) - 1)].double() * UNIT


class Frequencies(nn.Module):
    r"""Integer frequencies (..., K) of sum 2^24, each at least 1, from logits (..., K), as float64.

    With e_k = 2^20 exp(-(max - logit_k)) rounded to integers, E_k = e_0 + ... + e_k and M = 2^24 - K,

        C_k = floor(E_k M / E_{K-1}) + k + 1

    is where value k ends. exp(-(64 i + j) u), u = 2^-10, is the product of two entries of integer tables, and 0 from 14
    nats on. Integers below 2^53 go into one division, which IEEE 754 rounds correctly; as E_{K-1} < 2^29, the floor of
    the quotient is that of the true one.
    """

    coarse: Tensor
    fine: Tensor

    def __init__(self) -> None:
        super().__init__()
        n, one, step = int(_RANGE / LOGIT_STEP) // _FINE, 2.0**_BITS, LOGIT_STEP
        coarse = [round(one * math.exp(-i * _FINE * step)) for i in range(n - 1)] + [0]
        self.register_buffer("coarse", torch.tensor(coarse))
        self.register_buffer("fine", torch.tensor([round(one * math.exp(-j * step)) for j in range(_FINE)]))

    def forward(self, logits: Tensor) -> Tensor:
        logits = logits.double()
        top = logits.amax(-1, keepdim=True)
        d = ((top - logits) / LOGIT_STEP + 0.5).floor().clamp_max(len(self.coarse) * _FINE - 1.0).long()
        return spread((self.coarse[d >> 6] * self.fine[d & 63]) >> _BITS)

    def log_masses(self, logits: Tensor) -> Tensor:
        """log(f / 2^24), what these frequencies are as log-probabilities."""
        return self(logits).log() - PRECISION * math.log(2.0)

    def plain(self, logits: Sequence[int]) -> list[int]:
        """The same in Python's integers, for logits in units of 2^-24."""
        coarse, fine = self.coarse.tolist(), self.fine.tolist()
        top, last = max(logits), len(coarse) * _FINE - 1
        steps = [min((2 * (top - v) + (1 << 14)) // (1 << 15), last) for v in logits]  # 2^-24 to 2^-10
        e = [(coarse[d // _FINE] * fine[d % _FINE]) >> _BITS for d in steps]
        ends, total, so_far = [0], sum(e), 0
        for k, v in enumerate(e):
            so_far += v
            ends.append(so_far * (2**PRECISION - len(e)) // total + k + 1)
        return [b - a for a, b in itertools.pairwise(ends)]


def spread(e: Tensor) -> Tensor:
    """Integer frequencies of sum 2^24 in proportion to integers e (..., K) of sum below 2^29, each at least 1."""
    k = e.shape[-1]
    total = e.double().cumsum(-1)
    ends = (total * float(2**PRECISION - k) / total[..., -1:]).floor()
    ends = ends + torch.arange(1, k + 1, device=e.device, dtype=torch.float64)
    return torch.diff(ends, dim=-1, prepend=torch.zeros_like(ends[..., :1]))
