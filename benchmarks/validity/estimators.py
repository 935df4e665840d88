"""Do the intervals cover? Every estimator of `morphogen.evaluation` on distributions whose truth is known exactly.

    python -m benchmarks.validity.estimators                        # 1,000 trials a row, the times, and the peers
    python -m benchmarks.validity.estimators --trials 100 --only mixtures
    python -m benchmarks.validity.estimators --durations            # only the times
    python -m benchmarks.validity.estimators --peers                # only the same figures by torchmetrics and prdc

Coverage is the share of trials whose 95 % interval holds the truth, with its own exact binomial interval. A row whose
share is not within 93 to 97 % is a miss and says so. Intervals that are exact by an inequality claim `at least` 95 %,
and tests a false-alarm rate of `at most` 5 %. Results go to benchmarks/results/estimators.json.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import Json, path_of, plain_parser, read, recorded, write
from benchmarks.page import tables
from benchmarks.page.tables import Result, Seen
from benchmarks.peers.environments import ensure, run_in, versions
from benchmarks.validity.mixtures import PAIRS, Mixture, gaussian, mmd
from morphogen.core.rng import Rng
from morphogen.evaluation.metrics.copying import copying
from morphogen.evaluation.metrics.frechet import expansion, frechet, frechet_difference
from morphogen.evaluation.metrics.kernel import kid, kid_difference
from morphogen.evaluation.metrics.modes import class_conditional_frechet, modes
from morphogen.evaluation.metrics.tables import Kind, associations, marginals
from morphogen.evaluation.metrics.two_sample import two_sample_test
from morphogen.theory.divergences import frechet_distance
from morphogen.theory.statistics.intervals import Estimate, SquaredDistance, binomial_interval
from morphogen.theory.statistics.neighbors import Neighborhoods, neighborhoods

WITHIN = (0.93, 0.97)


Trial = Callable[[Rng], dict[str, tuple[Estimate, float]]]


class Row(NamedTuple):
    """Intervals of one experiment: a trial gives estimates and their truths by name.

    A truth of NaN is the mean over the trials, which adds a thousandth to their variance. `claim` is "within" 93 to
    97 %, "at least" 95 %, or "none" for what an interval does not claim to cover.
    """

    name: str
    trial: Trial
    claim: str = "within"


def distances(n: int = 1000) -> Iterator[Row]:
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

        yield Row(f"{name}, n = {n}", trial)


def squares() -> Iterator[Row]:
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

            yield Row(f"variances {name}, theta = {size} Q^1/2", trial)


def differences(n: int = 1000) -> Iterator[Row]:
    p, q = PAIRS["Gaussians apart, D = 32"]
    better = gaussian(32, 1.0, 1.05, 0.15)

    def trial(rng: Rng) -> dict[str, tuple[Estimate, float]]:
        a, b, real = q.draw(rng, "a", n), better.draw(rng, "b", n), p.draw(rng, "real", n)
        fd = [float(frechet_distance(*m.moments(), *p.moments())) for m in (q, better)]
        return {
            "frechet_difference": (frechet_difference(a, b, real), fd[0] - fd[1]),
            "kid_difference": (kid_difference(a, b, real), mmd(q, p) - mmd(better, p)),
        }

    yield Row(f"two Gaussians from a third, D = 32, n = {n}", trial)


def neighbors(n: int = 500) -> Iterator[Row]:
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

    yield Row(f"generated records new, the real ones fixed, n = {n}", new_generated)
    yield Row(f"real records new, the generated ones fixed, n = {n}", new_real)
    yield Row(f"both new, n = {n}", both, "none")


def classes(n: int = 1000) -> Iterator[Row]:
    real = torch.tensor([0.3, 0.25, 0.15, 0.1, 0.1, 0.05, 0.05]).double()

    def labels(rng: Rng, what: str, shares: Tensor) -> Tensor:
        u = rng.uniform(what, n, dtype=torch.float64)
        return torch.searchsorted(shares.cumsum(0), u).clamp_max(len(shares) - 1)

    for name, made in {"equal": real, "apart": real.flip(0)}.items():

        def trial(rng: Rng, made: Tensor = made) -> dict[str, tuple[Estimate, float]]:
            found = modes(labels(rng, "a", made), labels(rng, "b", real), len(real))
            return {"KL": (found.kl, float((made * (made / real).log()).sum()))}

        yield Row(f"class shares, {name}, n = {n}", trial)
    p, q = PAIRS["Gaussians apart, D = 32"]
    within = float(frechet_distance(*p.moments(), *q.moments()))

    def conditional(rng: Rng) -> dict[str, tuple[Estimate, float]]:
        names = torch.arange(n) % 3
        found = class_conditional_frechet(p.draw(rng, "a", n), names, q.draw(rng, "b", n), names)
        return {"mean class-conditional frechet": (found.mean, within)}

    yield Row(f"Gaussians apart, 3 classes, D = 32, n = {n}", conditional)


def tests(n: int = 200) -> Iterator[Row]:
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

    yield Row(f"5 % level, n = {n}", classifier, "at least")
    yield Row(f"mixtures, n = {n}", copies, "at least")


def columns(n: int = 1000) -> Iterator[Row]:
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

    yield Row(f"marginals, n = {n}", marginal, "at least")
    yield Row(f"one of three pairs equal, n = {n}", association)


GROUPS: tuple[Callable[[], Iterator[Row]], ...] = (distances, squares, differences, neighbors, classes, tests, columns)


def coverage(row: Row, trials: int) -> Iterator[Json]:
    """How often each interval of a row holds its truth."""
    start = time.perf_counter()
    found = [row.trial(Rng(seed)) for seed in range(trials)]
    seconds = time.perf_counter() - start
    for name, (_, truth) in found[0].items():
        values = torch.tensor([trial[name][0].value for trial in found]).double()
        truth_here = float(values.mean()) if math.isnan(truth) else truth
        moving = name.startswith("no false alarm")  # here the "truth" is the p-value of each trial
        hits = 0
        for trial in found:
            estimate, own = trial[name]
            low, high = estimate.interval or (math.nan, math.nan)
            hits += low <= (own if moving else truth_here) <= high
        share, interval = hits / trials, binomial_interval(hits, trials)
        kept = {"within": WITHIN[0] <= share <= WITHIN[1], "at least": interval[1] >= 0.95, "none": None}[row.claim]
        record: Json = {"estimate": name, "case": row.name, "coverage": share, "interval": interval}
        record |= {"claim": {"within": "93 to 97 %", "at least": "at least 95 %", "none": "none"}[row.claim]}
        record |= {"verdict": {True: "kept", False: "MISS", None: "-"}[kept], "trials": trials}
        if not moving:
            record |= {"truth": truth_here, "mean": float(values.mean()), "deviation": float(values.std())}
        yield record | {"row_duration_s": round(seconds, 1)}


def bias_removal(trials: int, d: int = 96, n: int = 1000) -> Json:
    """Three ways to take the bias off the Frechet distance of two equal, whitened Gaussians (truth 0)."""
    p = gaussian(d)
    found: dict[str, list[float]] = {"none": [], "jackknife": [], "expansion": [], "extrapolation in 1/n": []}
    for seed in range(trials):
        a, b = p.draw(Rng(seed), "a", n), p.draw(Rng(seed), "b", n)
        estimate = frechet(a, b)
        plain = estimate.value + estimate.bias
        halves = [plain_frechet(x, y) for x in a.chunk(2) for y in b.chunk(2)]
        found["none"].append(plain)
        found["jackknife"].append(estimate.value)
        found["expansion"].append(expansion(a, b).value)
        found["extrapolation in 1/n"].append(2.0 * plain - sum(halves) / 4.0)
    rows = {k: {"mean": float(np.mean(v)), "deviation": float(np.std(v, ddof=1))} for k, v in found.items()}
    return {"what": f"frechet of two whitened samples, D = {d}, n = {n}; truth 0", "trials": trials, **rows}


def plain_frechet(a: Tensor, b: Tensor) -> float:
    return float(frechet_distance(a.mean(0), a.T.cov(), b.mean(0), b.T.cov()))


def durations(n: int = 10_000, d: int = 96) -> Json:
    """Seconds of each estimator on two samples of n features, as float32."""
    a, b, c = (gaussian(d, 1.0).draw(Rng(0), name, n).float() for name in "abc")
    names = torch.arange(n) % 10
    calls: dict[str, Callable[[], Any]] = {
        "frechet": lambda: frechet(a, b),
        "kid": lambda: kid(a, b),
        "neighborhoods": lambda: neighborhoods(a, b),
        "two_sample_test": lambda: two_sample_test(a, b, Rng(0)),
        "modes": lambda: modes(names, names, 10),
        "class_conditional_frechet": lambda: class_conditional_frechet(a, names, b, names),
        "copying": lambda: copying(a, b, c),
    }
    found: Json = {"n": n, "dimensions": d, "threads": torch.get_num_threads(), "load": os.getloadavg()[0]}
    for name, call in calls.items():
        start = time.perf_counter()
        call()
        found[name] = round(time.perf_counter() - start, 2)
    found["all"] = round(sum(found[name] for name in calls), 2)
    return found


def against_peers(n: int = 2000) -> Json:
    """Relative differences to torchmetrics (frechet before its correction, kid of one subset of all) and to prdc."""
    found: Json = {"versions": versions(ensure("estimators"), "torchmetrics", "prdc", "torch"), "n": n}
    for name, (p, q) in PAIRS.items():
        a, b = p.draw(Rng(0), "a", n).float(), q.draw(Rng(0), "b", n).float()
        with tempfile.TemporaryDirectory() as folder:
            for file, x in (("a", a), ("b", b)):
                np.save(f"{folder}/{file}.npy", x.numpy())
            theirs = json.loads(run_in("estimators", "benchmarks.peers.prdc", folder))
        fd, shares = frechet(a, b), neighborhoods(a, b)
        ours = {"frechet": fd.value + fd.bias, "kid": kid(a, b).value}
        ours |= {share: getattr(shares, share).value for share in ("precision", "recall", "density", "coverage")}
        found[name] = {
            k: {"ours": v, "theirs": theirs[k], "relative": abs(v - theirs[k]) / max(abs(theirs[k]), 1e-300)}
            for k, v in ours.items()
        }
        worst = max(found[name], key=lambda k: found[name][k]["relative"])
        print(f"peers, {name}: largest relative difference {found[name][worst]['relative']:.1e} ({worst})")
    return found


def covered(only: str, trials: int) -> list[Json]:
    """The coverage of all cases whose name holds `only`, printed."""
    found = []
    for row in (row for group in GROUPS for row in group() if only in row.name):
        for one in coverage(row, trials):
            found.append(one)
            low, high = one["interval"]
            at = f"{one['coverage']:.3f} [{low:.3f}, {high:.3f}]"
            print(f"{one['verdict']:4} {at}  {one['estimate']}: {one['case']}", flush=True)
    return found


# ------------------------------------------------------------------------------- on the results page


def _covers(chosen: Callable[[str], bool]) -> Callable[[Result], Seen]:
    def read(record: Result) -> Seen:
        claimed = [row for row in record["coverage"] if row["claim"] == "93 to 97 %"]
        cases = [row for row in claimed if chosen(row["estimate"])]
        kept = sum(row["verdict"] == "kept" for row in cases)
        shares = [row["coverage"] for row in cases]
        lost = [f"{row['estimate']} {100 * row['coverage']:.1f} %" for row in cases if row["verdict"] != "kept"]
        beside = (
            f"coverage {100 * min(shares):.1f} to {100 * max(shares):.1f} % in {cases[0]['trials']:,} trials a case"
        )
        if lost:
            beside += f"; outside: {', '.join(lost)}"
        return Seen(kept / len(cases), None, beside, text=f"{kept} of {len(cases)} cases")

    return read


_figure = tables.of("validity.estimators", "estimators")
_RATE = tables.at_least(1.0, "93 to 97 %, every case")
FIGURES = tuple(
    _figure(f"95 % intervals of {what} cover the truth at the stated rate", _RATE, _covers(chosen))
    for what, chosen in (
        ("Frechet distances", lambda name: name == "frechet"),
        ("KID", lambda name: name == "kid"),
        ("other estimates that claim it", lambda name: name not in ("frechet", "kid")),
    )
)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = plain_parser(__doc__)
    found.add_argument("--trials", type=int, default=1000)
    found.add_argument("--only", default="", help="only cases whose name holds this; not written to the results")
    found.add_argument("--peers", action="store_true", help="only the comparison with torchmetrics and prdc")
    found.add_argument("--durations", action="store_true", help="only the times; leave the machine alone meanwhile")
    found.add_argument("--out", type=Path, default=path_of("estimators"))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure coverage, bias, durations and the differences to the peers, or some of these."""
    chosen = parser().parse_args(arguments)
    record: Json = read(chosen.out) if chosen.out.exists() else {}
    if not chosen.peers and not chosen.durations:
        found = covered(chosen.only, chosen.trials)
        if chosen.only:
            return
        record |= {"coverage": found, "bias": bias_removal(max(2, chosen.trials // 10))}
        print(json.dumps(record["bias"], indent=2), flush=True)
    if not chosen.peers:
        record["durations"] = durations()
        print(json.dumps(record["durations"], indent=2), flush=True)
    if not chosen.durations:
        record["peers"] = against_peers()
    write(chosen.out, {**record, **recorded(device="cpu")})


if __name__ == "__main__":
    main()
