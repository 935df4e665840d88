"""Trials of each estimator of `morphogen.evaluation` on distributions whose truth is known exactly, in groups."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.validity.mixtures import PAIRS, Mixture, gaussian, mmd
from morphogen.core.rng import Rng
from morphogen.evaluation.metrics.copying import copying
from morphogen.evaluation.metrics.frechet import frechet, frechet_difference
from morphogen.evaluation.metrics.kernel import kid, kid_difference
from morphogen.evaluation.metrics.modes import class_conditional_frechet, modes
from morphogen.evaluation.metrics.tables import Kind, associations, marginals
from morphogen.evaluation.metrics.two_sample import two_sample_test
from morphogen.theory.divergences import frechet_distance
from morphogen.theory.statistics.intervals import Estimate, SquaredDistance
from morphogen.theory.statistics.neighbors import Neighborhoods, neighborhoods

Trial = Callable[[Rng], dict[str, tuple[Estimate, float]]]


class Experiment(NamedTuple):
    """Intervals of one experiment: a trial gives estimates and their truths by name.

    A truth of NaN is the mean over the trials, which adds a thousandth to their variance. `claim` is "within" 93 to
    97 %, "at least" 95 %, or "none" for what an interval does not claim to cover.
    """

    name: str
    trial: Trial
    claim: str = "within"


def distances(n: int = 1000) -> Iterator[Experiment]:
    for name, (p, q) in PAIRS.items():

        def trial(
            rng: Rng,
            p: Mixture = p,
            q: Mixture = q,
            fd: float = float(frechet_distance(*p.moments(), *q.moments())),
            squared: float = mmd(p, q),
        ) -> dict[str, tuple[Estimate, float]]:
            a, b = p.draw(rng, "a", n), q.draw(rng, "b", n)
            return {"frechet": (frechet(a, b), fd), "kid": (kid(a, b), squared)}

        yield Experiment(f"{name}, n = {n}", trial)


def squares() -> Iterator[Experiment]:
    """The interval of a squared distance by itself: x ~ N(m, diag v), T = |x|^2 - sum v, with b, J and Q known."""
    falling = 1.0 / torch.arange(1, 501, dtype=torch.float64)
    for name, v in {"1": torch.ones(1).double(), "50 alike": torch.ones(50).double(), "500 falling": falling}.items():
        pairs = 2.0 * float(v.square().sum())
        for size in (0, 1, 3, 10, 100):
            truth = size * math.sqrt(pairs)

            def trial(
                rng: Rng, v: Tensor = v, pairs: float = pairs, truth: float = truth
            ) -> dict[str, tuple[Estimate, float]]:
                x = v.sqrt() * rng.normal("x", 1, v.shape, dtype=torch.float64)[0]
                x[0] += math.sqrt(truth)
                b, jackknife = float(v.sum()), 4.0 * float((x.square() * v).sum())
                value = float(x.square().sum()) - b
                return {"squared distance": (SquaredDistance(value, b, jackknife, pairs).estimate(), truth)}

            yield Experiment(f"variances {name}, theta = {size} Q^1/2", trial)


def differences(n: int = 1000) -> Iterator[Experiment]:
    p, q = PAIRS["Gaussians apart, D = 32"]
    better = gaussian(32, 1.0, 1.05, 0.15)

    def trial(rng: Rng) -> dict[str, tuple[Estimate, float]]:
        a, b, real = q.draw(rng, "a", n), better.draw(rng, "b", n), p.draw(rng, "real", n)
        fd = [float(frechet_distance(*m.moments(), *p.moments())) for m in (q, better)]
        return {
            "frechet_difference": (frechet_difference(a, b, real), fd[0] - fd[1]),
            "kid_difference": (kid_difference(a, b, real), mmd(q, p) - mmd(better, p)),
        }

    yield Experiment(f"two Gaussians from a third, D = 32, n = {n}", trial)
    laws = {"the real law itself": (p, p), "of another law": (q, p), "mixtures": PAIRS["mixtures apart, D = 16"]}
    for name, (made, truth) in laws.items():

        def equal(rng: Rng, made: Mixture = made, truth: Mixture = truth) -> dict[str, tuple[Estimate, float]]:
            a, b, real = made.draw(rng, "a", n), made.draw(rng, "b", n), truth.draw(rng, "real", n)
            return {
                "frechet_difference": (frechet_difference(a, b, real), 0.0),
                "kid_difference": (kid_difference(a, b, real), 0.0),
            }

        yield Experiment(f"pairs of equal models, {name}, n = {n}", equal)


def neighbors(n: int = 500) -> Iterator[Experiment]:
    p, q = PAIRS["mixtures apart, D = 16"]
    generated, real = p.draw(Rng(1), "fixed a", n), q.draw(Rng(1), "fixed b", n)

    def shares(found: Neighborhoods, *names: str) -> dict[str, tuple[Estimate, float]]:
        return {name: (getattr(found, name), math.nan) for name in names}

    def new_generated(rng: Rng) -> dict[str, tuple[Estimate, float]]:
        return shares(neighborhoods(p.draw(rng, "a", n), real), "precision", "density")

    def new_real(rng: Rng) -> dict[str, tuple[Estimate, float]]:
        return shares(neighborhoods(generated, q.draw(rng, "b", n)), "recall", "coverage")

    def both(rng: Rng) -> dict[str, tuple[Estimate, float]]:
        found = neighborhoods(p.draw(rng, "a", n), q.draw(rng, "b", n))
        return shares(found, "precision", "density", "recall", "coverage")

    yield Experiment(f"generated records new, the real ones fixed, n = {n}", new_generated)
    yield Experiment(f"real records new, the generated ones fixed, n = {n}", new_real)
    yield Experiment(f"both new, n = {n}", both, "none")


def classes(n: int = 1000) -> Iterator[Experiment]:
    real = torch.tensor([0.3, 0.25, 0.15, 0.1, 0.1, 0.05, 0.05]).double()

    def labels(rng: Rng, what: str, shares: Tensor) -> Tensor:
        u = rng.uniform(what, n, dtype=torch.float64)
        return torch.searchsorted(shares.cumsum(0), u).clamp_max(len(shares) - 1)

    for name, made in {"equal": real, "apart": real.flip(0)}.items():

        def trial(rng: Rng, made: Tensor = made) -> dict[str, tuple[Estimate, float]]:
            found = modes(labels(rng, "a", made), labels(rng, "b", real), len(real))
            return {"KL": (found.kl, float((made * (made / real).log()).sum()))}

        yield Experiment(f"class shares, {name}, n = {n}", trial)
    p, q = PAIRS["Gaussians apart, D = 32"]
    within = float(frechet_distance(*p.moments(), *q.moments()))

    def conditional(rng: Rng) -> dict[str, tuple[Estimate, float]]:
        names = torch.arange(n) % 3
        found = class_conditional_frechet(p.draw(rng, "a", n), names, q.draw(rng, "b", n), names)
        return {"mean class-conditional frechet": (found.mean, within)}

    yield Experiment(f"Gaussians apart, 3 classes, D = 32, n = {n}", conditional)


def tests(n: int = 200) -> Iterator[Experiment]:
    """A test covers where it raises no false alarm: its p-value exceeds 0.05 where nothing differs."""
    p = PAIRS["equal mixtures, D = 16"][0]

    def classifier(rng: Rng) -> dict[str, tuple[Estimate, float]]:
        p_value = two_sample_test(p.draw(rng, "a", n), p.draw(rng, "b", n), rng).p_value
        return {"no false alarm of the classifier test": (Estimate(p_value, (0.05, 1.0)), p_value)}

    def copies(rng: Rng) -> dict[str, tuple[Estimate, float]]:
        train, held_out, new = (p.draw(rng, name, n) for name in ("train", "held out", "new"))
        p_value = copying(new, held_out, train).p_value
        half = torch.cat((train[: n // 2], new[: n // 2]))
        return {
            "no false alarm of the copying test": (Estimate(p_value, (0.05, 1.0)), p_value),
            "copied share of a half-copied set": (copying(half, held_out, train).copied, 0.5),
        }

    yield Experiment(f"5 % level, n = {n}", classifier, "at least")
    yield Experiment(f"mixtures, n = {n}", copies, "at least")


def columns(n: int = 1000) -> Iterator[Experiment]:
    """Two numbers of correlation 0.6 against 0.3, one of them shifted, and a category that depends on the first."""
    kinds: tuple[Kind, ...] = ("number", "number", "category")
    shift, rhos = 0.3, (0.6, 0.3)
    ks = math.erf(0.5 * shift / math.sqrt(2.0))  # sup |Phi(t) - Phi(t - s)|, at t = s / 2
    # The correlation ratio of a normal and the sign of one of correlation c with it is c (2 / pi)^1/2; the sign is of
    # column 0 plus noise: c = 1 / 2^1/2 with column 0, in both tables, and rho / 2^1/2 with column 1.
    truth = (rhos[0] - rhos[1]) * (1.0 + math.sqrt(1.0 / math.pi)) / 3.0

    def table(rng: Rng, name: str, rho: float, shift: float) -> Tensor:
        z = rng.normal(name, n, (3,), dtype=torch.float64)
        y = rho * z[:, 0] + math.sqrt(1.0 - rho**2) * z[:, 1]
        return torch.stack((z[:, 0] + shift, y, (z[:, 0] + z[:, 2] > 0).double()), 1)

    def tables(rng: Rng) -> tuple[Tensor, Tensor]:
        return table(rng, "a", rhos[0], 0.0), table(rng, "b", rhos[1], shift)

    def marginal(rng: Rng) -> dict[str, tuple[Estimate, float]]:
        first, second, third = marginals(*tables(rng), kinds)
        return {"shifted column": (first, ks), "equal column": (second, 0.0), "equal category": (third, 0.0)}

    def association(rng: Rng) -> dict[str, tuple[Estimate, float]]:
        return {"mean difference of associations": (associations(*tables(rng), kinds).mean, truth)}

    yield Experiment(f"marginals, n = {n}", marginal, "at least")
    yield Experiment(f"one of three pairs equal, n = {n}", association)


GROUPS: tuple[Callable[[], Iterator[Experiment]], ...] = (
    distances,
    squares,
    differences,
    neighbors,
    classes,
    tests,
    columns,
)
