"""The integer form of what depends on quality, and of a factorized prior: tables, computed once and stored."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from morphogen.core.errors import ArtifactError
from morphogen.nn.backbones.hyperprior import FactorizedPrior
from morphogen.nn.backbones.quality_ladder import QUALITIES, QualityLadder, place_of
from morphogen.nn.integer.cell_coding import CellTables
from morphogen.nn.integer.grid import UNIT
from morphogen.nn.integer.tables import PRECISION

_STEP = 2.0**-24  # unit of steps
_INVERSE = 2.0**-20  # unit of 1 / scale


class LossyTables(nn.Module):
    """Steps and weights of each quality, and the parameters of the factorized prior of n channels, K components."""

    weights: Tensor
    steps: Tensor
    ratios: Tensor
    shares: Tensor
    location: Tensor
    inverse: Tensor

    def __init__(self, latents: int, rungs: int, channels: int, mixtures: int) -> None:
        super().__init__()
        self.cells = CellTables()
        for name, shape in (
            ("weights", (QUALITIES, rungs)),
            ("steps", (QUALITIES, latents)),
            ("ratios", (QUALITIES, latents)),
            ("shares", (channels, mixtures)),
            ("location", (channels, mixtures)),
            ("inverse", (channels, mixtures)),
        ):
            self.register_buffer(name, torch.zeros(shape, dtype=torch.int32))

    @torch.no_grad()
    def set(self, ladder: QualityLadder, typical: Tensor, prior: FactorizedPrior) -> None:
        """Take what a trained model has; `typical` (M,) is what its scales are relative to."""
        t = torch.tensor([place_of(q) for q in range(1, QUALITIES + 1)], dtype=torch.float64)
        log_step = ladder.log_step(t.to(ladder.log_steps)).double()
        self.weights.copy_((ladder.weights(t) / UNIT).round())
        self.steps.copy_((log_step.exp() / _STEP).round().clamp(1, 2**31 - 1))
        self.ratios.copy_(((typical.double().log() - log_step) / UNIT).round())
        shares = (prior.logits.double().softmax(-1) * 2**PRECISION).round()
        shares[:, 0] += 2**PRECISION - shares.sum(-1)
        self.shares.copy_(shares)
        self.location.copy_((prior.location.double() / UNIT).round())
        self.inverse.copy_(((-prior.log_scale.double().clamp(-6.0, 6.0)).exp() / _INVERSE).round())

    def check(self) -> None:
        """Raise `ArtifactError` for tables that no model gives: a stored model may be anybody's."""
        sums = self.shares.long().sum(1)
        whole = bool((self.shares >= 0).all()) and bool((sums == 2**PRECISION).all())
        if not whole or bool((self.steps < 1).any()) or bool((self.inverse < 0).any()):
            raise ArtifactError("the tables of steps and shares are none of an integer form: quantize the model again.")

    def quality(self, quality: int, n: int) -> tuple[Tensor, Tensor, Tensor]:
        """For `n` pictures: the quality as networks read it (n, R), steps (n, M), and log(`typical` / step) (M,)."""
        c = self.weights[quality - 1].double() * UNIT
        return c.expand(n, -1), self.step(quality).expand(n, -1), self.ratios[quality - 1].double() * UNIT

    def step(self, quality: int) -> Tensor:
        """The steps (M,)."""
        return self.steps[quality - 1].double() * _STEP

    def factorized(self, step: Tensor) -> Tensor:
        """Frequencies (n, 63) of the cells of each channel, for steps (n,)."""
        location, inverse = self.location.double() * UNIT, self.inverse.double() * _INVERSE
        return self.cells.mixed(self.shares.double(), location, inverse, step)
