"""A pretrained text encoder as a part of models: frozen, with the tokenizer that it was trained with.

    morphogen train diffusion --conditional --part text=DIRECTORY --data SOURCE --out DIR

It cannot be trained. It comes from a directory of `transformers` (`nn/conditioning/pretrained_text.py`) and is stored
in the artifact of the model that uses it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, final

from torch import Tensor, nn

from morphogen.core.batch import Batch
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import CapabilityError, SpecError
from morphogen.core.family import Family, Player, Progress, Step
from morphogen.core.rng import Noise
from morphogen.core.spec import Spec
from morphogen.nn.conditioning import pretrained_text


class PretrainedTextSpec(Spec):
    """The encoder's configuration; a token's id in the data is larger than the encoder's id by `shift`."""

    config: dict[str, Any]
    shift: int = 0


@final
class PretrainedText(Family):
    """See the module's docstring; `dim` is the width of the vectors."""

    name = "pretrained_text"
    summary = "a pretrained text encoder, as a part of others"
    capabilities = frozenset()
    Spec = PretrainedTextSpec
    spec: PretrainedTextSpec

    def __init__(
        self,
        spec: PretrainedTextSpec,
        data: DataSpec,
        parts: Mapping[str, nn.Module] | None = None,
        encoder: pretrained_text.PretrainedText | None = None,
    ) -> None:
        super().__init__(spec, data, parts)
        if data.text is None:
            raise SpecError("a text encoder needs data that say by which tokenizer it reads.")
        self.encoder = pretrained_text.built(spec.config) if encoder is None else encoder
        self.encoder.requires_grad_(False)
        self.dim = self.encoder.dim

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """ids (B, L) int64 of the data, mask (B, L) bool -> vectors (B, L, dim) float32 without gradients."""
        return self.encoder((ids - self.spec.shift).clamp_min(0), mask)

    def players(self) -> Mapping[str, Player]:
        """No players: it is not trained."""
        return {}

    def networks(self) -> Mapping[str, nn.Module]:
        """No networks for a trainer to wrap."""
        return {}

    def steps(self, batch: Batch, rng: Noise, at: Progress) -> Iterator[Step]:
        """Raises `CapabilityError`."""
        raise CapabilityError("a pretrained text encoder is not trained: give it to another model as --part text=.")
