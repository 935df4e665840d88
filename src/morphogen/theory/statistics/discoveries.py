"""Many tests at once: the share of false alarms among all alarms (Benjamini and Hochberg, 1995).

Order the m p-values, p_(1) <= ... <= p_(m). With k the largest i for which p_(i) <= alpha i / m, an alarm for the k
smallest has

    E[false alarms / max(1, alarms)] <= alpha m_0 / m <= alpha,

m_0 the number of normal records, for p-values that are independent or positively dependent (Benjamini and Yekutieli,
2001). Conformal p-values of one score share their calibration records and are positively dependent in that sense
(Bates et al., "Testing for outliers with conformal p-values", 2023).

The smallest alpha at which record (i) gets an alarm is its adjusted p-value, min_{j >= i} m p_(j) / j.
"""

from __future__ import annotations

import torch
from torch import Tensor


def adjusted(p: Tensor) -> Tensor:
    """The adjusted p-value of each record: the smallest share of false alarms at which it is among the alarms.

    Args:
        p: (m,) p-values.

    Returns:
        (m,) float64 in (0, 1]. An alarm where it is at most alpha is the procedure of Benjamini and Hochberg.
    """
    m = len(p)
    ordered, place = p.double().sort()
    scaled = ordered * m / torch.arange(1, m + 1, dtype=torch.float64)
    least = scaled.flip(0).cummin(0).values.flip(0).clamp_max(1.0) if m else scaled
    return torch.empty_like(least).index_copy_(0, place, least)
