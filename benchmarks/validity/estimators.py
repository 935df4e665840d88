"""Do the intervals cover? Every estimator of `morphogen.evaluation` on distributions whose truth is known exactly.

    python -m benchmarks.validity.estimators                        # 1,000 trials a row, and the peers
    python -m benchmarks.validity.estimators --trials 100 --only mixtures
    python -m benchmarks.validity.estimators --peers                # only the same figures by torchmetrics and prdc

Coverage is the share of trials whose 95 % interval holds the truth, with its own exact binomial interval. A row whose
share is not within 93 to 97 % is a miss and says so. Intervals that are exact by an inequality claim `at least` 95 %,
and tests a false-alarm rate of `at most` 5 %. Results go to benchmarks/results/estimators.json.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness import Json, path_of, plain_parser, read, recorded, write
from benchmarks.page import tables
from benchmarks.page.tables import Result, Seen
from benchmarks.peers.environments import ensure, run_in, versions
from benchmarks.validity.mixtures import PAIRS
from benchmarks.validity.trials import GROUPS, Experiment
from morphogen.core.rng import Rng
from morphogen.evaluation.metrics.frechet import frechet
from morphogen.evaluation.metrics.kernel import kid
from morphogen.theory.statistics.intervals import binomial_interval
from morphogen.theory.statistics.neighbors import neighborhoods

WITHIN = (0.93, 0.97)


def coverage(row: Experiment, trials: int) -> Iterator[Json]:
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
    found.add_argument("--out", type=Path, default=path_of("estimators"))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure coverage and the differences to the peers, or one of these."""
    chosen = parser().parse_args(arguments)
    record: Json = read(chosen.out) if chosen.out.exists() else {}
    if not chosen.peers:
        record["coverage"] = covered(chosen.only, chosen.trials)
        if chosen.only:
            return
    write(chosen.out, {**record, "peers": against_peers(), **recorded(device="cpu")})


if __name__ == "__main__":
    main()
