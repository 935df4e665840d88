"""Several scores as one: the surprise of each, added.

Let q(s) estimate the share of normal records that score at least s. The surprise -log q(s) puts scores of any unit on
one scale, and for a score with a continuous distribution it is Exponential(1) on normal records. Its sum over K scores
is Fisher's combination (1932),

    T = sum_k -log q_k(s_k).

Scores of one record depend on each other, so Fisher's chi-square law does not hold for T. It is not needed: q is fixed
by records that are neither calibration records nor judged. Hence T is one score like any other, and its conformal
p-value is valid under any dependence.

q is (#{C_i >= s} + 1/2) / (n + 1) up to the m-th largest of n known scores, u, m = n / 10 but at least 5. Beyond, the
tail is exponential with the mean excess of those m, log q(s) = log q(u) - (s - u) / mean(C_i - u), so that far
anomalies keep their order.
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from morphogen.core.errors import DataError

_SHARE, _LEAST = 10, 5
FEWEST = 2 * _LEAST  # known scores


@final
class Surprise:
    """s -> -log q(s), q learned from known scores (n,) of normal records.

    Raises `DataError` for fewer than ten of them.
    """

    def __init__(self, known: Tensor) -> None:
        n = len(known)
        if n < FEWEST:
            raise DataError(f"several scores are brought to one scale by at least {FEWEST} normal records; got {n}.")
        self.ordered = known.double().sort().values
        tail = max(_LEAST, n // _SHARE)
        self.start = float(self.ordered[n - tail])
        excess = float((self.ordered[n - tail :] - self.start).mean())
        spread = float(self.ordered[-1] - self.ordered[0])
        self.excess = max(excess, 1e-9 * spread, 1e-12 * (1.0 + abs(self.start)))
        self.at_start = -math.log((tail + 0.5) / (n + 1.0))

    def __call__(self, scores: Tensor) -> Tensor:
        """The surprise (m,) float64 of scores (m,)."""
        s, n = scores.double().contiguous(), len(self.ordered)
        reached = (n - torch.searchsorted(self.ordered, s)).double()
        body = -((reached + 0.5) / (n + 1.0)).log()
        return torch.where(s > self.start, self.at_start + (s - self.start) / self.excess, body)
