"""diffusers: its U-Net tuned for minutes of a core, its example's loop, its samplers; in the environment "diffusers".

    python -m benchmarks.peers.diffusers tuned PICTURES.npy SAMPLES.npz --seconds 600          # trains and draws
    python -m benchmarks.peers.diffusers sample-ours MODEL FILE.npz --steps 20   # our network; needs src/ on the path
    python -m benchmarks.peers.diffusers pipeline --batch 16 --steps 20 --seconds 10           # how fast it draws
    python -m benchmarks.peers.diffusers speed --pictures PICTURES.npy --precision bf16 --seconds 20 --compile

`tuned`: UNet2DModel of 2.8 M parameters on 2 x 2 folded pixels, v-prediction, the squared cosine schedule, AdamW at
2e-3 with a warm-up and a cosine for the length, averaged weights, bf16 where the processor multiplies in it, UniPC with
20 evaluations. `speed` is the loop of `examples/unconditional_image_generation/train_unconditional.py` (diffusers
0.42): accelerate, a DataLoader, DDPM's 1,000 steps with a linear beta and noise prediction, AdamW(0.95, 0.999) with
weight decay 1e-6, gradients clipped at 1, EMA with its warm-up, UNet2DModel "S" of 3.9 M parameters.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.peers import limit
from benchmarks.peers.environments import bf16

BATCH, LR = 64, 4e-4  # of the example's loop, which has 1e-4 at batch 16
TUNED = {
    "widths": (64, 128),
    "layers": 1,
    "fold": 2,
    "lr": 2e-3,
    "batch": 64,
    "sampler": "unipc-uniform",
    "evaluations": 20,
}
SETUPS = {"tuned": TUNED}


def network(channels: int, size: int, widths: tuple[int, ...] = (32, 64, 128), layers: int = 2) -> Any:
    """UNet2DModel with so many layers a resolution and attention at the lowest one."""
    from diffusers import UNet2DModel

    plain = len(widths) - 1
    return UNet2DModel(
        sample_size=size,
        in_channels=channels,
        out_channels=channels,
        layers_per_block=layers,
        block_out_channels=widths,
        down_block_types=("DownBlock2D",) * plain + ("AttnDownBlock2D",),
        up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * plain,
    )


class Loop:
    """The example's loop over in-memory pictures; `step` is one step of its optimizer."""

    def __init__(self, pictures: np.ndarray, precision: str, compiled: bool = False):
        from accelerate import Accelerator
        from diffusers import DDPMScheduler
        from diffusers.optimization import get_scheduler
        from diffusers.training_utils import EMAModel

        class Pictures(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
            def __len__(self) -> int:
                return len(pictures)

            def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
                return {"input": torch.from_numpy(pictures[i]).float() / 127.5 - 1.0}

        self.accelerator = Accelerator(cpu=True, mixed_precision="bf16" if precision == "bf16" else "no")
        self.schedule = DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear", prediction_type="epsilon")
        self.model = network(pictures.shape[1], pictures.shape[2])
        # foreach: the example leaves EMAModel at its default
        self.ema = EMAModel(
            self.model.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75,
            model_cls=type(self.model), model_config=self.model.config,
        )  # fmt: skip
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=LR, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8)
        loader = torch.utils.data.DataLoader(Pictures(), batch_size=BATCH, shuffle=True, drop_last=True)
        decay = get_scheduler("cosine", optimizer, num_warmup_steps=500, num_training_steps=10_000)
        prepared = self.accelerator.prepare(self.model, optimizer, loader, decay)
        self.model, self.optimizer, self.loader, self.decay = prepared
        if compiled:
            self.model = torch.compile(self.model)
        self.batches = self._endless()

    def _endless(self) -> Any:
        while True:
            yield from self.loader

    def step(self) -> float:
        clean = next(self.batches)["input"]
        noise = torch.randn_like(clean)
        times = torch.randint(0, 1000, (len(clean),), device=clean.device).long()
        noisy = self.schedule.add_noise(clean, noise, times)
        with self.accelerator.accumulate(self.model):
            predicted = self.model(noisy, times).sample
            loss = F.mse_loss(predicted.float(), noise.float())
            self.accelerator.backward(loss)
            if self.accelerator.sync_gradients:
                self.accelerator.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.decay.step()
            self.optimizer.zero_grad()
        if self.accelerator.sync_gradients:
            self.ema.step(self.model.parameters())
        return float(loss.detach())


def train(pictures: np.ndarray, clock: limit.Limit, setup: Mapping[str, Any]) -> limit.Draw:
    """Train the tuned network until the time is up; its averaged weights draw."""
    from diffusers import DDPMScheduler
    from diffusers.training_utils import EMAModel

    torch.manual_seed(setup["seed"])
    fold, batch = setup["fold"], setup["batch"]
    x = F.pixel_unshuffle(torch.from_numpy(pictures), fold)
    model = network(x.shape[1], x.shape[2], tuple(setup["widths"]), setup["layers"])
    averaged = EMAModel(model.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75)
    optimizer = torch.optim.AdamW(model.parameters(), setup["lr"], (0.9, 0.99), weight_decay=1e-2)
    betas = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}
    schedule = DDPMScheduler(num_train_timesteps=1000, **betas)
    while clock.more():
        clean = x[torch.randint(len(x), (batch,))].float() / 127.5 - 1.0
        noise, times = torch.randn_like(clean), torch.randint(1000, (batch,))
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16()):
            predicted = model(schedule.add_noise(clean, noise, times), times).sample
        loss = F.mse_loss(predicted.float(), schedule.get_velocity(clean, noise, times))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.param_groups[0]["lr"] = setup["lr"] * clock.rate()
        optimizer.step()
        averaged.step(model.parameters())
    averaged.copy_to(model.parameters())
    kind, options = SCHEDULERS[setup["sampler"]]

    def draw(n: int, seed: int) -> np.ndarray:
        import diffusers

        scheduler = getattr(diffusers, kind).from_config(schedule.config, **options)
        noise = torch.randn((n, *x.shape[1:]), generator=torch.Generator().manual_seed(seed))
        made = [denoised(model.eval(), scheduler, part, setup["evaluations"]) for part in noise.split(100)]
        return bytes_of(F.pixel_shuffle(torch.cat(made), fold))

    return draw


@torch.no_grad()
def denoised(model: Any, scheduler: Any, x: torch.Tensor, steps: int) -> torch.Tensor:
    """What a scheduler makes of noise."""
    scheduler.set_timesteps(steps)
    scheduler.set_begin_index(0)  # it looks for the first timestep otherwise, which may stand there twice
    for t in scheduler.timesteps:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16()):
            predicted = model(x, t).sample
        x = scheduler.step(predicted.float(), t, x).prev_sample
    return x


def bytes_of(x: torch.Tensor) -> np.ndarray:
    """Values in [-1, 1] as bytes."""
    found: np.ndarray = ((x.clamp(-1, 1) + 1.0) * 127.5).round().to(torch.uint8).numpy()
    return found


SCHEDULERS = {
    "dpm++2m": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "unipc-uniform": ("UniPCMultistepScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {"use_karras_sigmas": True}),
}


@torch.no_grad()
def sample_ours(model_dir: Path, n: int, name: str, steps: int, batch: int = 250) -> np.ndarray:
    """uint8 pictures (n, C, H, W) of a diffusion model of ours, by a scheduler of theirs, from our noise.

    The scheduler is told that the network predicts x_0, and the network is asked at the scheduler's own noise levels,
    not at the timesteps that it rounds them to.
    """
    import diffusers
    from safetensors.torch import load_file

    from morphogen.core.data_spec import DataSpec
    from morphogen.core.rng import Rng
    from morphogen.families.diffusion import Diffusion

    said = json.loads((model_dir / "spec.json").read_text())
    family = Diffusion(Diffusion.Spec.parse(said["spec"]), DataSpec.parse(said["data"])).eval()
    family.load_state_dict(load_file(model_dir / "weights.safetensors"))
    kind, options = SCHEDULERS[name]
    base = {"num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02, "prediction_type": "sample"}
    scheduler = getattr(diffusers, kind)(**base, **options)
    made = []
    for start in range(0, n, batch):
        x = Rng(0).shifted(start).normal("x_T", min(batch, n - start), family.shape)
        scheduler.set_timesteps(steps)
        for i, timestep in enumerate(scheduler.timesteps):
            level = scheduler.sigmas[i].double()  # sigma / alpha; theirs is variance preserving, x_hat of ours
            t = family.schedule.time(-2.0 * level.log()).expand(len(x))
            alpha, sigma = family.schedule(t[0])
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16()):
                mean = family.posterior((x * torch.hypot(alpha, sigma)).float(), t).mean
            x = scheduler.step(mean.float(), timestep, x).prev_sample
        made.append(bytes_of(x))
    return np.concatenate(made)


@torch.no_grad()
def pipeline(batch: int, steps: int, precision: str, seconds: float, compiled: bool) -> dict[str, float]:
    """Pictures a second of a DDPMPipeline with DPM-Solver++ 2M, RGB at 32 x 32, and the FLOPs of a picture."""
    from diffusers import DDPMPipeline, DPMSolverMultistepScheduler
    from torch.utils.flop_counter import FlopCounterMode

    drawn = DDPMPipeline(network(3, 32).eval(), DPMSolverMultistepScheduler(use_karras_sigmas=True))
    drawn.set_progress_bar_config(disable=True)
    asked = {"batch_size": batch, "num_inference_steps": steps, "output_type": "np"}
    with torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else nullcontext():
        with FlopCounterMode(display=False) as counter:
            drawn(**asked)
        if compiled:
            drawn.unet = torch.compile(drawn.unet)
        start = time.perf_counter()
        drawn(**asked)
        first, done, start = time.perf_counter() - start, 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            drawn(**asked)
            done += batch
    found = {"images_per_s": done / (time.perf_counter() - start)}
    found["gflop_per_image"] = counter.get_total_flops() / batch / 1e9
    return {**found, "compile_s": first} if compiled else found


def speed(pictures: np.ndarray, precision: str, seconds: float, compiled: bool) -> dict[str, float]:
    """Pictures a second of the whole loop, and the FLOPs of a picture's step."""
    from torch.utils.flop_counter import FlopCounterMode

    torch.manual_seed(0)
    loop = Loop(pictures, precision)
    with FlopCounterMode(display=False) as counter:
        loop.step()
    loop = Loop(pictures, precision, compiled=True) if compiled else loop
    for _ in range(3):
        loop.step()
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        loop.step()
        done += 1
    rate = done * BATCH / (time.perf_counter() - start)
    return {"images_per_s": rate, "gflop_per_image": counter.get_total_flops() / BATCH / 1e9}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=["sample-ours", "pipeline", "speed"])
    parser.add_argument("model", type=Path, nargs="?", help="what sample-ours reads")
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--scheduler", choices=SCHEDULERS, default="unipc")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16" if bf16() else "fp32")
    parser.add_argument("--pictures", type=Path, help="what speed trains on")
    parser.add_argument("--batch", type=int, default=16, help="of a pipeline")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--compile", action="store_true")
    asked = parser.parse_args()
    if asked.verb == "sample-ours":
        np.savez(asked.out, x=sample_ours(asked.model, asked.n, asked.scheduler, asked.steps))
    elif asked.verb == "pipeline":
        print(json.dumps(pipeline(asked.batch, asked.steps, asked.precision, asked.seconds, asked.compile)))
    else:
        print(json.dumps(speed(np.load(asked.pictures), asked.precision, asked.seconds, asked.compile)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["tuned"]:
        needs = ("diffusers.models.unets.unet_2d", "diffusers.training_utils", "diffusers.schedulers")
        limit.main(__doc__, SETUPS, train, needs)
    else:
        main()
