"""`mg.audit` and `morphogen audit`: what is trained, kept and written, and how a refuted claim ends."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import morphogen as mg
from morphogen.api import retraining
from morphogen.cli.main import run
from morphogen.core.privacy import PrivacyGuarantee
from morphogen.safeguards.privacy import controls
from tests.toys import Toys

pytestmark = pytest.mark.filterwarnings("ignore::morphogen.MorphogenWarning")


@pytest.fixture
def model(toy: Toys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy, since an audit is kept in the model's folder; planted copies have tests of their own."""
    monkeypatch.setattr(controls, "ROUNDS", 1)
    return Path(shutil.copytree(toy("mlp"), tmp_path / "model"))


def test_an_audit_with_all_attacks_is_kept_written_and_gone_on_with(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "audit"
    how = {"references": 2, "canaries": 30, "samples": 60, "n": 60, "out": out}
    found = mg.audit(model, "digits", "privacy", **how)  # type: ignore[arg-type]
    names = ["membership-denoising", "membership-ratio", "membership-nearest", "epsilon-bound"]
    assert [result.name for result in found] == names
    assert found.violations == () and not found.left_out
    assert mg.verify(model).family == "diffusion"
    audits = mg.describe(model)["audits"]
    assert [entry["name"] for entry in audits] == names
    assert audits[0]["result"]["value"] == found["membership-denoising"].value
    assert "membership-nearest" in (model / "card.md").read_text()
    written = json.loads((out / "audit.json").read_text())
    assert written["checks"]["privacy"]["canaries"]["guesses"][0]["canaries"] == 30
    page = (out / "report.html").read_text()
    assert "planted copies" in page and "<img" in page
    trained = [out / name for name in ("reference-0", "reference-1", "canaries")]
    before = [(folder / "weights.safetensors").stat().st_mtime_ns for folder in trained]
    assert mg.describe(trained[2])["data"]["splits"]["train"] > mg.describe(model)["data"]["splits"]["train"]
    again = mg.audit(mg.load(model), "digits", "privacy", save=False, **how)  # type: ignore[arg-type]
    assert [(folder / "weights.safetensors").stat().st_mtime_ns for folder in trained] == before
    assert [result.value for result in again] == [result.value for result in found]


def test_the_check_of_memorization_is_that_of_evaluate(model: Path) -> None:
    found = mg.audit(model, "digits", "memorization", samples=150, save=False)
    names = [result.name for result in found]
    assert names[0].startswith("copied-mnist") and names[1:] == ["copied-pixels", "copied-moved", "copied-mixed"]
    assert found["copied-pixels"].value < 0.1 and found.violations == ()
    with pytest.raises(KeyError, match="did you mean 'copied-pixels'"):
        found["copied-pixel"]


def test_wrong_usage_is_refused(model: Path) -> None:
    with pytest.raises(mg.UsageError, match="did you mean 'privacy'"):
        mg.audit(model, "digits", "privcy")
    with pytest.raises(mg.UsageError, match="come in pairs"):
        mg.audit(model, "digits", "privacy", references=3, n=40, samples=40)
    with pytest.raises(mg.UsageError, match="come in pairs"):
        mg.audit(model, "digits", references=1)  # of all checks, too, and before any attack
    with pytest.raises(mg.UsageError, match="at least 20 canaries"):
        mg.audit(model, "digits", canaries=19)
    with pytest.raises(mg.DataError, match="at least 20 of each"):
        mg.audit(model, "digits", "privacy", n=5)


def test_a_refuted_claim_is_an_error_of_the_command_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim of no leak at all, and guesses that are all right."""
    nothing = PrivacyGuarantee(0.0, 1e-5, "record", "PLD")
    monkeypatch.setattr(retraining.PrivacyGuarantee, "stored", lambda provenance: nothing)
    monkeypatch.setattr(
        "morphogen.safeguards.privacy.canaries.guesses", lambda score, coins: (_perfect(len(coins)),) * 3
    )
    out = tmp_path / "audit"
    line = ["audit", str(model), "--data", "digits", "--canaries", "40", "--n", "40", "--samples", "40"]
    assert run([*line, "--only", "privacy", "--out", str(out)]) == 1
    said = capsys.readouterr()
    assert "Error: the claim of epsilon 0 at delta 1e-05 is refuted: 40 of 40 guesses" in said.err
    assert "membership-nearest" in said.out and f"wrote {out}" in said.out
    assert "refuted" in (out / "report.html").read_text()
    assert run([*line, "--out", str(out)]) == 2
    assert "holds an audit" in capsys.readouterr().err


def _perfect(m: int) -> object:
    from morphogen.theory.statistics.one_run import Guesses

    return Guesses(m, m, m)
