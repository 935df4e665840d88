"""diffusers' deterministic samplers on our exact denoisers, ours beside them; runs in the environment "diffusers".

    python -m benchmarks.validity.steppers --only diffusers    # runs this with src/ on its path, and prints the table

Both integrate from the same x_1 over the same noise levels sigma / alpha, among those of the 1,000 betas from 1e-4 to
0.02 that DDPM has; the error is that of `benchmarks.validity.convergence`. The levels are

    theirs   what the scheduler chooses: "trailing" for DDIM, which else starts late, and the default for the others
    karras   what it chooses with `use_karras_sigmas`
    fine     in proportion to those of the continuous schedule at t = (1 - i / steps)^5, which become fine everywhere,
             so that a method shows its order; DDIM cannot be given any: it knows nothing between the 1,000 times

All is computed in the frame where alpha = 1: a scheduler that wants x_t = alpha x_0 + sigma eps gets that, and its
"network" is the exact E[x_0 | x_t] at the level of the timestep that it is given, as a trained one would be. DPM++ and
UniPC round their Karras timesteps to whole ones, so their network is asked at a slightly wrong level. The denoiser
answers in float64; the schedulers hold their levels in float32, and Euler and DPM++ their x.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import diffusers
import torch
from torch import Tensor

from benchmarks.validity.convergence import Run, gaussian_error, mixture_error, run_of, slope
from benchmarks.validity.oracles import FEW, gaussian, mixture
from morphogen.sampling.grids import power
from morphogen.sampling.steppers import Multistep, Stepper, stepper
from morphogen.theory.gaussian_denoiser import GaussianMixtureDenoiser
from morphogen.theory.schedules import EDM, LinearBeta

BETAS = {"num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02, "prediction_type": "sample"}
ERRORS: dict[str, tuple[Callable[..., GaussianMixtureDenoiser], Callable[..., float]]] = {
    "gaussian": (gaussian, gaussian_error),
    "mixture": (mixture, mixture_error),
}


@dataclass(frozen=True)
class Sampler:
    """A scheduler, the grids to run it over, and the stepper of ours that does the same."""

    kind: str
    ours: str
    options: tuple[tuple[str, Any], ...] = ()
    grids: tuple[str, ...] = ("theirs", "karras", "fine")

    def over(self, grid: str, steps: int) -> Any:
        """A new scheduler with its times set."""
        karras = {"use_karras_sigmas": True} if grid == "karras" else {}
        scheduler = getattr(diffusers, self.kind)(**BETAS, **dict(self.options), **karras)
        scheduler.set_timesteps(steps)
        if grid == "fine":
            alpha, sigma = LinearBeta()(power(LinearBeta(), steps, exponent=5.0))
            levels = NOISIEST * (sigma / alpha) / (sigma[0] / alpha[0])
            repeated = levels[1:-1].repeat_interleave(2) if self.ours == "heun" else levels[1:-1]
            scheduler.sigmas = torch.cat((levels[:1], repeated, levels[-1:]))
        return scheduler

    def times(self, grid: str, steps: int) -> Tensor:
        """The noise levels (steps + 1,) that it goes through, as times t = sigma / NOISIEST in float64."""
        scheduler = self.over(grid, steps)
        if self.ours == "ddim":
            levels = torch.cat((TABLE[scheduler.timesteps], ratio(scheduler.final_alpha_cumprod.double())[None]))
        else:
            sigmas = scheduler.sigmas.double()
            levels = torch.cat((sigmas[:-1:2], sigmas[-1:])) if self.ours == "heun" else sigmas
        return (levels / NOISIEST).clamp_max(1.0)

    def run(self, oracle: GaussianMixtureDenoiser, grid: str) -> Run:
        """A map of x_1 to x_0 for `benchmarks.validity.convergence`."""

        def run(z: Tensor, steps: int, noise: object) -> Tensor:
            scheduler = self.over(grid, steps)
            if hasattr(scheduler, "set_begin_index"):
                scheduler.set_begin_index(0)
            scaled = self.ours in ("euler", "heun")  # their x_t has alpha = 1
            x = z if scaled else z / (1.0 + NOISIEST**2) ** 0.5
            for i, t in enumerate(scheduler.timesteps):
                own = grid == "fine" or scaled
                sigma = scheduler.sigmas[i].double() if own else TABLE[t]
                seen = scheduler.scale_model_input(x, t).double() * (1.0 + sigma**2).sqrt()
                mean = oracle.posterior(seen, sigma / NOISIEST).mean
                x = scheduler.step(mean, t, x).prev_sample
            return x.double()

        return run


def ratio(alphas_cumprod: Tensor) -> Tensor:
    """sigma / alpha."""
    return ((1.0 - alphas_cumprod) / alphas_cumprod).sqrt()


TABLE = ratio(diffusers.DDPMScheduler(**BETAS).alphas_cumprod.double())
NOISIEST = float(TABLE[-1])
SAMPLERS = {
    "ddim": Sampler("DDIMScheduler", "ddim", (("timestep_spacing", "trailing"), ("clip_sample", False)), ("theirs",)),
    "euler": Sampler("EulerDiscreteScheduler", "euler"),
    "heun": Sampler("HeunDiscreteScheduler", "heun"),
    "dpm++2m": Sampler("DPMSolverMultistepScheduler", "dpm++2m"),
    "unipc": Sampler("UniPCMultistepScheduler", "unipc"),
}

IN_THE_ANGLE: dict[str, dict[str, Stepper]] = {
    "dpm++2m": {"ours, in the angle": Multistep(2, variable="angle")},
    "unipc": {"ours, in the angle": Multistep(2, True, variable="angle")},
}


def fourier_features(run: Run) -> Run:
    """The same affine map, read off at x_1 as large as they are: differences of small ones drown in float32."""

    def fourier_features(z: Tensor, steps: int, noise: Any) -> Tensor:
        origin = run(torch.zeros_like(z), steps, noise)
        return origin + (run(NOISIEST * z, steps, noise) - origin) / NOISIEST

    return fourier_features


def measured(error: Callable[[int], float], steps: tuple[int, int]) -> dict[str, Any]:
    errors = [error(n) for n in steps]
    return {"measured": round(slope(steps, errors), 3), "errors": errors, "few": {n: error(n) for n in FEW}}


def main() -> None:
    rows = []
    for name, sampler in SAMPLERS.items():
        for grid in sampler.grids:
            steps = (128, 256) if grid == "fine" else (125, 250)  # whole fractions of 1,000, which DDIM needs
            for data, (make, error_of) in ERRORS.items():
                oracle = make(EDM(NOISIEST))
                theirs = sampler.run(oracle, grid)
                runs = {"theirs": fourier_features(theirs) if data == "gaussian" else theirs}
                for who, method in {"ours": stepper(sampler.ours), **IN_THE_ANGLE.get(name, {})}.items():
                    runs[who] = run_of(oracle, method, partial(sampler.times, grid))
                row: dict[str, Any] = {
                    "stepper": f"diffusers: {name}",
                    "grid": grid,
                    "data": data,
                    "steps": list(steps),
                }
                row["ends_at_zero"] = float(sampler.times(grid, 10)[-1]) == 0.0
                for who, run in runs.items():
                    row[who] = measured(partial(error_of, run, oracle), steps)
                rows.append(row)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
