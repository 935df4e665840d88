"""Diffusion and flow matching in two gloo processes against one, with the same global batch; and in bf16."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from morphogen import artifact
from morphogen.core.batch import Batch, RawCondition
from morphogen.core.data_spec import DataSpec
from morphogen.core.rng import Rng
from morphogen.families.diffusion import Diffusion, DiffusionSpec
from morphogen.families.flow_matching import FlowMatching, FlowMatchingSpec
from morphogen.trainer import fit
from tests.processes import run_two_processes
from tests.trainer.toys import recipe

POINTS = DataSpec(name="points", shape=(2,), kind="continuous", classes=("a", "b"))
PICTURES = DataSpec(name="pictures", shape=(1, 8, 8), kind="continuous", levels=17, classes=("a", "b"))
UNET = {"backbone": "unet", "widths": (16, 16), "blocks": (1,), "attention": 1, "conditional": True}
MLP = {"backbone": "mlp", "hidden": (24, 24), "conditional": True}
STEPS = 8
RUNS = {
    "diffusion": ("diffusion", UNET, {}),
    "accumulated": ("diffusion", UNET, {"accumulate": 2}),
    "flow": ("flow_matching", MLP, {}),
    "sharded-diffusion": ("diffusion", UNET, {"distributed": "fsdp"}),
    "sharded-flow": ("flow_matching", MLP, {"distributed": "fsdp"}),
}


@dataclass
class Classes:
    """An endless stream over 64 records of two classes."""

    data: DataSpec
    batch_size: int = 32
    records: int = 64

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        share = self.batch_size // world
        index = torch.arange(share) + step * self.batch_size + rank * share
        rows = Rng(7).integers("rows", index, self.records).reshape(-1)
        x = (0.3 * Rng(3).normal("x", self.records, self.data.shape) + 0.2).clamp(-1, 1)[rows]
        return Batch(x, rows, RawCondition(label=rows % 2), index)


def run(family: str, options: dict[str, Any], how: dict[str, Any], out: Path) -> None:
    with Rng(11).forked():
        if family == "diffusion":
            model: Any = Diffusion(DiffusionSpec.parse(options), PICTURES)
        else:
            model = FlowMatching(FlowMatchingSpec.parse(options), POINTS)
    list(fit(model, Classes(model.data), recipe(**{"steps": STEPS, "log_every": 1, **how}), out))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all runs, made by two processes that torchrun starts."""
    out = tmp_path_factory.mktemp("two")
    run_two_processes(__file__, str(out))
    return out


def log(out: Path) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, (out / "log.jsonl").open()) if "terms" in line]


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_two_processes_lose_what_one_does(two: Path, tmp_path: Path, name: str) -> None:
    """Replicated, with parts of a batch in turn, and sharded: losses of each step, and the stored weights."""
    family, options, how = RUNS[name]
    run(family, options, {**how, "distributed": "ddp"}, tmp_path)
    one, both = log(tmp_path), log(two / name)
    assert [line["step"] for line in both] == list(range(1, STEPS + 1))
    for a, b in zip(one, both, strict=True):
        assert b["terms"] == pytest.approx(a["terms"], rel=1e-4)
        assert b["metrics"] == pytest.approx(a["metrics"], rel=1e-4)
    assert one[0]["terms"] != one[-1]["terms"]
    expected, stored = (artifact.load(where).family.state_dict() for where in (tmp_path, two / name))
    for key in expected:
        assert torch.allclose(stored[key], expected[key], rtol=1e-3, atol=1e-5), key
    assert artifact.load(two / name).provenance["hardware"]["processes"] == 2


@pytest.mark.parametrize(("family", "options"), [("diffusion", UNET), ("flow_matching", MLP)])
def test_a_run_in_bf16_is_finite_and_near_one_in_fp32_and_its_model_draws_again(
    tmp_path: Path, family: str, options: dict[str, Any]
) -> None:
    for precision in ("bf16", "fp32"):
        run(family, options, {"precision": precision}, tmp_path / precision)
    half, whole = log(tmp_path / "bf16"), log(tmp_path / "fp32")
    for a, b in zip(half, whole, strict=True):
        assert a["terms"] == pytest.approx(b["terms"], rel=0.05, abs=0.01)
    assert half[-1]["terms"] != whole[-1]["terms"]  # it was bf16 indeed
    loaded = artifact.load(tmp_path / "bf16")
    assert loaded.provenance["precision"] == "bf16"
    assert all(p.dtype == torch.float32 and torch.isfinite(p).all() for p in loaded.family.state_dict().values())
    x = loaded.family.sample(2, None, Rng(0), steps=2)
    assert torch.isfinite(x).all()
    assert torch.equal(artifact.load(tmp_path / "bf16").family.sample(2, None, Rng(0), steps=2), x)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for each, told in RUNS.items():
        run(*told, Path(sys.argv[1]) / each)
