"""`shapes`: procedural pictures of one or two colored shapes, with captions that are exactly true.

Everything is in units of the picture's side. A shape is the set where a signed distance d (negative
inside) is below 0, and a pixel's coverage is clamp(1/2 - d, 0, 1) with d in pixels, which draws edges
one pixel soft. Two objects keep a gap of at least 1/8, and lie further apart along the axis of their
relation than along the other one, so that exactly one of the four relations holds.

Some (size, color, shape) triples never occur in training, while every pair of them does: who draws them
has understood the words one by one (compositional generalisation, as tested by Johnson et al., "CLEVR",
CVPR 2017).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from morphogen.core.chunks import chunks
from morphogen.core.errors import DataError
from morphogen.core.rng import Rng
from morphogen.data.options import Captioned, Size
from morphogen.data.pictures import prepared
from morphogen.data.raw import Raw, SourceReader

SIZES = ("small", "large")
SHAPES = ("circle", "square", "triangle", "cross")
COLORS = {
    "red": (220, 40, 40),
    "green": (40, 160, 60),
    "blue": (50, 80, 220),
    "yellow": (235, 195, 20),
    "purple": (150, 50, 180),
    "black": (25, 25, 25),
}
RELATIONS = ("above", "below", "left of", "right of")
BACKGROUND = (240, 240, 240)
DIAMETER = {"small": 0.22, "large": 0.35}  # of the circle; the others are about as wide
SHARE_OF_TWO = {"one": 0.0, "any": 0.6, "two": 1.0}
MARGIN, GAP = 1 / 24, 1 / 8
SMALLEST, LARGEST = 16, 64

_NAMES = tuple(COLORS)
WITHHELD = frozenset((SIZES[k % 2], _NAMES[k], SHAPES[k % 4]) for k in range(len(_NAMES)))
_CHUNK = 512


class ShapesOptions(Captioned):
    """`n` pictures in all splits together; picture i is the same whatever n is.

    objects  on a picture: one, two, or any, either of them; the first is of the same kind whichever it is
    """

    size: Size | None = "32x32"
    n: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    seed: Annotated[int, Field(ge=0)] = 0
    objects: Literal["any", "one", "two"] = "any"


@dataclass(frozen=True)
class Scenes:
    """What is on `n` pictures. The second object of a picture with one object means nothing.

    two       (n,) bool, whether there are two objects
    size, color, shape   (n, 2) int64, positions in SIZES, COLORS, SHAPES
    relation  (n,) int64, position in RELATIONS: the first object lies above ... the second
    center    (n, 2, 2) float64, x to the right and y down, in units of the side
    """

    two: Tensor
    size: Tensor
    color: Tensor
    shape: Tensor
    relation: Tensor
    center: Tensor


def distance(shape: str, x: Tensor, y: Tensor, diameter: float | Tensor) -> Tensor:
    """Signed distance (up to a constant factor near corners) of points from a shape around 0, y down."""
    r = diameter / 2.0
    if shape == "circle":
        return torch.sqrt(x * x + y * y) - r
    if shape == "square":
        return torch.maximum(x.abs(), y.abs()) - 0.9 * r
    if shape == "triangle":  # apex up, base 2.2 r wide and 2 r high, the origin in the middle of the height
        slope = math.hypot(2.0, 1.1)
        return torch.maximum(y - r, (2.0 * x.abs() - 1.1 * (y + r)) / slope)
    arm = r / 3.0
    ax, ay = x.abs(), y.abs()
    return torch.minimum(torch.maximum(ax - r, ay - arm), torch.maximum(ax - arm, ay - r))


def scenes(index: Tensor, seed: int, objects: str = "any") -> Scenes:
    """Scenes number `index` (n,): kinds uniform; two objects, of different colors, at a rate of SHARE_OF_TWO."""
    rng = Rng(seed)
    color = rng.integers("shapes/color", index, len(_NAMES))
    other = (color + 1 + rng.integers("shapes/other color", index, len(_NAMES) - 1)) % len(_NAMES)
    size = rng.integers("shapes/size", index, len(SIZES), (2,))
    relation = rng.integers("shapes/relation", index, len(RELATIONS))
    two = rng.uniform("shapes/two", index) < SHARE_OF_TWO[objects]
    u = rng.uniform("shapes/place", index, (4,), torch.float64)
    half = torch.tensor([1.1 * d / 2 for d in DIAMETER.values()], dtype=torch.float64)[size]  # of the widest shape

    # Along the axis of the relation: margin, slack, front, gap, slack, back, slack, margin.
    forward = relation % 2 == 0  # above, left of: the first object is in front
    front, back = torch.where(forward, half.T, half.T.flip(0))
    slack = torch.sort(u[:, :2] * (1 - 2 * MARGIN - GAP - 2 * half.sum(1, keepdim=True)), dim=1).values
    near = MARGIN + slack[:, 0] + front
    far = near + front + GAP + (slack[:, 1] - slack[:, 0]) + back
    # Across it: anywhere, but clearly less apart than along it.
    across = MARGIN + front + u[:, 2] * (1 - 2 * MARGIN - 2 * front)
    beside = across + (2 * u[:, 3] - 1) * 0.6 * (far - near)
    beside = torch.minimum(torch.maximum(beside, MARGIN + back), 1 - MARGIN - back)

    pair = torch.stack((torch.stack((across, near), dim=1), torch.stack((beside, far), dim=1)), dim=1)  # as if above
    pair = torch.where(forward[:, None, None], pair, pair.flip(1))
    pair = torch.where((relation < 2)[:, None, None], pair, pair.flip(2))
    alone = MARGIN + half[:, :1] + u[:, 2:] * (1 - 2 * MARGIN - 2 * half[:, :1])
    pair[:, 0] = torch.where(two[:, None], pair[:, 0], alone)
    shape = rng.integers("shapes/shape", index, len(SHAPES), (2,))
    return Scenes(two, size, torch.stack((color, other), dim=1), shape, relation, pair)


def draw(found: Scenes, side: int) -> Tensor:
    """The pictures, (n, 3, side, side) uint8."""
    n = len(found.two)
    colors = torch.tensor(list(COLORS.values()), dtype=torch.float32)
    diameters = torch.tensor([DIAMETER[s] * side for s in SIZES])
    at = torch.arange(side) + 0.5
    canvas = torch.tensor(BACKGROUND, dtype=torch.float32).view(1, 3, 1, 1).repeat(n, 1, side, side)
    for k in range(2):
        shown = found.two if k else torch.ones_like(found.two)
        for number, shape in enumerate(SHAPES):
            rows = (shown & (found.shape[:, k] == number)).nonzero()[:, 0]
            center = (found.center[rows, k] * side).float()
            x = at.view(1, 1, -1) - center[:, 0].view(-1, 1, 1)
            y = at.view(1, -1, 1) - center[:, 1].view(-1, 1, 1)
            d = distance(shape, x, y, diameters[found.size[rows, k]].view(-1, 1, 1))
            coverage = (0.5 - d).clamp(0.0, 1.0)[:, None]
            canvas[rows] = torch.lerp(canvas[rows], colors[found.color[rows, k]].view(-1, 3, 1, 1), coverage)
    return canvas.round().to(torch.uint8)


def captions(found: Scenes) -> list[str]:
    """What is on each picture, such as "a small red circle above a large blue square"."""
    texts = []
    for i, two in enumerate(found.two.tolist()):
        first, second = (" ".join(("a", *t)) for t in triples(found, i))
        texts.append(f"{first} {RELATIONS[int(found.relation[i])]} {second}" if two else first)
    return texts


def triples(found: Scenes, i: int) -> list[tuple[str, str, str]]:
    """(size, color, shape) of both objects of picture `i`, whether or not the second is shown."""
    kinds = zip(found.size[i].tolist(), found.color[i].tolist(), found.shape[i].tolist(), strict=True)
    return [(SIZES[s], _NAMES[c], SHAPES[h]) for s, c, h in kinds]


def read(options: ShapesOptions) -> Raw:
    """Draw `n` pictures; those with a withheld triple are the split test_withheld."""
    height, width = options.target or (0, 0)
    if height != width or not SMALLEST <= height <= LARGEST:
        raise DataError(
            f"shapes are drawn as squares of {SMALLEST} to {LARGEST} pixels, not {options.size};"
            f" choose such as size=32."
        )
    stored, texts, split = [], [], []
    for rows in chunks(options.n, _CHUNK):
        index = torch.arange(rows.start, rows.stop)
        found = scenes(index, options.seed, options.objects)
        stored.append(prepared(draw(found, height), options))
        texts += captions(found)
        share = Rng(options.seed).uniform("shapes/split", index).tolist()
        for i, two in enumerate(found.two.tolist()):
            withheld = not WITHHELD.isdisjoint(triples(found, i)[: 1 + two])
            seen = "test" if share[i] < 0.10 else "validation" if share[i] < 0.15 else "train"
            split.append("test_withheld" if withheld else seen)
    return Raw(torch.cat(stored), split=split, captions=texts, license="none needed: drawn by this program")


READER = SourceReader(ShapesOptions, read, "colored shapes with exact captions, 16 to 64 px, n and seed as you like")
