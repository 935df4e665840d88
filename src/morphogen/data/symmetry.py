r"""Whether the mirror images of pictures look like pictures of the set, so that they can serve as such.

The pictures are shrunk to at most 8 x 8 cells. For a cell and its mirror image, d_i is their difference in picture i,
which has mean 0 where the set is symmetric. So z = mean(d) / (std(d) / sqrt(n)) is about normal, and the mean of z^2
over the cells is about 1. Letters, digits and faces in profile give far more.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from morphogen.data.records import Records

_CELLS, _LOOKED_AT = 8, 2000
_LARGEST = 2.0  # mean of z^2; among a few dozen dependent cells chance alone stays below


def is_symmetric(records: Records) -> bool:
    """Whether records are pictures whose mirror images are not told from them by their means."""
    if not records.spec.is_picture or len(records) < 30:
        return False
    x = records.stored[:_LOOKED_AT].to(torch.float64)
    x = F.adaptive_avg_pool2d(x, (min(_CELLS, x.shape[2]), min(_CELLS, x.shape[3]) // 2 * 2))
    half = x.shape[3] // 2
    d = x[..., :half] - x[..., half:].flip(-1)
    deviation = d.std(0)
    seen = deviation > 1e-6
    if not seen.any():
        return False
    z = d.mean(0)[seen] / deviation[seen] * len(x) ** 0.5
    return float(z.square().mean()) <= _LARGEST
