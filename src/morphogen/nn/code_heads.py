r"""What a network of codes puts out: log p of the codes of many columns at once, padded to the same number.

*Numbers.* With c_k the standardized score of bin k and p_k its frequency,

    log P(k) = log p_k + 1/2 ((c_k - m_0) / s_0)^2 - 1/2 ((c_k - m) / s)^2 + d_k + const,

where m_0 and s_0 are the moments of p. A prediction that says nothing, m = m_0 and s = s_0, gives the frequencies. The
network adds to a given prediction: m and log s by one output each, and d through the features of the bins
(`nn/code_features.py`). A missing cell has a logit of its own.

*Categories.* log P(k) = log p_k + d_k + const.

All weights start at 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_WIDEST = 0.3  # of log s - log s_0: wider, the ends of the range would explode
_NARROWEST = -5.0  # of log s


def padded(rows: Sequence[Tensor], value: float = 0.0) -> Tensor:
    """Stack tensors of one rank, each padded at the ends of its dimensions to the largest."""
    sizes = [max(row.shape[k] for row in rows) for k in range(rows[0].ndim)]
    out = rows[0].new_full((len(rows), *sizes), value)
    for i, row in enumerate(rows):
        out[i][tuple(slice(n) for n in row.shape)] = row
    return out


class NumberHead(nn.Module):
    """Features (B, G, H) of G columns of numbers -> log p (B, G, K + 1): of K bins, and of a missing cell.

    features  (K, F) of the bins of each column;  has_missing  whether its cells may be missing
    """

    features: Tensor
    valid: Tensor
    has_missing: Tensor

    def __init__(self, features: Sequence[Tensor], has_missing: Sequence[bool], hidden: int) -> None:
        super().__init__()
        self.register_buffer("features", padded([f.float() for f in features]), persistent=False)
        valid = padded([f.new_ones(len(f)) for f in features]) > 0
        self.register_buffer("valid", valid, persistent=False)
        self.register_buffer("has_missing", torch.tensor(has_missing), persistent=False)
        self.out = nn.Parameter(torch.zeros(len(features), 3 + self.features.shape[2], hidden + 1))

    def forward(
        self, h: Tensor, log_p: Tensor, scores: Tensor, mean: Tensor, log_std: Tensor, which: slice = slice(None)
    ) -> Tensor:
        """log p of the columns `which`.

        log_p    (G, K + 1) log-frequencies of all columns, that of a missing cell last; -inf where there is no code
        scores   (G, K) standardized
        mean     (B, g) and log_std (B or 1, g): the prediction to start from, of these columns
        """
        log_p, scores, valid = log_p[which].to(h.dtype), scores[which].to(h.dtype), self.valid[which]
        mean, log_std = mean.to(h.dtype)[..., None], log_std.to(h.dtype)[..., None]
        raw = _affine(h, self.out[which])
        shift, stretch, absent, rest = raw.split((1, 1, 1, raw.shape[-1] - 3), -1)
        present = log_p[:, :-1].masked_fill(~valid, -torch.inf)
        p = torch.softmax(present, -1)
        m_0 = (p * scores).sum(-1, keepdim=True)
        log_s_0 = 0.5 * (p * (scores - m_0).square()).sum(-1, keepdim=True).clamp_min(1e-6).log()
        m = mean + shift * log_std.exp()
        log_s = torch.minimum(log_std + stretch, log_s_0 + _WIDEST).clamp_min(_NARROWEST)
        logits = present + 0.5 * ((scores - m_0) * torch.exp(-log_s_0)).square()
        logits = logits - 0.5 * ((scores - m) * torch.exp(-log_s)).square()
        logits = logits + torch.bmm(rest.transpose(0, 1), self.features[which].mT.to(h.dtype)).transpose(0, 1)
        found = torch.log_softmax(logits, -1)
        there = self.has_missing[which, None]
        odds = torch.where(there, log_p[:, -1:] - torch.logsumexp(present, -1, keepdim=True), 0.0) + absent
        return torch.cat(
            (
                found + torch.where(there, F.logsigmoid(-odds), 0.0),
                torch.where(there, F.logsigmoid(odds), -torch.inf),
            ),
            -1,
        )


class CategoryHead(nn.Module):
    """Features (B, G, H) of G columns -> log p (B, G, K) of their codes, of which column g has `sizes[g]`."""

    valid: Tensor

    def __init__(self, sizes: Sequence[int], hidden: int) -> None:
        super().__init__()
        self.register_buffer("valid", padded([torch.ones(n) for n in sizes]) > 0, persistent=False)
        self.out = nn.Parameter(torch.zeros(len(sizes), max(sizes), hidden + 1))

    def forward(self, h: Tensor, log_p: Tensor, which: slice = slice(None)) -> Tensor:
        """log p of the columns `which`; `log_p` (G, K) are log-frequencies of all of them."""
        logits = log_p[which].to(h.dtype) + _affine(h, self.out[which])
        return torch.log_softmax(logits.masked_fill(~self.valid[which], -torch.inf), -1)


def _affine(h: Tensor, weight: Tensor) -> Tensor:
    """(B, G, H) by the weights (G, n, H + 1) of each column, the last of which is the bias: (B, G, n)."""
    return torch.baddbmm(weight[:, None, :, -1], h.transpose(0, 1), weight[:, :, :-1].mT).transpose(0, 1)
