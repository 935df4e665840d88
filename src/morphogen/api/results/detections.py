"""The records of a batch, each with its score, its p-value and perhaps an alarm."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
from PIL.Image import Image

from morphogen.api.results.shown import Brief
from morphogen.applications.anomalies.judging import Compared, Realized
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import DataError, UsageError
from morphogen.report.detection_page import Shown, page, sheet_of
from morphogen.report.html import Report, escape
from morphogen.report.saving import json_file, picture_file, write_whole

COLUMNS = ("id", "score", "p_value", "alarm")
FILES = (".csv", ".json", ".html", ".png")


@final
@dataclass(frozen=True, eq=False)
class Detections(Brief):
    """What was detected.

    Attributes:
        ids: (n,) the name of each record, or its number
        scores: (n,) larger is more anomalous
        p_values: (n,) the chance that a normal record scores so high, with the noise of the calibration records in it
        adjusted: (n,) the smallest share of false alarms among all alarms at which the record is among them
        alarms: (n,) bool
        alpha: what is kept: the rate of false alarms, or with `discoveries` their share among all alarms
        score: the name of the score
        calibration: (m,) the scores of the calibration records
        realized: false alarms among further normal records; None where there were too few
        drift: p-value of the test that the batch is drawn as the calibration records are, apart from anomalies
        order: (n,) rows, the most anomalous first
        x: the first records of `order`, in stored units; maps: (k, H, W), which pixels make their score large, or None
        spec: what the records are
        compared: how well each score separates known anomalies
        others: the other scores: name -> (n,) bool alarms
        warnings: what is to be known about them

    Example:
        >>> found = mg.detect(None, "digits", normal="digits:only=3")
        >>> len(found), found.p_values.shape
        (299, (299,))
        >>> found.save("detections.csv")
    """

    ids: Sequence[str] | np.ndarray
    scores: np.ndarray
    p_values: np.ndarray
    adjusted: np.ndarray
    alarms: np.ndarray
    alpha: float
    score: str
    calibration: np.ndarray
    realized: Realized | None
    drift: float | None
    order: np.ndarray
    x: np.ndarray
    maps: np.ndarray | None
    spec: DataSpec
    discoveries: bool = False
    confidence: float | None = None
    compared: tuple[Compared, ...] = ()
    others: Mapping[str, np.ndarray] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.scores)

    def table(self) -> str:
        """id, score, p_value and alarm (0 or 1) of each record, as CSV, in the order of the source."""
        out = io.StringIO()
        rows = csv.writer(out, lineterminator="\n")
        rows.writerow(COLUMNS)
        for i in range(len(self)):
            rows.writerow([self.ids[i], f"{self.scores[i]:.9g}", f"{self.p_values[i]:.6g}", int(self.alarms[i])])
        return out.getvalue()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types: counts and measurements, without the records."""
        checked = self.realized
        return {
            "records": len(self),
            "alarms": int(self.alarms.sum()),
            "alpha": self.alpha,
            "controls": "share of false alarms among alarms" if self.discoveries else "rate of false alarms",
            "confidence": self.confidence,
            "score": self.score,
            "calibration_records": len(self.calibration),
            "realized": None
            if checked is None
            else {
                "alarms": checked.alarms,
                "n": checked.n,
                "rate": checked.rate.value,
                "interval": checked.rate.interval,
                "expected": checked.expected,
            },
            "drift_p_value": self.drift,
            "compared": [_row(one) for one in self.compared],
            "other_scores": {name: int(alarms.sum()) for name, alarms in self.others.items()},
        }

    def image(self) -> Image:
        """The most anomalous pictures, each beside its map. Raises `DataError` for records that are no pictures."""
        if not self.spec.is_picture or not len(self.x):
            raise DataError(f"records of shape {self.spec.shape} are no pictures: save detections.csv or a report.")
        return sheet_of(self._shown())

    def report(self) -> Report:
        """A page: what was found, whether the rate is kept, the most anomalous records."""
        return page(self.to_dict(), self.scores, self.calibration, self._shown(), self.warnings)

    def save(self, path: Path | str) -> Path:
        """Write the table (.csv), the counts (.json), the page (.html), the sheet (.png), or a folder of all of them.

        Args:
            path: the file, or a folder; files of these names are replaced.

        Returns:
            The path.

        Raises:
            UsageError: another suffix, or a file in the way of a folder.
            DataError: a picture is asked for, and the records are no pictures.
        """
        place = Path(path).expanduser()
        if place.suffix in FILES:
            return write_whole(place, self._file(place.suffix))
        if place.suffix or (place.exists() and not place.is_dir()):
            raise UsageError(f"{path}: expected a folder, or a name that ends in {', '.join(FILES)}.")
        for name, suffix in (("detections", ".csv"), ("detections", ".json"), ("report", ".html"), ("sheet", ".png")):
            if suffix != ".png" or (self.spec.is_picture and len(self.x)):
                write_whole(place / f"{name}{suffix}", self._file(suffix))
        return Path(path)

    def _file(self, suffix: str) -> bytes:
        if suffix == ".csv":
            return self.table().encode()
        if suffix == ".json":
            return json_file({**self.to_dict(), "warnings": list(self.warnings)})
        return self.report().html().encode() if suffix == ".html" else picture_file(self.image())

    def _shown(self) -> Shown:
        rows = self.order[: len(self.x)]
        return Shown(
            ids=[str(self.ids[i]) for i in rows],
            p_values=[float(self.p_values[i]) for i in rows],
            alarms=[bool(self.alarms[i]) for i in rows],
            scores=[float(self.scores[i]) for i in rows],
            x=self.x,
            maps=self.maps,
            spec=self.spec,
        )

    def _repr_html_(self) -> str:
        kept = "their share among alarms" if self.discoveries else "the rate of false alarms"
        return (
            f"<p>{int(self.alarms.sum()):,} alarms among {len(self):,} records by {escape(self.score)};"
            f" {kept} is kept at {self.alpha:g}</p>"
        )


def _row(one: Compared) -> dict[str, Any]:
    found = one.separation
    return {
        "score": one.name,
        "baseline": one.is_baseline,
        "auroc": found.auroc.value,
        "interval": found.auroc.interval,
        "aupr": found.aupr,
        "found_at_5_percent": found.found,
        "gain": None if one.gain is None else one.gain.value,
        "gain_interval": None if one.gain is None else one.gain.interval,
        "verdict": one.verdict,
    }
