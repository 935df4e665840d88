"""Missing cells filled in: an autoregressive model of ours beside regressions, forests and means, on the same cells.

    python -m benchmarks.quality.imputation heart               # means, regressions and forests
    python -m benchmarks.quality.imputation heart --model runs/tables/heart/0-autoregressive

Of the held-out rows of the first split of `benchmarks.quality.tables`, 20 % of the known cells are removed at random.
The error of a table is the mean over its columns: of numbers the root mean squared error over the standard deviation,
of categories the share of wrong values. Its interval is a bootstrap over rows.

    means        the training rows' mean, or most frequent value
    regressions  scikit-learn's IterativeImputer at its defaults (Bayesian ridge regression in turn), fitted on training
                 rows; categories are one-hot, and the largest column is taken
    forests      as missForest does it (Stekhoven and Buehlmann, 2012): a forest of 100 trees for each column in turn,
                 on training and held-out rows together, until the change grows or after 5 rounds
    ours         the mean of 30 draws of the missing cells given the others, and the most frequent value of a category

The 90 % intervals of ours reach from the 5 % to the 95 % quantile of the draws of a number.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks import harness
from benchmarks.harness import Json, load_family, read
from benchmarks.quality.tables import TASKS, Split
from morphogen.applications.imputation import impute, mean_and_spread
from morphogen.core.rng import Rng
from morphogen.evaluation.tables.rows import Cells, Layout, Rows

REMOVED = 0.2
DRAWS = 30
ROUNDS = 5


def removed(rows: Rows, seed: int) -> Rows:
    """The rows without 20 % of their known cells."""
    gone = np.random.default_rng(seed).random(rows.cells.shape) < REMOVED
    return Rows(np.where(gone, np.nan, rows.cells), rows.layout)


def means(train: Rows, rows: Rows) -> Cells:
    """The mean of a number and the most frequent value of a category."""
    found = rows.cells.copy()
    for c, size in enumerate(rows.layout.sizes):
        known = train.cells[:, c][~np.isnan(train.cells[:, c])]
        fill = 0.0 if not len(known) else np.bincount(known.astype(int)).argmax() if size else known.mean()
        found[np.isnan(found[:, c]), c] = fill
    return found


def regressions(train: Rows, rows: Rows) -> Cells:
    """IterativeImputer on numbers and one-hot categories."""
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = IterativeImputer(random_state=0, keep_empty_features=True).fit(_hot(train))
        filled = model.transform(_hot(rows))
    found, at = rows.cells.copy(), 0
    for c, size in enumerate(rows.layout.sizes):
        part = filled[:, at : at + max(1, size)]
        at += max(1, size)
        gone = np.isnan(found[:, c])
        found[gone, c] = part[gone].argmax(1) if size else part[gone, 0]
    return found


def _hot(rows: Rows) -> Cells:
    parts = []
    for c, size in enumerate(rows.layout.sizes):
        cells = rows.cells[:, c]
        hot = (cells[:, None] == np.arange(size)).astype(float)
        parts.append(np.where(np.isnan(cells)[:, None], np.nan, hot) if size else cells[:, None])
    return np.concatenate(parts, axis=1)


def forests(train: Rows, rows: Rows) -> Cells:
    """A forest for each column in turn, those with the fewest missing cells first."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    both = train.joined(rows)
    gone = np.isnan(both.cells)
    now = means(train, both)
    order = [c for c in np.argsort(gone.sum(0)) if gone[:, c].any() and not gone[:, c].all()]
    change = np.inf
    for _ in range(ROUNDS):
        before = now.copy()
        for c in order:
            kind = RandomForestClassifier if rows.layout.sizes[c] else RandomForestRegressor
            others, known = np.delete(now, c, axis=1), ~gone[:, c]
            forest = kind(100, random_state=0, n_jobs=1).fit(others[known], both.cells[known, c])
            now[~known, c] = forest.predict(others[~known])
        moved = np.abs(now - before)[gone].sum() / max(1e-12, np.abs(now)[gone].sum())
        if moved >= change:
            now = before
            break
        change = moved
    return now[len(train) :]


SIMPLE: dict[str, Callable[[Rows, Rows], Cells]] = {"means": means, "regressions": regressions, "forests": forests}


def ours(model: Path, rows: Rows) -> tuple[Cells, Cells]:
    """The mean of the draws (N, C), and the draws (K, N, C)."""
    family = load_family(model)
    with torch.no_grad():
        drawn = impute(family, torch.from_numpy(rows.cells), DRAWS, Rng(0))
    return mean_and_spread(drawn, family.data.table)[0].numpy(), drawn.numpy()


def error(filled: Cells, truth: Rows, given: Rows, scale: Cells) -> Json:
    """The mean error over columns, with its interval over rows, and each column's."""
    gone = np.isnan(given.cells) & ~np.isnan(truth.cells)
    off = _off(filled, truth.cells, truth.layout, scale)
    rng, n = np.random.default_rng(0), len(off)
    draws = [_mean(off[at], gone[at], truth.layout) for at in (rng.integers(n, size=n) for _ in range(200))]
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return {"value": _mean(off, gone, truth.layout), "interval": [float(low), float(high)], "n": int(gone.sum())}


def _off(filled: Cells, truth: Cells, layout: Layout, scale: Cells) -> Cells:
    """The squared scaled error of numbers, and whether a category is wrong."""
    category = np.array(layout.sizes) > 0
    return np.where(category, filled != truth, ((filled - truth) / scale) ** 2)


def _mean(off: Cells, gone: np.ndarray, layout: Layout) -> float:
    found = []
    for c, size in enumerate(layout.sizes):
        if gone[:, c].any():
            mean = float(off[gone[:, c], c].mean())
            found.append(mean if size else mean**0.5)
    return float(np.mean(found))


def coverage(drawn: Cells, truth: Rows, given: Rows) -> Json:
    """The share of removed numbers within the 90 % intervals of the draws."""
    gone = np.isnan(given.cells) & ~np.isnan(truth.cells)
    gone[:, truth.layout.categories] = False
    low, high = np.quantile(drawn, [0.05, 0.95], axis=0)
    inside = ((truth.cells >= low) & (truth.cells <= high))[gone]
    return harness.mean_of(inside.astype(float))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = harness.plain_parser(__doc__)
    found.add_argument("table", choices=TASKS)
    found.add_argument("--model", type=Path, help="a trained model that completes rows; else the simple ways")
    found.add_argument("--quick", action="store_true", help="few rows, to see that all of it runs")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Remove, fill in, compare and write."""
    asked = parser().parse_args(arguments)
    out = harness.path_of(f"imputation-{asked.table}", asked.quick)
    split = Split(TASKS[asked.table], 0, asked.quick)
    train, truth = split.reference.train, split.reference.held_out
    if asked.quick:
        train, truth = train.take(slice(100)), truth.take(slice(50))
    given = removed(truth, 0)
    deviation = np.nanstd(train.cells, axis=0)
    scale = np.where(deviation > 0.0, deviation, 1.0)
    record: Json = read(out) if out.exists() else {"what": f"missing cells of {asked.table}", "ways": {}}
    if asked.model is not None:
        filled, drawn = ours(asked.model, given)
        record["ways"]["ours"] = {**error(filled, truth, given, scale), "coverage": coverage(drawn, truth, given)}
    else:
        for name, fill in SIMPLE.items():
            record["ways"][name] = error(fill(train, given), truth, given, scale)
    harness.write(out, record)
    for name, found in record["ways"].items():
        harness.say(f"{asked.table}, {name}", found)
        if "coverage" in found:
            harness.say(f"{asked.table}, {name}, coverage of 90 % intervals", found["coverage"])


if __name__ == "__main__":
    main()
