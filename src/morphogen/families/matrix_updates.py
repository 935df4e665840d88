"""Which optimizer updates the matrices of a sequence transformer: AdamW, or Muon (Jordan et al., 2024)."""

from __future__ import annotations

from typing import Any, Literal

import torch

from morphogen.core.errors import SpecError
from morphogen.core.recommendation import Choice, Situation
from morphogen.nn.backbones.sequence_transformer import SequenceTransformer

Optimizer = Literal["adamw", "muon"]
OPTIMIZER = "of the blocks' matrices: adamw, or muon, which makes updates orthogonal and needs torch 2.9"
RATE = 4.0  # learning rate of Muon, as a multiple of AdamW's


def check_optimizer(name: Optimizer) -> None:
    """Raise `SpecError` where torch does not have it."""
    if name == "muon" and not hasattr(torch.optim, "Muon"):
        raise SpecError(f"optimizer=muon needs torch 2.9 or newer, and this is {torch.__version__}: leave it out.")


def of_matrices(name: Optimizer, lr: float, *nets: SequenceTransformer) -> dict[str, Any]:
    """What a `Player` is told of the matrices of `nets`, where AdamW has the learning rate `lr`."""
    return {"matrices": [p for net in nets for p in net.matrices()], "matrix_lr": RATE * lr} if name == "muon" else {}


def recommended_optimizer(situation: Situation) -> list[Choice]:
    """Muon, where it can be: updates of whole gradients without noise."""
    if not situation.plain or not hasattr(torch.optim, "Muon"):
        return []
    return [Choice("optimizer", "muon", "transformers of sequences learn in fewer steps")]
