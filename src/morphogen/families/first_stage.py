"""The part "autoencoder": a trained autoencoder of records, in whose latents another model works.

Rombach et al., "High-resolution image synthesis with latent diffusion models", 2022.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from morphogen.core.capabilities import Encodes
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import SpecError

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


def latents_of(stage: Any, data: DataSpec) -> tuple[int, ...]:
    """The shape of the latents of the part "autoencoder". Raises `SpecError` if it is not an autoencoder of `data`."""
    if not isinstance(stage, FirstStage):
        raise SpecError(
            f"the part 'autoencoder' must be a model of the family autoencoder, not a {type(stage).__name__}."
        )
    theirs = stage.data
    alike = (theirs.shape, theirs.kind, theirs.levels) == (data.shape, data.kind, data.levels)
    if not alike or theirs.sequence != data.sequence:
        raise SpecError(
            f"the part 'autoencoder' was trained on {theirs.kind} records of shape {theirs.shape}, but {data.name!r}"
            f" has {data.kind} ones of shape {data.shape}: take one of the same data."
        )
    return tuple(stage.latent_shape)
