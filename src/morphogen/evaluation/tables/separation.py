"""The two-sample test of tables: how well a classifier tells made rows from real ones.

The AUC is the chance that a made row gets a higher score than a real one: 1/2 if no difference is found, 1 if all rows
are told apart. Each of 5 folds is scored by classifiers trained on the other four. The value is the mean AUC of the
folds with gradient boosting (100 trees of depth 3, learning rate 0.1, on the cells as they are). Beside it stands
logistic regression on standardized numbers and one-hot categories, which sees only differences of means.

Within a fold, DeLong's estimate gives the variance of the AUC (1988). Folds share their training rows, and each trains
the others' classifiers, so chance differences count up to twice in the variance, as `evaluation/metrics/two_sample.py`
explains. The variance is doubled for that.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import torch

from morphogen.core.errors import DataError
from morphogen.evaluation.tables.encoding import Encoder, Matrix, tree_matrix
from morphogen.evaluation.tables.rows import Rows
from morphogen.theory.statistics import intervals, roc
from morphogen.theory.statistics.intervals import Estimate

FOLDS = 5
MIN_ROWS = 20  # of each kind: 4 a fold


class Separation(NamedTuple):
    """The AUC of gradient boosting and that of logistic regression, each with its 95 % interval."""

    boosting: Estimate
    logistic: Estimate


def separation(made: Rows, real: Rows, seed: int = 0) -> Separation:
    """Tell made rows (N) from real ones (M). Raises `DataError` for fewer than 20 of either."""
    if min(len(made), len(real)) < MIN_ROWS:
        raise DataError(
            f"a classifier cannot be trained and judged on {len(made)} made and {len(real)} real rows: it needs at"
            f" least {MIN_ROWS} of each."
        )
    both = made.joined(real)
    truth = np.repeat([1, 0], [len(made), len(real)])
    fold = np.concatenate([_folds(len(rows), seed + i) for i, rows in enumerate((made, real))])
    cells, categorical = tree_matrix(both, both)
    linear = Encoder(both)(both)
    return Separation(
        _mean_auc(cells, truth, fold, lambda: boosting(categorical)), _mean_auc(linear, truth, fold, logistic)
    )


def _folds(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(np.arange(n) % FOLDS)


def _mean_auc(x: Matrix, truth: np.ndarray, fold: np.ndarray, make: Any) -> Estimate:
    areas, variances = [], []
    for k in range(FOLDS):
        judged = fold == k
        score = fitted(make(), x[~judged], truth[~judged]).predict_proba(x[judged])[:, 1]
        made, real = (torch.from_numpy(score[truth[judged] == kind]) for kind in (1, 0))
        area, variance = roc.auc_and_variance(made, real)
        areas.append(area)
        variances.append(variance)
    found = intervals.normal(float(np.mean(areas)), 2.0 * float(np.sum(variances)) / FOLDS**2)
    assert found.interval is not None
    return Estimate(found.value, (max(0.0, found.interval[0]), min(1.0, found.interval[1])))


def boosting(categorical: list[bool], regression: bool = False) -> Any:
    """Gradient boosting: 100 trees of depth 3."""
    # Scikit-learn takes a second to import, so it is imported only for a test.
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier
    return kind(
        max_iter=100, max_depth=3, early_stopping=False, random_state=0, categorical_features=categorical or None
    )


def logistic() -> Any:
    """Logistic regression with the standard penalty."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=300)


def fitted(model: Any, x: Matrix, y: np.ndarray) -> Any:
    """The fitted model. That a linear model has not fully converged does not matter for a test."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x, y)
