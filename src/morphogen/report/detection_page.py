"""The page of a detection: alarms, the rate that was kept, the scores of the batch beside normal ones, the records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL.Image import Image

from morphogen.core.data_spec import DataSpec
from morphogen.report.html import Report
from morphogen.report.overlays import overlays
from morphogen.report.sheets import sheet, to_bytes
from morphogen.report.tables import number, span

COMPARED_HEADERS = ("score", "AUROC", "95% interval", "AUPR", "found at 5% false alarms", "over the best baseline", "")
ROWS = 24  # records in the table
_BINS = 40


@dataclass(frozen=True)
class Shown:
    """The most anomalous records: x (K, *shape) in stored units, maps (K, H, W) or None."""

    ids: Sequence[str]
    scores: Sequence[float]
    p_values: Sequence[float]
    alarms: Sequence[bool]
    x: np.ndarray
    maps: np.ndarray | None
    spec: DataSpec


def sheet_of(shown: Shown) -> Image:
    """The pictures in rows of four, each beside its map if it has one."""
    pixels = to_bytes(shown.x, shown.spec)
    if shown.maps is None:
        return sheet(pixels, columns=min(8, len(pixels)))
    both = overlays(pixels, shown.maps[:, None])  # (K, 2, 3, H, W)
    return sheet(both.reshape(-1, *both.shape[2:]), columns=2 * min(4, len(pixels)))


def page(
    found: Mapping[str, Any], scores: np.ndarray, calibration: np.ndarray, shown: Shown, warnings: Sequence[str]
) -> Report:
    """The report of `Detections`; `found` is its `to_dict`."""
    report = Report("Anomalies", f"{found['records']:,} records, by the score `{found['score']}`.")
    report.headline(f"{found['alarms']:,}", "alarms", f"of {found['records']:,} records")
    report.headline(f"{found['alpha']:g}", f"promised {found['controls']}", _by(found))
    checked = found["realized"]
    if checked is not None:
        note = f"{checked['alarms']:,} of {checked['n']:,}; 95% interval {_percent(checked['interval'])}"
        report.headline(f"{checked['rate']:.1%}", "realized false alarms", note)
    if warnings:
        report.section("Warnings")
        for warning in warnings:
            report.text(warning)
    report.section("Scores", "The batch beside the normal records that calibrate it. Larger is more anomalous.")
    report.figure(histogram(scores, calibration), "Scores of the batch (blue) and of calibration records (gray).")
    report.text(_promise(found))
    if found["compared"]:
        report.section("Compared", "How well each score separates the known anomalies. Baselines use no model.")
        report.table(COMPARED_HEADERS, compared_rows(found["compared"]))
    elif found["other_scores"]:
        report.section("Other scores", "The alarms that each other score would raise.")
        report.table(("score", "alarms"), list(found["other_scores"].items()))
    report.section("The most anomalous records")
    if shown.spec.is_picture and len(shown.x):
        beside = " Beside each is its map: where its score comes from." if shown.maps is not None else ""
        report.figure(sheet_of(shown), f"The most anomalous first, row by row.{beside}")
    rows = zip(shown.ids, shown.scores, shown.p_values, shown.alarms, strict=True)
    listed = [[f"`{i}`", s, p, "alarm" if a else "–"] for i, s, p, a in list(rows)[:ROWS]]
    return report.table(("record", "score", "p-value", ""), listed)


def compared_rows(compared: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """A row for each score, under `COMPARED_HEADERS`."""
    return [
        [
            one["score"],
            number(one["auroc"], one["interval"]),
            span(one["interval"]),
            number(one["aupr"]),
            f"{one['found_at_5_percent']:.1%}",
            "–" if one["gain"] is None else f"{one['gain']:+.4f} ({span(one['gain_interval'])})",
            one["verdict"],
        ]
        for one in compared
    ]


def histogram(scores: np.ndarray, calibration: np.ndarray) -> Any:
    """Both distributions of scores, each with area 1; the far tail in the last bin."""
    from morphogen.report.canvas import figure  # matplotlib takes a second to import

    both = np.concatenate((scores, calibration))
    low, high = float(both.min()), float(np.quantile(both, 0.995))
    edges = np.linspace(low, high if high > low else low + 1.0, _BINS + 1)
    fig, plot = figure()
    for values, color, label in ((calibration, "0.6", "calibration"), (scores, "tab:blue", "batch")):
        plot.hist(values.clip(edges[0], edges[-1]), edges, density=True, color=color, alpha=0.6, label=label)
    plot.set_xlabel("score")
    plot.legend()
    return fig


def _by(found: Mapping[str, Any]) -> str:
    sure = "" if found["confidence"] is None else f", with confidence {found['confidence']:g}"
    return f"by {found['calibration_records']:,} calibration records{sure}"


def _promise(found: Mapping[str, Any]) -> str:
    drift = found["drift_p_value"]
    said = (
        "A p-value is the chance that a normal record scores so high. It holds for records that are drawn as the"
        " calibration records were, and says nothing about others."
    )
    return said if drift is None else f"{said} The test of drift on this batch has p = {drift:.3g}."


def _percent(interval: Sequence[float]) -> str:
    return f"{interval[0]:.1%} to {interval[1]:.1%}"
