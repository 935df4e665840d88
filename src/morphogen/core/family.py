"""`Family`: a module that yields training steps.

A trainer is, in essence, `for step in family.steps(batch, rng, at)`: the mean of the summed
per-record terms, `backward` with that player's parameters as inputs, and that player's optimizer
moves. Because `steps` is a generator, an earlier player has already moved when the loss of a later
one is computed.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar, cast

import torch
from torch import Tensor, nn

from morphogen.core import registry
from morphogen.core.batch import Batch
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import CapabilityError, SpecError, unknown
from morphogen.core.rng import Noise
from morphogen.core.spec import Spec as BaseSpec

TELLING = 20  # held-out records that a warning about a model's health is based on, at least

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
    """Where training stands: `step` from 0, and `fraction` of the whole in [0, 1]."""

    step: int
    fraction: float


@dataclass(frozen=True)
class Player:
    """Parameters that move together by one AdamW optimizer.

    `ema` is the decay of an exponential moving average that then serves as the model, or None.
    `until` is the fraction of training at which its learning rate has fallen to the end of its schedule, where it
    stays, for players that others follow.
    `skip` leaves a move out where its gradient is not finite, or its norm more than that many times the usual one, for
    models whose loss has rare spikes (Child, 2021); None makes a gradient that is not finite an error.
    """

    parameters: Sequence[nn.Parameter]
    lr: float
    betas: tuple[float, float] = (0.9, 0.999)
    ema: float | None = None
    weight_decay: float = 0.0
    eps: float = 1e-8
    until: float = 1.0
    skip: float | None = None


@dataclass(frozen=True)
class Step:
    """One move of one player.

    terms    name -> (B,) per-record loss in nats (or the family's own unit); the player minimises
             the mean over records of their sum
    metrics  name -> a detached scalar or vector to be logged, averaged over records by the family
    """

    player: str
    terms: Mapping[str, Tensor]
    metrics: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Health:
    """What a family says of its own training: numbers to log, and warnings that say what to change."""

    metrics: Mapping[str, float | list[float]] = field(default_factory=dict)
    warnings: Sequence[str] = ()


class Family(nn.Module, ABC):
    """A family of generative models. Concrete families are final.

    The constructor draws initial weights from torch's global state, so call it under
    `Rng.forked()`; nothing else in a family may touch that state, files, devices or the network.
    """

    name: ClassVar[str]
    summary: ClassVar[str]  # one line, for listings
    Spec: ClassVar[type[BaseSpec]]
    capabilities: frozenset[type]  # of the class; an instance may narrow it, when its options take one away
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    takes_context: bool = False  # whether it can start from the pictures that data with a context come with
    part_names: ClassVar[tuple[str, ...]] = ()  # names of the parts that it can have
    data_part: ClassVar[str | None] = None  # the part as whose data the training data are to be prepared
    compiled_networks: ClassVar[tuple[str, ...]] = ()  # that a draw calls again and again, so that compiling pays
    deployed_part: ClassVar[str | None] = None  # the part that `deployed` is a model like, if it only adapts one
    shardable: bool = True  # False, also of an instance, where a loss differentiates a gradient: sharding cannot

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
        self._wrapped: dict[str, Any] = {}  # a plain dict: wrappers are no submodules, no state

    @abstractmethod
    def players(self) -> Mapping[str, Player]:
        """Who moves: every trainable parameter is in exactly one player."""

    @abstractmethod
    def networks(self) -> Mapping[str, nn.Module]:
        """What a trainer may compile, replicate or shard. Called only through `network(name)`."""

    @abstractmethod
    def steps(self, batch: Batch, rng: Noise, at: Progress) -> Iterator[Step]:
        """The moves of one training step; draws noise at `batch.address` only."""

    def health(self, batch: Batch, rng: Noise) -> Health:
        """Diagnose on held-out records, without gradients; warn only where `TELLING` of them or more tell.

        The default has nothing to say.
        """
        return Health()

    @property
    def conditional(self) -> bool:
        """Whether it reads classes, attributes and words; by default what its Spec says."""
        return bool(getattr(self.spec, "conditional", False))

    @property
    def device(self) -> torch.device:
        """Where it computes: the device of its parameters."""
        return next(self.parameters()).device

    @property
    def drawn_shape(self) -> tuple[int, ...]:
        """The shape of what its networks draw: that of records, or of latents that are decoded afterwards."""
        return self.data.shape

    @property
    def needs_context(self) -> bool:
        """Whether every record starts from a picture: its data come with some, and it has learned no other way."""
        return self.data.context_shape is not None and not getattr(self.spec, "context_dropout", 0.0)

    @property
    def knows_no_condition(self) -> bool:
        """Whether it has also learned without conditions, so that guidance can lead away from none."""
        return bool(getattr(self.spec, "condition_dropout", 0.0) > 0)

    def network(self, name: str) -> Any:
        """The network, or what the trainer has wrapped it in."""
        wrapped = self._wrapped.get(name)
        return self.networks()[name] if wrapped is None else wrapped

    def own_parameters(self) -> list[nn.Parameter]:
        """All of its parameters but those of its parts."""
        return [p for name, p in self.named_parameters() if not name.startswith("parts.")]

    def owns(self, name: str) -> bool:
        """Whether the entry `name` of its `state_dict` is stored with it: not that of a part, which is by itself."""
        return not name.startswith("parts.")

    def deployed(self) -> Family:
        """The model that a loaded artifact is: this one, unless it only serves to make another."""
        return self

    def wrap(self, name: str, wrapped: Any) -> None:
        """Let `network(name)` return `wrapped` from now on (None restores the plain one)."""
        self._wrapped[name] = wrapped

    def __setstate__(self, state: Any) -> None:
        raise TypeError("families are not pickled; save an artifact instead")


def require(family: Any, capability: type[C], verb: str) -> C:
    """`family`, which a type checker then knows to have `capability`.

    Raises `CapabilityError` that names the families that have it, where this one does not declare it.
    """
    if capability in family.capabilities:
        return cast(C, family)
    have = registry.having(capability)
    raise CapabilityError(
        f"cannot {verb} with a {family.name!r} model: that needs the capability {capability.__name__};"
        f" families that have it: {', '.join(have) or 'none that is installed'}."
    )


def resolve_preset(family: type[Family], preset: str | None) -> Mapping[str, Any]:
    """The options of a named preset of `family`; none for None."""
    if preset is None:
        return {}
    if preset not in family.presets:
        raise SpecError(unknown(f"preset of {family.name}", preset, family.presets))
    return family.presets[preset]
