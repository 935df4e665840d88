r"""The grid of the activations, and the proof that sums on it are exact.

A float64 holds every multiple of 2^-s of magnitude below 2^(53-s) exactly. An activation is a multiple of 2^-F,
F = `FRACTION`, of magnitude at most `LIMIT`. A weight of output row r is an integer of at most 16 bits times 2^-e_r. A
product is then a multiple of 2^-(F + e_r), and so is every sum of products. With activations a_i and weights w_i in
their integer units and the bias b, each partial sum, in any order, is at most

    sum_i |w_i| max|a| + |b| + half a grid step,

where the a_i may be sums of `TERMS` activations, as in the stream of a residual network. As long as this stays below
2^53 no addition rounds. So neither the order of the terms nor the width of vectors, threads or fused multiply-adds
change a bit (Balle, Johnston and Minnen, "Integer networks for data compression with latent-variable models", 2019).
`require_exact` computes this bound with integers and refuses a layer that passes it. The result is rounded to the grid
again by + - x and floor, each of which IEEE 754 rounds correctly.
"""

from __future__ import annotations

import torch
from torch import Tensor

from morphogen.core.errors import ArtifactError

FRACTION = 12
UNIT = 2.0**-FRACTION
LIMIT = 2.0**7  # of an activation: 2^19 grid steps
LARGEST = int(LIMIT / UNIT)
TERMS = 256  # the most layers whose outputs are added up
EXACT = 2**53
MAX_EXPONENT = 20  # of a row of weights: their step is at least 2^-20


def to_grid(x: Tensor) -> Tensor:
    """The nearest multiples of 2^-F within the limit, as float64: floor(x 2^F + 1/2) 2^-F."""
    return ((x.double() / UNIT + 0.5).floor() * UNIT).clamp(-LIMIT, LIMIT)


def largest_sum(weight: Tensor, bias: Tensor) -> int:
    """The bound above for integer weights (rows, columns) and biases (rows,), in units of 2^-(F + e_r)."""
    sums = weight.long().abs().sum(1) if weight.numel() else torch.zeros(len(weight), dtype=torch.int64)
    return max((int(s) * LARGEST * TERMS + abs(int(b)) for s, b in zip(sums, bias, strict=True)), default=0)


def require_exact(what: str, weight: Tensor, exponent: Tensor, bias: Tensor) -> int:
    """The bound of a layer, with the half step that rounds. Raises `ArtifactError` where a sum might round."""
    if bool(((exponent < 0) | (exponent > MAX_EXPONENT)).any()):
        raise ArtifactError(f"{what}: exponents of integer weights lie in 0 .. {MAX_EXPONENT}.")
    bound = largest_sum(weight, bias) + 2**MAX_EXPONENT
    if bound >= EXACT:
        raise ArtifactError(f"{what}: sums may reach {bound:.3g}, and only below 2^53 are they exact on every machine.")
    return bound


def integer_rows(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Real weights (rows, columns) as integers of `bits` bits and an exponent for each row, w = j 2^-e."""
    most = float(2 ** (bits - 1) - 1)
    largest = weight.double().abs().amax(1).clamp_min(2.0**-40) if weight.shape[1] else weight.new_ones(len(weight))
    exponent = (most / largest).log2().floor().clamp(0, MAX_EXPONENT)
    j = (weight.double() * (2.0**exponent)[:, None]).round().clamp(-most, most)
    return j.to(torch.int16), exponent.to(torch.int8)
