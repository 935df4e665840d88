"""`--robust`: the worst share of each batch is left out, and planted anomalies are what is left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import morphogen as mg
from morphogen.core.errors import SpecError
from morphogen.report.log import read_log
from morphogen.trainer.robust import Trimming
from tests.trainer.toys import Game, build

PLANTED = 30  # of 300


def contaminated() -> dict[str, np.ndarray]:
    """Points on a line in eight dimensions, and a tenth of them far from it."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 1)) * np.ones((1, 8)) + 0.1 * rng.normal(size=(300, 8))
    x[:PLANTED] = 3.0 * rng.choice([-1.0, 1.0], size=(PLANTED, 8))
    return {"train_x": x.astype(np.float32)}


def test_the_mean_is_that_of_the_best_once_a_tenth_is_done() -> None:
    losses, ids = torch.tensor([5.0, 1.0, 2.0, 9.0, 4.0]), torch.tensor([10, 11, 12, 13, 14])
    trimming = Trimming(build(), 0.4)
    assert float(trimming.mean(losses, ids, 0.05)) == float(losses.mean())
    assert trimming.entry(0) is None
    assert float(trimming.mean(losses, ids, 0.5)) == pytest.approx(7.0 / 3.0)
    assert trimming.entry(3) == {"step": 3, "kind": "left_out", "records": [[10, 1.0], [13, 1.0]]}
    assert float(Trimming(build(), 0.1).mean(losses, ids, 0.5)) == float(losses.mean())


def test_players_of_a_game_are_refused() -> None:
    with pytest.raises(SpecError, match="not trained robustly"):
        Trimming(build(Game), 0.1)
    assert Trimming(build(Game), 0.0).share == 0.0


def test_planted_anomalies_are_left_out_and_named(tmp_path: Path) -> None:
    options = {"hidden": (16,), "latent_dim": 1, "lr": 5e-3, "ema": None}
    recipe = {"steps": 400, "batch_size": 50, "auto": False, "compile": "off", "precision": "fp32"}
    usual = contaminated()["train_x"][PLANTED:]
    errors = []
    for robust in (0.0, 0.15):
        out = tmp_path / str(robust)
        model = mg.train("vae", contaminated(), out, options=options, recipe={**recipe, "robust": robust})
        again = mg.reconstruct(model, usual, n=len(usual))
        errors.append(float(np.square(np.asarray(again.original.x) - np.asarray(again.made.x)).mean()))
        named = [e for e in read_log(out / "log.jsonl") if e.get("kind") == "left_out"]
        if robust:
            worst = [record for record, _ in named[-1]["records"]][:PLANTED]
            assert sum(record < PLANTED for record in worst) > 0.9 * PLANTED
        else:
            assert named == []
    assert errors[1] < 0.9 * errors[0], "the line is learned better without what does not lie on it"
