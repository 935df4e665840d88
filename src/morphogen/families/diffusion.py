r"""Diffusion models (Sohl-Dickstein et al., 2015; Ho et al., 2020; Song et al., 2021), in discrete or continuous time.

The forward process of a schedule turns records into noise, x_t = alpha_t x_0 + sigma_t eps (`theory/schedules.py`). A
network with the inputs x_t and t learns the posterior mean of x_0, by the squared error of its output
(`sampling/readout.py`). The options choose its weighting over t (`theory/weightings.py`). With this mean, the chain
runs in reverse by any stepper and over any grid of times (`sampling/`).

`chain` = N trains only at the times k / N, as Ho et al. (2020) did with N = 1000, and the stride of weightings is 1 /
N. Without `chain`, time is continuous.

The learned variance is a second output. It estimates Var(x_0 | x_t) and hence the reverse variance at *any* stride. Its
loss is the hybrid objective of Nichol and Dhariwal ("Improved denoising diffusion probabilistic models", 2021),

    L_simple + lambda L_vlb,   L_vlb = N E_t KL(q(x_s | x_t, x_0) || p(x_s | x_t)),

where the mean is a constant, so that the gradient of L_vlb reaches only the variance. The optimum of every stride is
Var = E[(x_0 - mean)^2 | x_t]; only the weights over t differ. With a chain, the strides are those of the chain, but the
last one ends at t / 2 instead of 0, so that the KL stays finite. In continuous time each stride halves the time, in ten
strides from 1 to 0.001. Each removes so much noise that the variance matters.

`families/denoising.py` has everything but the training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, final

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from morphogen.core.batch import Batch
from morphogen.core.data_spec import DataSpec
from morphogen.core.distributions import Gaussian
from morphogen.core.errors import SpecError
from morphogen.core.family import Progress, Step
from morphogen.core.recommendation import Recommendation, Situation
from morphogen.core.rng import Index, Noise
from morphogen.families import recommending
from morphogen.families.denoising import DenoisingFamily
from morphogen.families.denoising_health import EARLIEST
from morphogen.families.denoising_spec import DenoisingSpec
from morphogen.theory.diffusion import Variance, diffusion_term
from morphogen.theory.schedules import schedule
from morphogen.theory.weightings import Weighting, times, uniforms

HALVINGS = 10  # number of strides that halve the time from 1 to 0.001


class DiffusionSpec(DenoisingSpec):
    """Options of the diffusion model."""

    schedule: Literal["linear-beta", "cosine", "edm", "ve", "rectified-flow"] = Field(
        "cosine", description="how noise grows with time"
    )
    zero_terminal_snr: bool = Field(False, description="stretch the schedule until t = 1 is noise alone")
    parametrization: Literal["x0", "eps", "v"] = Field(
        "v", description="what the network puts out: the record, the noise, or the velocity between them"
    )
    weighting: Weighting | Literal["auto"] = Field(
        "auto", description="of the loss over time; auto is the plain error of the network's output"
    )
    times: Literal["uniform", "log-normal"] = Field("uniform", description="law of the training times")
    time_mean: float = Field(-1.2, description="log-normal: mean of log(sigma / alpha)")
    time_std: float = Field(1.2, gt=0, description="log-normal: deviation of log(sigma / alpha)")
    chain: int | None = Field(
        None, ge=2, description="train at the times of a chain of so many steps (1000 in DDPM); none: at all times"
    )
    variance: Variance = Field("learned", description="of the reverse process: learned, or one of its bounds")
    bound_weight: float = Field(0.001, gt=0, description="learned variance: weight of the variational bound")

    @model_validator(mode="after")
    def _a_stride_where_it_is_needed(self) -> DiffusionSpec:
        if self.weighting in ("posterior-mean", "bound") and self.chain is None:
            raise ValueError(f"the weighting {self.weighting} belongs to a chain: give chain, such as 1000")
        return self


@final
class Diffusion(DenoisingFamily):
    """Diffusion model; see the module's docstring for the mathematics."""

    name = "diffusion"
    summary = "diffusion model: any schedule and stepper, with a learned variance"
    Spec = DiffusionSpec
    presets = {
        "ddpm": {  # Ho et al. (2020)
            "schedule": "linear-beta",
            "parametrization": "eps",
            "chain": 1000,
            "variance": "beta",
            "stepper": "ddpm",
            "steps": 1000,
            "grid": "uniform",
        },
        "edm": {"schedule": "edm", "times": "log-normal", "stepper": "heun", "steps": 18},  # Karras et al. (2022)
    }
    spec: DiffusionSpec

    def __init__(self, spec: DiffusionSpec, data: DataSpec, parts: Mapping[str, nn.Module] | None = None) -> None:
        process = schedule(spec.schedule, spec.zero_terminal_snr, spec.shift)
        if spec.parametrization == "eps" and not process(torch.ones((), dtype=torch.float64, device="cpu"))[0] > 0.0:
            raise SpecError(
                "parametrization 'eps' says nothing of the record at t = 1, where this schedule has noise alone: take"
                " 'v' or 'x0', or the schedule linear-beta."
            )
        super().__init__(spec, data, parts, process, spec.parametrization, spec.variance)

    @classmethod
    def recommend(cls, situation: Situation) -> Recommendation:
        return recommending.denoising(situation, cls.name)

    def time_input(self, t: Tensor) -> Tensor:
        return self.schedule.log_snr(t).clamp(-20.0, 20.0)

    def steps(self, batch: Batch, rng: Noise, at: Progress) -> Iterator[Step]:
        t = self.times(rng, batch.address)
        x_0 = self.encoded(batch.x, rng, batch.address)
        eps = rng.normal("eps", batch.address, self.shape, x_0.dtype)
        x_t = self.readout.noised(x_0, eps, t)
        output = self.output(x_t, t, self.training_condition(batch, rng))
        error, s = self.readout.error(output, x_0, eps, t), self._stride_end(t)
        weighting = self.spec.weighting
        terms = {"error": error if weighting == "auto" else self.readout.weight(weighting, t, s).to(error) * error}
        if self.readout.variance == "learned":
            posterior = self.readout.posterior(output, x_t, t)
            posterior = Gaussian(posterior.mean.detach(), posterior.log_var)
            kl = diffusion_term(x_0, x_t, t, s, posterior, self.schedule) / x_0[0].numel()
            terms["bound"] = self.spec.bound_weight * (self.spec.chain or HALVINGS) * kl
        yield Step("denoiser", terms)

    def times(self, rng: Noise, index: Index) -> Tensor:
        """The training times (B,) for the noise addresses `index`."""
        s = self.spec
        t = times(s.times, uniforms(rng, index), self.schedule, s.time_mean, s.time_std).clamp_min(EARLIEST)
        return t if s.chain is None else (t * s.chain).ceil() / s.chain

    def _stride_end(self, t: Tensor) -> Tensor:
        """The end s of the stride from t: 0 < s < t."""
        if self.spec.chain is None:
            return 0.5 * t
        step = (t * self.spec.chain).round()
        return torch.where(step > 1.0, step - 1.0, 0.5) / self.spec.chain
