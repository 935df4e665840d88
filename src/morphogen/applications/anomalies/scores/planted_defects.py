"""Local defects: a small convolutional network that finds what was planted into normal pictures.

As for rows (`planted_rows.py`), the log-odds of a classifier of normal against planted are log q - log p, here of each
place and what surrounds it. Planted is one blob or two: an ellipse of random size, shape and direction with a ragged
border, filled with a value of another picture or with another picture, shifted and perhaps turned (after Li et al.,
"CutPaste", 2021, and Zavrtanik, Kristan and Skocaj, "DRAEM", 2021). Blobs are drawn at twice the resolution and
averaged, so their borders are as sharp as those of what was photographed and made smaller. Planted pictures are made
from normal ones alone; no anomaly is seen.

The network has two scales and gives a log-odds for each square of two pixels. It learns from crops, so that it costs
the same for pictures of any size. The score of a picture is the mean of its five largest log-odds: a defect is local.
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from morphogen.applications.anomalies.detector import Detector, checked
from morphogen.applications.anomalies.features.bands import blurred
from morphogen.applications.anomalies.features.views import pixels
from morphogen.core.chunks import chunks
from morphogen.core.rng import Noise, Rng
from morphogen.data import Records

STEPS, BATCH, CROP = 400, 64, 32
LARGEST = 5  # squares whose log-odds are the score
_WIDTHS = (16, 32, 48)
_LR, _WARM_UP, _DECAY = 2e-3, 20, 1e-4
_INTACT = 3  # every third picture of a batch stays as it is
_WEIGHT = 5.0  # of a planted square: few are
_SMALL, _LARGE = 0.06, 0.25  # of blobs, of the shorter side
_RAGGED, _COARSE = 0.5, 5  # of the border: how much, and the pixels from swing to swing
_SECOND, _OF_VALUE = 0.3, 0.6  # shares of pictures with a second blob, and of blobs of one value
_SEEN = 0.1  # change of a pixel that counts
_AROUND = 8  # of the shorter side, a square around each pixel whose largest value a map takes
_AT_ONCE = 1 << 20


def blobs(n: int, shape: tuple[int, int], rng: Noise) -> Tensor:
    """(n, 1, H, W) the share of each pixel that a random blob covers."""
    height, width = 2 * shape[0], 2 * shape[1]
    size, stretch, turn, y, x = rng.uniform("blobs", n, (5, 1, 1)).unbind(1)
    size = (size * math.log(_LARGE / _SMALL)).exp() * _SMALL * min(height, width) / 2.0  # half of a diameter
    stretch, turn = (stretch - 0.5).exp(), turn * math.pi
    down = torch.arange(height)[:, None] - y * height
    right = torch.arange(width) - x * width
    along = (right * turn.cos() + down * turn.sin()) / (size * stretch)
    across = (down * turn.cos() - right * turn.sin()) / (size / stretch)
    coarse = rng.normal("ragged", n, (1, -(-height // _COARSE), -(-width // _COARSE)))
    ragged = functional.interpolate(coarse, size=(height, width), mode="bilinear")[:, 0]
    inside = (along.square() + across.square()).sqrt() + _RAGGED * ragged < 1.0
    return functional.avg_pool2d(inside.float()[:, None], 2)


def planted(x: Tensor, rng: Noise) -> tuple[Tensor, Tensor]:
    """Pictures x (N, C, H, W) in [0, 1] with blobs, and (N, 1, H, W) bool where they changed."""
    n, channels, height, width = x.shape
    found = x
    for k, share in enumerate((1.0, _SECOND)):
        own = rng.child(f"blob {k}")
        has = (own.uniform("has", n, (1, 1, 1)) < share).float()
        other = x[own.permutation("other", 0, n)]
        place = own.integers("place", n, height * width)
        value = other.flatten(2).gather(2, place[:, None, None].expand(n, channels, 1))[..., None]
        moves = (own.uniform("moves", 1, (3,))[0] * torch.tensor([height, width, 2])).long().tolist()
        moved = other.roll(moves[:2], (2, 3))
        moved = moved.flip(3).mT if moves[2] and height == width else moved
        filled = torch.where(own.uniform("filled", n, (1, 1, 1)) < _OF_VALUE, value, moved)
        found = torch.lerp(found, filled, blobs(n, (height, width), own) * has)
    return found, (found - x).abs().amax(1, keepdim=True) > _SEEN


@final
class Finder(nn.Module):
    """(N, 1, H/2, W/2) log-odds of "planted", at two scales."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow, middle, wide = _WIDTHS

        def layer(before: int, after: int, stride: int = 1) -> list[nn.Module]:
            return [nn.Conv2d(before, after, 3, stride, 1), nn.ReLU()]

        self.fine = nn.Sequential(*layer(channels, narrow), *layer(narrow, middle, 2), *layer(middle, middle))
        self.coarse = nn.Sequential(*layer(middle, wide, 2), *layer(wide, wide), *layer(wide, wide))
        self.joined = nn.Sequential(*layer(middle + wide, middle), nn.Conv2d(middle, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Of pictures (N, C, H, W) in [0, 1]."""
        fine = self.fine(x - 0.5)
        coarse = functional.interpolate(self.coarse(fine), size=fine.shape[2:], mode="nearest")
        found: Tensor = self.joined(torch.cat((fine, coarse), 1))
        return found


@final
class PlantedDefects(Detector):
    """The largest log-odds that something in a picture is planted."""

    name = "planted defects"

    def __init__(self, seed: int = 0, steps: int = STEPS) -> None:
        self.seed, self.steps = seed, steps

    def fit(self, reference: Records) -> None:
        """Train the finder on crops of normal pictures."""
        rng = Rng(self.seed).child("planted defects")
        with rng.forked():
            self.finder = Finder(reference.spec.shape[0])
        optimizer = torch.optim.AdamW(self.finder.parameters(), _LR, weight_decay=_DECAY)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min(1.0, (step + 1) / _WARM_UP) * (1.0 - step / self.steps)
        )
        for step in range(self.steps):
            own = rng.child(f"step {step}")
            rows = own.integers("rows", BATCH, len(reference))
            x = _crops(pixels(reference.stored[rows].cpu(), reference.spec), own)
            changed, where = planted(x, own)
            changed[::_INTACT], where[::_INTACT] = x[::_INTACT], False
            wanted = functional.max_pool2d(where.float(), 2, ceil_mode=True)
            odds = self.finder(changed)
            loss = functional.binary_cross_entropy_with_logits(odds, wanted, 1.0 + (_WEIGHT - 1.0) * wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()

    def fit_and_hold_out(self, reference: Records, parts: list[Tensor], most: int, rng: Noise) -> Tensor:
        """Trained once: the part that is left out is not learned later."""
        self.fit(reference.select(torch.cat(parts[1:])))
        return self.score(reference.select(parts[0][:most]), rng)

    def score(self, records: Records, rng: Noise) -> Tensor:
        odds = self._odds(records).flatten(1)
        return checked(odds.topk(min(LARGEST, odds.shape[1]), 1).values.mean(1), self.name, records)

    def maps(self, records: Records, rng: Noise) -> Tensor | None:
        """The probability of "planted" in the surroundings of each pixel: they belong to a defect, too."""
        size = records.spec.shape[1:]
        shares = functional.interpolate(self._odds(records).sigmoid(), size=size, mode="bilinear")
        reach = max(1, min(size) // (2 * _AROUND))
        return blurred(functional.max_pool2d(shares, 2 * reach + 1, 1, reach), 0.75 * reach)[:, 0]

    @torch.no_grad()
    def _odds(self, records: Records) -> Tensor:
        found = [
            self.finder(pixels(records.stored[rows].cpu(), records.spec))
            for rows in chunks(len(records), max(1, _AT_ONCE // records.spec.dimensions))
        ]
        return torch.cat(found) if found else torch.zeros(0, 1, *(-(-side // 2) for side in records.spec.shape[1:]))


def _crops(x: Tensor, rng: Noise) -> Tensor:
    """Crops of at most `CROP` pixels at one place of all pictures."""
    height, width = x.shape[2:]
    top, left = (
        int(rng.integers(name, 1, max(1, side - CROP + 1))[0]) for name, side in (("top", height), ("left", width))
    )
    return x[:, :, top : top + CROP, left : left + CROP]
