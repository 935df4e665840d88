"""The two encoders of a frozen feature network: pictures to vectors, and captions to vectors.

Pictures are folded 2 x 2 into channels. This loses nothing, and every convolution works on a quarter of the pixels.
There is no normalization, so the features of a picture depend only on that picture.
(The recipe trains with batch normalization and folds it into the convolutions afterwards.)
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_WORD = re.compile(r"[\w'-]+")


class _TrunkBlock(nn.Module):
    """relu(x + conv(relu(conv x)))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.conv2(F.relu(self.conv1(x))))


class Trunk(nn.Module):
    """Pictures (B, channels, H, W) of even sides -> (B, dim): a residual block per width, halved in between.

    The last stage is pooled by its mean and its standard deviation over the positions, and a linear map follows. Damage
    to a picture changes the standard deviation as much as the mean.
    """

    def __init__(self, channels: int, widths: Sequence[int], dim: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(4 * channels, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList(_TrunkBlock(w) for w in widths)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in itertools.pairwise(widths))
        self.out = nn.Linear(2 * widths[-1], dim)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(F.pixel_unshuffle(x, 2)))
        for i, block in enumerate(self.blocks):
            if i:
                x = F.relu(self.down[i - 1](x))
            x = block(x)
        x = x.flatten(2).float()
        spread = (x.var(-1, unbiased=False) + 1e-4).sqrt()  # the derivative stays finite if nothing varies
        return self.out(torch.cat((x.mean(-1), spread), dim=-1))


def words_of(caption: str) -> list[str]:
    """The words of a caption in lower case; hyphens and apostrophes are parts of words."""
    return _WORD.findall(caption.lower().replace("’", "'"))


class WordBag(nn.Module):
    """Captions -> (B, dim): the mean embedding of the known words, and a perceptron's correction to it.

    The mean composes: a word adds the same direction in every caption, also in new combinations of words. Unknown words
    are ignored, and the order of words has no effect. All captions without known words are equal.
    """

    def __init__(self, words: Sequence[str], dim: int) -> None:
        super().__init__()
        self.number = {word: i for i, word in enumerate(words)}
        self.embedding = nn.EmbeddingBag(len(words), dim, mode="mean")
        self.hidden = nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(2 * dim, dim)

    def forward(self, captions: Sequence[str]) -> Tensor:
        known = [[self.number[w] for w in words_of(c) if w in self.number] for c in captions]
        device = self.out.weight.device
        flat = torch.tensor([i for row in known for i in row], dtype=torch.int64, device=device)
        starts = torch.tensor([0, *itertools.accumulate(len(row) for row in known)], device=device)[:-1]
        mean = self.embedding(flat, starts)
        return mean + self.out(F.relu(self.hidden(mean)))
