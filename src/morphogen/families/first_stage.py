"""The part "autoencoder": a trained autoencoder of records, in whose latents or codes another model works.

Rombach et al., "High-resolution image synthesis with latent diffusion models", 2022.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from morphogen.core.capabilities import Encodes
from morphogen.core.data_spec import DataSpec, Measure
from morphogen.core.errors import SpecError
from morphogen.core.rng import Noise

FIRST_STAGE = "autoencoder"


@runtime_checkable
class FirstStage(Encodes, Protocol):
    """An autoencoder of records, in whose latents a denoiser can work."""

    data: DataSpec

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """The shape of latents."""

    def normalized(self, z: Tensor) -> Tensor:
        """Latents as a denoiser sees them: of mean 0 and variance 1."""

    def restored(self, z: Tensor) -> Tensor:
        """The inverse of `normalized`."""


@runtime_checkable
class CodedStage(Protocol):
    """A model of pictures as grids of integer codes, of which another model can be the prior."""

    data: DataSpec
    measure: Measure

    @property
    def code_shape(self) -> tuple[int, ...]:
        """(h, w, R): the grid, and the residual levels."""

    @property
    def code_values(self) -> int:
        """How many values a code has."""

    def codes(self, x: Tensor) -> Tensor:
        """k(x): (B, C, H, W) -> (B, h, w, R) int64."""

    def drawn(self, codes: Tensor, rng: Noise) -> Tensor:
        """Pictures (B, C, H, W) of codes (B, h, w, R)."""

    def log_p_given_codes(self, x: Tensor) -> Tensor:
        """log p(x | k(x)), (B,)."""


def latents_of(stage: Any, data: DataSpec) -> tuple[int, ...]:
    """The shape of the latents of the part "autoencoder". Raises `SpecError` if it is not an autoencoder of `data`."""
    if not isinstance(stage, FirstStage):
        raise SpecError(
            f"the part 'autoencoder' must be a model of the family autoencoder, not a {type(stage).__name__}."
        )
    of_the_same_data(stage.data, data)
    return tuple(stage.latent_shape)


def of_the_same_data(theirs: DataSpec, data: DataSpec) -> None:
    """Raises `SpecError` if a part was trained on other records than `data`."""
    alike = (theirs.shape, theirs.kind, theirs.levels) == (data.shape, data.kind, data.levels)
    if not alike or theirs.sequence != data.sequence:
        raise SpecError(
            f"the part 'autoencoder' was trained on {theirs.kind} records of shape {theirs.shape}, but {data.name!r}"
            f" has {data.kind} ones of shape {data.shape}: take one of the same data."
        )
