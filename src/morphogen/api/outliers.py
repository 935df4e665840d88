"""`OutlierDetector`: detection with the interface of scikit-learn's outlier detectors.

    from morphogen.api.outliers import OutlierDetector

    detector = OutlierDetector(alpha=0.05).fit(X_normal)
    detector.predict(X)      # -1 for outliers, 1 for inliers
    detector.p_values(X)     # conformal p-values

It is apart from `morphogen.api` because importing scikit-learn takes a second.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
from typing import Any, Self, final

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from morphogen.api.fitting import train
from morphogen.applications.anomalies import detectors
from morphogen.applications.anomalies.detector import Detector
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import MorphogenWarning
from morphogen.core.rng import Rng
from morphogen.data import Records
from morphogen.theory.statistics import conformal
from morphogen.theory.statistics.surprise import FEWEST


@final
class OutlierDetector(OutlierMixin, BaseEstimator):
    """Scores of normal rows, and a threshold that conformal p-values give.

    A part of the rows calibrates the threshold; the others are what the score learns from, and what a model is trained
    on, if there is one.

    Args:
        score_name: the `score` of `mg.detect`.
        family: the family of a model to train on the rows; None: scores that need no model.
        options: options of the model.
        steps: how long it is trained.
        alpha: the rate of outliers among normal rows.
        calibration: the share of the rows that calibrates.
        random_state: a whole number, where all randomness starts.

    Attributes:
        offset_: `decision_function` is `score_samples` less this; rows below 0 are outliers.
        calibration_: (n,) the scores of the calibration rows, larger for the more anomalous.
        n_features_in_: the number of columns.

    Example:
        >>> X = np.random.default_rng(0).normal(size=(300, 4))
        >>> OutlierDetector().fit(X).predict(X + 10.0).max()
        -1
    """

    def __init__(
        self,
        score_name: str = detectors.DEFAULT,
        family: str | None = None,
        options: Mapping[str, Any] | None = None,
        steps: int = 1000,
        alpha: float = 0.05,
        calibration: float = 0.3,
        random_state: int = 0,
    ) -> None:
        self.score_name, self.family, self.options, self.steps = score_name, family, options, steps
        self.alpha, self.calibration, self.random_state = alpha, calibration, random_state

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Learn what is normal from rows (n, d) of numbers.

        Args:
            X: normal rows.
            y: not used.

        Returns:
            The detector itself.
        """
        rows = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        order = Rng(self.random_state).permutation("rows", 0, len(rows)).numpy()
        held = max(1, round(self.calibration * len(rows)))
        learned, calibration = rows[order[held:]], rows[order[:held]]
        self._low, ranges = learned.min(0), np.ptp(learned, 0)
        self._range = np.where(ranges > 0.0, ranges, 1.0)
        self._spec = DataSpec(name="X", shape=(rows.shape[1],), kind="continuous", shift=0.5, scale=0.5)
        self._detector = self._made(self._scaled(learned))
        self.calibration_ = self._scores(calibration, "calibration")
        at = conformal.level(held, self.alpha)
        if not at:
            warnings.warn(
                f"{held} calibration rows do not resolve alpha = {self.alpha:g}: the rate of outliers is"
                f" {1.0 / (held + 1):.2g}; give more rows.",
                MorphogenWarning,
                stacklevel=2,
            )
        allowed = max(1, round(at * (held + 1)))  # p <= at where fewer calibration scores are as high
        largest = np.sort(self.calibration_)[::-1]
        self.offset_ = -float(largest[min(allowed, held) - 1])
        return self

    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """(m,) of rows (m, d): lower is more anomalous."""
        return -self._scores(self._checked(X), "judged")

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """(m,) `score_samples` less `offset_`: below 0 for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: ArrayLike) -> np.ndarray:
        """(m,) -1 for outliers, 1 for inliers."""
        return np.where(self.decision_function(X) < 0.0, -1, 1)

    def p_values(self, X: ArrayLike) -> np.ndarray:
        """(m,) conformal p-values of rows (m, d)."""
        scores = torch.from_numpy(self._scores(self._checked(X), "judged"))
        return conformal.p_values(torch.from_numpy(self.calibration_), scores).numpy()

    def _checked(self, X: ArrayLike) -> np.ndarray:
        check_is_fitted(self)
        found: np.ndarray = validate_data(self, X, dtype=np.float64, reset=False)
        return found

    def _made(self, learned: np.ndarray) -> Detector:
        """The detector, fitted; a model is trained in a folder that does not stay."""
        if self.family is None:
            few = self.score_name == detectors.DEFAULT and len(learned) < FEWEST
            name = detectors.ROWS[0] if few else self.score_name  # one score needs no common scale
            found = detectors.detector(name, self._spec, None, self.random_state)
            found.fit(self._records(learned))
            return found
        with tempfile.TemporaryDirectory() as folder:
            recipe = {"steps": self.steps, "seed": self.random_state}
            model = train(
                self.family,
                {"train_x": learned.astype(np.float32)},
                f"{folder}/model",
                options=dict(self.options or {}),
                recipe=recipe,
                progress=False,
            )
        self._spec = model.data
        found = detectors.detector(self.score_name, self._spec, model.module, self.random_state)
        found.fit(self._records(learned))
        return found

    def _scaled(self, rows: np.ndarray) -> np.ndarray:
        scaled: np.ndarray = (rows - self._low) / self._range
        return scaled

    def _records(self, rows: np.ndarray) -> Records:
        return Records(self._spec, torch.from_numpy(rows).float(), torch.arange(len(rows)))

    def _scores(self, rows: np.ndarray, purpose: str) -> np.ndarray:
        found: np.ndarray = self._detector.score(
            self._records(self._scaled(rows)), Rng(self.random_state).child(purpose)
        ).numpy()
        return found
