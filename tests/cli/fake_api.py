"""A stand-in for `morphogen.api`, which records its calls: the command line is tested without training anything.

Each call is bound to the signature of the real function of that name, and each answer is of the real class, so that the
stand-in cannot know another API than users do.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

import morphogen
import morphogen.api as real
import morphogen.quickstart as real_quickstart
from morphogen.core.data_spec import DataSpec
from morphogen.data.records import Dataset, Problem, Records
from morphogen.safeguards.audit import Finding

DIGITS = DataSpec(name="digits", shape=(1, 8, 8), kind="continuous", levels=17, classes=tuple("0123456789"))
POINTS = DataSpec(name="points", shape=(2,), kind="continuous")

VAE = {
    "name": "vae",
    "summary": "Gaussian variational autoencoder",
    "capabilities": ["Samples", "Scores"],
    "presets": {"classic": {"latent_dim": 2}},
    "options": [
        {"name": "latent_dim", "type": "int", "in_words": "whole number", "default": 16, "description": "size of z"},
        {
            "name": "hidden",
            "type": "tuple[int, ...]",
            "in_words": "whole numbers, comma-separated",
            "default": (500, 500),
            "description": "layer widths",
        },
        {
            "name": "free_bits",
            "type": "float",
            "in_words": "number",
            "default": 0.0,
            "description": "nats a latent [free]",
        },
        {"name": "prior", "type": "str | None", "in_words": "text, or none", "default": None, "description": ""},
    ],
    "recipe": [
        {
            "name": "batch_size",
            "type": "int",
            "in_words": "whole number",
            "default": 128,
            "description": "records a step",
        },
        {"name": "flips", "type": "bool", "in_words": "on or off", "default": False, "description": "mirror pictures"},
        {"name": "seed", "type": "int", "in_words": "whole number", "default": 0, "description": ""},
        {
            "name": "steps",
            "type": "int | None",
            "in_words": "whole number, or none",
            "default": None,
            "description": "",
        },
    ],
}
RESULT = real.Result(
    name="nll",
    value=21.43,
    interval=(21.21, 21.65),
    n=360,
    unit="nats",
    baselines={"pixel marginals": 33.2},
    place="between blur 0.5 px and PCA-100",
    protocol="as always",
    seed=0,
    duration_s=1.0,
    warnings=("copying: 5 %",),
)
LADDERS = {"nll": {"n": 360, "better": "lower", "tracks": {"blur": [("1 px", 21.0), ("2 px", 22.0)]}}}
DIFFERENCE = real.Difference(
    metric="nll", a="m", b="k", value=-0.5, interval=(-0.7, -0.3), paired=True, verdict="m is better"
)


@dataclass(frozen=True)
class Held:
    """What stands for a `Model`: a path, no network, and methods that are functions of the stand-in."""

    path: Path
    device: str = "auto"
    api: Any = field(default=None, compare=False, repr=False)

    @property
    def fingerprint(self) -> str:
        return f"fingerprint of {self.path}"

    def __getattr__(self, name: str) -> Callable[..., Any]:
        getattr(real.Model, name)
        return partial(getattr(self.api, name), self)


MODEL = Held(Path("m"))


class FakeApi(ModuleType):
    """`calls` holds (name, arguments by name without those that equal their default)."""

    def __init__(self) -> None:
        super().__init__("morphogen.api")
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.spec = DIGITS
        self.error: BaseException | None = None
        self.evaluations: list[dict[str, Any]] = []
        self.damage: tuple[str, ...] = ()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in ANSWERS:
            raise AttributeError(name)
        return lambda *args, **kwargs: self._answer(name, getattr(real, name), args, kwargs)

    def quickstart(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        return self._answer("quickstart", real_quickstart.quickstart, args, kwargs)

    def told(self, name: str) -> dict[str, Any]:
        """The arguments of the last call of that name."""
        return next(given for called, given in reversed(self.calls) if called == name)

    def named(self) -> list[str]:
        """The functions that were called, in order, but for those that only look at a model."""
        return [name for name, _ in self.calls if name not in ("load", "fingerprint")]

    def _answer(self, name: str, function: Any, args: Any, kwargs: Any) -> Any:
        signature = inspect.signature(function)
        bound = signature.bind(*args, **kwargs)
        defaults = {k: parameter.default for k, parameter in signature.parameters.items()}
        self.calls.append((name, {k: v for k, v in bound.arguments.items() if not _equal(v, defaults[k])}))
        if self.error is not None and name not in ("training", "describe_family"):
            raise self.error
        bound.apply_defaults()
        return ANSWERS[name](self, bound.arguments)


def digits(n: int, spec: DataSpec = DIGITS, columns: int = 0) -> real.Pictures:
    x = np.random.default_rng(0).integers(0, 17, (n, *spec.shape)).astype(np.uint8)
    return real.Pictures(x, spec, np.arange(n), np.arange(n) % 10, columns=columns)


def event(step: int, **more: Any) -> real.Event:
    return real.Event(step, 3, 1.0, 2.0, {"kl": 1.5}, images_per_s=100.0, **more)


def _equal(a: Any, b: Any) -> bool:
    return type(a) is type(b) and bool(a == b)


def _training(api: FakeApi, given: Mapping[str, Any]) -> Iterator[real.Event]:
    yield event(1)
    yield event(2, warnings=["the posterior collapses"])
    if api.error is not None:
        raise api.error
    yield event(3)


def _family(name: str) -> dict[str, Any]:
    if name != "vae":
        raise morphogen.UsageError(f"unknown family {name!r}: did you mean 'vae'?")
    return VAE


def _inspection() -> real.Inspection:
    records = Records(DIGITS, torch.from_numpy(digits(32).x), torch.arange(32))
    return real.Inspection(
        spec=DIGITS,
        counts={"train": 1437, "test": 360},
        balance={"train": {"0": 143, "1": 146}, "test": {"0": 35, "1": 36}},
        duplicates=(("train/3", "test/5"), ("train/7", "train/9")),
        low=float("nan"),
        high=16.0,
        problems=(Problem("cat.png", "cannot be read"),),
        notes=("the array notes is not used",),
        dataset=Dataset(DIGITS, {"train": records}),
    )


def _chain(api: FakeApi, n: int, t: np.ndarray, estimates: bool) -> real.Chain:
    x = digits(n * len(t), api.spec).x.reshape(n, len(t), *api.spec.shape)
    return real.Chain(x, t, 1.0 - 2.0 * t, api.spec, x if estimates else None, None if estimates else np.arange(n))


def _variances(n: int) -> real.Variances:
    t, s, log_snr = np.array([1.0, 0.5]), np.array([0.5, 0.2]), np.array([-np.inf, 1.0])
    beta, beta_tilde, learned = np.array([0.9, 0.8]), np.array([0.5, 0.4]), np.array([0.7, 0.6])
    return real.Variances(t, s, log_snr, beta, beta_tilde, learned, learned, np.array([[0.6, 0.8], [0.5, 0.7]]), n)


def _restored(n: int) -> real.Restored:
    """The uncertainty rises from left to right, to 4 of 17 levels."""
    rise = np.linspace(0.0, 4.0, 8, dtype=np.float32)[None].repeat(8, 0)
    samples = digits(n).x
    return real.Restored(samples, samples[1], rise[None], rise, DIGITS)


def _edits(given: Mapping[str, Any]) -> real.LatentEdits:
    directions, strengths = tuple(given["direction"]), tuple(given["strength"])
    x = digits(len(directions) * len(strengths)).x
    return real.LatentEdits(x, DIGITS, directions, strengths, 12.34, 56.78, ("it smiles already",))


def _directions() -> real.Directions:
    ordered, interval = np.array([np.nan, 0.9]), np.array([[np.nan, np.nan], [0.85, 0.95]])
    names, warnings = ("factor-1", "smile"), ("too few have a hat",)
    return real.Directions(names, np.eye(2), ordered, interval, 250, "a hash", warnings)


def _evaluation(data: str, **of: str) -> real.Evaluation:
    return real.Evaluation(of, data, (RESULT,), {"fd": "too few"}, LADDERS)


def _comparison(given: Mapping[str, Any]) -> real.Comparison:
    models = tuple(_evaluation(given["data"], model=str(held.path)) for held in given["models"])
    return real.Comparison(models, (DIFFERENCE,) if len(models) > 1 else ())


def _judged(given: Mapping[str, Any]) -> real.Evaluation:
    left_out = {"fd": "too few records", "kid": "too few records"}
    notes = ("real numbers are taken for shades from 0 (black) to 1 (white)",)
    return real.Evaluation({"samples": given["samples"]}, given["data"], (RESULT,), left_out, LADDERS, notes)


def _audited(given: Mapping[str, Any]) -> real.Audit:
    return real.Audit({"model": "m", "family": "vae"}, given["data"], {"privacy": Finding((RESULT,))})


def _alignment(given: Mapping[str, Any]) -> real.Alignment:
    """Ten drawings, of which four are beside training pictures."""
    spec = DIGITS.replace(levels=256)
    drawn, nearest = np.zeros((10, 1, 8, 8), np.uint8), np.ones((4, 1, 8, 8), np.uint8)
    captions = tuple(f"caption {i}" for i in range(10))
    of = {"samples": given["samples"]} if given["model"] is None else {"model": "m"}
    return real.Alignment(
        of,
        given["data"],
        (RESULT,),
        real.Pictures(drawn, spec),
        captions,
        ("test",) * 10,
        np.array([0, 2, 4, 6]),
        real.Pictures(nearest, spec),
        {"fd": "too few"},
    )


def _described(api: FakeApi) -> real.Description:
    data = {"source": "digits", "shape": [1, 8, 8], "splits": {"train": 1437, "test": 360}}
    return real.Description({"family": "vae", "data": data, "evaluations": api.evaluations})


def _design() -> Any:
    one = real.DesignedMolecule("CCO", 0.9, True, {"qed": 0.9}, "CCN", 0.5, ())
    return real.Design((one,), ("qed>=0.9",), "tuning", (1, 10), ((0.9, 0.9),))


def _detections() -> real.Detections:
    """Four records, of which the first raises an alarm."""
    scores, p = np.array([9.0, 1.0, 2.0, 3.0]), np.array([0.01, 0.9, 0.6, 0.3])
    order, x = np.array([0, 3, 2, 1]), digits(4).x
    kept = {"calibration": np.arange(99.0), "realized": None, "drift": 0.4, "warnings": ("few records",)}
    shown = {"order": order, "x": x, "maps": None, "spec": DIGITS}
    return real.Detections(np.arange(4), scores, p, p, p <= 0.05, 0.05, "neighbors", **kept, **shown)


def _archive(path: Any, warnings: tuple[str, ...] = ()) -> real.Archive:
    counted: dict[str, Any] = {"ideal_bits_per_dim": 0.99, "gap": 0.01, "rivals": {"PNG": 2.0}, "break_even": 700}
    counted["warnings"] = warnings
    return real.Archive(str(path), 360, (1, 8, 8), 3000, 100, 1.0, "f" * 64, "vae", True, {"plain": 1}, **counted)


def _exported(out: str) -> real.Exported:
    return real.Exported("onnx", {"decoder": out}, {"decoder": ("z",)}, {"decoder": ("x",)}, {"decoder": 2e-7}, 99)


def _both(api: FakeApi, n: int, made: int) -> real.Reconstructions:
    return real.Reconstructions(digits(n, api.spec), digits(made, api.spec))


ANSWERS: dict[str, Callable[[FakeApi, Mapping[str, Any]], Any]] = {
    "list_families": lambda api, given: [VAE],
    "describe_family": lambda api, given: _family(given["name"]),
    "check_family": lambda api, given: {"round trip": "passed"},
    "inspect_data": lambda api, given: _inspection(),
    "training": _training,
    "quickstart": lambda api, given: iter([event(1)]),
    "load": lambda api, given: Held(given["model"], given["device"], api),
    "fingerprint": lambda api, given: f"fingerprint of {given['model']}",
    "describe": lambda api, given: _described(api),
    "verify": lambda api, given: real.Verification(str(given["model"]), "vae"),
    "sample": lambda api, given: digits(given["n"], api.spec),
    "walk": lambda api, given: digits(given["frames"], api.spec, given["frames"] // given["stops"]),
    "reconstruct": lambda api, given: _both(api, given["n"], given["n"]),
    "levels": lambda api, given: _both(api, given["n"], 4 * given["n"]),
    "interpolate": lambda api, given: digits(given["n"] * given["steps"], api.spec, given["steps"]),
    "manifold": lambda api, given: digits(given["n"] ** 2, api.spec, given["n"]),
    "directions": lambda api, given: _directions(),
    "edit_latent": lambda api, given: _edits(given),
    "forward_chain": lambda api, given: _chain(api, given["n"], np.linspace(0, 1, given["times"]), False),
    "reverse_chain": lambda api, given: _chain(api, given["n"], np.linspace(1, 0, given["times"] or 6), True),
    "variances": lambda api, given: _variances(given["n"]),
    "edit": lambda api, given: digits(given["n"]),
    "upscale": lambda api, given: _restored(given["n"]),
    "restore": lambda api, given: _restored(given["n"]),
    "compare": lambda api, given: _comparison(given),
    "audit": lambda api, given: _audited(given),
    "evaluate_samples": lambda api, given: _judged(given),
    "evaluate_molecules": lambda api, given: _judged({**given, "samples": given["molecules"]}),
    "evaluate_alignment": lambda api, given: _alignment(given),
    "quantize": lambda api, given: real.Quantized(str(given["out"]), 16, (1.0, 1.001), 1e-3, 20, 200, 10, 99),
    "export": lambda api, given: _exported(str(given["out"])),
    "compress": lambda api, given: _archive(given["out"]),
    "decompress": lambda api, given: real.Decompressed(digits(4).x, None, np.arange(4), 17, 1.0, api.damage),
    "decompressing": lambda api, given: iter([real.Decompressed(digits(4).x, None, np.arange(4), 17, 0.0, api.damage)]),
    "describe_archive": lambda api, given: _archive(given["file"], api.damage),
    "design": lambda api, given: _design(),
    "complete": lambda api, given: digits(given["n"], api.spec),
    "detect": lambda api, given: _detections(),
}
