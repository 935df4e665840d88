"""A user's own feature networks: TorchScript, exported programs, directories of `transformers`."""

import hashlib
import importlib.util
import json
import warnings

import pytest
import torch
from torch import nn

from morphogen.core.errors import ArtifactError, CapabilityError, DataError, UsageError
from morphogen.core.rng import Rng
from morphogen.evaluation.features.local_networks import Preparation, pretrained

needs_transformers = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None, reason="transformers is not installed"
)


class Small(nn.Module):
    """A convolution and a global average: pictures of any size to 5 features."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).mean((2, 3))


class Inception(nn.Module):
    """The interface of the Inception file: bytes, and features on demand."""

    def forward(self, img: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        assert img.dtype == torch.uint8
        return img.float().mean((2, 3)) if return_features else img.float().sum((1, 2, 3))[:, None]


@pytest.fixture
def small():
    with Rng(0).forked():
        return Small().eval()


@pytest.fixture
def x():
    return Rng(1).uniform("x", 5, (3, 32, 32)) * 2 - 1


def script(module, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated, but the files of others are made of it
        torch.jit.script(module).save(str(path))


def check(network, path, expected, x):
    assert network.name == f"net-{hashlib.sha256(path.read_bytes()).hexdigest()[:4]}"
    assert network.dim == expected.shape[1] and network.classes == ()
    assert torch.allclose(network(x), expected, atol=1e-6)
    assert torch.allclose(network(x[:1]), expected[:1], atol=1e-6)
    assert not any(p.requires_grad for p in network.parameters())
    assert not network.eval().training and not network.train().training
    with pytest.raises(CapabilityError, match="no classes"):
        network.classify(network(x))


def test_torchscript(small, x, tmp_path):
    script(small, tmp_path / "net.pt")
    check(pretrained(tmp_path / "net.pt"), tmp_path / "net.pt", small(x).detach(), x)


def test_an_exported_program(small, x, tmp_path):
    batch = torch.export.Dim("batch")
    torch.export.save(torch.export.export(small, (x,), dynamic_shapes=({0: batch},)), tmp_path / "net.pt2")
    check(pretrained(tmp_path / "net.pt2", Preparation(size=32)), tmp_path / "net.pt2", small(x).detach(), x)


def test_the_inception_file_is_fed_bytes_and_asked_for_features(x, tmp_path):
    script(Inception(), tmp_path / "net.pt")
    expected = ((x + 1) * 127.5).round().mean((2, 3))
    check(pretrained(tmp_path / "net.pt"), tmp_path / "net.pt", expected, x)


def test_preparation_normalizes_resizes_and_makes_rgb(x):
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    fed = Preparation(None, "unit", mean, std)(x)
    for channel in range(3):
        assert torch.allclose(fed[:, channel], ((x[:, channel] + 1) / 2 - mean[channel]) / std[channel], atol=1e-6)
    assert Preparation(16)(x[:, :1]).shape == (5, 3, 16, 16)
    assert Preparation(values="bytes")(
        torch.tensor([-1.0, 0.0, 1.0]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    ).unique().tolist() == [0, 128, 255]
    with pytest.raises(DataError):
        Preparation()(x[:, :2])


def test_a_map_is_averaged_and_anything_but_vectors_is_refused(x, tmp_path):
    script(nn.Conv2d(3, 4, 3), tmp_path / "map.pt")
    assert pretrained(tmp_path / "map.pt")(x).shape == (5, 4)
    script(nn.Flatten(0), tmp_path / "flat.pt")
    with pytest.raises(ArtifactError, match="expected features"):
        pretrained(tmp_path / "flat.pt")


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UsageError, match="no file or directory"):
        pretrained(tmp_path / "nothing.pt")
    (tmp_path / "net.onnx").write_bytes(b"x")
    with pytest.raises(UsageError, match="expected TorchScript"):
        pretrained(tmp_path / "net.onnx")
    for suffix in (".pt", ".pt2"):
        (tmp_path / f"bad{suffix}").write_bytes(b"no such thing")
        with pytest.raises(ArtifactError, match="unreadable"):
            pretrained(tmp_path / f"bad{suffix}")
    torch.save(Small().state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ArtifactError, match="not its weights alone"):
        pretrained(tmp_path / "weights.pt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactError, match=r"config\.json"):
        pretrained(tmp_path / "empty")


def test_a_directory_without_transformers_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"morphogen\[pretrained\]"):
        pretrained(tmp_path)


@needs_transformers
@pytest.mark.parametrize("kind", ["dinov2", "vit-classifier", "clip", "resnet"])
def test_directories_of_transformers(kind, x, tmp_path):
    import transformers as t

    tiny = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    eyes = {**tiny, "image_size": 32, "patch_size": 16}
    with Rng(0).forked():
        model = {
            "dinov2": lambda: t.Dinov2Model(t.Dinov2Config(**eyes)),
            "vit-classifier": lambda: t.ViTForImageClassification(t.ViTConfig(**eyes)),
            "clip": lambda: t.CLIPModel(
                t.CLIPConfig(text_config={**tiny, "vocab_size": 9}, vision_config=eyes, projection_dim=6)
            ),
            "resnet": lambda: t.ResNetModel(t.ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1])),
        }[kind]().eval()
    model.save_pretrained(tmp_path)
    with pytest.raises(ArtifactError, match="give a Preparation"):
        pretrained(tmp_path)
    told = {"do_center_crop": True, "crop_size": {"height": 32, "width": 32}, "size": {"shortest_edge": 48}}
    told |= {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(told))
    network = pretrained(tmp_path)
    with torch.no_grad():
        if kind == "clip":
            expected = model.visual_projection(model.vision_model(pixel_values=x).pooler_output)
        elif kind == "vit-classifier":
            expected = model.vit(pixel_values=x).last_hidden_state[:, 0]
        else:
            expected = model(pixel_values=x).pooler_output.flatten(1)
    assert torch.allclose(network(x), expected, atol=1e-5)
    assert network.dim == expected.shape[1]
    (tmp_path / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(ArtifactError, match="unreadable"):
        pretrained(tmp_path)
