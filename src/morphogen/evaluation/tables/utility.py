"""Train on synthetic rows, test on real ones (TSTR): do made rows teach a predictor what real rows teach it?

A predictor of the target is trained on made rows and tested on held-out real rows. Beside it stands the same predictor
trained on as many real training rows (train on real, test on real).

    classes  logistic regression and gradient boosting (100 trees of depth 3): AUC, mean over classes against the rest,
             and F1, mean over classes
    numbers  ridge regression and gradient boosting: R2 = 1 - sum (y - f)^2 / sum (y - mean)^2

Linear models read standardized numbers and one-hot categories, trees read the cells as they are. Rows whose target is
missing are left out. The interval is of the test rows, by 200 bootstrap draws.

A good value says nearly nothing: predictors mostly read marginal relations to the target, so tables with independent
columns come close on many data. A bad value says that the rows are of no use for prediction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from morphogen.core.errors import DataError
from morphogen.evaluation.tables.encoding import Encoder, Matrix, tree_matrix
from morphogen.evaluation.tables.rows import Rows
from morphogen.evaluation.tables.separation import boosting, fitted, logistic
from morphogen.theory.statistics import roc
from morphogen.theory.statistics.intervals import Estimate

DRAWS = 200
MIN_ROWS = 10
MOST_CLASSES = 50


class Utility(NamedTuple):
    """What predictors reach on the test rows: `value` is AUC or R2; `f1` is None for numbers.

    scores  (M, K) or (M,) the predictions, for paired comparisons
    """

    value: Estimate
    f1: Estimate | None


def utility(train: Rows, test: Rows, scale: Rows) -> dict[str, Utility]:
    """Train on `train`, made or real, and test on the real rows `test`. `scale` are the real rows that set the scales.

    Returns what "linear" and "boosting" reach. Raises `DataError` without a target, for fewer than 10 rows of either
    with a known target, and for a target that has one value, or more than 50, among the test rows.
    """
    target = train.layout.target
    if target is None:
        raise DataError("training on synthetic rows needs a target column: name it in the schema.")
    train, test = (rows.take(~np.isnan(rows.cells[:, target])) for rows in (train, test))
    if min(len(train), len(test)) < MIN_ROWS:
        raise DataError(
            f"the target is known in {len(train)} of the rows to train on and {len(test)} of the rows to test on: at"
            f" least {MIN_ROWS} of each are needed."
        )
    truth = test.cells[:, target]
    classes = np.unique(truth)
    numeric = not train.layout.sizes[target]
    if len(classes) < 2:
        raise DataError("the target has one value among the test rows, so there is nothing to predict.")
    if not numeric and len(classes) > MOST_CLASSES:
        raise DataError(f"the target has {len(classes)} values; at most {MOST_CLASSES} classes are predicted.")
    encoder = Encoder(scale, without=(target,))
    y = train.cells[:, target]
    trees, categorical = tree_matrix(train.joined(test), scale, without=(target,))
    trees[:, np.isnan(trees[: len(train)]).all(0)] = 0.0  # a column without any value teaches nothing
    linear = encoder(train), encoder(test)
    return {
        "linear": _judged(_ridge if numeric else logistic, *linear, y, truth, numeric),
        "boosting": _judged(
            lambda: boosting(categorical, numeric), trees[: len(train)], trees[len(train) :], y, truth, numeric
        ),
    }


def _ridge() -> Any:
    from sklearn.linear_model import Ridge

    return Ridge(alpha=1.0)


def _judged(
    make: Callable[[], Any], x: Matrix, judged: Matrix, y: np.ndarray, truth: np.ndarray, numeric: bool
) -> Utility:
    if numeric:
        predicted = fitted(make(), x, y).predict(judged)
        return Utility(_bootstrap(lambda at: _r2(truth[at], predicted[at]), len(truth)), None)
    classes = np.unique(truth)
    scores = np.zeros((len(judged), len(classes)))
    known = np.unique(y)
    if len(known) > 1:
        model = fitted(make(), x, y.astype(int))
        found = model.predict_proba(judged)
        for k, name in enumerate(classes):
            if name in model.classes_:
                scores[:, k] = found[:, int(np.flatnonzero(model.classes_ == name)[0])]
        chosen = model.classes_[found.argmax(1)].astype(float)
    else:  # made rows of one class teach nothing
        scores[:, classes == known[0]] = 1.0
        chosen = np.full(len(judged), known[0])
    return Utility(
        _bootstrap(lambda at: _macro_auc(truth[at], scores[at], classes), len(truth)),
        _bootstrap(lambda at: _macro_f1(truth[at], chosen[at], classes), len(truth)),
    )


def _auc(high: np.ndarray, low: np.ndarray) -> float:
    return roc.auc_and_variance(torch.from_numpy(high), torch.from_numpy(low))[0]


def _macro_auc(truth: np.ndarray, scores: np.ndarray, classes: np.ndarray) -> float:
    if len(classes) == 2:
        is_second = truth == classes[1]
        return _auc(scores[is_second, 1], scores[~is_second, 1]) if 0 < is_second.sum() < len(truth) else np.nan
    parts = []
    for k, name in enumerate(classes):
        own = truth == name
        if 0 < own.sum() < len(truth):
            parts.append(_auc(scores[own, k], scores[~own, k]))
    return float(np.mean(parts)) if parts else np.nan


def _macro_f1(truth: np.ndarray, chosen: np.ndarray, classes: np.ndarray) -> float:
    parts = []
    for name in classes:
        hit, right = chosen == name, truth == name
        total = hit.sum() + right.sum()
        if right.any():
            parts.append(2.0 * (hit & right).sum() / total)
    return float(np.mean(parts)) if parts else np.nan


def _r2(truth: np.ndarray, predicted: np.ndarray) -> float:
    total = float(((truth - truth.mean()) ** 2).sum())
    return 1.0 - float(((truth - predicted) ** 2).sum()) / total if total > 0.0 else np.nan


def _bootstrap(statistic: Callable[[np.ndarray], float], n: int) -> Estimate:
    rng = np.random.default_rng(0)
    drawn = [statistic(rng.integers(n, size=n)) for _ in range(DRAWS)]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return Estimate(float(statistic(np.arange(n))), (float(low), float(high)))
