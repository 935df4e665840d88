"""Two gloo processes against one, with the same global batch."""

import json
from collections import defaultdict
from pathlib import Path

import pytest
import torch

from morphogen import artifact
from morphogen.core.rng import Rng
from morphogen.trainer import distributed, fit
from morphogen.trainer.distributed import World
from tests.processes import run_two_processes
from tests.trainer.toys import SCRIPT, Autoencoder, Game, Points, build, points, recipe

RUNS = {
    "replicated": {"family": "autoencoder", "recipe": {"steps": 25, "log_every": 1}},
    "game": {"family": "game", "recipe": {"steps": 25, "log_every": 1, "accumulate": 2, "clip": 0.1}},
    "sharded": {"family": "autoencoder", "recipe": {"steps": 25, "log_every": 1, "distributed": "fsdp"}},
    "parts": {"family": "autoencoder", "recipe": {"steps": 12, "log_every": 1, "lr_schedule": "constant", "warmup": 0}},
    "uneven": {"family": "autoencoder", "recipe": {"steps": 5, "batch_size": 33}},
}


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """All runs, made by two processes that torchrun starts: their folder and what they said."""
    out = tmp_path_factory.mktemp("two")
    told = [{**run, "out": str(out / name)} for name, run in RUNS.items()]
    longer = {**RUNS["parts"]["recipe"], "steps": 25}
    told.append({**RUNS["parts"], "recipe": longer, "out": str(out / "parts"), "resume": True})
    printed = run_two_processes(SCRIPT, json.dumps(told))
    said = defaultdict(list)
    for line in printed.splitlines():
        if line.startswith("{"):
            entry = json.loads(line)
            said[Path(entry.pop("out")).name].append(entry)
    return out, said


def log(out):
    return [line for line in map(json.loads, (out / "log.jsonl").open()) if "terms" in line]


@pytest.mark.parametrize(
    "name, kind, options",
    [
        ("replicated", Autoencoder, {}),
        ("game", Game, {}),
        ("sharded", Autoencoder, {"distributed": "ddp"}),
        ("parts", Autoencoder, {"steps": 25}),
    ],
)
def test_two_processes_lose_what_one_does(two, tmp_path, name, kind, options):
    """Replicated with one player and with two, sharded, and resumed: losses of each step, and the stored weights."""
    out, _ = two
    list(fit(build(kind), Points(points()), recipe(**{**RUNS[name]["recipe"], **options}), tmp_path / "one"))
    one, both = log(tmp_path / "one"), log(out / name)
    assert [line["step"] for line in both] == list(range(1, 26))
    for a, b in zip(one, both, strict=True):
        assert b["terms"] == pytest.approx(a["terms"], rel=1e-5)
        assert b["metrics"].keys() == a["metrics"].keys()
    expected, stored = (artifact.load(where).family.state_dict() for where in (tmp_path / "one", out / name))
    for key in expected:
        if key != "seen":  # each process counts its own records
            assert torch.allclose(stored[key], expected[key], rtol=1e-4, atol=1e-5), key


def test_one_process_speaks_for_all(two):
    out, said = two
    assert [entry["step"] for entry in said["replicated"]] == list(range(1, 26))
    assert artifact.load(out / "replicated").provenance["hardware"]["processes"] == 2
    assert artifact.verify(out / "sharded") == []


def test_a_batch_that_cannot_be_shared_is_refused(two):
    _, said = two
    assert "batch_size 33 is not divisible by 2 processes" in said["uneven"][0]["error"]


def test_gradients_are_averaged_in_any_layout_and_those_that_one_process_lacks_are_zero_there(monkeypatch):
    def process(seed, present):
        """Parameters: channels-last, rows, columns, a view with gaps, a number; gradients are laid out in rows."""
        rng, grads = Rng(seed), []
        conv = rng.normal("conv", 4, (3, 2, 2)).to(memory_format=torch.channels_last)
        rows, gaps = rng.normal("rows", 5, (4,)).contiguous(), rng.normal("gaps", 5, (8,))[:, :3]
        values = (conv, conv.clone(), rows, rows.T, gaps, torch.ones(()))
        parameters = [torch.nn.Parameter(value) for value in values]
        for i, (p, here) in enumerate(zip(parameters, present, strict=True)):
            grads.append(rng.normal(f"grad {i}", max(1, p.numel())).reshape(p.shape) if here else None)
            p.grad = grads[-1]
        return parameters, grads

    sent = []
    mine, my_grads = process(0, (True, True, False, True, True, False))
    theirs, their_grads = process(1, (True, True, True, True, True, False))
    mine[1].grad = my_grads[1].to(memory_format=torch.channels_last)
    monkeypatch.setattr(distributed.dist, "all_reduce", lambda flat: sent.append(flat.clone()))
    World(torch.device("cpu"), rank=1, size=2).average(theirs)
    monkeypatch.setattr(distributed.dist, "all_reduce", lambda flat: flat.add_(sent[0]))
    World(torch.device("cpu"), rank=0, size=2).average(mine)
    for p, one, other in zip(mine[:-1], my_grads[:-1], their_grads[:-1], strict=True):
        one = torch.zeros_like(other) if one is None else one
        assert torch.equal(p.grad, (one + other) / 2) and p.grad.stride() == torch.empty_like(p).stride()
    assert mine[-1].grad is None
