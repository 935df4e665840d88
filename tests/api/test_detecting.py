"""`mg.detect` and its result; the wrapper for scikit-learn."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import morphogen as mg
from morphogen.api.outliers import OutlierDetector
from morphogen.core.errors import DataError, UsageError
from morphogen.data import Dataset
from tests.toys import Toys

pytestmark = pytest.mark.filterwarnings("ignore::morphogen.MorphogenWarning")
OTHERS = "0,1,2,4,5,6,7,8,9"


def test_a_class_against_the_others_without_a_model(tmp_path: Path) -> None:
    found = mg.detect(None, "digits", normal="digits:only=3", known=OTHERS, compare=True, alpha=0.1)
    assert len(found) == 299 and found.compared[0].separation.auroc.value > 0.97
    assert {"gradient energy", "isolation forest"} < {one.name for one in found.compared}
    assert found.alarms.tolist() == (found.p_values <= 0.1).tolist()
    assert found.save(tmp_path / "out") == tmp_path / "out"
    rows = list(csv.reader((tmp_path / "out" / "detections.csv").open()))
    assert rows[0] == ["id", "score", "p_value", "alarm"] and len(rows) == 300
    assert [int(row[3]) for row in rows[1:]] == found.alarms.astype(int).tolist()
    facts = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert facts["alarms"] == int(found.alarms.sum()) and len(facts["compared"]) == len(found.compared)
    assert (tmp_path / "out" / "sheet.png").exists()
    page = (tmp_path / "out" / "report.html").read_text()
    assert "realized" in page or "too few" in page
    assert found.order[0] == found.scores.argmax() and bool((found.adjusted >= found.p_values).all())
    with pytest.raises(UsageError, match="expected a folder"):
        found.save(tmp_path / "found.gif")


def test_a_calibration_split_is_kept_for_detection(tmp_path: Path) -> None:
    model = mg.train("vae", "digits:calibration=0.2", tmp_path / "m", hidden=(16,), latent_dim=4, steps=2)
    assert model.data.splits["calibration"] == 300
    assert set(mg.load_data("digits:calibration=0.2").splits) == {"train", "validation", "test", "calibration"}
    found = model.detect("digits", score="reconstruction", alpha=0.2)
    assert len(found) == 299 and len(found.calibration) == 240 and found.realized is not None
    assert found.realized.n == 60 and found.maps is not None and found.maps.shape[1:] == (8, 8)
    again = mg.detect(tmp_path / "m", "digits", score="reconstruction", alpha=0.2)
    assert np.array_equal(again.scores, found.scores) and np.array_equal(again.p_values, found.p_values)


def test_rows_of_a_table_with_known_anomalies(tmp_path: Path, toy: Toys) -> None:
    rng = np.random.default_rng(0)
    lines = ["a,b,kind,bad"]
    for i in range(400):
        odd = i % 20 == 0
        a, b = rng.normal(size=2) + 5.0 * odd
        lines.append(f"{a:.3f},{b:.3f},{'xy'[rng.integers(2)]},{int(odd)}")
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    normal = f"{tmp_path}/rows.csv:only=bad=0,drop=bad"
    assert sum(mg.load_data(normal).spec.splits.values()) == 380
    found = mg.detect(None, f"{tmp_path}/rows.csv:drop=bad", normal=normal, reference=normal, known="bad=1", alpha=0.1)
    assert len(found) == 40, "the rest of this file is what is learned from"
    assert found.compared[0].separation.auroc.value > 0.99
    with pytest.raises(DataError, match="expected 40 marks"):
        mg.detect(None, f"{tmp_path}/rows.csv:drop=bad", normal=normal, known=np.zeros(3), alpha=0.1)


def test_a_model_of_rows_detects(toy: Toys) -> None:
    model = mg.load(toy("rows"))
    usual = mg.load_data("breast_cancer", None)
    assert isinstance(usual, Dataset)
    found = model.detect("breast_cancer", normal="breast_cancer", split="validation", score="likelihood", alpha=0.2)
    assert len(found) == len(usual.split("validation")) and bool(np.isfinite(found.scores).all())


@pytest.mark.parametrize(
    ("options", "words"),
    (
        ({"alpha": 2.0}, "--alpha"),
        ({"alpha": 0.001}, "needs at least 999"),
        ({"score": "knn"}, "unknown score"),
        ({"known": "ten"}, "unknown class"),
        ({"window": 4}, "give pictures|windows|smaller"),
    ),
)
def test_wrong_requests_say_what_to_do(options: dict[str, Any], words: str) -> None:
    if options.get("window"):
        found = mg.detect(None, "digits", normal="digits:only=3", alpha=0.2, score="nearest pixels", window=4)
        assert len(found) == 299 and found.x.shape[1:] == (1, 8, 8)
        return
    with pytest.raises(UsageError, match=words):
        mg.detect(None, "digits", normal="digits:only=3", **options)


# ------------------------------------------------------------------ scikit-learn


@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_accepts_the_wrapper() -> None:
    assert [c for c in check_estimator(OutlierDetector(), on_fail=None) if c["status"] == "failed"] == []


def test_the_wrapper_keeps_its_rate_and_works_in_a_pipeline() -> None:
    rng = np.random.default_rng(0)
    x, new = rng.normal(size=(1000, 4)), rng.normal(size=(2000, 4))
    pipe = make_pipeline(StandardScaler(), OutlierDetector(alpha=0.1)).fit(x)
    assert 0.05 < (pipe.predict(new) == -1).mean() < 0.16
    assert (pipe.predict(new + 8.0) == -1).all()
    detector = OutlierDetector(alpha=0.1).fit(x)
    assert np.array_equal(detector.predict(new) == -1, detector.p_values(new) <= 0.1)


def test_the_wrapper_trains_a_model() -> None:
    x = np.random.default_rng(0).normal(size=(300, 3))
    options = {"hidden": (8,), "latent_dim": 2}
    detector = OutlierDetector("likelihood", "vae", options, steps=5).fit(x)
    assert (detector.predict(x + 50.0) == -1).all()
