"""Feature networks from a user's local files: TorchScript, `torch.export`, or a directory of `transformers`.

The input is always pictures in [-1, 1], and the output features (B, D) float32. A `Preparation` describes the input
that the network in the file expects. A directory of `transformers` gives it in its preprocessor_config.json. The
TorchScript Inception network of 2015, which defines the FID, takes bytes; its argument `return_features` identifies it.
For all other files the caller gives the preparation.

Files are read without a network connection. A TorchScript file or an exported program is code that runs when it is
used. Use only files that you trust.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, final

import torch
from torch import Tensor, nn

from morphogen.core.errors import ArtifactError, CapabilityError, MorphogenError, UsageError
from morphogen.evaluation.features.frozen import fitted

Encoder = Callable[[Tensor], Any]


@dataclass(frozen=True)
class Preparation:
    """The input that a network expects, always RGB.

    size    the side of the square after resampling, bicubic with antialiasing; None keeps the size
    values  "signed" for [-1, 1]; "unit" for [0, 1], from which `mean` is subtracted and which `std` then divides, one
            number a channel or one for all; "bytes" for uint8 of 0 .. 255
    """

    size: int | None = None
    values: Literal["signed", "unit", "bytes"] = "signed"
    mean: Sequence[float] = (0.0,)
    std: Sequence[float] = (1.0,)

    def __call__(self, x: Tensor) -> Tensor:
        """Turn pictures in [-1, 1], (B, C, H, W) with C in {1, 3, 4}, into the input of the network."""
        x = fitted(x, 3, self.size)
        if self.values == "signed":
            return x
        unit = (x + 1.0) / 2.0
        if self.values == "bytes":
            return (unit * 255.0).round().clamp(0.0, 255.0).to(torch.uint8)
        mean, std = (x.new_tensor(v).view(1, -1, 1, 1) for v in (self.mean, self.std))
        return (unit - mean) / std


@final
class PretrainedNetwork(nn.Module):
    """A user's network with the attributes of `FeatureNetwork`. It has features but no classes."""

    classes: tuple[str, ...] = ()

    def __init__(self, encoder: Encoder, preparation: Preparation, name: str, sha256: str) -> None:
        super().__init__()
        self.encoder, self.preparation = encoder, preparation
        self.name, self.sha256 = name, sha256
        self.training = False
        side = preparation.size or 64
        with torch.no_grad():  # two pictures, because an exported program may refuse a batch of one
            self.dim = self(torch.zeros(2, 3, side, side)).shape[1]

    def forward(self, x: Tensor) -> Tensor:
        """Pictures in [-1, 1], (B, C, H, W) with C in {1, 3, 4} and sides of at least 8 pixels -> (B, D) float32."""
        out = self.encoder(self.preparation(x))
        out = out[0] if isinstance(out, tuple | list) else out
        if not isinstance(out, Tensor) or out.ndim not in (2, 4) or len(out) != len(x):
            got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise ArtifactError(
                f"{self.name}: expected features (B, D) or (B, D, H, W) of {len(x)} pictures, got {got}."
            )
        return (out.mean((2, 3)) if out.ndim == 4 else out).float()

    def train(self, mode: bool = True) -> PretrainedNetwork:
        """Do nothing: the network stays in evaluation mode, the only mode of an exported program."""
        return self

    def classify(self, features: Tensor) -> Tensor:
        """Raises `CapabilityError`, because the meaning of the file's outputs is unknown."""
        raise CapabilityError(f"the network {self.name!r} is used for its features and has no classes.")


def pretrained(path: str | Path, preparation: Preparation | None = None) -> PretrainedNetwork:
    """The network in a local file or directory, frozen, in evaluation mode and on the CPU.

    path         FILE.pt, TorchScript; FILE.pt2, a program saved by `torch.export.save` with a dynamic batch; or a
                 directory of `transformers` with the weights as safetensors, such as DINOv2, ViT, or CLIP, of which the
                 image side is used
    preparation  the input that it expects; None takes the preparation in the path, or `Preparation()`

    The name comes from the weights, as "inception-1a2b". Raises `UsageError` for a path of another kind, and
    `ArtifactError` for a file that cannot be read or does not give one vector per picture.
    """
    path = Path(path)
    if not path.exists():
        raise UsageError(f"there is no file or directory {str(path)!r}.")
    read: Callable[[Path], tuple[Encoder, list[Path]]]
    if path.is_dir():
        what, read = "a directory that `save_pretrained` wrote", _transformers
    elif path.suffix in _READERS:
        what, read = _READERS[path.suffix]
    else:
        raise UsageError(f"{path}: expected TorchScript (.pt), an exported program (.pt2) or a directory.")
    try:
        encoder, hashed = read(path)
    except MorphogenError:
        raise
    except Exception as error:  # readers raise many kinds of errors for other files
        reason = str(error).strip().partition("\n")[0]
        raise ArtifactError(f"{path}: expected {what}, got something unreadable ({reason}).") from None
    if preparation is None:
        preparation = (
            _stated(path)
            if path.is_dir()
            else Preparation(values="bytes" if isinstance(encoder, _Inception) else "signed")
        )
    digest = hashlib.sha256()
    for file in hashed:
        digest.update(file.read_bytes())
    sha256 = digest.hexdigest()
    network = PretrainedNetwork(encoder, preparation, f"{path.resolve().stem}-{sha256[:4]}", sha256)
    return network.requires_grad_(False)


class _Inception(nn.Module):
    """The Inception network with the argument that selects its features."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Any:
        return self.module(x, return_features=True)


def _script(path: Path) -> tuple[Encoder, list[Path]]:
    module = torch.jit.load(str(path), map_location="cpu").eval()
    asks = any(a.name == "return_features" for a in module.forward.schema.arguments)
    return _Inception(module) if asks else module, [path]


def _program(path: Path) -> tuple[Encoder, list[Path]]:
    return cast(Encoder, torch.export.load(path).module()), [path]


_READERS: dict[str, tuple[str, Callable[[Path], tuple[Encoder, list[Path]]]]] = {
    ".pt": ("TorchScript, which holds the network and not its weights alone", _script),
    ".pt2": ("a program saved by torch.export.save", _program),
}


class _ImageSide(nn.Module):
    """A model of `transformers`.

    Its features are the first that it has of: image features, pooled output, first token.
    """

    def __init__(self, model: nn.Module, pooled: bool) -> None:
        super().__init__()
        self.model, self.pooled = model, pooled

    def forward(self, x: Tensor) -> Tensor:
        out = getattr(self.model, "get_image_features", self.model)(pixel_values=x)
        if isinstance(out, Tensor):
            return out
        pooled: Tensor | None = out.get("pooler_output") if self.pooled else None
        return out["last_hidden_state"][:, 0] if pooled is None else pooled


def _transformers(path: Path) -> tuple[Encoder, list[Path]]:
    """The encoder, and the files that define it."""
    weights = sorted(path.glob("*.safetensors"))
    if not (path / "config.json").is_file() or not weights:
        raise ArtifactError(f"{path}: expected config.json and *.safetensors, as `save_pretrained` writes them.")
    if importlib.util.find_spec("transformers") is None:
        raise UsageError(f"{path}: a directory is read by the package transformers; install morphogen[pretrained].")
    auto = importlib.import_module("transformers").AutoModel
    model, found = auto.from_pretrained(
        path, local_files_only=True, use_safetensors=True, trust_remote_code=False, output_loading_info=True
    )
    # Files of classifiers lack the pooling layer of the plain model; it would have random weights.
    absent = set(found["missing_keys"])
    if any(not key.startswith("pooler.") for key in absent):
        raise ArtifactError(f"{path}: the weights lack {sorted(absent)[0]!r} and {len(absent) - 1} more.")
    if model.main_input_name != "pixel_values" and not hasattr(model, "get_image_features"):
        raise UsageError(f"{path}: a {model.config.model_type!r} model reads no pictures.")
    return _ImageSide(model.eval(), pooled=not absent), [path / "config.json", *weights]


def _stated(path: Path) -> Preparation:
    """The preparation in preprocessor_config.json. The whole picture is resampled, without cutting its sides."""
    file = path / "preprocessor_config.json"
    if not file.is_file():
        raise ArtifactError(f"{path}: preprocessor_config.json is missing; give a Preparation.")
    config: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    size = config.get("crop_size" if config.get("do_center_crop") else "size")
    if isinstance(size, Mapping):
        size = size.get("height", size.get("shortest_edge"))
    if not isinstance(size, int):
        raise ArtifactError(f"{file}: expected a size, got {size!r}; give a Preparation.")
    if not config.get("do_normalize", True):
        return Preparation(size, "unit")
    return Preparation(size, "unit", config["image_mean"], config["image_std"])
