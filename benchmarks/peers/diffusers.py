"""diffusers' U-Net trained by the loop of its unconditional example, and sampled; runs in the environment "diffusers".

    python -m benchmarks.peers.diffusers train IN.npy OUT --minutes 75   # uint8 pictures (N, C, H, W)
    python -m benchmarks.peers.diffusers sample OUT FILE.npz --n 2000 --scheduler unipc --steps 20
    python -m benchmarks.peers.diffusers sample-ours MODEL FILE.npz --steps 20   # our network; needs src/ on the path
    python -m benchmarks.peers.diffusers pipeline --batch 16 --steps 20 --seconds 10   # how fast a pipeline draws
    python -m benchmarks.peers.diffusers speed --pictures IN.npy --precision bf16 --seconds 20 --compile

The loop is that of `examples/unconditional_image_generation/train_unconditional.py` (diffusers 0.42): accelerate, a
DataLoader, DDPM's 1,000 steps with a linear beta and noise prediction, AdamW(0.95, 0.999) with weight decay 1e-6, 500
steps of warm-up and a cosine, gradients clipped at 1, EMA with its warm-up. There lr is 1e-4 at batch 16; here the
batch is 64 and lr is 4e-4. The network is the UNet2DModel "S" of 3.9 M parameters.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.peers.environments import bf16

BATCH, LR = 64, 4e-4


def network(channels: int, size: int, widths: tuple[int, ...] = (32, 64, 128)) -> Any:
    """UNet2DModel with two layers a resolution and attention at the lowest one."""
    from diffusers import UNet2DModel

    plain = len(widths) - 1
    return UNet2DModel(
        sample_size=size,
        in_channels=channels,
        out_channels=channels,
        layers_per_block=2,
        block_out_channels=widths,
        down_block_types=("DownBlock2D",) * plain + ("AttnDownBlock2D",),
        up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * plain,
    )


class Loop:
    """The example's loop over in-memory pictures; `step` is one step of its optimizer."""

    def __init__(self, pictures: np.ndarray, steps: int, precision: str, model: Any = None, compiled: bool = False):
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
        self.model = model if model is not None else network(pictures.shape[1], pictures.shape[2])
        # foreach: the example leaves EMAModel at its default
        self.ema = EMAModel(
            self.model.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75,
            model_cls=type(self.model), model_config=self.model.config,
        )  # fmt: skip
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=LR, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8)
        loader = torch.utils.data.DataLoader(Pictures(), batch_size=BATCH, shuffle=True, drop_last=True)
        decay = get_scheduler("cosine", optimizer, num_warmup_steps=500, num_training_steps=steps)
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


def train(pictures: np.ndarray, out: Path, minutes: float, precision: str) -> dict[str, Any]:
    """Train for so many minutes; the averaged weights go to `out` as diffusers saves them."""
    torch.manual_seed(0)
    probe = Loop(pictures, 10_000, precision)  # how many steps fit decides when the cosine ends
    for _ in range(3):
        probe.step()
    start = time.perf_counter()
    for _ in range(12):
        probe.step()
    steps = int((minutes * 60.0 - (time.perf_counter() - start)) / ((time.perf_counter() - start) / 12))
    torch.manual_seed(0)
    loop, start, done = Loop(pictures, steps, precision), time.perf_counter(), 0
    while done < steps and time.perf_counter() - start < minutes * 60.0:
        loss = loop.step()
        done += 1
        if done % 100 == 0:
            print(f"{time.perf_counter() - start:.0f} s, step {done} of {steps}, loss {loss:.4f}", flush=True)
    model = loop.accelerator.unwrap_model(loop.model)
    loop.ema.copy_to(model.parameters())
    model.save_pretrained(out)
    loop.schedule.save_pretrained(out)
    found = {"steps": done, "planned": steps, "batch": BATCH, "lr": LR, "precision": precision, "minutes": minutes}
    found |= {"images_per_s": done * BATCH / (time.perf_counter() - start)}
    (out / "training.json").write_text(json.dumps(found, indent=2) + "\n")
    return found


SCHEDULERS = {
    "ddim": ("DDIMScheduler", {}),
    "ddpm": ("DDPMScheduler", {}),
    "dpm++2m": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "unipc": ("UniPCMultistepScheduler", {"use_karras_sigmas": True}),
}


@torch.no_grad()
def sample(model_dir: Path, n: int, name: str, steps: int, batch: int = 100) -> np.ndarray:
    """uint8 pictures (n, C, H, W)."""
    import diffusers

    model = diffusers.UNet2DModel.from_pretrained(model_dir).eval()
    kind, options = SCHEDULERS[name]
    scheduler = getattr(diffusers, kind).from_config(diffusers.DDPMScheduler.load_config(model_dir), **options)
    made = []
    for start in range(0, n, batch):
        generator = torch.Generator().manual_seed(start)
        shape = (min(batch, n - start), model.config.in_channels, model.config.sample_size, model.config.sample_size)
        x = torch.randn(shape, generator=generator)
        scheduler.set_timesteps(steps)
        for t in scheduler.timesteps:
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16()):
                predicted = model(x, t).sample
            more = {"generator": generator} if "generator" in scheduler.step.__code__.co_varnames else {}
            x = scheduler.step(predicted.float(), t, x, **more).prev_sample
        made.append(((x.clamp(-1, 1) + 1.0) * 127.5).round().to(torch.uint8).numpy())
        print(f"{start + len(x)} of {n}", flush=True)
    return np.concatenate(made)


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
        made.append(((x.clamp(-1, 1) + 1.0) * 127.5).round().to(torch.uint8).numpy())
        print(f"{start + len(x)} of {n}", flush=True)
    return np.concatenate(made)


@torch.no_grad()
def pipeline(batch: int, steps: int, precision: str, seconds: float, compiled: bool) -> dict[str, float]:
    """Pictures a second of a DDPMPipeline with DPM-Solver++ 2M, RGB at 32 x 32, and the FLOPs of a picture."""
    from contextlib import nullcontext

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
    loop = Loop(pictures, 10_000, precision)
    with FlopCounterMode(display=False) as counter:
        loop.step()
    loop = Loop(pictures, 10_000, precision, compiled=True) if compiled else loop
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
    parser.add_argument("verb", choices=["train", "sample", "sample-ours", "pipeline", "speed"])
    parser.add_argument("source", type=Path, nargs="?", help="what train and sample read")
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--scheduler", choices=SCHEDULERS, default="ddim")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16" if bf16() else "fp32")
    parser.add_argument("--pictures", type=Path, help="what speed trains on")
    parser.add_argument("--batch", type=int, default=16, help="of a pipeline")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--compile", action="store_true")
    asked = parser.parse_args()
    if asked.out is None and asked.verb not in ("pipeline", "speed"):
        parser.error(f"{asked.verb} needs what to read and a place to write to (got {asked.source} and none)")
    if asked.verb == "speed" and asked.pictures is None:
        parser.error("speed needs --pictures, uint8 pictures as .npy (got none)")
    if asked.verb == "train":
        print(json.dumps(train(np.load(asked.source), asked.out, asked.minutes, asked.precision)))
    elif asked.verb == "pipeline":
        print(json.dumps(pipeline(asked.batch, asked.steps, asked.precision, asked.seconds, asked.compile)))
    elif asked.verb.startswith("sample"):
        draw = sample if asked.verb == "sample" else sample_ours
        made = draw(asked.source, asked.n, asked.scheduler, asked.steps)
        np.savez(asked.out, x=made)
    else:
        print(json.dumps(speed(np.load(asked.pictures), asked.precision, asked.seconds, asked.compile)))


if __name__ == "__main__":
    main()
