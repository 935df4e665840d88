"""Known degradations of real pictures, each at growing strengths: the rungs of a ladder for distances.

blur     a Gaussian of standard deviation sigma, for pixels rather than for a continuum: the heat flow
         dX/dt = 1/2 Laplacian(X) on the pixel grid at time t = sigma^2, without flux across the border (Lindeberg,
         "Scale-space for discrete signals", 1990). The cosine transform diagonalizes it: a side of n pixels is
         multiplied by B = C^T diag(exp(-sigma^2 (1 - cos(pi k / n)))) C, with C the orthonormal DCT-II. So
         variances add exactly, B(s_1) B(s_2) = B(sqrt(s_1^2 + s_2^2)), the mean is kept exactly, and small sigmas
         are right, at which a Gaussian sampled at pixel centers would do nothing
noise    x + sigma z, z standard normal, sigma a share of the range; one z for all strengths
PCA      the projection onto the first k principal components of the training pictures
JPEG     compression at a quality, colors at half resolution (4:2:0)
dropped  some classes removed, the others drawn to the same number of pictures

All take and return uint8 pictures (N, C, H, W) in 0 .. 255, and all but `dropped` change each picture separately.
`as_bytes` makes these bytes from stored records. Binary pictures become 0 and 255. Their degraded versions stay gray: a
byte is then the probability of a 1.
"""

from __future__ import annotations

import io
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from morphogen.core.chunks import chunks
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import DataError, UsageError
from morphogen.core.rng import Rng
from morphogen.data import Records
from morphogen.theory.statistics.pca import PrincipalComponents

_ELEMENTS = 1 << 19  # elements that are handled at a time, as floats


class Corruption(ABC):
    """One kind of degradation; `strengths` are in order of growing harm."""

    name: ClassVar[str]
    strengths: tuple[float, ...]

    @classmethod
    def fitted(cls, train: Records, heldout: Records) -> Self | None:
        """Fit the degradation to the data, for the pictures of `heldout`; None if the data do not allow it."""
        return cls()

    @abstractmethod
    def label(self, strength: float) -> str:
        """The name for readers, such as "blur 0.5 px"."""

    def short(self, strength: float) -> str:
        """The label without the name: "0.5 px"."""
        return beside(self.name, self.label(strength))

    @abstractmethod
    def apply(self, pictures: Tensor, strength: float, rng: Rng) -> Tensor:
        """Degrade pictures (N, C, H, W) uint8; noise is addressed by the row."""


class Blur(Corruption):
    """Gaussian blur, sigma in pixels."""

    name = "blur"

    def __init__(self, strengths: Sequence[float] = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)) -> None:
        self.strengths = tuple(strengths)

    def label(self, strength: float) -> str:
        return f"blur {strength:g} px"

    def apply(self, pictures: Tensor, strength: float, rng: Rng) -> Tensor:
        return _changed(pictures, lambda x, first: blurred(x, strength))


class Noise(Corruption):
    """Additive Gaussian noise, its standard deviation as a share of the range; clipped to the range."""

    name = "noise"

    def __init__(self, strengths: Sequence[float] = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)) -> None:
        self.strengths = tuple(strengths)

    def label(self, strength: float) -> str:
        return f"noise {strength:.2f}"

    def apply(self, pictures: Tensor, strength: float, rng: Rng) -> Tensor:
        def noisy(x: Tensor, first: int) -> Tensor:
            return x + strength * rng.normal("noise", range(first, first + len(x)), x.shape[1:]).to(x.device)

        return _changed(pictures, noisy)


class Truncation(Corruption):
    """Projection onto the first principal components of the training pictures; strengths are their number.

    A number of components that reaches the rank of the training pictures changes nothing and is left out.
    """

    name = "PCA"

    def __init__(self, train: Tensor, strengths: Sequence[int] = (400, 300, 200, 150, 100, 75, 50, 25)) -> None:
        self.components = PrincipalComponents(train)
        self.strengths = tuple(k for k in strengths if k < len(self.components.variances))

    @classmethod
    def fitted(cls, train: Records, heldout: Records) -> Self | None:
        truncation = cls(as_bytes(train.stored, train.spec))
        return truncation if truncation.strengths else None

    def label(self, strength: float) -> str:
        return f"PCA-{strength:g}"

    def apply(self, pictures: Tensor, strength: float, rng: Rng) -> Tensor:
        def truncated(x: Tensor, first: int) -> Tensor:
            return self.components.truncated(x.flatten(1), int(strength)).reshape(x.shape)

        return _changed(pictures, truncated)


class Jpeg(Corruption):
    """JPEG at a quality of 1 to 100, for gray and RGB pictures."""

    name = "JPEG"

    def __init__(self, strengths: Sequence[int] = (95, 80, 65, 50, 35, 20, 10, 5)) -> None:
        self.strengths = tuple(strengths)

    @classmethod
    def fitted(cls, train: Records, heldout: Records) -> Self | None:
        return cls() if heldout.spec.shape[0] in (1, 3) else None

    def label(self, strength: float) -> str:
        return f"JPEG {strength:g}"

    def apply(self, pictures: Tensor, strength: float, rng: Rng) -> Tensor:
        _check(pictures)
        if pictures.shape[1] not in (1, 3):
            raise UsageError(f"JPEG holds gray or RGB pictures; got {pictures.shape[1]} channels.")
        images = pictures.permute(0, 2, 3, 1).squeeze(-1).cpu().numpy()
        degraded = torch.from_numpy(np.stack([_through_jpeg(image, int(strength)) for image in images]))
        degraded = degraded[:, None] if pictures.shape[1] == 1 else degraded.permute(0, 3, 1, 2).contiguous()
        return degraded.to(pictures.device)


class DroppedClasses(Corruption):
    """Pictures without some classes; strengths are the number of classes removed, at most 8 of them.

    pool, labels   (M, C, H, W) uint8 and (M,): the real pictures to draw from and their classes. A label of -1
                   is no class and its picture is never drawn

    Classes are removed in a random order. `apply` draws as many pictures as it gets, in the order of `drawn`. No
    picture repeats until all pictures of the remaining classes are used.
    Raises `DataError` for fewer than two classes.
    """

    name = "dropped"

    def __init__(self, pool: Tensor, labels: Tensor) -> None:
        _check(pool)
        if len(pool) != len(labels):
            raise DataError(f"expected one label for each of {len(pool)} pictures; got {len(labels)}.")
        self.pool, self.labels = pool, labels.to(pool.device)
        self.classes = labels[labels >= 0].unique()
        most = len(self.classes) - 1
        if most < 1:
            raise DataError(f"dropping a class needs pictures of at least 2 classes; got {len(self.classes)}.")
        # All numbers up to 8 if there are few classes; otherwise numbers that grow by a constant factor.
        spread = np.arange(1, min(most, 8) + 1) if most <= 9 else np.geomspace(1, most, 8).round()
        self.strengths = tuple(float(k) for k in np.unique(spread))

    @classmethod
    def fitted(cls, train: Records, heldout: Records) -> Self | None:
        labels = heldout.labels
        if labels is None or len(labels[labels >= 0].unique()) < 2:
            return None
        return cls(as_bytes(heldout.stored, heldout.spec), labels)

    def label(self, strength: float) -> str:
        return f"{strength:g} {'class' if strength == 1 else 'classes'} dropped"

    def apply(self, pictures: Tensor, strength: float, rng: Rng) -> Tensor:
        order = rng.permutation("dropped", 0, len(self.classes))
        kept = self.classes[order.to(self.classes.device)][int(strength) :]
        rows = drawn(len(self.pool), len(self.pool), rng).to(self.labels.device)
        rows = rows[torch.isin(self.labels[rows], kept.to(self.labels.device))]
        if not len(rows):
            raise UsageError(f"cannot drop {strength:g} of {len(self.classes)} classes: nothing would be left.")
        return self.pool[rows[torch.arange(len(pictures), device=rows.device) % len(rows)]]


DEGRADATIONS: tuple[type[Corruption], ...] = (Blur, Noise, Truncation, Jpeg, DroppedClasses)


def available(train: Records, heldout: Records) -> tuple[Corruption, ...]:
    """All degradations that these data allow, fitted for the pictures of `heldout`.

    JPEG needs gray or RGB pictures, and dropped classes need labels. Raises `DataError` if the records are not
    pictures.
    """
    as_bytes(heldout.stored[:1], heldout.spec)  # raises before the fits if the records are not pictures
    fitted = (kind.fitted(train, heldout) for kind in DEGRADATIONS)
    return tuple(degradation for degradation in fitted if degradation is not None)


def beside(name: str, label: str) -> str:
    """A label without the name of its degradation: "0.5 px" of "blur 0.5 px"."""
    return label.replace(name, "").strip(" -")


def as_bytes(stored: Tensor, spec: DataSpec) -> Tensor:
    """Turn stored pictures into uint8 in 0 .. 255 by an affine map of their whole range; 8-bit pictures stay."""
    if not spec.is_picture:
        raise DataError(f"{spec.name}: records of shape {spec.shape} are no pictures; expected (1, 3 or 4, H, W).")
    if spec.levels == 256:
        return stored
    parts = (spec.encode(part).float() for part in stored.split(4096))
    return torch.cat([_to_uint8((x - spec.low) / (spec.high - spec.low)) for x in parts])


def blurred(x: Tensor, sigma: float) -> Tensor:
    """Blur float pictures (N, C, H, W) by a Gaussian of `sigma` pixels; see the module's docstring."""
    down, across = (_blur_matrix(side, sigma).to(x) for side in x.shape[-2:])
    return down @ x @ across.T


def drawn(total: int, n: int, rng: Rng) -> Tensor:
    """(n,) different rows out of 0 .. total-1 in random order. A smaller n gives the first rows of a larger n."""
    return rng.permutation("drawn", 0, total)[:n]


def _blur_matrix(n: int, sigma: float) -> Tensor:
    k, j = torch.arange(n, dtype=torch.float64)[:, None], torch.arange(n, dtype=torch.float64)
    cosines = (math.pi * k * (j + 0.5) / n).cos() * (2.0 / n) ** 0.5  # (k, j)
    cosines[0] *= 0.5**0.5
    decay = torch.exp(-(sigma**2) * (1.0 - torch.cos(math.pi * k / n)))
    return cosines.T @ (decay * cosines)


def _changed(pictures: Tensor, change: Callable[[Tensor, int], Tensor]) -> Tensor:
    """Apply `change(x, first row)` to chunks of the pictures as floats in [0, 1]."""
    _check(pictures)
    size = max(1, _ELEMENTS // math.prod(pictures.shape[1:]))
    out = torch.empty_like(pictures)
    for part in chunks(len(pictures), size):
        out[part] = _to_uint8(change(pictures[part].float() / 255.0, part.start))
    return out


def _to_uint8(x: Tensor) -> Tensor:
    return (x * 255.0).round().clamp(0, 255).to(torch.uint8)


def _through_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(file))


def _check(pictures: Tensor) -> None:
    if pictures.ndim != 4 or pictures.dtype != torch.uint8:
        raise DataError(
            f"expected uint8 pictures of shape (N, C, H, W), got {pictures.dtype} of shape"
            f" {tuple(pictures.shape)}; `as_bytes` makes them from stored records."
        )
