"""From scores to p-values, alarms, and what can be said about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from morphogen.core.errors import UsageError
from morphogen.theory.statistics import conformal, discoveries
from morphogen.theory.statistics.drift import Drift, drift
from morphogen.theory.statistics.intervals import Estimate, binomial_interval
from morphogen.theory.statistics.ranking import Separation, auroc_difference, separation


@dataclass(frozen=True)
class Promise:
    """What alarms are to keep.

    alpha       the rate of false alarms among normal records, or with `discoveries` their share among all alarms
    confidence  the probability, over the draw of the calibration records, that the rate is kept; None: in the mean
    discoveries whether the share among alarms is kept (Benjamini and Hochberg) instead of the rate
    """

    alpha: float = 0.05
    confidence: float | None = None
    discoveries: bool = False

    def __post_init__(self) -> None:
        for name, value in (("alpha", self.alpha), ("confidence", self.confidence)):
            if value is not None and not 0.0 < value < 1.0:
                raise UsageError(f"--{name} is a number between 0 and 1 (got {value:g}).")
        if self.discoveries and self.confidence is not None:
            raise UsageError("--confidence belongs to the rate of false alarms: leave it or --discoveries out.")

    def level(self, n: int) -> float:
        """The level at which a p-value by `n` calibration records raises an alarm. Raises `UsageError` for too few."""
        fewest = conformal.fewest(self.alpha, self.confidence)
        if n < fewest and not self.discoveries:
            sure = "" if self.confidence is None else f" with confidence {self.confidence:g}"
            raise UsageError(
                f"{n} calibration records allow no alarm at alpha = {self.alpha:g}{sure}: that needs at least {fewest};"
                " give more normal records, or a larger --alpha."
            )
        return conformal.level(n, self.alpha, self.confidence)

    def alarms(self, p: Tensor, n: int) -> Tensor:
        """(m,) bool of p-values (m,)."""
        return discoveries.adjusted(p) <= self.alpha if self.discoveries else p <= self.level(n) + 1e-12


@dataclass(frozen=True)
class Realized:
    """Alarms at the promised rate among normal records that were used for nothing else.

    rate        their share, with its exact 95 % interval
    expected    the share of alarms that 95 % of all calibrations of this size would show
    """

    alarms: int
    n: int
    rate: Estimate
    expected: tuple[float, float]

    @property
    def is_kept(self) -> bool:
        """Whether the count is not above what calibrations of this size show."""
        return self.alarms <= round(self.expected[1] * self.n)


def realized(promise: Promise, calibration: Tensor, further: Tensor) -> Realized:
    """Count false alarms among the scores of further normal records."""
    at, m = promise.level(len(calibration)), len(further)
    count = int((conformal.p_values(calibration, further) <= at + 1e-12).sum())
    low, high = conformal.alarm_interval(len(calibration), m, at)
    return Realized(count, m, Estimate(count / m, binomial_interval(count, m)), (low / m, high / m))


@dataclass(frozen=True)
class Judged:
    """The scores of a batch, and what they mean.

    scores, p_values, alarms    (N,)
    drift                       whether the batch differs from the calibration records apart from anomalies
    """

    name: str
    scores: Tensor
    p_values: Tensor
    alarms: Tensor
    drift: Drift


def judge(name: str, promise: Promise, calibration: Tensor, scores: Tensor) -> Judged:
    """Judge the scores of a batch by those of calibration records."""
    p = conformal.p_values(calibration, scores)
    return Judged(name, scores, p, promise.alarms(p, len(calibration)), drift(calibration, scores))


@dataclass(frozen=True)
class Compared:
    """How well a score separates known anomalies.

    gain    its AUROC less that of the best baseline, with its interval; None for baselines
    """

    name: str
    is_baseline: bool
    separation: Separation
    gain: Estimate | None = None

    @property
    def verdict(self) -> str:
        """In words."""
        if self.gain is None or self.gain.interval is None:
            return "baseline" if self.is_baseline else ""
        return "above the best baseline" if self.gain.interval[0] > 0.0 else "no gain over the best baseline"


def compare(scores: Mapping[str, tuple[Tensor, bool]], anomalous: Tensor) -> tuple[Compared, ...]:
    """Each score's separation, the best first; `scores` has (N,) and whether it is a baseline."""
    found = {name: separation(values, anomalous) for name, (values, _) in scores.items()}
    baselines = [name for name, (_, is_baseline) in scores.items() if is_baseline]
    best = max(baselines, key=lambda name: found[name].auroc.value, default=None)
    rows = []
    for name, (values, is_baseline) in scores.items():
        gain = None if best is None or is_baseline else auroc_difference(values, scores[best][0], anomalous)
        rows.append(Compared(name, is_baseline, found[name], gain))
    return tuple(sorted(rows, key=lambda row: -row.separation.auroc.value))
