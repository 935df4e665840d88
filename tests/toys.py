"""Tiny models that tests of several rooms share, and the names of the checks that take a long training.

The fixture `toy` (tests/conftest.py) trains each once in a session, when a test first asks for it by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LONG_CHECKS = ("samples beat the best single Gaussian", "conditions are obeyed")  # they need a model trained for long
SHAPES = "shapes:size=16,n=300"
POINTS = "points.npz"  # made by the fixture

Toys = Callable[[str], Path]


@dataclass(frozen=True)
class Toy:
    """What a tiny model is: its family, data and options, and how long it is trained."""

    family: str
    data: str
    options: Mapping[str, Any]
    steps: int = 30
    batch_size: int = 32

    @property
    def recipe(self) -> dict[str, Any]:
        """A training whose samples differ from noise, without a compiler."""
        size = {"steps": self.steps, "batch_size": self.batch_size}
        return {**size, "auto": False, "lr_schedule": "constant", "compile": "off", "precision": "fp32"}


_GAN = {"backbone": "mlp", "hidden": (16,), "discriminator_hidden": (16,), "latent_dim": 5, "ema": None}
_GAN |= {"inversion_steps": 20, "inversion_starts": 2}
_VAE = {"hidden": (64,), "latent_dim": 8, "lr": 5e-3, "ema": None}
_UNET = {"backbone": "unet", "widths": (16,), "blocks": (1,), "attention": 0, "steps": 4, "lr": 0.02, "ema": None}
_WORDS = {**_UNET, "attention": 1, "conditional": True}
_DIT = {**_WORDS, "backbone": "dit", "patch": 4, "width": 16, "depth": 1, "stepper": "euler"}
_CODES = {"widths": (8,), "codes": 8, "code_dim": 2, "prior_width": 8, "prior_blocks": 1}
_PIXELS = {"width": 16, "inner": 8, "blocks": 1, "hidden": 8, "stem": (2, 2), "ema": None}
_LOSSY = {"fold": 4, "widths": (8, 8), "prior_width": 8, "hyper_channels": 2, "groups": 3, "ema": None}
_LADDER = {"widths": (8, 8), "groups": (1, 1), "latent_channels": (1, 1)}


def _of_words(family: str, options: Mapping[str, Any]) -> Toy:
    return Toy(family, SHAPES, options, steps=20, batch_size=16)


TOYS = {
    "gan": Toy("gan", "digits", _GAN, batch_size=64),
    "conditional gan": Toy("gan", "digits", {**_GAN, "conditional": True}, batch_size=64),
    "gan of small": Toy("gan", "digits:context=down2", {"backbone": "conv", "widths": (16, 16)}),
    "gan of points": Toy("gan", POINTS, _GAN, batch_size=64),
    "vae": Toy("vae", "digits", _VAE, steps=300, batch_size=64),
    "vamp": Toy("vae", "digits", {**_VAE, "prior": "vamp"}, batch_size=64),
    "ladder": Toy("hierarchical_vae", "digits", _LADDER, batch_size=64),
    "autoencoder": Toy("autoencoder", "digits", {"widths": (8,), "blocks": 1, "latent_channels": 2}, batch_size=64),
    "codes": Toy("vq_vae", "digits", _CODES, batch_size=64),
    "lossy": Toy("rate_distortion", "digits", _LOSSY, steps=100),
    "pixels": Toy("autoregressive", "digits", _PIXELS, steps=80),
    "mlp": Toy("diffusion", "digits", {"backbone": "mlp", "hidden": (16,), "steps": 4}, batch_size=64),
    "diffusion of points": Toy("diffusion", POINTS, {"hidden": (16,), "steps": 4}),
    "unet": Toy("diffusion", "digits", {**_UNET, "conditional": True}),
    "flow of small": Toy("flow_matching", "digits:context=down2", _UNET),
    "with and without": Toy("diffusion", "digits:context=blur1", {**_UNET, "context_dropout": 0.3}),
    "color": Toy("diffusion", "digits:channels=rgb,context=gray", _UNET),
    "words": _of_words("diffusion", _WORDS),
    "words, dit": _of_words("flow_matching", _DIT),
    "words, never without": _of_words("diffusion", {**_WORDS, "condition_dropout": 0.0}),
    "words, no attention": _of_words("diffusion", {**_WORDS, "attention": 0}),
    "rows": Toy("vae", "breast_cancer", {"hidden": (32,), "latent_dim": 4, "lr": 5e-3, "ema": None}, steps=200),
    "rows in any order": Toy("autoregressive", "breast_cancer", {"width": 16, "hidden": 16, "ema": None}, steps=60),
    "words, gan": _of_words("gan", {"backbone": "conv", "widths": (16, 16), "conditional": True}),
}
