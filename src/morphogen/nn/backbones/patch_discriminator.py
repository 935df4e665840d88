"""The patch discriminator (Isola, Zhu, Zhou and Efros, "Image-to-image translation", 2017).

It classifies every patch of a picture separately, by convolutions with one logit per place. A logit depends only on the
pixels of its receptive field. It measures sharpness and texture; the reconstruction error takes care of the
composition. Features are scaled to unit mean square at each place (pixelwise normalization; Karras et al., 2018). With
normalization over the picture or the batch, a logit would depend on pixels outside its patch.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphogen.nn.layers.sizes import padded


class PatchDiscriminator(nn.Module):
    """Pictures (B, channels, H, W) -> logits (B, ceil(H / f), ceil(W / f)), f = 2^len(widths); larger is more real.

    Each width is a 4 x 4 convolution of stride 2, the last layer a 3 x 3 one.
    """

    def __init__(self, channels: int, widths: Sequence[int] = (64, 128)) -> None:
        super().__init__()
        self.multiple = 2 ** len(widths)
        self.layers = nn.ModuleList(
            nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in itertools.pairwise((channels, *widths))
        )
        self.out = nn.Conv2d(widths[-1], 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = padded(x, self.multiple)
        for i, layer in enumerate(self.layers):
            h = layer(h)
            if i:  # the first layer's scale is that of the pixels
                h = h * torch.rsqrt(h.float().square().mean(1, keepdim=True) + 1e-6).to(h.dtype)
            h = F.leaky_relu(h, 0.2)
        return self.out(h).squeeze(1)
