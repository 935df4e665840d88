"""Training throughput of the classic MLP VAE or GAN: this project's trainer beside its peers' and a bare loop.

    python -m benchmarks.throughput
    python -m benchmarks.throughput --model gan
    python -m benchmarks.throughput --rounds 5 --seconds 40 --only morphogen,pythae

The VAE is 784-512-256-2-256-512-784, the GAN that of benchmarks/throughput_gan.py. All train it on the same MNIST
pictures, 128 a step, with Adam; each in a process of its own,
one after the other and round after round (A B C A B C ...), so that a drift of the machine's speed meets all of them.
The first epoch warms up and is not counted; nobody's evaluation, checkpoints or sample sheets are. Compiling is
reported apart. Ratios are taken within a round. Needs MORPHOGEN_DATA; installs the peers into .peers/.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import peers, throughput_gan

RESULTS = Path(__file__).parent / "results"
BATCH, HIDDEN, LATENT = 128, (512, 256), 2
DISTURBED = 0.1  # cores used by other processes, above which a figure is not to be trusted


def flops_per_image() -> float:
    """Floating-point operations of one training step for one picture, multiply and add counted apart.

    A layer costs 2 n m forward and the same for either gradient; the first layer needs none for its input.
    """
    encoder, decoder = (784, *HIDDEN, 2 * LATENT), (LATENT, *HIDDEN[::-1], 784)
    products = sum(a * b for sizes in (encoder, decoder) for a, b in pairwise(sizes))
    return 2.0 * (3 * products - encoder[0] * encoder[1])


# ------------------------------------------------- contestants, each in a process of its own


class Clock:
    """The speed from the first lap on, which is the warm-up, until `seconds` have passed."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.images, self._began = seconds, 0, time.perf_counter()
        self._from: float | None = None
        self._last = self._began

    def lap(self, images: int) -> bool:
        """Note that `images` more were trained on; true once it is enough."""
        self._last = time.perf_counter()
        if self._from is None:
            self._from = self._last
            return False
        self.images += images
        return self._last - self._from >= self.seconds

    def result(self) -> dict[str, float]:
        """Images per second, and the seconds of the warm-up with all that is done only once."""
        assert self._from is not None
        return {"images_per_s": self.images / (self._last - self._from), "warmup_s": self._from - self._began}


def _morphogen(family: str, seconds: float, compile: str) -> dict[str, Any]:
    import morphogen as mg

    recipe = {"epochs": 100_000, "batch_size": BATCH, "compile": compile}
    spent, images, last, warmup_s, setup_s = 0.0, 0, 0, None, None
    warnings: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        events = mg.train(family, "mnist", Path(folder) / "model", preset="classic", recipe=recipe)
        epoch = mg.load_data("mnist").spec.splits["train"]
        for event in events:
            warnings += event.warnings
            if event.images_per_s is None:
                continue
            made, last = BATCH * (event.step - last), event.step
            setup_s = event.elapsed_s - made / event.images_per_s if setup_s is None else setup_s
            if BATCH * event.step <= epoch:
                continue
            warmup_s = event.elapsed_s if warmup_s is None else warmup_s
            images, spent = images + made, spent + made / event.images_per_s
            if spent >= seconds:
                break
        events.close()
    return {"images_per_s": images / spent, "warmup_s": warmup_s, "setup_s": setup_s, "warnings": warnings}


def _pythae(pictures: Any, seconds: float) -> dict[str, Any]:
    import torch
    from pythae.data.datasets import BaseDataset
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    class Enough(Exception):
        pass

    class Laps(TrainingCallback):
        def on_epoch_end(self, *_: Any, **__: Any) -> None:
            if clock.lap(len(pictures)):
                raise Enough

    data = BaseDataset(torch.from_numpy(pictures), torch.zeros(len(pictures)))
    with tempfile.TemporaryDirectory() as folder:
        config = BaseTrainerConfig(
            output_dir=folder, num_epochs=100_000, learning_rate=1e-3, per_device_train_batch_size=BATCH
        )
        model = peers.pythae_vae(HIDDEN, LATENT, "mse")
        trainer = BaseTrainer(model, data, training_config=config, callbacks=[Laps()])
        clock = Clock(seconds)
        with contextlib.suppress(Enough):
            trainer.train()
    return clock.result()


def _keras(pictures: Any, seconds: float) -> dict[str, Any]:
    os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}
    import keras
    import tensorflow as tf
    from keras import layers, ops

    class Net(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = keras.Sequential([layers.Dense(n, "relu") for n in HIDDEN])
            self.mean, self.log_var = layers.Dense(LATENT), layers.Dense(LATENT)
            outwards = [layers.Dense(n, "relu") for n in HIDDEN[::-1]]
            self.decoder = keras.Sequential([*outwards, layers.Dense(784, "sigmoid")])
            self.noise = keras.random.SeedGenerator(0)
            self.loss_tracker = keras.metrics.Mean(name="loss")

        @property
        def metrics(self) -> list[Any]:
            return [self.loss_tracker]

        def train_step(self, x: Any) -> dict[str, Any]:
            with tf.GradientTape() as tape:
                h = self.encoder(x)
                mean, log_var = self.mean(h), self.log_var(h)
                z = mean + ops.exp(0.5 * log_var) * keras.random.normal(ops.shape(mean), seed=self.noise)
                distortion = ops.sum(ops.square(self.decoder(z) - x), axis=-1)
                rate = -0.5 * ops.sum(1 + log_var - ops.square(mean) - ops.exp(log_var), axis=-1)
                loss = ops.mean(distortion + rate)
            self.optimizer.apply_gradients(
                zip(tape.gradient(loss, self.trainable_weights), self.trainable_weights, strict=True)
            )
            self.loss_tracker.update_state(loss)
            return {"loss": self.loss_tracker.result()}

    class Laps(keras.callbacks.Callback):
        def on_epoch_end(self, *_: Any) -> None:
            self.model.stop_training = clock.lap(len(pictures))

    x = pictures.reshape(len(pictures), -1)
    net = Net()
    net.compile(optimizer=keras.optimizers.Adam(1e-3))
    clock = Clock(seconds)
    net.fit(x, epochs=100_000, batch_size=BATCH, verbose=0, callbacks=[Laps()])
    return clock.result()


def _bare(pictures: Any, seconds: float) -> dict[str, Any]:
    import torch
    from torch import nn
    from torch.nn import functional as F

    def layers(*sizes: int) -> list[nn.Module]:
        return [module for a, b in pairwise(sizes) for module in (nn.Linear(a, b), nn.ReLU())]

    encoder = nn.Sequential(*layers(784, *HIDDEN), nn.Linear(HIDDEN[-1], 2 * LATENT))
    decoder = nn.Sequential(*layers(LATENT, *HIDDEN[::-1]), nn.Linear(HIDDEN[0], 784), nn.Sigmoid())
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=True)
    averages = [p.detach().clone() for p in parameters]

    @torch.compile(dynamic=False)
    def loss_of(x: Any) -> Any:
        mean, log_var = encoder(x).float().chunk(2, dim=-1)
        z = mean + (0.5 * log_var).exp() * torch.randn_like(mean)
        rate = -0.5 * (1 + log_var - mean.square() - log_var.exp()).sum(-1)
        return (F.mse_loss(decoder(z).float(), x, reduction="none").sum(-1) + rate).mean()

    x = torch.from_numpy(pictures).flatten(1)
    clock, enough, fast = Clock(seconds), False, peers.bf16()
    while not enough:
        order = torch.randperm(len(x))
        batches = order[: len(x) // BATCH * BATCH].split(BATCH)
        for rows in batches:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=fast):
                loss = loss_of(x.index_select(0, rows))
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 100.0)
            optimizer.step()
            torch._foreach_lerp_(averages, [p.detach() for p in parameters], 1e-3)
        enough = clock.lap(BATCH * len(batches))
    return clock.result()


def _ceiling(seconds: float) -> dict[str, Any]:
    """The best GFLOP/s of square matrix products, in each precision."""
    import torch

    found = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        best = 0.0
        for n in (512, 1024):
            a, b, out = (torch.randn(n, n).to(dtype) for _ in range(3))
            torch.mm(a, b, out=out)
            until = time.perf_counter() + min(seconds, 8.0) / 4
            while time.perf_counter() < until:
                start = time.perf_counter()
                for _ in range(5):
                    torch.mm(a, b, out=out)
                best = max(best, 5 * 2.0 * n**3 / (time.perf_counter() - start) / 1e9)
        found[f"{name}_gflops"] = best
    return found


Contest = Callable[[Any, float], dict[str, Any]]


def _ours(family: str, compile: str) -> tuple[str, str, Contest]:
    what = f"this project, preset classic, --compile {compile}"
    return what, "", lambda _, seconds: _morphogen(family, seconds, compile)


# model -> contestant -> (what it is, the environment it runs in, "" for this one, what it does)
CONTESTANTS: dict[str, dict[str, tuple[str, str, Contest]]] = {
    "vae": {
        "morphogen": _ours("vae", "on"),
        "morphogen-eager": _ours("vae", "off"),
        "pythae": ("pythae's BaseTrainer", "pythae", _pythae),
        "keras": ("Keras `fit` on TensorFlow, own train_step", "keras", _keras),
        "bare": ("a hand-written torch loop: fused Adam, bf16 if it is fast, compiled, clipping, averages", "", _bare),
    },
    "gan": {
        "morphogen": _ours("gan", "on"),
        "morphogen-eager": _ours("gan", "off"),
        "keras": (
            "Keras `fit` on TensorFlow, own train_step",
            "keras",
            lambda x, s: throughput_gan.keras(x, s, Clock),
        ),
        "keras-xla": (
            "the same with jit_compile=True",
            "keras",
            lambda x, s: throughput_gan.keras(x, s, Clock, xla=True),
        ),
        "torchgan": ("torchgan's Trainer", "torchgan", lambda x, s: throughput_gan.torchgan(x, s, Clock)),
        "bare": (
            "a hand-written torch loop: fused Adam, bf16 if it is fast",
            "",
            lambda x, s: throughput_gan.bare(x, s, Clock),
        ),
    },
}
FLOPS = {"vae": flops_per_image, "gan": throughput_gan.flops_per_image}
OURS = ("morphogen", "morphogen-eager")
_CEILING = "ceiling"


def contest(model: str, name: str, pictures: Path, seconds: float, out: Path) -> None:
    """Run one contestant in this process and write what it reached to `out`."""
    import numpy as np

    if name == _CEILING:
        found = _ceiling(seconds)
    else:
        x = np.load(pictures, allow_pickle=False).astype("float32") / 255.0
        found = CONTESTANTS[model][name][2](x, seconds)
    out.write_text(json.dumps(found), encoding="utf-8")


# ------------------------------------------------------------------------------- rounds


def measure(model: str, name: str, python: Path, pictures: Path, seconds: float) -> dict[str, Any]:
    """Run one contestant in a process of its own; adds the cores that other processes used meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result.json"
        options = [
            "--model",
            model,
            "--contestant",
            name,
            "--pictures",
            str(pictures),
            "--seconds",
            str(seconds),
            "--out",
            str(out),
        ]
        busy, own, start = _busy_s(), _children_s(), time.perf_counter()
        done = subprocess.run(
            [python, "-m", "benchmarks.throughput", *options], cwd=peers.ROOT, capture_output=True, text=True
        )
        wall = time.perf_counter() - start
        if done.returncode:
            raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
        others = None if busy is None else ((_busy_s() or 0.0) - busy - (_children_s() - own)) / wall
        return {**json.loads(out.read_text(encoding="utf-8")), "other_cores": others}


def _busy_s() -> float | None:
    """Seconds that all cores together were busy since the start of the machine; None where it does not say."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    user, nice, system, _, _, interrupt, soft = map(int, stat.read_text(encoding="utf-8").split()[1:8])
    return (user + nice + system + interrupt + soft) / os.sysconf("SC_CLK_TCK")


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def summary(values: Sequence[float]) -> dict[str, Any]:
    """All values, their median and their range."""
    return {"rounds": list(values), "median": median(values), "range": [min(values), max(values)]}


def compare(model: str, rounds: Sequence[dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """Speeds of each contestant, and ours as a multiple of each other's within the same round."""
    names = [name for name in rounds[0] if name != _CEILING]
    found: dict[str, Any] = {"contestants": {}, "ratios": {}, "ceiling": {}}
    for name in names:
        of = [r[name] for r in rounds]
        speed = summary([r["images_per_s"] for r in of])
        found["contestants"][name] = {
            "what": CONTESTANTS[model][name][0],
            "images_per_s": speed,
            "gflops": speed["median"] * FLOPS[model]() / 1e9,
            "warmup_s": [r["warmup_s"] for r in of],
            "setup_s": [r["setup_s"] for r in of] if "setup_s" in of[0] else None,
            "other_cores": [r["other_cores"] for r in of],
            "warnings": sorted({w for r in of for w in r.get("warnings", [])}),
        }
    for ours in [name for name in OURS if name in names]:
        for other in [name for name in names if name not in OURS]:
            ratios = [r[ours]["images_per_s"] / r[other]["images_per_s"] for r in rounds]
            found["ratios"][f"{ours} / {other}"] = summary(ratios)
    for key in ("fp32_gflops", "bf16_gflops"):
        found["ceiling"][key] = summary([r[_CEILING][key] for r in rounds])
    return found


def table(found: dict[str, Any]) -> str:
    """The result as Markdown."""
    hardware, versions = found["hardware"], ", ".join(f"{k} {v}" for k, v in found["versions"].items())
    ceiling = {key: value["median"] for key, value in found["ceiling"].items()}
    lines = [
        f"{hardware['cpu']}, {hardware['threads']} threads; {versions}; {found['started']}.",
        f"{found['rounds']} rounds, interleaved, of {found['seconds']:g} s each after a warm-up of one epoch;"
        f" {found['flops_per_image'] / 1e6:.1f} MFLOP per image and step; matrix products reach"
        f" {ceiling['fp32_gflops']:.0f} GFLOP/s in fp32 and {ceiling['bf16_gflops']:.0f} in bf16.",
        "",
        "| contestant | images/s (median) | range | GFLOP/s | warm-up s |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, one in found["contestants"].items():
        speed, warmup = one["images_per_s"], median(one["warmup_s"])
        low, high = speed["range"]
        lines.append(
            f"| {name}: {one['what']} | {speed['median']:,.0f} | {low:,.0f} to {high:,.0f}"
            f" | {one['gflops']:.0f} | {warmup:.1f} |"
        )
    if found["ratios"]:
        lines += ["", "| ratio within a round | median | range |", "| --- | ---: | ---: |"]
    for name, ratio in found["ratios"].items():
        low, high = ratio["range"]
        lines.append(f"| {name} | {ratio['median']:.2f} | {low:.2f} to {high:.2f} |")
    for name, one in found["contestants"].items():
        if one["setup_s"]:
            lines.append(f"\n{name}: {', '.join(f'{s:.1f}' for s in one['setup_s'])} s before the first step.")
        lines += [f"\n{name} warned: {warning}" for warning in one["warnings"]]
        if any(cores is not None and cores > DISTURBED for cores in one["other_cores"]):
            used = ", ".join(f"{cores:.2f}" for cores in one["other_cores"])
            lines.append(f"\n{name} was disturbed: other processes used {used} cores. Do not trust its figure.")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(CONTESTANTS), default="vae")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=25.0, help="counted for each contestant in each round")
    parser.add_argument("--only", type=lambda names: names.split(","), metavar="A,B", help="some of the contestants")
    parser.add_argument("--records", type=int, help="give the others fewer pictures, to see that all of it runs")
    parser.add_argument("--out", type=Path, help="where the result goes")
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    parser.add_argument("--pictures", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.contestant:
        contest(chosen.model, chosen.contestant, chosen.pictures, chosen.seconds, chosen.out)
        return
    contestants = CONTESTANTS[chosen.model]
    names = chosen.only or list(contestants)
    if set(names) - set(contestants) or chosen.rounds < 1:
        parser.error(f"--rounds is at least 1, and --only takes {', '.join(contestants)}")

    import numpy as np
    import torch

    import morphogen as mg
    from morphogen.training import provenance

    started = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    needed = {peer for name in names if (peer := contestants[name][1])}
    pythons = {"": Path(sys.executable), **{peer: peers.ensure(peer) for peer in sorted(needed)}}
    versions = provenance.versions()
    for peer in sorted(needed):
        versions |= peers.versions(pythons[peer], *(pin.partition("==")[0] for pin in peers.PEERS[peer].packages))
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "pictures.npy"
        np.save(pictures, mg.load_data("mnist").train.stored[: chosen.records].numpy())
        rounds = []
        for i in range(chosen.rounds):
            rounds.append({})
            for name in [_CEILING, *names]:
                python = pythons[contestants[name][1] if name in contestants else ""]
                rounds[-1][name] = measure(chosen.model, name, python, pictures, chosen.seconds)
                print(f"round {i + 1}, {name}: {rounds[-1][name]}", file=sys.stderr)
    found = {
        "what": f"training throughput of the classic MLP {chosen.model.upper()}, batch 128, MNIST",
        "started": started,
        "rounds": chosen.rounds,
        "seconds": chosen.seconds,
        "flops_per_image": FLOPS[chosen.model](),
        "hardware": provenance.hardware(torch.device("cpu"), 1),
        "versions": versions,
        **compare(chosen.model, rounds),
    }
    out = chosen.out or RESULTS / ("throughput.json" if chosen.model == "vae" else f"throughput-{chosen.model}.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(table(found))


if __name__ == "__main__":
    main()
