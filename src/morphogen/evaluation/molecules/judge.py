"""Drawn molecules beside held-out ones: every measure with its interval, its floor and its baselines."""

from __future__ import annotations

import time
from collections.abc import Sequence

from morphogen.core.errors import DataError, UsageError, unknown
from morphogen.core.telling import tell, told
from morphogen.evaluation.molecules import chemnet
from morphogen.evaluation.molecules.baselines import BASELINES
from morphogen.evaluation.molecules.measures import MEASURES, Molecules
from morphogen.evaluation.result import Result

OF_BASELINES = 2500  # molecules of each baseline, at most


def judge_molecules(
    made: Sequence[str],
    train: Sequence[str],
    held_out: Sequence[str],
    *,
    seed: int = 0,
    measures: Sequence[str] = tuple(MEASURES),
    baselines: Sequence[str] = tuple(BASELINES),
    data: str = "",
) -> dict[str, Result]:
    """Measure drawn molecules.

    The floor is the same measure of training molecules, as many as there are held-out ones or drawn ones. Baselines are
    of at most 2,500 molecules each, and so is what they say of FCD, which has no bias by the number of molecules.

    Args:
        made: drawn texts, as SMILES.
        train: canonical SMILES of training.
        held_out: canonical SMILES that were never trained on.
        seed: of the baselines.
        measures: their names.
        baselines: the names of the baselines.
        data: what the molecules are compared with, for the results.

    Raises:
        UsageError: an unknown measure or baseline.
        DataError: there is nothing to measure.
    """
    for names, known, what in ((measures, MEASURES, "measure of molecules"), (baselines, BASELINES, "baseline")):
        for name in names:
            if name not in known:
                raise UsageError(unknown(what, name, known))
    if not made or not train or not held_out:
        raise DataError("molecules are judged beside training and held-out ones: give at least one of each.")
    known_smiles, reference = frozenset(train), Molecules(held_out)
    sets = {"made": Molecules(made)}
    step = max(1, len(train) // len(made))
    sets["floor"] = Molecules(list(train)[::step][: len(made)])
    for name in baselines:
        tell(f"baseline {name}")
        sets[name] = Molecules(BASELINES[name](train, min(len(made), OF_BASELINES), seed))
    results = {}
    for name in told(measures):
        better, measure = MEASURES[name]
        start, found, warnings = time.perf_counter(), {}, []
        for which, some in sets.items():
            try:
                found[which] = measure(some, reference, known_smiles if which != "floor" else frozenset())
            except DataError as error:
                if which == "made":
                    raise
                warnings.append(f"{which}: {error}")
        ours = found["made"]
        results[name] = Result(
            name=f"FCD-{chemnet.name()}" if name == "fcd" else name,
            value=ours.value,
            interval=ours.interval,
            unit="",
            n=len(made),
            seed=seed,
            better=better,
            protocol=f"{len(made):,} drawn beside {len(held_out):,} held-out and {len(train):,} training molecules",
            baselines={which: e.value for which, e in found.items() if which not in ("made", "floor")},
            floor=found["floor"].value if "floor" in found else None,
            floor_interval=found["floor"].interval if "floor" in found else None,
            network=chemnet.name() if name == "fcd" else "",
            warnings=tuple(warnings),
            details={"bias": ours.bias, "floor_bias": found["floor"].bias} if ours.bias and "floor" in found else {},
            data=data,
            duration_s=time.perf_counter() - start,
        )
    return results
