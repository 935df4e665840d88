r"""Rate and distortion of pictures that are coded with a loss, by latents that are rounded.

An encoder maps a picture x to latents y. They are rounded to multiples of a step and coded; a decoder makes a picture
x_hat of them. Rounding has no gradient, so training adds uniform noise instead,

    y~ = y + w u,   u ~ U(-1/2, 1/2),   w the step.

If y has the prior density p, then y~ has the density of p convolved with a box of width w,

    p~(y~) = 1/w [F(y~ + w/2) - F(y~ - w/2)],   F the distribution function of p,

and w p~ at a multiple of w is the mass of its cell: the relaxed rate -log w p~(y~) is, at integers, the length of the
code. In expectation over the noise it is the rate of a quantizer with a dither that both sides know (Zamir and Feder,
"On universal quantization by randomized uniform/lattice quantizers", 1992).

**Which bound it is.** Take q(y~ | x) = U(y - w/2, y + w/2), whose log-density is -log w, the prior p~, and the
likelihood p(x | y~) = N(x_hat, sigma^2). Then

    -ELBO = E[-log w p~(y~)] + E[|x - x_hat|^2] / (2 sigma^2) + D/2 log(2 pi sigma^2) = rate + distortion + constant,

so minimizing rate + distortion / (2 sigma^2) trains a VAE with a uniform posterior (Balle, Laparra and Simoncelli,
"End-to-end optimized image compression", 2017), and the sum bounds -log p(x) from above. sigma is the error that a
picture may have. Where all cells are small, a latent costs -log w + constant and errs by w^2 / 12, so the best step is
sqrt(12) sigma. With hyper-latents z that say how wide y is, both are latents of the VAE: the rate is
-log p~(z~) - log p~(y~ | z~) (Balle et al., "Variational image compression with a scale hyperprior", 2018).

p is a logistic distribution here, or a mixture of them, for which the difference of F is a product that never cancels
(`theory/discretized.py`).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

STEP = math.sqrt(12.0)  # the step, in standard deviations of the error that is allowed


def log_mass_of_cell(x: Tensor, location: Tensor, log_scale: Tensor, log_width: Tensor) -> Tensor:
    """log P(x - w/2 < L < x + w/2) in nats for a logistic L; all arguments broadcast.

    It is log w p~(x), the logarithm of the density of L + w U(-1/2, 1/2) at x in units of 1 / w.
    """
    inverse = torch.exp(-log_scale)
    half = 0.5 * torch.exp(log_width)
    below = F.logsigmoid((x + half - location) * inverse)
    above = F.logsigmoid((location - x + half) * inverse)
    return below + above + torch.log(-torch.expm1(-2.0 * half * inverse))


def log_mass_of_mixture(x: Tensor, logits: Tensor, location: Tensor, log_scale: Tensor, log_width: Tensor) -> Tensor:
    """The same for a mixture of logistics, softmax(`logits`); the components lie on the last axis of the parameters.

    x and log_width (...), logits, location and log_scale (..., K).
    """
    parts = log_mass_of_cell(x[..., None], location, log_scale, log_width[..., None])
    return torch.logsumexp(parts + logits.log_softmax(-1), -1)
