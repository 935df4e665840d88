"""What is on a picture of `shapes`: an exact parser, by analysis through synthesis.

A pixel p on the background b under an object of color c is b + a (c - b) with coverage a in [0, 1], also
after a blur, since blurring is linear. So colors are directions of b - p, objects are connected regions of
coverage, and an object's size and shape are those of the drawing that, put at the same center of mass and
blurred a little or not, leaves the smallest sum of squared differences. What fits no drawing is no object.
"""

from __future__ import annotations

import functools
import itertools
import re
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from morphogen.core.errors import DataError
from morphogen.data.shapes import BACKGROUND, COLORS, DIAMETER, RELATIONS, SHAPES, SIZES, SMALLEST, distance

_FAINT = 0.2  # coverage from which a pixel belongs to an object
_SPECK = 0.008  # share of the picture below which a region is dirt
_DIRECTION = 0.97  # cosine to a color's direction that is needed
_MISFIT = 0.12  # share of the squared coverage that may be left unexplained
_BLURS = np.arange(11) / 10.0  # standard deviations in pixels

_NAMES = tuple(COLORS)
_AWAY = np.array(BACKGROUND, dtype=np.float32) - np.array(list(COLORS.values()), dtype=np.float32)
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
    objects = [found for found in _regions(picture) if found is not None]
    return sorted(objects, key=lambda o: o.position[::-1])


def check(caption: str, picture: Tensor | np.ndarray) -> dict[str, bool]:
    """Which statements of a caption hold on a picture.

    The objects of the caption are matched to different objects of the picture so that as many statements
    hold as can. Statements are the number of objects (false if there is anything else, too); the size,
    color and shape of each; their relation. Raises `DataError` for a caption of another form.
    """
    match = _CAPTION.fullmatch(caption.strip())
    if match is None:
        raise DataError(f"expected a caption such as 'a small red circle above a large blue square', got {caption!r}.")
    described = [match.groups()[:3]] if match[4] is None else [match.groups()[:3], match.groups()[4:]]
    regions = _regions(picture)
    candidates = [*regions, *[None] * len(described)]
    readings = [
        _statements(described, match[4], chosen) for chosen in itertools.permutations(candidates, len(described))
    ]
    best = max(readings, key=lambda s: sum(s.values()))
    count = "there is 1 object" if len(described) == 1 else f"there are {len(described)} objects"
    return {count: len(regions) == len(described) and None not in regions} | best


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
    away = np.array(BACKGROUND, dtype=np.float32) - _pixels(picture)  # (H, W, 3)
    along = away @ _AWAY.T / (_AWAY**2).sum(1)  # (H, W, colors): coverage, if it were that color
    left = ((away[:, :, None] - along[..., None] * _AWAY) ** 2).sum(-1)
    coverage = np.take_along_axis(along, left.argmin(2)[..., None], axis=2)[..., 0]
    labels = _labelled(coverage > _FAINT)
    regions = [labels == label for label in np.unique(labels[labels > 0])]
    return [_recognised(away, region) for region in regions if coverage[region].sum() >= _SPECK * labels.size]


def _pixels(picture: Tensor | np.ndarray) -> np.ndarray:
    pixels = picture.numpy(force=True) if isinstance(picture, Tensor) else np.asarray(picture)
    if pixels.ndim == 3 and pixels.shape[0] == 3 and pixels.shape[2] != 3:
        pixels = pixels.transpose(1, 2, 0)
    side = pixels.shape[0]
    if pixels.dtype != np.uint8 or pixels.shape != (side, side, 3) or side < SMALLEST:
        raise DataError(
            f"expected a square RGB picture (H, W, 3) of bytes and at least {SMALLEST} pixels,"
            f" got {pixels.dtype} {tuple(pixels.shape)}."
        )
    return pixels.astype(np.float32)


def _labelled(mask: np.ndarray) -> np.ndarray:
    """(H, W) int: one number for each connected region of `mask` and the two pixels around it, 0 elsewhere."""
    height, width = mask.shape
    labels = np.zeros(mask.shape, dtype=np.int64)
    waiting = set(zip(*(axis.tolist() for axis in mask.nonzero()), strict=True))
    number = 0
    while waiting:
        number += 1
        front = [waiting.pop()]
        while front:
            row, column = front.pop()
            labels[row, column] = number
            near = {(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & waiting
            waiting -= near
            front += near
    for _ in range(2):  # the soft edge, which a blur makes wider
        padded = np.pad(labels, 1)
        views = [padded[i : i + height, j : j + width] for i in range(3) for j in range(3)]
        labels = np.where(labels > 0, labels, np.maximum.reduce(views))
    return labels


def _recognised(away: np.ndarray, region: np.ndarray) -> Object | None:
    """The object in one region of a picture, or None."""
    side = len(region)
    rows, columns = (np.flatnonzero(region.any(axis=axis)) for axis in (1, 0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    away = away[box] * region[box][..., None]
    total = away.sum((0, 1))
    cosines = _AWAY @ total / (np.linalg.norm(_AWAY, axis=1) * np.linalg.norm(total) + 1e-6)
    color = int(cosines.argmax())
    if cosines[color] < _DIRECTION:
        return None
    coverage = away @ _AWAY[color] / (_AWAY[color] ** 2).sum()
    stain = away - coverage[..., None] * _AWAY[color]
    if (stain**2).sum() > _MISFIT * (away**2).sum():
        return None
    drawings, centers = _drawings(coverage, side)
    misfit = ((drawings - coverage) ** 2).sum((-1, -2)).min(-1) / (coverage**2).sum()  # (shapes, sizes)
    shape, size = np.unravel_index(int(misfit.argmin()), misfit.shape)
    if misfit[shape, size] > _MISFIT:
        return None
    x, y = (centers[shape, size] + (columns[0], rows[0])) / side
    return Object(SIZES[size], _NAMES[color], SHAPES[shape], (float(x), float(y)))


def _drawings(target: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Every kind of object with the center of mass of `target` (h, w), a part of a picture.

    Returns coverages (shapes, sizes, blurs, h, w) and centers (shapes, sizes, 2), x and y in pixels.
    """
    height, width = target.shape
    down, right = torch.arange(height) + 0.5, torch.arange(width) + 0.5
    diameter = torch.tensor([DIAMETER[size] * side for size in SIZES]).view(-1, 1, 1)
    wanted = _center_of_mass(target)
    centers = np.broadcast_to(wanted, (len(SHAPES), len(SIZES), 2))
    for _ in range(3):  # the drawing's center of mass follows its center nearly one to one
        x, y = (torch.from_numpy(centers[..., k].astype(np.float32)) for k in (0, 1))
        d = [
            distance(shape, right - x[k].view(-1, 1, 1), (down - y[k].view(-1, 1)).unsqueeze(-1), diameter)
            for k, shape in enumerate(SHAPES)
        ]
        coverage = (0.5 - torch.stack(d)).clamp(0.0, 1.0).numpy()
        drawn, centers = centers, centers + wanted - _center_of_mass(coverage)
    blurred = _blur(height) @ coverage[:, :, None] @ _blur(width).transpose(0, 2, 1)
    return blurred, drawn


def _center_of_mass(coverage: np.ndarray) -> np.ndarray:
    """(*, h, w) to (*, 2): x, y in pixels."""
    mass = coverage.sum((-1, -2)) + 1e-6
    x = (coverage.sum(-2) * (np.arange(coverage.shape[-1]) + 0.5)).sum(-1) / mass
    y = (coverage.sum(-1) * (np.arange(coverage.shape[-2]) + 0.5)).sum(-1) / mass
    return np.stack((x, y), axis=-1)


@functools.cache
def _blur(n: int) -> np.ndarray:
    """(blurs, n, n): the matrices that blur a line of n pixels on an empty background."""
    offsets = np.arange(n)[:, None] - np.arange(n)
    kernel = np.arange(-5, 6)
    scale = 0.5 / np.maximum(_BLURS, 0.05)[:, None, None] ** 2  # 0.05 leaves a line as it is
    return (np.exp(-scale * offsets**2) / np.exp(-scale * kernel**2).sum(-1, keepdims=True)).astype(np.float32)
