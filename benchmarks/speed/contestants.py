"""Who takes part in the comparisons of `benchmarks.speed.training`, and the networks of ours that do."""

from __future__ import annotations

from typing import Any

from benchmarks.speed.timing import Contestant

MODULE, OURS = "benchmarks.speed.training", ("morphogen", "morphogen-eager")
KERAS = "Keras `fit` on TensorFlow, own train_step"


def _ours(family: str) -> dict[str, Contestant]:
    what = "this project, preset classic, --compile"
    return {
        name: Contestant((MODULE, family, "--inside", compiled), "", f"{what} {compiled}")
        for name, compiled in zip(OURS, ("on", "off"), strict=True)
    }


MLP: dict[str, dict[str, Contestant]] = {
    "vae": {
        **_ours("vae"),
        "pythae": Contestant(("benchmarks.peers.pythae", "vae"), "pythae", "pythae's BaseTrainer"),
        "keras": Contestant(("benchmarks.peers.keras_loops", "vae"), "keras", KERAS),
        "bare": Contestant(
            ("benchmarks.speed.mlp", "vae"),
            "",
            "a hand-written torch loop: fused Adam, bf16 if it is fast, compiled, clipping, averages",
        ),
    },
    "gan": {
        **_ours("gan"),
        "keras": Contestant(("benchmarks.peers.keras_loops", "gan"), "keras", KERAS),
        "keras-xla": Contestant(("benchmarks.peers.keras_loops", "gan-xla"), "keras", "the same with jit_compile=True"),
        "torchgan": Contestant(("benchmarks.peers.torchgan", "gan"), "torchgan", "torchgan's Trainer"),
        "bare": Contestant(
            ("benchmarks.speed.mlp", "gan"), "", "a hand-written torch loop: fused Adam, bf16 if it is fast"
        ),
    },
}
NETS: dict[str, dict[str, Any]] = {
    "equal": {"widths": (32, 64, 128), "blocks": (4, 4, 6)},  # 2.46 GFLOP a picture and step, as diffusers' S
    "lean": {"fold": 2, "widths": (64, 128), "blocks": (2, 3)},  # the network of `benchmarks.quality.diffusion fashion`
    "width 64": {"widths": (64, 128, 128), "blocks": (2, 2, 4)},
    "width 128": {"fold": 2, "widths": (128, 256), "blocks": (2, 3)},
}
EQUAL = "ours, equal"  # to diffusers' network


def diffusion_contestants(compiled: bool) -> dict[str, Contestant]:
    """Our networks and diffusers' loop; compiled, too, if that is asked for."""
    loop = "benchmarks.peers.diffusers", "speed", "--precision"
    found = {f"ours, {net}": Contestant((MODULE, "diffusion", "--inside", net)) for net in NETS}
    found["diffusers, as published"] = Contestant((*loop, "fp32"), "diffusers")
    found["diffusers, bf16"] = Contestant((*loop, "bf16"), "diffusers")
    if compiled:
        found["diffusers, bf16, compiled"] = Contestant((*loop, "bf16", "--compile"), "diffusers")
        found[f"{EQUAL}, compiled"] = Contestant((MODULE, "diffusion", "--inside", "equal", "--compile"))
    return found
