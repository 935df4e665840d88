"""Bugs that are planted in a private step are found by guesses about canaries, and a correct step is not accused.

Each canary has a coordinate of the gradient to itself, so the released gradient tells as much of it as it can.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from morphogen.core.data_spec import DataSpec
from morphogen.core.family import Family, Player, Progress, Step
from morphogen.core.privacy import PrivacyGuarantee
from morphogen.core.rng import Rng
from morphogen.core.spec import Spec
from morphogen.core.strong_noise import SeededSource
from morphogen.data import PoissonStream, Records
from morphogen.safeguards.privacy.canaries import Bound, bound_of
from morphogen.safeguards.privacy.claim import violation
from morphogen.trainer import Recipe
from morphogen.trainer.optim import PlayerOptimizer
from morphogen.trainer.private import clipping, updates
from morphogen.trainer.private.ledger import Ledger

EPSILON, DELTA, CLIP = 1.0, 1e-5, 1.0
CLAIM = PrivacyGuarantee(EPSILON, DELTA, "record", "closed form")


class Linear(Family):
    """The loss of a record x is -w x, so its gradient is -x."""

    name, summary, capabilities = "linear", "a sum", frozenset()

    def __init__(self, data: DataSpec) -> None:
        super().__init__(Spec(), data)
        self.layer = torch.nn.Linear(data.shape[0], 1, bias=False)

    def players(self) -> dict[str, Player]:
        return {"sum": Player(list(self.layer.parameters()), lr=0.1)}

    def networks(self) -> dict[str, torch.nn.Module]:
        return {"layer": self.layer}

    def steps(self, batch: Any, rng: Any, at: Progress) -> Iterator[Step]:
        yield Step("sum", {"sum": -self.network("layer")(batch.x)[:, 0]})


def audited(seed: int, m: int = 1000, length: float = 1.0, copies: int = 1) -> Bound:
    """One private step on the canaries of norm `length` whose coin says so, each `copies` times, and the bound."""
    pytest.importorskip("dp_accounting")
    from morphogen.theory.privacy import gaussian_noise

    coins = Rng(seed).integers("coin", m, 2).bool()
    x = (length * torch.eye(m)[coins]).repeat(copies, 1)
    data = DataSpec(name="canaries", shape=(m,), kind="continuous")
    family = Linear(data)
    stream = PoissonStream(Records(data, x, torch.arange(len(x))), len(x), SeededSource(seed))
    recipe = Recipe.parse({"steps": 1, "batch_size": len(x), "device": "cpu"})
    optimizers = {name: PlayerOptimizer(player, None) for name, player in family.players().items()}
    step = updates.PrivateUpdates(family, stream, recipe, optimizers, Ledger(None), SeededSource(seed + 1), CLIP, True)
    step.noise = gaussian_noise(EPSILON, DELTA)
    released = torch.zeros(m)
    for optimizer, _ in step.of(Progress(0, 0.0), "fp32", None):
        gradient = optimizer.parameters[0].grad
        assert gradient is not None
        released = -gradient.flatten().double()
    return bound_of(released, torch.zeros(m), coins, DELTA)


def test_a_correct_step_is_never_accused() -> None:
    for seed in range(20):
        assert violation(CLAIM, audited(seed, m=400, length=20.0)) is None


def test_noise_left_out_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates, "noisy", lambda value, deviation, source: value.double())
    found = audited(0)
    assert found.epsilon > 5.0 and violation(CLAIM, found) is not None


def test_clipping_left_out_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def unclipped(norms: Tensor, clip: float) -> Tensor:
        return torch.ones_like(norms)

    monkeypatch.setattr(clipping, "clip_factors", unclipped)
    found = audited(0, length=20.0)
    assert found.epsilon > 4.0 and violation(CLAIM, found) is not None


def test_records_that_are_read_several_times_are_found() -> None:
    """Ten times by the bound for every mechanism; three times by the one for Gaussian noise."""
    assert violation(CLAIM, audited(0, copies=10)) is not None
    assert audited(0, m=2000, copies=3).gaussian > EPSILON > audited(0, m=2000).gaussian
