"""Small protocols for the abilities of a family beyond training.

A family declares them in `capabilities`; `check_family` tests that the declaration is true.
All code outside `families` and `api` uses these protocols and never names a family.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from torch import Tensor

from morphogen.core.batch import Batch, RawCondition
from morphogen.core.data_spec import Measure
from morphogen.core.distributions import Distribution, Gaussian
from morphogen.core.privacy import Mechanism
from morphogen.core.rng import Noise


@dataclass(frozen=True)
class Score:
    """The log-likelihood of each record in nats, or a bound of it.

    value      (B,) larger means more likely
    kind       "exact", "lower_bound" (in expectation), or "importance" (a bound that tightens with samples)
    measure    "mass" for a probability mass, "density" for a density of x
    terms      name -> (B,) parts that add up to `value`
    log_weights (B, K) for "importance": log p(x, z_k) - log q(z_k | x)
    """

    value: Tensor
    kind: Literal["exact", "lower_bound", "importance"]
    measure: Measure
    terms: Mapping[str, Tensor] = field(default_factory=dict)
    log_weights: Tensor | None = None


@runtime_checkable
class Samples(Protocol):
    """Draws new records."""

    def sample(self, n: int, cond: RawCondition | None, rng: Noise, **options: Any) -> Tensor:
        """Sample records (n, *shape). Record i depends only on (seed, i, its condition). `options` are the family's."""


@runtime_checkable
class Scores(Protocol):
    """Estimates the likelihood of records."""

    def score(self, x: Tensor, cond: RawCondition | None, rng: Noise, samples: int = 1) -> Score:
        """Score records x (B, *shape). `samples` > 1 takes that many importance samples, in families that have them."""


@runtime_checkable
class Encodes(Protocol):
    """Maps records to latents and back, as distributions."""

    def encode(self, x: Tensor, cond: RawCondition | None = None) -> Distribution:
        """q(z | x)."""

    def decode(self, z: Tensor, cond: RawCondition | None = None) -> Distribution:
        """p(x | z)."""


@runtime_checkable
class Completes(Protocol):
    """Draws the rest of a table's row, given some of its cells."""

    def complete(self, cells: Tensor, given: Tensor, rng: Noise, present: bool = False) -> Tensor:
        """Draw the cells (B, C) that are not `given` (B, C) bool, conditional on those that are.

        Row i depends only on (seed, i, its given cells). `present`: no drawn cell is missing.
        """


@runtime_checkable
class Infills(Protocol):
    """Draws hidden elements of a record, given all others."""

    def infill(
        self,
        x: Tensor,
        hidden: Tensor,
        cond: RawCondition | None,
        rng: Noise,
        *,
        steps: int | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """Records (B, *shape) like x, with the places `hidden` (B, *shape) bool drawn anew and all others kept.

        Record i depends only on (seed, i, its seen places). Of a text the hidden places are before its end.
        """


@runtime_checkable
class Latents(Protocol):
    """Gives the distributions of its latent groups one by one, as a codec needs them.

    Group k is sampled after groups 0 .. k-1; every distribution is factorized.
    """

    @property
    def groups(self) -> int:
        """Number of latent groups."""

    def posterior(self, k: int, x: Tensor, z: list[Tensor], cond: RawCondition | None = None) -> Gaussian:
        """q(z_k | x, z_<k)."""

    def prior(self, k: int, z: list[Tensor], n: int, cond: RawCondition | None = None) -> Distribution:
        """p(z_k | z_<k) for `n` records."""

    def likelihood(self, z: list[Tensor], cond: RawCondition | None = None) -> Distribution:
        """p(x | z)."""


@runtime_checkable
class Conditionals(Protocol):
    """Gives the distribution of each element of a record from the elements before it, of many records in lockstep.

    A record is a sequence of T symbols. Frequencies are integers in float64, each at least 1, of sum 2^24 (what an
    entropy coder reads), and those of one symbol depend on the earlier symbols of the same record and on nothing else.
    """

    @property
    def exact(self) -> bool:
        """Whether the frequencies are the same bits on every machine, in any batch."""

    def symbols(self, stored: Tensor) -> Tensor:
        """Stored values (B, *shape) as symbols in the order of coding, (B, T) int64."""

    def stored(self, symbols: Tensor) -> Tensor:
        """The stored values (B, *shape) that symbols (B, T) stand for."""

    def conditionals(self, n: int) -> Generator[Tensor, Tensor, None]:
        """Yield the frequencies (n, K_t) of symbol t of `n` records, t = 1 .. T; the caller sends the symbols (n,).

        What earlier symbols gave is kept, so that a symbol costs its share of one pass.
        """


@dataclass(frozen=True)
class Coded:
    """Elements of `n` records whose frequencies are known.

    shape    (n, D), how many there are
    own      yields the frequencies (n D, K) of one digit after the other and is sent the digits (n D,): those of the
             posterior of a latent, where the record is known; None where it is not
    prior    the same by what is known without the record; None for the record itself
    """

    shape: tuple[int, int]
    own: Generator[Tensor, Tensor, None] | None
    prior: Generator[Tensor, Tensor, None] | None = None


@runtime_checkable
class LatentFrequencies(Protocol):
    """Gives integer frequencies of its latents, and of a record given them, as bits-back coding needs them.

    Integer forms of models with `Latents` have it, so its frequencies are the same bits on every machine.
    """

    @property
    def latents(self) -> int:
        """The number of latents of a record."""

    def latent_walk(self, n: int, stored: Tensor | None) -> Generator[Coded, list[Tensor], None]:
        """Yield each group of latents of `n` records, and then the records' own elements.

        The caller sends the digits of each, a list of (n D,). `stored` (n, D) are the records' values, in their order,
        where they are known.
        """

    def digits(self, stored: Tensor) -> list[Tensor]:
        """The digits (n D,) of the values (n, D) of records."""

    def values(self, digits: list[Tensor]) -> Tensor:
        """The values (n D,) that digits spell."""


@dataclass(frozen=True)
class CodedIntegers:
    """Integers of pictures whose frequencies are known, as digits.

    digits   yields what is known of one digit after the other, frequencies (T, K) of sum 2^24 and the row (m,) of each
             integer, and is sent the digits (m,)
    known    all these digits, where the pictures are known
    """

    digits: Generator[tuple[Tensor, Tensor], Tensor, None]
    known: list[Tensor] | None


@runtime_checkable
class CodesWithLoss(Protocol):
    """Codes pictures as few integers, from which it makes similar pictures; how similar is a number from 1 to 100.

    Integer forms have it, so integers, frequencies and pictures are the same bits on every machine.
    """

    def code_walk(self, n: int, quality: int, stored: Tensor | None) -> Generator[CodedIntegers, list[Tensor], Tensor]:
        """Yield the integers of `n` pictures, group by group; the caller sends their digits.

        `stored` (n, *shape) are the pictures, where they are known. Returns those that are made of the integers.
        """


@runtime_checkable
class Quantizes(Protocol):
    """Has an integer form: integer weights, exact sums, and so the same bits on every machine."""

    @property
    def exact(self) -> bool:
        """Whether it is an integer form already."""

    def quantized(self, bits: int) -> Any:
        """The integer form, a family like this one, with weights of `bits` bits. Raises `SpecError` if it is one."""

    def sums(self) -> dict[str, int]:
        """For each layer of an integer form the largest sum that can occur in it, in integer units.

        Raises `ArtifactError` unless all are below 2^53.
        """

    def plainly(self, draw: Callable[[int], int]) -> AbstractContextManager[dict[str, int]]:
        """While it is open, each layer is computed again by Python's integers at one place of each record.

        `draw(n)` draws the place, in 0 .. n - 1. It gives how many outputs were compared, by layer. Raises
        `ArithmeticError`, in the code inside, where one differs.
        """


@runtime_checkable
class Denoises(Protocol):
    """Estimates a clean record from a noisy one."""

    def posterior(self, x_t: Tensor, t: Tensor, cond: RawCondition | None = None) -> Gaussian:
        """p(x_0 | x_t) as a mean and a variance."""


@runtime_checkable
class Discriminates(Protocol):
    """Rates how real records look."""

    def realness(self, x: Tensor, cond: RawCondition | None = None) -> Tensor:
        """(B,) logits; larger is more real."""


@runtime_checkable
class Directions(Encodes, Protocol):
    """Names the main directions of its latent space."""

    @property
    def latent_dim(self) -> int:
        """Number of dimensions of the latent space."""

    def directions(self, n: int) -> Tensor:
        """The `n` directions with the largest effect, largest first: unit vectors (n, D)."""


@runtime_checkable
class Releases(Protocol):
    """Is made of a few sums over all records, which are read in the first step and never again.

    What players it has are blind: they learn from what was released.
    """

    @property
    def chooses(self) -> bool:
        """Whether some of what it does is chosen by the records (`Mechanism.choose`)."""

    def release(self, passes: Callable[[], Iterator[Batch]], mechanism: Mechanism) -> None:
        """Learn from all records; each call of `passes` goes over them once. Only `mechanism` gives out what it saw."""


ALL: tuple[type, ...] = (
    Samples,
    Scores,
    Encodes,
    Latents,
    Conditionals,
    LatentFrequencies,
    CodesWithLoss,
    Quantizes,
    Denoises,
    Discriminates,
    Directions,
    Completes,
    Infills,
    Releases,
)
