"""Models for other programs: onnxruntime computes what the model computes, from the same inputs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

import morphogen as mg
from morphogen import CapabilityError, MorphogenError, UsageError
from morphogen.applications import exporting
from morphogen.core.rng import Rng
from tests.toys import Toys

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def ran(file: Path, **inputs: np.ndarray) -> Sequence[np.ndarray]:
    """The outputs of a graph."""
    found: Sequence[np.ndarray] = onnxruntime.InferenceSession(str(file)).run(None, inputs)
    return found


def test_a_generator_makes_what_the_model_samples(toy: Toys, tmp_path: Path) -> None:
    made = mg.export(toy("conditional gan"), tmp_path / "g.onnx")
    assert made.inputs == {"generator": ("z", "label")} and made.outputs == {"generator": ("x",)}
    assert made.difference["generator"] <= 1e-4 and made.bytes == (tmp_path / "g.onnx").stat().st_size
    z = Rng(7).normal("z", 5, (5,)).numpy()
    (x,) = ran(tmp_path / "g.onnx", z=z, label=np.full(5, 3))
    drawn = mg.sample(toy("conditional gan"), 5, seed=7, label=3)
    assert np.abs(x * 8 + 8 - drawn.x).max() <= 0.5 + 1e-3  # stored values are rounded
    with pytest.raises(UsageError, match=r"unknown graph of this model 'generater'.*generator"):
        mg.export(toy("conditional gan"), tmp_path / "h.onnx", graph="generater")


def test_a_decoder_and_an_encoder_in_a_folder(toy: Toys, tmp_path: Path) -> None:
    model = mg.load(toy("vae"))
    made = model.export(tmp_path / "graphs")
    assert sorted(made.files) == ["decoder", "encoder"] and max(made.difference.values()) <= 1e-4
    x = torch.rand(4, 1, 8, 8) * 2 - 1
    (z,) = ran(tmp_path / "graphs" / "encoder.onnx", x=x.numpy())
    (again,) = ran(tmp_path / "graphs" / "decoder.onnx", z=z)
    assert np.allclose(again, model.module(x).numpy(), atol=1e-4)  # `forward` reconstructs
    with pytest.raises(UsageError, match=r"decoder\.onnx exists"):
        model.export(tmp_path / "graphs")


def test_a_denoiser_gives_the_posterior(toy: Toys, tmp_path: Path) -> None:
    model = mg.load(toy("unet"))
    made = model.export(tmp_path / "d.onnx")
    assert made.inputs["denoiser"] == ("x_t", "t", "label") and made.outputs["denoiser"] == ("mean", "variance")
    x_t, t = torch.randn(3, 1, 8, 8), torch.tensor([0.1, 0.5, 0.9])
    mean, variance = ran(tmp_path / "d.onnx", x_t=x_t.numpy(), t=t.numpy(), label=np.full(3, -1))
    assert np.allclose(mean, model.module(x_t, t).numpy(), atol=1e-4)
    assert (variance > 0).all()
    with pytest.raises(UsageError, match=r"two tensors: module\(x_t, t\)"):
        model.module(x_t)


def test_weights_as_one_file(toy: Toys, tmp_path: Path) -> None:
    model = mg.load(toy("pixels"))
    mg.export(model, tmp_path / "w.safetensors", format="safetensors")
    with safe_open(tmp_path / "w.safetensors", "pt") as file:
        assert file.metadata()["family"] == "autoregressive"
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    own = model.module.state_dict()
    assert stored.keys() == own.keys() and all(torch.equal(stored[name], own[name]) for name in own)
    x = model.data.encode(torch.zeros(2, 1, 8, 8, dtype=torch.uint8))
    exact = model.module.score(x, None, Rng(0)).value
    assert torch.equal(model.module(x), exact)  # `forward` of a model that only scores
    with pytest.raises(CapabilityError, match="no function that ONNX can say"):
        model.export(tmp_path / "w.onnx")


def test_wrong_places_and_formats(toy: Toys, tmp_path: Path) -> None:
    for out, format in (("w.pt", None), ("w.onnx", "safetensors"), ("w.onnx", "tflite"), ("w/", "safetensors")):
        with pytest.raises(UsageError, match=r"\.onnx|onnx or safetensors|\.safetensors"):
            mg.export(toy("vae"), tmp_path / out, format=format)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


class Rounds(nn.Module):
    """A function that depends on more than its inputs: the graph keeps what the export saw."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = itertools.count(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * float(next(self.calls))


def test_a_graph_that_differs_is_refused() -> None:
    graph = exporting.Graph("decoder", Rounds(), {"x": torch.ones(2, 3)}, {"x": torch.ones(3, 3)}, ("y",))
    with pytest.raises(MorphogenError, match="gives other numbers than the model"):
        exporting.to_onnx(graph, {})


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["gan of small", "vamp", "ladder", "autoencoder", "codes", "flow of small", "words", "words, dit", "rows"]
)
def test_every_kind_of_model(name: str, toy: Toys, tmp_path: Path) -> None:
    assert max(mg.export(toy(name), tmp_path / "graphs").difference.values()) <= 1e-4
