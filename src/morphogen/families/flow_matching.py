r"""Flow matching along straight lines (Lipman et al., 2023; Liu et al., "Flow straight and fast", 2023).

A line joins noise and record, x_t = (1 - t) x_0 + t eps, and the network learns its direction. The minimizer of

    E |F(x_t, t) - (eps - x_0)|^2

is the velocity u(x_t, t) = E[eps - x_0 | x_t] of a flow that carries N(0, I) at t = 1 into the data at t = 0. This is a
diffusion model with the rectified-flow schedule, with the same sampling and scores (`families/denoising.py`). A `shift`
f changes the speed along the line: x_t = (1 - t') x_0 + t' eps with t' = f t / (1 + (f - 1) t). This gives more noise
at each t in training and sampling, as larger pictures need (Esser et al., 2024).

Times are uniform, or log(t / (1 - t)) is normal, with most times where the direction is hardest to learn.

`coupling` pairs the noises with the records of a batch (`theory/coupling.py`):

    independent           the noise at the record's own address
    optimal               by optimal transport. A conditional model transports within each group of records with equal
                          conditions, so the noise stays normal given the condition
    optimal-across        by optimal transport across conditions: straighter, but biased for a conditional model

A coupling depends on the batch. Under data parallelism, and with accumulation, each process and part couples its own
share. This is correct and has the right marginals, but it is the coupling of smaller batches, so the result differs
from that of a single process by more than rounding. The independent coupling does not depend on how a batch is split.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, final

import torch
from pydantic import Field
from torch import Tensor, nn

from morphogen.core.batch import Batch, RawCondition
from morphogen.core.data_spec import DataSpec
from morphogen.core.family import Progress, Step
from morphogen.core.recommendation import Recommendation, Situation
from morphogen.core.rng import Index, Noise
from morphogen.families import recommending
from morphogen.families.denoising import DenoisingFamily
from morphogen.families.denoising_health import EARLIEST
from morphogen.families.denoising_spec import DenoisingSpec
from morphogen.theory.coupling import optimal_coupling
from morphogen.theory.schedules import schedule
from morphogen.theory.weightings import uniforms


class FlowMatchingSpec(DenoisingSpec):
    """Options of flow matching."""

    times: Literal["uniform", "logit-normal"] = Field("logit-normal", description="law of the training times")
    time_mean: float = Field(0.0, description="logit-normal: mean of log(t / (1 - t)), before the shift")
    time_std: float = Field(1.0, gt=0, description="logit-normal: its deviation")
    coupling: Literal["independent", "optimal", "optimal-across"] = Field(
        "independent",
        description="noise of a record: its own, that of an optimal transport within conditions, or across them",
    )


@final
class FlowMatching(DenoisingFamily):
    """Flow matching; see the module's docstring for the mathematics."""

    name = "flow_matching"
    summary = "straight paths from noise to data, with optimal-transport coupling"
    Spec = FlowMatchingSpec
    spec: FlowMatchingSpec

    def __init__(self, spec: FlowMatchingSpec, data: DataSpec, parts: Mapping[str, nn.Module] | None = None) -> None:
        super().__init__(spec, data, parts, schedule("rectified-flow", shift=spec.shift), "flow", "beta")

    @classmethod
    def recommend(cls, situation: Situation) -> Recommendation:
        return recommending.denoising(situation, cls.name)

    def time_input(self, t: Tensor) -> Tensor:
        """40 t; its derivatives stay bounded at both ends."""
        return 40.0 * t

    def steps(self, batch: Batch, rng: Noise, at: Progress) -> Iterator[Step]:
        t = self.times(rng, batch.address)
        x_0 = self.encoded(batch.x, rng, batch.address)
        eps = rng.normal("eps", batch.address, self.shape, x_0.dtype)
        eps = eps[self.coupled(x_0, eps, batch.cond)]
        x_t = self.readout.noised(x_0, eps, t)
        output = self.output(x_t, t, self.training_condition(batch, rng))
        error = 2.0 * self.readout.error(output, x_0, eps, t)  # |F - (eps - x_0)|^2; the output is F / sqrt 2
        yield Step("denoiser", {"error": error}, {"transport": (x_0 - eps).square().mean()})

    def times(self, rng: Noise, index: Index) -> Tensor:
        """The training times (B,) for the noise addresses `index`."""
        s, u = self.spec, uniforms(rng, index)
        t = u if s.times == "uniform" else torch.sigmoid(s.time_mean + s.time_std * torch.special.ndtri(u))
        return t.clamp(EARLIEST, 1.0)

    def coupled(self, x_0: Tensor, eps: Tensor, cond: RawCondition | None) -> Tensor:
        """The noise of each record, as a permutation (B,)."""
        if self.spec.coupling == "independent":
            return torch.arange(len(x_0), device=x_0.device)
        read = self.conditioner is not None or self.data.context_shape is not None
        within = cond.alike() if cond is not None and read and self.spec.coupling == "optimal" else None
        return optimal_coupling(x_0, eps, within)
