"""The classifier two-sample test: train a classifier to separate the records of two samples.

If both samples come from one distribution, the classifier is right for half of the held-out records by chance. It is
right for more if it has found a difference (Lopez-Paz and Oquab, "Revisiting classifier two-sample tests", 2017).

Usual cross-validation makes the test invalid. Fold 1 trains the classifier for fold 2, and the reverse, so a chance
difference between both folds counts twice: the variance of the accuracy is up to twice the binomial one. Here the
blocks are used in order (Dawid's prequential principle, 1984): a classifier that was trained on blocks 1 .. k-1
classifies block k. Given the past, under the null hypothesis the m records of either sample in a block have the same
distribution. The number of right answers is A + (m - B) with equally distributed A and B ~ Binomial(m, q): its mean is
m, and its variance is at most that of Binomial(2 m, 1/2). So the sum over blocks is compared with Binomial(N, 1/2), and
the test keeps its level at any n.

The exact binomial interval is that of the mean accuracy of these classifiers. Blocks with different accuracies scatter
less than one binomial (Hoeffding, 1956), so the interval covers at least at its rate.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from morphogen.core.errors import DataError
from morphogen.core.rng import Rng
from morphogen.theory.statistics import intervals, roc
from morphogen.theory.statistics.intervals import Estimate

BLOCKS = 5
MIN_RECORDS = 50  # records of either sample, 10 per block
Method = Literal["logistic", "boosting"]


class TwoSample(NamedTuple):
    """The success of a classifier that separates two samples.

    accuracy   the share of right answers on held-out records, 1/2 by chance, with its exact 95 % interval
    p_value    the chance of so many right answers if both samples come from one distribution
    auc        the area under the ROC curve, mean over the held-out blocks
    n          the number of held-out records
    """

    accuracy: Estimate
    p_value: float
    auc: float
    n: int


def two_sample_test(a: Tensor, b: Tensor, rng: Rng, method: Method = "logistic") -> TwoSample:
    """Separate the records a (N, D) from b (N, D) by features or any other numbers.

    `logistic` regression on standardized columns detects only differences of means. `boosting`, 100 trees of depth 3,
    also detects other differences of columns and of groups of up to three columns; use it for tables. `rng` draws the
    blocks. Records must be independent. Remove repeated records: the classifier could learn them in one block and
    recognize them in the next.

    Raises `DataError` for unequal n, because a classifier that always names the larger sample would be right more often
    than half, and for fewer than 50 records of either.
    """
    x, y = intervals.samples(a, b, MIN_RECORDS, f"they are split into {BLOCKS} blocks to train on and judge")
    if len(x) != len(y):
        raise DataError(
            f"the classifier test needs as many records of one sample as of the other; got {len(x)} and {len(y)}:"
            f" take {min(len(x), len(y))} of each."
        )
    parts = zip(_blocks(x, rng, "a"), _blocks(y, rng, "b"), strict=True)
    blocks = [(np.concatenate((p, q)), np.repeat([0, 1], (len(p), len(q)))) for p, q in parts]
    right, count, areas = 0, 0, []
    for k in range(1, BLOCKS):
        past, names = (np.concatenate(values) for values in zip(*blocks[:k], strict=True))
        judged, truth = blocks[k]
        score = _classifier(method).fit(past, names).predict_proba(judged)[:, 1]
        right += int(((score > 0.5) == truth).sum())
        count += len(truth)
        low, high = (torch.from_numpy(score[truth == kind]) for kind in (0, 1))
        areas.append(roc.auc_and_variance(high, low)[0])
    accuracy = Estimate(right / count, intervals.binomial_interval(right, count))
    return TwoSample(accuracy, intervals.binomial_tail(right, count, 0.5), sum(areas) / len(areas), count)


def _blocks(x: Tensor, rng: Rng, name: str) -> list[Any]:
    order = rng.permutation("blocks of " + name, 0, len(x))
    return [x[rows.to(x.device)].cpu().numpy() for rows in order.tensor_split(BLOCKS)]


def _classifier(method: Method) -> Any:
    # Scikit-learn takes a second to import, so it is imported only for a test.
    if method == "boosting":
        from sklearn.ensemble import HistGradientBoostingClassifier

        return HistGradientBoostingClassifier(max_iter=100, max_depth=3, early_stopping=False, random_state=0)
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
