r"""A generator that matches the mean of random features of each class, which is released once: DP-MERF and its kin.

With random frequencies w ~ N(0, I / l^2) for several lengths l, the features (Rahimi and Recht, 2007)

    phi(x) = 1/sqrt(F) (cos w_1 x, sin w_1 x, ..., cos w_F x, sin w_F x),    |phi(x)| = 1,

have the mean mu_k over the records of a class, which tells distributions apart as a kernel does (Gretton et al., 2012).
A record changes the sum of its class by 1, so little noise protects it (Harder, Adamczewski and Park, 2021). All that
is learned from the records is this sum. A network G(z, k) then minimizes

    sum_k | mu_k - mean over z of phi(G(z, k)) |^2

for as long as one likes, without the records: its player is blind.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import torch
from pydantic import Field
from torch import Tensor, nn

from morphogen.core.batch import Batch, RawCondition
from morphogen.core.capabilities import Releases, Samples
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import SpecError
from morphogen.core.family import Family, Player, Progress, Step
from morphogen.core.privacy import Mechanism
from morphogen.core.rng import Noise, Rng
from morphogen.core.spec import Spec, Width
from morphogen.nn.backbones.mlp import MLP

LENGTHS = (0.1, 0.2, 0.4)  # shares of the largest distance of two records
MADE = 1024  # records of a step
_FREQUENCIES = 20_211  # the seed of the frequencies, which are public


class MeanEmbeddingSpec(Spec):
    """Options of the generator that matches mean features."""

    features: int = Field(2000, ge=8, le=100_000, description="frequencies, each with a cosine and a sine")
    latent_dim: int = Field(16, ge=1, description="dimensions of z")
    hidden: tuple[Width, ...] = Field((256, 256), min_length=1, description="layers of the generator")
    count_share: float = Field(0.05, gt=0, lt=1, description="share of the privacy for the sizes of the classes")
    lr: float = Field(2e-3, gt=0, description="peak learning rate")
    ema: float | None = Field(0.99, gt=0, lt=1, description="decay of the averaged weights; none turns it off")


class MeanEmbedding(Family):
    """A generator that matches released mean features; see the module's docstring."""

    name = "mean_embedding"
    summary = "a generator that matches the mean features of each class, which are read once and can be private"
    Spec = MeanEmbeddingSpec
    capabilities = frozenset({Samples, Releases})
    blind_players = frozenset({"generator"})
    chooses = False
    spec: MeanEmbeddingSpec
    frequencies: Tensor
    counts: Tensor
    embedding: Tensor

    def __init__(self, spec: MeanEmbeddingSpec, data: DataSpec, parts: Mapping[str, nn.Module] | None = None) -> None:
        super().__init__(spec, data, parts)
        if data.kind not in ("continuous", "binary", "columns"):
            raise SpecError(f"a {self.name!r} model is of pictures, numbers or tables, and {data.name!r} is none.")
        self.classes, d = max(1, len(data.classes)), data.dimensions
        self.generator = MLP(spec.latent_dim + self.classes, spec.hidden, d, act="silu")
        with torch.device("cpu"):
            each = Rng(_FREQUENCIES).normal("w", spec.features, (d,))
            lengths = 2.0 * math.sqrt(d) * torch.tensor(LENGTHS)[torch.arange(spec.features) % len(LENGTHS)]
        self.register_buffer("frequencies", (each / lengths[:, None]).T.contiguous(), persistent=False)
        self.register_buffer("counts", torch.ones(self.classes, dtype=torch.float64))
        self.register_buffer("embedding", torch.zeros(self.classes, 2 * spec.features, dtype=torch.float64))

    @property
    def conditional(self) -> bool:
        """Whether it has classes."""
        return bool(self.data.classes)

    def players(self) -> Mapping[str, Player]:
        return {"generator": Player(list(self.generator.parameters()), lr=self.spec.lr, ema=self.spec.ema)}

    def networks(self) -> Mapping[str, nn.Module]:
        return {"generator": self.generator}

    @torch.no_grad()
    def release(self, passes: Callable[[], Iterator[Batch]], mechanism: Mechanism) -> None:
        """Learn the sizes of the classes and the sums of their features."""
        counts, sums = torch.zeros_like(self.counts), torch.zeros_like(self.embedding)
        for batch in passes():
            label = torch.zeros(len(batch), dtype=torch.int64, device=batch.x.device)
            if self.data.classes and batch.cond is not None and batch.cond.label is not None:
                label = batch.cond.label.clamp_min(0)
            counts += torch.bincount(label, minlength=self.classes)
            x = 2.0 * batch.x - 1.0 if self.data.kind == "binary" else batch.x
            sums.index_add_(0, label, self._features(x.flatten(1)).double())
        counts = mechanism.gaussian(counts, 1.0, self.spec.count_share, "sizes of classes").clamp_min(1.0)
        sums = mechanism.gaussian(sums, 1.0, 1.0 - self.spec.count_share, "mean features")
        self.counts.copy_(counts)
        self.embedding.copy_(sums / counts[:, None])

    def steps(self, batch: Batch, rng: Noise, at: Progress) -> Iterator[Step]:
        """One step on the released features; the records of the batch are not read."""
        index = torch.arange(MADE) + at.step * MADE
        label = torch.arange(MADE, device=self.device) % self.classes
        made = self._made(rng.normal("z", index, (self.spec.latent_dim,)), label)
        features = self._features(made)
        means = features.new_zeros(self.classes, features.shape[1]).index_add(0, label, features)
        means = means / torch.bincount(label, minlength=self.classes)[:, None]
        error = (means - self.embedding.to(means)).square().sum()
        yield Step("generator", {"discrepancy": error.expand(len(batch))})

    @torch.no_grad()
    def sample(self, n: int, cond: RawCondition | None, rng: Noise) -> Tensor:
        """Draw records of the asked classes; of classes in proportion to their sizes where none is asked for."""
        bounds = (self.counts / self.counts.sum()).cumsum(0)
        label = (rng.uniform("class", n, dtype=torch.float64).to(bounds)[:, None] > bounds[:-1]).sum(1)
        if cond is not None and cond.label is not None:
            label = torch.where(cond.label < 0, label, cond.label.to(label))
        x = self._made(rng.normal("z", n, (self.spec.latent_dim,)), label).view(n, *self.data.shape)
        return (x + 1.0) / 2.0 if self.data.kind == "binary" else x

    def _made(self, z: Tensor, label: Tensor) -> Tensor:
        """Records (B, D) in [-1, 1]."""
        one_hot = nn.functional.one_hot(label, self.classes).to(z)
        made: Tensor = self.network("generator")(torch.cat((z, one_hot), 1)).tanh()
        return made

    def _features(self, x: Tensor) -> Tensor:
        """phi(x), (B, 2 F), of x (B, D) in [-1, 1]."""
        angle = x @ self.frequencies
        return torch.cat((angle.cos(), angle.sin()), 1) / math.sqrt(self.spec.features)
