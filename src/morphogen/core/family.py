"""`Family`: a module that yields training steps.

A trainer is, in essence, `for step in family.steps(batch, rng, at)`. For each step it sums the terms of a record, takes
the mean over records, calls `backward` with that player's parameters as inputs, and lets that player's optimizer update
them. `steps` is a generator, so the update of an earlier player is done before the loss of a later one is computed.
"""

from __future__ import annotations

import itertools
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar, cast

import torch
from torch import Tensor, nn

from morphogen.core import registry
from morphogen.core.batch import Batch, RawCondition
from morphogen.core.capabilities import Denoises, Discriminates, Encodes, Scores
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import CapabilityError, SpecError, UsageError, unknown
from morphogen.core.recommendation import Recommendation, Situation, recommended_training
from morphogen.core.rng import Noise, Rng
from morphogen.core.spec import Spec as BaseSpec

TELLING = 20  # a warning about a model's health needs at least so many held-out records

C = TypeVar("C")
# Names of an earlier version: a family that still defines them works, and is told of the new ones.
_RENAMED = {
    "stands_on": "part_names",
    "described_by": "data_part",
    "asked_often": "compiled_networks",
    "served": "deployed",
}


@dataclass(frozen=True)
class Progress:
    """The progress of training: `step` counts from 0, and `fraction` is the share that is done, in [0, 1]."""

    step: int
    fraction: float


@dataclass(frozen=True)
class Player:
    """Parameters that one optimizer updates together: AdamW, and Muon those that are among `matrices`.

    `ema` is the decay of an exponential moving average of the weights; the average then serves as the model. None: no
    average.
    `until` is the fraction of training at which the learning rate reaches the end of its schedule; it stays there.
    `skip` is for models with rare spikes of the loss (Child, 2021). An update is skipped if its gradient is not finite,
    or if the norm of its gradient is more than `skip` times the usual one. With None, a gradient that is not finite is
    an error.
    `matrices` are weights of hidden layers whose updates are made orthogonal, at the learning rate `matrix_lr` (Muon;
    Jordan et al., 2024), scaled as in Liu et al., "Muon is scalable for LLM training", 2025.
    """

    parameters: Sequence[nn.Parameter]
    lr: float
    betas: tuple[float, float] = (0.9, 0.999)
    ema: float | None = None
    weight_decay: float = 0.0
    eps: float = 1e-8
    until: float = 1.0
    skip: float | None = None
    matrices: Sequence[nn.Parameter] = ()
    matrix_lr: float = 0.0


@dataclass(frozen=True)
class Step:
    """One update of one player.

    terms    name -> (B,) loss of each record in nats (or the family's own unit); the player minimizes the mean over
             records of their sum
    metrics  name -> a detached scalar or vector for the log; the family averages it over records
    """

    player: str
    terms: Mapping[str, Tensor]
    metrics: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Health:
    """The state of a training: numbers for the log, and warnings that say what to change.

    A warning begins with its cause and a colon. It is told where it lasts, and taken back when the cause is gone.
    `held_out` is the family's loss on held-out records, smaller for a better model; None if it has none that tells.
    """

    metrics: Mapping[str, float | list[float]] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    held_out: float | None = None


class Family(nn.Module, ABC):
    """A family of generative models. Concrete families are final.

    The constructor draws the initial weights from torch's global random state, so call it under `Rng.forked()`. No
    other code of a family may touch that state, files, devices or the network.
    """

    name: ClassVar[str]
    summary: ClassVar[str]  # one line, for listings
    Spec: ClassVar[type[BaseSpec]]
    capabilities: frozenset[type]  # an instance may declare fewer than its class
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    takes_context: bool = False  # whether it can use a picture as its context
    part_names: ClassVar[tuple[str, ...]] = ()  # the names of its possible parts
    data_part: ClassVar[str | None] = None  # the training data are prepared for this part
    compiled_networks: ClassVar[tuple[str, ...]] = ()  # networks called once per sampling step
    deployed_part: ClassVar[str | None] = None  # the part that this family adapts
    encodes_at_once: ClassVar[bool] = True  # False if encoding is a search, as the inversion of a GAN
    shardable: bool = True  # False if a loss differentiates a gradient, or an update takes whole matrices
    blind_players: ClassVar[frozenset[str]] = frozenset()  # their updates see no record, only what others learned
    private: bool = False  # in a private training no statistics of records are kept

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for old, new in _RENAMED.items():
            if old in vars(cls):
                warnings.warn(f"{cls.__name__}.{old} is now {new}.", DeprecationWarning, stacklevel=2)
                setattr(cls, new, vars(cls)[old])

    def __init__(self, spec: BaseSpec, data: DataSpec, parts: Mapping[str, nn.Module] | None = None) -> None:
        super().__init__()
        if data.context_shape is not None and not self.takes_context:
            raise SpecError(
                f"a {self.name!r} model does not start from pictures, and {data.name!r} comes with some: leave out"
                " context=, or take diffusion, flow_matching or gan."
            )
        for part in set(parts or {}) - set(self.part_names):
            raise SpecError(unknown(f"part of a {self.name!r} model", part, self.part_names))
        self.spec, self.data = spec, data
        self.parts = nn.ModuleDict(dict(parts or {}))
        self.parts.requires_grad_(False)
        self._wrapped: dict[str, Any] = {}  # a plain dict, so wrappers are neither submodules nor state

    @abstractmethod
    def players(self) -> Mapping[str, Player]:
        """The players by name. Every trainable parameter belongs to exactly one player."""

    @abstractmethod
    def networks(self) -> Mapping[str, nn.Module]:
        """The networks that a trainer may compile, replicate or shard. Call them only through `network(name)`."""

    @abstractmethod
    def steps(self, batch: Batch, rng: Noise, at: Progress) -> Iterator[Step]:
        """Yield the updates of one training step. All noise is drawn at `batch.address`."""

    def health(self, batch: Batch, rng: Noise) -> Health:
        """Diagnose the model on held-out records, without gradients. Warn only if there are `TELLING` records.

        The default returns no numbers and no warnings.
        """
        return Health()

    def forward(self, x: Tensor, t: Tensor | None = None, cond: RawCondition | None = None) -> Any:
        """What the model computes of a tensor, by its capabilities; the first that it has.

            Denoises          x_t (B, *drawn_shape), t (B,) -> E[x_0 | x_t]
            Encodes           x (B, *shape) -> E[x | z] at z = E[z | x]: the reconstruction
              by a search     z (B, D) -> E[x | z]: what the generator makes
            Scores            x (B, *shape) -> (B,) the log-likelihood in nats, or its bound; noise of seed 0
            Discriminates     x (B, *shape) -> (B,) how real it looks

        Raises `CapabilityError` for a model that has none of them.
        """
        can = self.capabilities
        if Denoises in can:
            if t is None:
                raise UsageError("a denoiser takes two tensors: module(x_t, t), with a time t (B,) in 0 to 1.")
            return require(self, Denoises, "denoise").posterior(x, t.double(), cond).mean
        if Encodes in can:
            coder = require(self, Encodes, "encode")
            return coder.decode(coder.encode(x, cond).mean if self.encodes_at_once else x, cond).mean
        if Scores in can or Discriminates not in can:
            return require(self, Scores, "compute a tensor").score(x, cond, Rng(0, x.device)).value
        return require(self, Discriminates, "discriminate").realness(x, cond)

    @classmethod
    def recommend(cls, situation: Situation) -> Recommendation:
        """The options that suit data and time. The default: a batch that suits the number of records."""
        return Recommendation(training=recommended_training(situation))

    @property
    def conditional(self) -> bool:
        """Whether it reads classes, attributes and words; by default its Spec says so."""
        return bool(getattr(self.spec, "conditional", False))

    @property
    def device(self) -> torch.device:
        """The device of its parameters, or of its buffers where it has none, as an integer form."""
        return next(itertools.chain(self.parameters(), self.buffers())).device

    @property
    def drawn_shape(self) -> tuple[int, ...]:
        """The shape of the tensors that its networks sample: records, or latents that a decoder turns into records."""
        return self.data.shape

    @property
    def needs_context(self) -> bool:
        """Whether every sample needs a picture as its context: the model has learned no other way."""
        return self.data.context_shape is not None and not getattr(self.spec, "context_dropout", 0.0)

    @property
    def learned_without_condition(self) -> bool:
        """Whether it has also learned without conditions, as classifier-free guidance needs."""
        return bool(getattr(self.spec, "condition_dropout", 0.0) > 0)

    def network(self, name: str) -> Any:
        """The network called `name`, or its wrapper if the trainer has set one."""
        wrapped = self._wrapped.get(name)
        return self.networks()[name] if wrapped is None else wrapped

    def own_parameters(self) -> list[nn.Parameter]:
        """All of its parameters without those of its parts."""
        return [p for name, p in self.named_parameters() if not name.startswith("parts.")]

    def owns(self, name: str) -> bool:
        """Whether the entry `name` of its `state_dict` is stored with it. Entries of parts are stored with the part."""
        return not name.startswith("parts.")

    def deployed(self) -> Family:
        """The model to use after loading: this one, or the model that it adapts."""
        return self

    def wrap(self, name: str, wrapped: Any) -> None:
        """Let `network(name)` return `wrapped` from now on (None restores the plain one)."""
        self._wrapped[name] = wrapped

    def __setstate__(self, state: Any) -> None:
        raise TypeError("families are not pickled; save an artifact instead")


def require(family: Any, capability: type[C], verb: str) -> C:
    """Return `family`, typed as having `capability`.

    Raises `CapabilityError` if the family does not declare it; the message names the families that do.
    """
    if capability in family.capabilities:
        return cast(C, family)
    have = registry.having(capability)
    raise CapabilityError(
        f"cannot {verb} with a {family.name!r} model: that needs the capability {capability.__name__};"
        f" families that have it: {', '.join(have) or 'none that is installed'}."
    )


def resolve_preset(family: type[Family], preset: str | None) -> Mapping[str, Any]:
    """The options of a named preset of `family`; without a preset there are none."""
    if preset is None:
        return {}
    if preset not in family.presets:
        raise SpecError(unknown(f"preset of {family.name}", preset, family.presets))
    return family.presets[preset]
