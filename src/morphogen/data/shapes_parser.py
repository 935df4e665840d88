"""What is on a picture of `shapes`: an exact parser, by analysis through synthesis.

A pixel p on the background b under an object of color c is b + a (c - b) with coverage a in [0, 1], also
after a blur, since blurring is linear. So colors are directions of b - p, objects are connected regions of
coverage, and an object's size and shape are those of the drawing that, put at the same center of mass and
blurred a little or not, leaves the smallest sum of squared differences. What fits no drawing is no object.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from morphogen.core.errors import DataError
from morphogen.data.shapes import BACKGROUND, COLORS, DIAMETER, RELATIONS, SHAPES, SIZES, SMALLEST, distance

_FAINT = 0.2  # coverage from which a pixel belongs to an object
_SPECK = 2.0  # pixels of coverage below which a region is dirt
_DIRECTION = 0.97  # cosine to a color's direction that is needed
_MISFIT = 0.12  # share of the squared coverage that may be left unexplained
_BLURS = torch.arange(11) / 10.0  # standard deviations in pixels

_NAMES = tuple(COLORS)
_KINDS = tuple(itertools.product(SIZES, SHAPES))
_AWAY = torch.tensor(BACKGROUND, dtype=torch.float32) - torch.tensor(list(COLORS.values()), dtype=torch.float32)
_OBJECT = rf"a ({'|'.join(SIZES)}) ({'|'.join(_NAMES)}) ({'|'.join(SHAPES)})"
_CAPTION = re.compile(rf"{_OBJECT}(?: ({'|'.join(RELATIONS)}) {_OBJECT})?")


@dataclass(frozen=True)
class Object:
    """One object; `position` is the center of its box, (x, y) from the left upper corner in units of the side."""

    size: str
    color: str
    shape: str
    position: tuple[float, float]


def parse(picture: Tensor | np.ndarray) -> list[Object]:
    """The objects on a picture, (H, W, 3) or (3, H, W) uint8, from top to bottom.

    Raises `DataError` if it is no square uint8 RGB picture of at least 16 pixels.
    """
    return [found for found in _regions(picture) if found is not None]


def check(caption: str, picture: Tensor | np.ndarray) -> dict[str, bool]:
    """Which statements of a caption hold on a picture.

    The objects of the caption are matched to different objects of the picture so that as many statements
    hold as can. Statements are the number of objects; the size, color and shape of each; their relation.
    Raises `DataError` for a caption of another form.
    """
    match = _CAPTION.fullmatch(caption.strip())
    if match is None:
        raise DataError(f"expected a caption such as 'a small red circle above a large blue square', got {caption!r}.")
    described = [match.groups()[:3]] if match[4] is None else [match.groups()[:3], match.groups()[4:]]
    regions = _regions(picture)
    candidates = [*regions, *[None] * len(described)]
    readings = [_statements(described, match[4], chosen) for chosen in itertools.permutations(candidates, len(described))]
    best = max(readings, key=lambda s: sum(s.values()))
    count = "there is 1 object" if len(described) == 1 else f"there are {len(described)} objects"
    return {count: len(regions) == len(described)} | best


def relation(first: Object, second: Object) -> str:
    """Which of the four relations holds: that along the axis on which the centers lie further apart."""
    x, y = (b - a for a, b in zip(first.position, second.position, strict=True))
    if abs(y) > abs(x):
        return "above" if y > 0 else "below"
    return "left of" if x > 0 else "right of"


def _statements(
    described: list[tuple[str, ...]], related: str | None, chosen: tuple[Object | None, ...]
) -> dict[str, bool]:
    statements = {}
    for name, (size, color, shape), found in zip(("first", "second"), described, chosen, strict=False):
        statements[f"the {name} is {size}"] = found is not None and found.size == size
        statements[f"the {name} is {color}"] = found is not None and found.color == color
        statements[f"the {name} is a {shape}"] = found is not None and found.shape == shape
    if related is not None:
        first, second = chosen
        holds = first is not None and second is not None and relation(first, second) == related
        statements[f"the first is {related} the second"] = holds
    return statements


def _regions(picture: Tensor | np.ndarray) -> list[Object | None]:
    """Every region that differs from the background: an object, or None for what is none."""
    away = torch.tensor(BACKGROUND, dtype=torch.float32) - _pixels(picture)  # (H, W, 3)
    along = (away @ _AWAY.T) / (_AWAY**2).sum(1)  # (H, W, colors): coverage, if it were that color
    left = (away[:, :, None] - along[..., None] * _AWAY).norm(dim=-1)
    coverage = along.gather(2, left.argmin(2, keepdim=True))[..., 0]
    labels = _labelled(coverage > _FAINT)
    found = []
    for label in labels.unique()[1:].tolist():
        if coverage[labels == label].sum() >= _SPECK:
            found.append(_recognised(away, labels, label))
    return found


def _pixels(picture: Tensor | np.ndarray) -> Tensor:
    pixels = torch.as_tensor(picture)
    if pixels.ndim == 3 and pixels.shape[0] == 3 and pixels.shape[2] != 3:
        pixels = pixels.permute(1, 2, 0)
    side = pixels.shape[0]
    if pixels.dtype != torch.uint8 or tuple(pixels.shape) != (side, side, 3) or side < SMALLEST:
        raise DataError(
            f"expected a square RGB picture (H, W, 3) of bytes and at least {SMALLEST} pixels,"
            f" got {pixels.dtype} {tuple(pixels.shape)}."
        )
    return pixels.cpu().float()


def _labelled(mask: Tensor) -> Tensor:
    """(H, W) int64: one number for each connected region and the soft edge around it, 0 elsewhere."""
    labels = torch.arange(1, mask.numel() + 1).view(mask.shape) * mask
    while True:
        spread = _spread(labels) * mask
        if torch.equal(spread, labels):
            break
        labels = spread
    for _ in range(2):
        labels = torch.where(labels > 0, labels, _spread(labels))
    return labels


def _spread(labels: Tensor) -> Tensor:
    return functional.max_pool2d(labels[None, None].float(), 3, stride=1, padding=1)[0, 0].long()


def _recognised(away: Tensor, labels: Tensor, label: int) -> Object | None:
    """The object in one region, or None."""
    mine = labels == label
    total = away[mine].sum(0)
    cosines = functional.cosine_similarity(total[None], _AWAY)
    color = int(cosines.argmax())
    if cosines[color] < _DIRECTION:
        return None
    target = (away * mine[..., None]) @ _AWAY[color] / (_AWAY[color] ** 2).sum()  # (H, W) coverage
    stained = ((away * mine[..., None] - target[..., None] * _AWAY[color]) ** 2).sum() / (away[mine] ** 2).sum()
    if stained > _MISFIT:
        return None
    drawings, centers = _drawings(target)
    misfit = ((drawings - target) ** 2).sum((-1, -2)) / (target**2).sum()  # (kinds, blurs)
    kind = int(misfit.amin(1).argmin())
    if misfit[kind].min() > _MISFIT:
        return None
    size, shape = _KINDS[kind]
    x, y = (centers[kind] / len(labels)).tolist()
    return Object(size, _NAMES[color], shape, (x, y))


def _drawings(target: Tensor) -> tuple[Tensor, Tensor]:
    """Every kind of object with the center of mass of `target`: (kinds, blurs, H, W), and centers (kinds, 2)."""
    side = len(target)
    at = torch.arange(side) + 0.5
    wanted = _center_of_mass(target[None], at)
    centers = wanted.repeat(len(_KINDS), 1)
    for _ in range(3):  # the drawing's center of mass follows its center nearly one to one
        coverage = torch.stack(
            [
                (0.5 - distance(shape, at[None, :] - x, at[:, None] - y, DIAMETER[size] * side)).clamp(0.0, 1.0)
                for (size, shape), (x, y) in zip(_KINDS, centers, strict=True)
            ]
        )
        centers = centers + wanted - _center_of_mass(coverage, at)
    return _blurred(coverage), centers


def _center_of_mass(coverage: Tensor, at: Tensor) -> Tensor:
    """(N, H, W) to (N, 2): x, y."""
    mass = coverage.sum((1, 2)).clamp_min(1e-6)
    return torch.stack(((coverage.sum(1) * at).sum(1) / mass, (coverage.sum(2) * at).sum(1) / mass), dim=1)


def _blurred(coverage: Tensor) -> Tensor:
    """(N, H, W) to (N, blurs, H, W)."""
    offsets = torch.arange(-3, 4)
    weights = torch.exp(-0.5 * (offsets / _BLURS.clamp_min(0.05)[:, None]) ** 2)  # 0.05 leaves a picture as it is
    weights = (weights / weights.sum(1, keepdim=True))[:, None, None, :]  # (blurs, 1, 1, 7)
    rows = functional.conv2d(coverage[:, None], weights, padding=(0, 3))
    return functional.conv2d(rows, weights.transpose(2, 3), padding=(3, 0), groups=len(_BLURS))
