"""The quickstart, whole but short: it trains, judges, and writes a page that needs nothing else."""

import html
import re
import shlex

import pytest

import morphogen as mg
from morphogen.cli.main import run
from morphogen.quickstart import CHAPTERS, next_commands, quickstart
from morphogen.quickstart.chapter import Training

STEPS = 150  # of each model, about what a budget of 20 seconds has time for


@pytest.fixture
def as_fast_as_any(monkeypatch):
    """Steps in place of seconds, so that the result does not depend on how busy the machine is."""
    recipe = Training.recipe

    def counted(self, allowed):
        return {name: value for name, value in recipe(self, allowed).items() if name != "budget"} | {"steps": STEPS}

    monkeypatch.setattr(Training, "recipe", counted)


def test_quickstart_writes_a_self_contained_report(tmp_path, as_fast_as_any):
    out = tmp_path / "first"
    events = list(quickstart(out, "20s"))
    assert events[-1].step == STEPS
    page = (out / "report.html").read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="(?!data:)', page), "the page refers to something outside of it"
    assert page.count("data:image/png") >= 20 and page.count("data:image/gif") == 2
    for said in (
        "nll",
        "bits_per_dim",
        "pixel marginals",
        "95% interval",
        "log-SNR",
        "The differences",
        "FD-",
        "drawn as told",
    ):
        assert said in page
    for chapter in CHAPTERS:
        kept = {e["name"].split("-")[0] for e in mg.describe(out / chapter.judged)["evaluations"]}
        if not chapter.compared:
            assert "aligned" in kept
            continue
        assert (f"bits per pixel, {chapter.title}" in page) == ("bits_per_dim" in kept) == chapter.likelihood
        assert f"FD, {chapter.title}" in page
        assert {"FD", "coverage", "copied", *chapter.measures} <= kept
    nll = next(e["result"] for e in mg.describe(out / "vae")["evaluations"] if e["name"] == "nll")
    assert nll["value"] < min(nll["baselines"].values()), "few steps are enough to beat independent pixels"
    assert nll["n"] == 299
    *of_these, own = next_commands(out)
    assert "PATH/TO/YOUR" in own
    for command in of_these:
        assert html.escape(command) in page
        _, *words = shlex.split(command)
        *_, made = words
        assert run([*words[:-1], str(tmp_path / made)]) == 0 and (tmp_path / made).exists()
    with pytest.raises(mg.UsageError, match="not an empty folder"):
        list(quickstart(out, "20s"))


def test_training_has_all_its_steps_where_there_is_time_for_them_and_fits_where_there_is_not():
    trainings = [one for chapter in CHAPTERS for one in chapter.trainings]
    assert len({one.name for one in trainings}) == len(trainings)
    assert sum(one.share for one in trainings) <= 0.8, "the rest judges and draws"
    for one in trainings:
        recipe = one.recipe(20.0)
        assert recipe["steps"] == one.steps and recipe["budget"] == pytest.approx(20.0 * one.share)


@pytest.mark.parametrize("budget", ["5s", "0", "soon"])
def test_impossible_budgets_are_refused(tmp_path, budget):
    with pytest.raises(mg.MorphogenError, match=r"budget|duration|seconds"):
        list(quickstart(tmp_path / "q", budget))
    assert not (tmp_path / "q").exists()
