"""The quickstart, whole but short: it trains, judges, and writes a page that needs nothing else."""

import re

import pytest

import morphogen as mg


def test_quickstart_writes_a_self_contained_report(tmp_path):
    out = tmp_path / "first"
    events = list(mg.quickstart(out, "20s"))
    assert events[-1].step > 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="(?!data:)', page), "the page refers to something outside of it"
    assert page.count("data:image/png") >= 8
    for said in ("nll", "bits_per_dim", "pixel marginals", "95% interval", "morphogen sample"):
        assert said in page
    nll = next(e["result"] for e in mg.show(out / "digits")["evaluations"] if e["name"] == "nll")
    assert nll["value"] < min(nll["baselines"].values()), "a few seconds are enough to beat independent pixels"
    assert nll["n"] == 299
    with pytest.raises(mg.UsageError, match="not empty"):
        list(mg.quickstart(out, "20s"))


@pytest.mark.parametrize("budget", ["5s", "0", "soon"])
def test_impossible_budgets_are_refused(tmp_path, budget):
    with pytest.raises(mg.MorphogenError, match=r"budget|duration|seconds"):
        list(mg.quickstart(tmp_path / "q", budget))
    assert not (tmp_path / "q").exists()
