"""Design of molecules with counted oracle calls, beside searches at equal calls.

    python -m benchmarks.quality.design qed        # the best 100 of 2,000 calls; needs `molecules autoregressive`
    python -m benchmarks.quality.design similar    # 50 molecules to be improved and still be like, 1,000 calls each

`qed`: the mean QED of the best 100 molecules of 2,000 calls, and how unlike each other these are (1 - mean Tanimoto
similarity). The model has not read the stored column `qed`. `screening` asks about random training molecules,
`drawing` about molecules that the model draws, `REINVENT` is tuning as published: without molecules that are trained on
again, and without the memory of scaffolds.

`similar`: logP in 2..3, QED at least 0.8 and a similarity of at least 0.4 to a random held-out molecule that is not so.
`hill climbing` keeps one molecule, the best so far, and edits that.

Needs MORPHOGEN_DATA and the extra `molecules`.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.harness import Json
from benchmarks.page import tables
from benchmarks.page.tables import Result, Seen, at_least
from benchmarks.quality import molecules
from morphogen.applications.design import searching
from morphogen.applications.design.oracle import CountedOracle, Exhausted
from morphogen.applications.design.wants import read_wants
from morphogen.data.molecules.edits import neighbor
from morphogen.data.molecules.properties import compute
from morphogen.data.molecules.similarity import fingerprints, mean_similarities
from morphogen.theory.statistics.intervals import binomial_interval

CALLS, TOP = 2000, 100
FEW, STARTS = 1000, 50
QED, WANTED, LIKE = "qed>=0.948", "logp in 2..3, qed>=0.8", 0.4  # no molecule has a QED above 0.948
PUBLISHED: Json = {"sigma": 60.0, "replayed": 0, "per_scaffold": np.inf}
MODEL = molecules.ROWS["autoregressive"]


# ------------------------------------------------------------------------------------------------- QED


def _asked(search: Callable[[CountedOracle], object], calls: int) -> Json:
    """What the calls of a search have found."""
    oracle, started = CountedOracle(read_wants(QED), calls), time.perf_counter()
    with contextlib.suppress(Exhausted):
        search(oracle)
    best = [answer for answer in oracle.best if not answer.error][:TOP]
    values = np.array([answer.values["qed"] for answer in best])
    alike = mean_similarities(fingerprints([answer.smiles for answer in best]))
    return {
        "calls": oracle.calls,
        "qed": harness.mean_of(values),
        "best": float(values.max()),
        "diversity": 1.0 - float(np.mean(alike)),
        "seconds": round(time.perf_counter() - started, 1),
    }


def of_qed(quick: bool) -> Json:
    """All searches, two seeds each."""
    family: Any = harness.load_family(MODEL.model(quick))
    known, calls = molecules.texts("train"), 200 if quick else CALLS
    if quick:
        return {"searches": {"screening": [_asked(lambda oracle: oracle(_some(known, 0)), calls)]}}

    def drawn(oracle: CountedOracle, seed: int) -> None:
        for step in range(10**6):
            x = family.sample(256, None, searching.Rng(seed).shifted(256 * step))
            oracle(searching.smiles_of(x, family.data))

    def all_of(steps: Any) -> None:
        for _ in steps:
            pass

    tuned: Callable[..., Any] = searching.tune
    ways: dict[str, Callable[..., object]] = {
        "screening": lambda oracle, seed: oracle(_some(known, seed)),
        "drawing": drawn,
        "REINVENT": lambda oracle, seed: all_of(tuned(family, oracle, seed, None, **PUBLISHED)),
        "neighbors": lambda oracle, seed: all_of(searching.edit_neighbors(family, oracle, seed, None)),
        "tuning": lambda oracle, seed: all_of(tuned(family, oracle, seed, None)),
    }
    found: dict[str, list[Json]] = {}
    for name, way in ways.items():
        found[name] = []
        for seed in range(2):
            found[name].append(_asked(partial(way, seed=seed), calls))
            print(name, found[name][-1], flush=True)
    return {"searches": found}


def _some(texts: Sequence[str], seed: int) -> list[str]:
    return [texts[i] for i in np.random.default_rng(seed).permutation(len(texts))]


# --------------------------------------------------------------------------------------------- similarity


def climbed(start: str, calls: int, seed: int) -> bool:
    """Whether one-edit hill climbing from a molecule meets the wants."""
    oracle, rng = CountedOracle(read_wants(WANTED), calls, similar_to=(start, LIKE)), np.random.default_rng(seed)
    here, value = start, oracle([start])[0]
    try:
        for _ in range(20 * calls):
            other = neighbor(here, rng)
            if (score := oracle([other])[0]) >= value:
                here, value = other, score
            if value >= 1.0:
                return True
    except Exhausted:
        pass
    return value >= 1.0


def searched(family: Any, start: str, calls: int, seed: int) -> bool:
    """Whether the search among neighbors from a molecule meets the wants."""
    oracle = CountedOracle(read_wants(WANTED), calls, similar_to=(start, LIKE))
    with contextlib.suppress(Exhausted):
        for _ in searching.edit_neighbors(family, oracle, seed, start):
            if oracle.best[0].score >= 1.0:
                break
    return oracle.best[0].score >= 1.0


def of_similar(quick: bool) -> Json:
    """How many of the starts are solved, by each method."""
    held_out = [text for text in _some(molecules.texts("test"), 0) if len(text) < 90]
    found = compute(["qed", "logp"], held_out[:500])
    is_met = (found[:, 0] >= 0.8) & (found[:, 1] >= 2.0) & (found[:, 1] <= 3.0)
    starts = [text for text, met in zip(held_out, is_met, strict=False) if not met][: 2 if quick else STARTS]
    family, calls = harness.load_family(MODEL.model(quick)), 50 if quick else FEW
    solved: dict[str, list[bool]] = {"neighbors": [], "hill climbing": []}
    for i, start in enumerate(starts):
        solved["neighbors"].append(searched(family, start, calls, i))
        solved["hill climbing"].append(climbed(start, calls, i))
        print(i, {name: f"{sum(said)} of {len(said)}" for name, said in solved.items()}, flush=True)
    shares: Json = {}
    for name, said in solved.items():
        ends = binomial_interval(sum(said), len(said))
        shares[name] = {"value": sum(said) / len(said), "interval": list(ends), "n": len(said)}
    return {"solved": shares}


def _best(record: Result) -> Seen:
    found = record["searches"]
    means = {name: float(np.mean([one["qed"]["value"] for one in runs])) for name, runs in found.items()}
    said = ", ".join(f"{name} {value:.3f}" for name, value in means.items() if name != "tuning")
    each = [one["qed"]["value"] for one in found["tuning"]]
    return Seen(means["tuning"], (min(each), max(each)), f"{said}; the best 100 of all training molecules have 0.944")


def _diversity(record: Result) -> Seen:
    each = [one["diversity"] for one in record["searches"]["tuning"]]
    return Seen(float(np.mean(each)), (min(each), max(each)))


def _solved(record: Result) -> Seen:
    ours, climbing = record["solved"]["neighbors"], record["solved"]["hill climbing"]
    return Seen(ours["value"], tuple(ours["interval"]), f"one-edit hill climbing {climbing['value']:.2f}")


FIGURES = (
    tables.of("quality.design qed", "design-qed")(
        "design: mean QED of the best 100 of 2,000 calls", at_least(0.935), _best
    ),
    tables.of("quality.design qed", "design-qed")("internal diversity of these", at_least(0.80), _diversity),
    tables.of("quality.design similar", "design-similar")(
        "design: logP in 2..3, QED >= 0.8, similarity >= 0.4, 1,000 calls: solved of 50 starts", at_least(0.80), _solved
    ),
)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = harness.plain_parser(__doc__)
    found.add_argument("row", choices=["qed", "similar"])
    found.add_argument("--quick", action="store_true", help="few calls, to see that all of it runs")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Search and write."""
    asked = parser().parse_args(arguments)
    made = of_qed(asked.quick) if asked.row == "qed" else of_similar(asked.quick)
    harness.write(harness.path_of(f"design-{asked.row}", asked.quick), {"what": f"design: {asked.row}", **made})


if __name__ == "__main__":
    main()
