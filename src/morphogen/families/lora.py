r"""A diffusion or flow model fine-tuned on a few records by low-rank adapters (Hu et al., 2022; `nn/adapters.py`).

    morphogen train lora --part base=MODEL --data "pictures/" --out DIR --steps 500

The base does not change. Small matrices A and B are trained beside its weights W, W' = W + (alpha / rank) B A, with the
loss of the base. B is 0 at first, so training starts from the base.

The data are prepared as for the base: size, classes, and words by the base's tokenizer.

An artifact holds the adapters, a small file, and the base as its part. After loading it is a model of the base's family
with the weights W'. It has the same capabilities and the same speed as the base.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, final

from pydantic import Field
from torch import Tensor, nn

from morphogen.core.batch import Batch, RawCondition
from morphogen.core.capabilities import Denoises, Samples
from morphogen.core.data_spec import DataSpec
from morphogen.core.distributions import Gaussian
from morphogen.core.family import Family, Health, Player, Progress, Step
from morphogen.core.rng import Noise, Rng
from morphogen.core.spec import Spec
from morphogen.families.denoiser_part import denoiser_part
from morphogen.families.denoising import DenoisingFamily
from morphogen.nn import adapters
from morphogen.nn.adapters import Layers

BASE = "base"  # the part that the adapters change


class LoRASpec(Spec):
    """Options of low-rank adaptation; all other options are those of the base."""

    rank: int = Field(8, ge=1, description="r, the width of the products that learn")
    alpha: int = Field(16, ge=1, description="their scale is alpha / rank")
    layers: Layers = Field("all", description="which layers learn: all, or those of attention alone")
    lr: float = Field(1e-3, gt=0, description="peak learning rate")
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay")
    ema: float | None = Field(0.99, gt=0, lt=1, description="decay of the averaged adapters; none turns it off")


@final
class LoRA(Family):
    """Low-rank adaptation; see the module's docstring for the mathematics."""

    name = "lora"
    summary = "a diffusion or flow model fine-tuned on a few records by low-rank adapters"
    capabilities = frozenset({Samples, Denoises})
    takes_context = True
    part_names = (BASE,)
    deployed_part = BASE
    Spec = LoRASpec
    data_part = BASE
    spec: LoRASpec

    def __init__(self, spec: LoRASpec, data: DataSpec, parts: Mapping[str, nn.Module] | None = None) -> None:
        super().__init__(spec, data, parts)
        base = denoiser_part(self, BASE)
        self.adapted = _like(base, data, base.state_dict())
        adapters.adapted(self.adapted, spec.rank, spec.alpha, spec.layers)

    @property
    def conditional(self) -> bool:
        """Whether the base is conditional."""
        return self.adapted.conditional

    def players(self) -> Mapping[str, Player]:
        s, mine = self.spec, list(adapters.adapters(self.adapted).values())
        return {"denoiser": Player(mine, lr=s.lr, ema=s.ema, weight_decay=s.weight_decay)}

    def networks(self) -> Mapping[str, nn.Module]:
        return self.adapted.networks()

    def wrap(self, name: str, wrapped: Any) -> None:
        self.adapted.wrap(name, wrapped)

    def network(self, name: str) -> Any:
        return self.adapted.network(name)

    def owns(self, name: str) -> bool:
        return adapters.is_adapter(name)

    def deployed(self) -> Family:
        """A model of the base's family, with the weights W'."""
        with Rng(0).forked():
            return _like(self.adapted, self.data, adapters.merged(self.adapted))

    def steps(self, batch: Batch, rng: Noise, at: Progress) -> Iterator[Step]:
        return self.adapted.steps(batch, rng, at)

    def health(self, batch: Batch, rng: Noise) -> Health:
        return self.adapted.health(batch, rng)

    def posterior(self, x_t: Tensor, t: Tensor, cond: RawCondition | None = None) -> Gaussian:
        """p(x_0 | x_t) of the adapted model."""
        return self.adapted.posterior(x_t, t, cond)

    def sample(self, n: int, cond: RawCondition | None, rng: Noise, **options: Any) -> Tensor:
        """Sample from the adapted model, with its options."""
        return self.adapted.sample(n, cond, rng, **options)


def _like(model: DenoisingFamily, data: DataSpec, state: Mapping[str, Tensor]) -> DenoisingFamily:
    """A new model of the family, options and parts of `model`, with the weights `state`."""
    kind: Any = type(model)
    other: DenoisingFamily = kind(model.spec, data, dict(model.parts)).to(next(model.parameters()).dtype)
    other.load_state_dict(state)
    return other
