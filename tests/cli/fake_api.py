"""A stand-in for `morphogen.api`, which records its calls: the command line is tested without training anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import morphogen
from morphogen.core.data_spec import DataSpec
from morphogen.report.sheets import to_bytes

DIGITS = DataSpec(name="digits", shape=(1, 8, 8), kind="continuous", levels=17, classes=tuple("0123456789"))
POINTS = DataSpec(name="points", shape=(2,), kind="continuous")

VAE = {
    "name": "vae",
    "summary": "Gaussian variational autoencoder",
    "capabilities": ["Samples", "Scores"],
    "presets": {"classic": {"latent_dim": 2}},
    "options": [
        {"name": "latent_dim", "type": "int", "default": 16, "description": "size of z"},
        {"name": "hidden", "type": "tuple[int, ...]", "default": (500, 500), "description": "layer widths"},
        {"name": "free_bits", "type": "float", "default": 0.0, "description": "nats a latent [free]"},
        {"name": "prior", "type": "str | None", "default": None, "description": ""},
    ],
    "recipe": [
        {"name": "batch_size", "type": "int", "default": 128, "description": "records a step"},
        {"name": "flips", "type": "bool", "default": False, "description": "mirror pictures"},
        {"name": "seed", "type": "int", "default": 0, "description": ""},
        {"name": "steps", "type": "int | None", "default": None, "description": ""},
    ],
}


RESULT = {
    "name": "nll",
    "value": 21.43,
    "interval": [21.21, 21.65],
    "n": 360,
    "unit": "nats",
    "better": "lower",
    "baselines": {"pixel marginals": 33.2},
    "floor": None,
    "place": "between blur 0.5 px and PCA-100",
    "protocol": "as always",
    "network": "",
    "seed": 0,
    "duration_s": 1.0,
    "warnings": ["copying: 5 %"],
}
EVALUATED = {
    "results": [RESULT],
    "left_out": {"fd": "too few"},
    "ladders": {"nll": {"n": 360, "better": "lower", "tracks": {"blur": [("1 px", 21.0), ("2 px", 22.0)]}}},
}
DIFFERENCE = {
    "metric": "nll",
    "a": "m",
    "b": "k",
    "value": -0.5,
    "interval": [-0.7, -0.3],
    "paired": True,
    "verdict": "m is better",
}


@dataclass(frozen=True)
class Event:
    step: int
    total: int | None = 3
    elapsed_s: float = 1.0
    remaining_s: float | None = 2.0
    terms: dict[str, float] = field(default_factory=lambda: {"kl": 1.5})
    metrics: dict[str, float] = field(default_factory=dict)
    images_per_s: float = 100.0
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Pictures:
    x: np.ndarray
    spec: DataSpec
    ids: np.ndarray | None = None
    labels: np.ndarray | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chain:
    x: np.ndarray
    t: np.ndarray
    spec: DataSpec
    estimates: np.ndarray | None = None
    ids: np.ndarray | None = None
    labels: np.ndarray | None = None
    warnings: tuple[str, ...] = ()

    @property
    def log_snr(self) -> np.ndarray:
        return 1.0 - 2.0 * self.t


@dataclass(frozen=True)
class Variances:
    n: int
    t: np.ndarray = field(default_factory=lambda: np.array([1.0, 0.5]))
    s: np.ndarray = field(default_factory=lambda: np.array([0.5, 0.2]))
    log_snr: np.ndarray = field(default_factory=lambda: np.array([-np.inf, 1.0]))
    beta: np.ndarray = field(default_factory=lambda: np.array([0.9, 0.8]))
    beta_tilde: np.ndarray = field(default_factory=lambda: np.array([0.5, 0.4]))
    learned: np.ndarray = field(default_factory=lambda: np.array([0.7, 0.6]))
    measured: np.ndarray = field(default_factory=lambda: np.array([0.7, 0.6]))
    interval: np.ndarray = field(default_factory=lambda: np.array([[0.6, 0.8], [0.5, 0.7]]))


class Inspection:
    spec = DIGITS

    def to_dict(self) -> dict[str, Any]:
        return {
            "spec": DIGITS.to_dict(),
            "counts": {"train": 1437, "test": 360},
            "balance": {"train": {"0": 143, "1": 146}, "test": {"0": 35, "1": 36}},
            "duplicates": [["train/3", "test/5"], ["train/7", "train/9"]],
            "duplicates_across_splits": [["train/3", "test/5"]],
            "low": float("nan"),
            "high": 16.0,
            "problems": [{"record": "cat.png", "what": "cannot be read"}],
            "notes": ["the array notes is not used"],
            "files": None,
        }

    def examples(self, n: int) -> np.ndarray:
        return to_bytes(digits(n).x, DIGITS)


def digits(n: int, spec: DataSpec = DIGITS) -> Pictures:
    x = np.random.default_rng(0).integers(0, 17, (n, *spec.shape)).astype(np.uint8)
    return Pictures(x, spec, np.arange(n), np.arange(n) % 10)


class FakeApi(ModuleType):
    def __init__(self) -> None:
        super().__init__("morphogen.api")
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.spec = DIGITS
        self.error: BaseException | None = None
        self.evaluations: list[dict[str, Any]] = []

    def _note(self, name: str, *args: Any, **kwargs: Any) -> None:
        self.calls.append((name, args, kwargs))
        if self.error is not None:
            raise self.error

    def list_families(self) -> Any:
        self.calls.append(("list_families", (), {}))
        return [VAE]

    def describe_family(self, name: str) -> Any:
        self.calls.append(("describe_family", (name,), {}))
        if name not in (None, "vae"):
            raise morphogen.UsageError(f"unknown family {name!r}: did you mean 'vae'?")
        return VAE

    def inspect(self, source: str) -> Inspection:
        self._note("inspect", source)
        return Inspection()

    def train(self, family: str, data: str, out: Path, **kwargs: Any) -> Iterator[Event]:
        self.calls.append(("train", (family, data, out), kwargs))
        yield Event(1)
        yield Event(2, warnings=["the posterior collapses"])
        if self.error is not None:
            raise self.error
        yield Event(3)

    def quickstart(self, out: Path, budget: str) -> Iterator[Event]:
        self._note("quickstart", out, budget)
        yield Event(1)

    def sample(self, model: Path, n: int, seed: int = 0, **kwargs: Any) -> Pictures:
        self._note("sample", model, n, seed, **kwargs)
        return digits(n, self.spec)

    def reconstruct(self, model: Path, data: str, n: int) -> tuple[Pictures, Pictures]:
        self._note("reconstruct", model, data, n)
        return digits(n, self.spec), digits(n, self.spec)

    def levels(self, model: Path, data: str, n: int) -> tuple[Pictures, Pictures]:
        self._note("levels", model, data, n)
        return digits(n, self.spec), digits(4 * n, self.spec)

    def interpolate(self, model: Path, data: str, n: int, steps: int = 8) -> Pictures:
        self._note("interpolate", model, data, n, steps=steps)
        return digits(n * steps, self.spec)

    def forward_chain(self, model: Path, data: str, n: int, times: int, seed: int) -> Chain:
        self._note("forward_chain", model, data, n, times=times, seed=seed)
        x = digits(n * times, self.spec).x.reshape(n, times, *self.spec.shape)
        return Chain(x, np.linspace(0, 1, times), self.spec, ids=np.arange(n))

    def reverse_chain(self, model: Path, n: int, seed: int, times: int | None, **kwargs: Any) -> Chain:
        self._note("reverse_chain", model, n, seed, times=times, **kwargs)
        m = times or 6
        x = digits(n * m, self.spec).x.reshape(n, m, *self.spec.shape)
        return Chain(x, np.linspace(1, 0, m), self.spec, estimates=x)

    def variances(self, model: Path, data: str, n: int, **kwargs: Any) -> Variances:
        self._note("variances", model, data, n, **kwargs)
        return Variances(n)

    def compare(self, models: list[Path], data: str, metrics: list[str] | None, **kwargs: Any) -> dict[str, Any]:
        self._note("compare", models, data, metrics, **kwargs)
        measured = [{"model": str(model), "data": data, **EVALUATED} for model in models]
        pairs = [DIFFERENCE] if len(models) > 1 else []
        return {"models": measured, "differences": pairs}

    def evaluate_samples(self, samples: str, data: str, metrics: list[str] | None, **kwargs: Any) -> dict[str, Any]:
        self._note("evaluate_samples", samples, data, metrics, **kwargs)
        left_out = {"fd": "too few records", "kid": "too few records"}
        notes = ["real numbers are taken for shades from 0 (black) to 1 (white)"]
        return {"samples": samples, "data": data, **EVALUATED, "left_out": left_out, "notes": notes}

    def show(self, model: Path) -> dict[str, Any]:
        self._note("show", model)
        data = {"source": "digits", "shape": [1, 8, 8], "splits": {"train": 1437, "test": 360}}
        return {"family": "vae", "data": data, "evaluations": self.evaluations}

    def fingerprint(self, model: Path) -> str:
        return f"fingerprint of {model}"

    def verify(self, model: Path) -> dict[str, Any]:
        self._note("verify", model)
        return {"files": 4, "whole": True}

    def check_family(self, name: str) -> dict[str, Any]:
        self._note("check", name)
        return {"round trip": "passed"}
