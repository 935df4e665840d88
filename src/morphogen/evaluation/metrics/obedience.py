"""Whether a generator obeys its classes and makes all of them, in sentences.

A frozen classifier names the class of each generated record. Under the hypothesis that the records do not depend on the
classes that were asked for, the names are in a random order beside them. With M_ij = 1 if the class asked for in record
i is the name of record j, the number of matches sum_i M_(i, order(i)) has the mean sum_ij M_ij / n and the variance

    sum_ij (M_ij - row mean_i - column mean_j + mean)^2 / (n - 1)   (Hoeffding, "A combinatorial central limit theorem",
                                                                    1951),

which are sums over classes. A generator whose matches do not exceed this mean at the 5 % level ignores its class, or
obeys it so seldom that n records do not show it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from morphogen.core.errors import MorphogenError
from morphogen.evaluation.metrics.modes import modes

_ONE_SIDED = 1.6448536269514722  # the 95 % quantile of the standard normal
MIN_RECORDS = 50  # the normal approximation of the number of matches needs so many


class Obedience(NamedTuple):
    """`share` of records of the class that was asked for, `chance`, and its standard deviation by chance alone."""

    share: float
    chance: float
    deviation: float

    @property
    def ignored(self) -> bool:
        """Whether the share does not exceed chance at the 5 % level."""
        return self.share <= self.chance + _ONE_SIDED * self.deviation


def obedience(asked: Tensor, made: Tensor, classes: int) -> Obedience:
    """The classes asked for (n,) beside the classes of the made records (n,), both integers 0 .. classes - 1."""
    n = len(asked)
    a, b = (torch.bincount(v.cpu(), minlength=classes).double() for v in (asked, made))
    mean = float(a @ b) / n**2
    centered = torch.eye(classes).double() - (b / n)[:, None] - (a / n)[None, :] + mean
    variance = float((torch.outer(a, b) * centered.square()).sum()) / (n - 1)
    return Obedience(float((asked.cpu() == made.cpu()).double().mean()), mean, math.sqrt(variance) / n)


def sentences(asked: Tensor | None, made: Tensor | None, real: Tensor | None, names: Sequence[str]) -> list[str]:
    """What is wrong with the classes of the made records; empty if nothing is, or if it cannot be seen.

    asked  (n,) the classes that were asked for, if any; made (n,) and real (m,) those that the classifier names, or
           None if there is no classifier of these classes
    """
    if made is None or real is None:
        return []
    said = []
    if asked is not None and len(asked) >= MIN_RECORDS and len(asked.unique()) > 1:
        found = obedience(asked, made, len(names))
        if found.ignored:
            said.append(
                f"the generator ignores its class: {found.share:.1%} of the records are of the class that was asked"
                f" for, and {found.chance:.1%} would be by chance."
            )
    try:
        missing = modes(made, real, len(names)).missing
    except MorphogenError:  # too few records to see that a class is missing
        return said
    if missing:
        which = ", ".join(names[k] for k in missing)
        said.append(f"the generator drops {'classes' if len(missing) > 1 else 'a class'}: it makes hardly any {which}.")
    return said
