"""Frozen feature networks: small, trained once by a published recipe, and shipped as files with known hashes.

A distance between sets of pictures is a distance between their features, so its value makes sense only together with
the name of the network. The name, such as "mnist-1a2b", is that of the file: the set, then the first four hex digits of
the file's sha256. Loading checks the hash against the one below. A changed network gets a new name.
`python -m recipes.frozen_networks all` is the recipe.

The training tasks decide which properties the features show. All tasks use linear maps of the features:

- the class of a picture (or, for emoji, its caption), of clean and of damaged pictures;
- the kind and the strength of damage to it: blur, noise, projection on principal components, JPEG compression, a
mixture
  with a second picture. A classifier alone learns to ignore damage, and a distance with its features hardly reacts to
  blur;
- a thumbnail of it, 8 x 8. A classifier alone maps all pictures of one class to nearly one point, and a distance with
  its features hardly reacts if a model always draws the same four.

So these distances are strict about the damages above, stricter than the eye. They say nothing about properties that no
task needs. Two models of one kind compare fairly; a model that is trained against such a network can fool it. Features
are standardized on the clean training pictures (mean 0 and variance 1, no whitening), so a squared distance is in units
of the natural variance of one feature.

Pictures of other sizes are resized to that of the network (28 or 32 pixels), so finer details do not count.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, final

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import ArtifactError, CapabilityError, DataError, UsageError, unknown
from morphogen.evaluation.features.trunk import Trunk, WordBag

SMALLEST = 8
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in data/
_CHUNK = 250  # pictures per call: their activations fit into a core's cache

_SHA256: dict[str, str] = {
    "mnist": "72cf6c76675d82ce3915e849fd9d06fd1e6a2105f40a5dee1b64c8460c474f34",
    "fashion_mnist": "5be4975333e17ce3b9c8eb274b471fca652037ca7a5b65770ca9303f97f4cbfa",
    "emoji": "741f79ab27c9378a234fbe1f679252216382d0e8c34ca6209dad0d5e921f497c",
    "general": "1f9bdd98081dc29dea5c12b4d65e4f04e3e89bf3f98bb17b95cfa8ca65c05be3",
}
NAMES = tuple(_SHA256)
_SUITED = {"mnist": "mnist", "digits": "mnist", "fashion_mnist": "fashion_mnist", "emoji": "emoji"}


@final
class FeatureNetwork(nn.Module):
    """Maps pictures to features, and, if it has these maps, features to classes and captions to features.

    name, sha256   see the module's docstring; both are empty if the network was not read from a file
    dim            D, the number of features
    classes        names of the classes; () without a classifier
    words          the vocabulary of captions; () if it reads no captions
    about          its origin: recipe, data with fingerprints, seed, minutes, accuracies
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        channels: int,
        size: int,
        widths: Sequence[int],
        dim: int,
        classes: Sequence[str] = (),
        words: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.name, self.sha256 = "", ""
        self.about: dict[str, Any] = {}
        self.channels, self.size, self.widths, self.dim = channels, size, tuple(widths), dim
        self.classes, self.words = tuple(classes), tuple(words)
        self.trunk = Trunk(channels, widths, dim)
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))
        self.classifier = nn.Linear(dim, len(classes)) if classes else None
        self.captions = WordBag(words, dim) if words else None

    def forward(self, x: Tensor) -> Tensor:
        """Pictures in [-1, 1], (B, C, H, W) with C in {1, 3, 4} and sides of at least 8 pixels -> (B, D) float32.

        Channels and size are adapted as `fitted` says. Raises `DataError` for anything else.
        """
        if not len(x):
            return x.new_empty(0, self.dim, dtype=torch.float32)  # torch cannot fold an empty batch
        parts = [self.trunk(fitted(part, self.channels, self.size)) for part in x.split(_CHUNK)]
        return (torch.cat(parts) - self.mean) / self.scale

    def classify(self, features: Tensor) -> Tensor:
        """Features (B, D) -> logits (B, classes). Raises `CapabilityError` if there are no classes."""
        if self.classifier is None:
            raise CapabilityError(
                f"the network {self.name!r} has no classes, only features; 'mnist', 'fashion_mnist' and 'emoji' have."
            )
        return self.classifier(features)

    def text(self, captions: Sequence[str]) -> Tensor:
        """Captions -> (B, D), to compare with features by the cosine. Unknown words are ignored.

        Raises `CapabilityError` if the network reads no captions.
        """
        if self.captions is None:
            raise CapabilityError(f"the network {self.name!r} reads no captions; 'emoji' does.")
        return self.captions(captions)

    def save(self, path: Path) -> None:
        """Write the weights in half precision, and everything else into the metadata. The bytes are always the same."""
        shape = {"channels": self.channels, "size": self.size, "widths": self.widths, "dim": self.dim}
        network = {**shape, "classes": self.classes, "words": self.words}
        # One entry, because the order of several entries is not kept.
        metadata = {"morphogen": json.dumps({"network": network, "about": self.about})}
        safetensors.torch.save_file({k: v.half().contiguous() for k, v in self.state_dict().items()}, path, metadata)


def read(path: Path, sha256: str | None = None) -> FeatureNetwork:
    """The network in the file at `path`, in evaluation mode and without gradients for its weights.

    Raises `ArtifactError` if `sha256` is given and differs from the hash of the file.
    """
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256:
        raise ArtifactError(
            f"{path.name}: expected a file with sha256 {sha256[:12]}..., found {found[:12]}...; it is not the network"
            " that results are named after. Install the package again."
        )
    with safetensors.safe_open(path, "pt") as file:
        described = json.loads(file.metadata()["morphogen"])
    network = FeatureNetwork(**described["network"])
    network.load_state_dict({k: v.float() for k, v in safetensors.torch.load(content).items()})
    network.name, network.sha256 = f"{path.stem}-{found[:4]}", found
    network.about = described["about"]
    return network.to(memory_format=torch.channels_last).eval().requires_grad_(False)  # type: ignore[call-overload]


def frozen(name: str) -> FeatureNetwork:
    """A shipped network, one of `NAMES`, verified and on the CPU. Raises `UsageError` with the nearest names."""
    if name not in _SHA256:
        raise UsageError(unknown("feature network", name, NAMES))
    return read(Path(str(files("morphogen.evaluation.features") / "weights" / f"{name}.safetensors")), _SHA256[name])


def suited(spec: DataSpec) -> str:
    """The name of the shipped network for these data: that of the set if it has one, else "general".

    Raises `DataError` for records that are not pictures, and for pictures that are too small.
    """
    if not spec.is_picture or min(spec.shape[1:]) < SMALLEST:
        raise DataError(
            f"{spec.name}: feature networks judge pictures (C, H, W) of at least {SMALLEST}x{SMALLEST} pixels with"
            f" 1, 3 or 4 channels; these records have shape {spec.shape}."
        )
    return _SUITED.get(spec.source.partition(":")[0] or spec.name, "general")


def fitted(x: Tensor, channels: int, size: int | None) -> Tensor:
    """Fit pictures (B, C, H, W) in [-1, 1] to a network: (B, channels, size, size) float32; a size None keeps the size.

    RGBA is laid on white. Gray is repeated for RGB, and RGB becomes luma (BT.601) for gray. Other sizes are resampled
    to a square, bicubic with an antialiasing filter. Raises `DataError` for other tensors.
    """
    if x.ndim != 4 or x.shape[1] not in (1, 3, 4) or min(x.shape[2:]) < SMALLEST or not x.is_floating_point():
        raise DataError(
            f"expected pictures (B, C, H, W) in [-1, 1] with 1, 3 or 4 channels and sides of at least {SMALLEST}"
            f" pixels, got {str(x.dtype).removeprefix('torch.')} {tuple(x.shape)}."
        )
    x = x.float()
    if x.shape[1] == 4:
        alpha = (x[:, 3:] + 1.0) / 2.0
        x = x[:, :3] * alpha + (1.0 - alpha)
    if channels == 1 and x.shape[1] == 3:
        x = (x * x.new_tensor(_LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    elif channels == 3 and x.shape[1] == 1:
        x = x.expand(-1, 3, -1, -1)
    if size is not None and tuple(x.shape[2:]) != (size, size):
        x = F.interpolate(x, (size, size), mode="bicubic", antialias=True, align_corners=False).clamp(-1.0, 1.0)
    return x.contiguous(memory_format=torch.channels_last)
