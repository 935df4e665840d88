"""The quickstart, whole but short: it draws, trains, judges, and writes a page that needs nothing else."""

import html
import re
import shlex

import pytest

import morphogen as mg
from morphogen.cli.main import run
from morphogen.quickstart import CHAPTERS, judging, next_commands, quickstart
from morphogen.quickstart.chapter import Training, airy
from morphogen.quickstart.clock import JUDGING, Clock
from morphogen.quickstart.doc_links import doc_links

LONGER = {"vae": 100}  # steps, enough to beat independent pixels
STEPS = 3  # of each other model


@pytest.fixture
def as_fast_as_any(monkeypatch):
    """Steps in place of seconds, so that the result does not depend on how busy the machine is."""
    recipe = Training.recipe

    def counted(self, budget):
        steps = LONGER.get(self.name, STEPS)
        return {name: value for name, value in recipe(self, budget).items() if name != "budget"} | {"steps": steps}

    monkeypatch.setattr(Training, "recipe", counted)
    monkeypatch.setattr(judging, "PORTRAITS_DRAWN", 260)
    monkeypatch.setattr(judging, "IMPORTANCE_SAMPLES", 20)


@pytest.mark.timeout(900)  # the machine may be busy
@pytest.mark.slow
def test_quickstart_writes_a_self_contained_report(tmp_path, as_fast_as_any):
    out = tmp_path / "first"
    labels, pages = [], []
    for moment in quickstart(out, "10min"):
        if moment.label not in labels:
            labels.append(moment.label)
            pages.append((out / "report.html").read_text(encoding="utf-8") if labels[1:] else "")
    trainings = [one for chapter in CHAPTERS for one in chapter.trainings]
    assert [label for label in labels if label in {one.label for one in trainings}] == [one.label for one in trainings]
    assert labels[0].startswith("drawing with models of the package") and "judging portraits" in labels
    assert "Training goes on" in pages[1] and 'http-equiv="refresh"' in pages[1], "the first pictures come at once"
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Training goes on" not in page and "http-equiv" not in page
    links = re.findall(r'(?:src|href)="(?!data:)([^"]*)"', page)
    assert all(link.startswith("#") or (out / link).is_file() for link in links), "the page needs something outside"
    assert page.count("data:image/png") >= 20 and page.count('class="slider"') == 4
    first, _, rest = page.partition("<section")
    assert not re.search(r">[\d.]+<", first), "the first screen has pictures and sentences, no bare numbers"
    for chapter in CHAPTERS:
        assert chapter.title in first and chapter.sentence in html.unescape(first)
    assert "Time was short" in rest and "model `portraits`" in rest.replace("<code>", "`").replace("</code>", "`")
    folded = "".join(re.findall(r"<details>.*?</details>", page, re.DOTALL))
    for said in ("nll", "bits_per_dim", "pixel marginals", "95% interval", "FD-"):
        assert said in folded
    for chapter in CHAPTERS:
        kept = {e["name"].split("-")[0] for e in mg.describe(out / chapter.of_portraits.name)["evaluations"]}
        assert {"FD", "coverage", "copied"} <= kept
        kept = {e["name"].split("-")[0] for e in mg.describe(out / chapter.of_digits.name)["evaluations"]}
        assert ("bits_per_dim" in kept) == chapter.likelihood
        assert set(chapter.measures) <= kept
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


def test_a_training_has_all_its_steps_where_there_is_time_for_them():
    trainings = [one for chapter in CHAPTERS for one in chapter.trainings]
    assert len({one.name for one in trainings}) == len(trainings)
    assert sum(one.share for one in trainings) == pytest.approx(1.0)
    for one in trainings:
        assert one.enough < one.steps
        recipe = one.recipe(20.0)
        assert recipe["steps"] == one.steps and recipe["budget"] == 20.0


def test_trainings_share_what_time_is_left(monkeypatch):
    now = 100.0
    monkeypatch.setattr("morphogen.quickstart.clock.time.perf_counter", lambda: now)
    clock = Clock(100.0, 100.0, [0.25, 0.25, 0.5])
    free = 100.0 * (1.0 - JUDGING)
    assert clock.next_budget() == pytest.approx(free / 4)
    now += free / 2  # the first took twice its budget
    assert clock.next_budget() == pytest.approx(free / 2 / 3)
    assert clock.next_budget() == pytest.approx(free / 2), "the last gets all that is left"
    now += 1000.0
    assert clock.left_s == 0.0


def test_time_that_is_short_leaves_out_the_judging(tmp_path, monkeypatch):
    import morphogen.quickstart as module

    class Written:
        def judge(self, judged, left_out):
            self.judged, self.left_out = judged, left_out

    now, page = 0.0, Written()
    monkeypatch.setattr("time.perf_counter", lambda: now)

    def slow():
        nonlocal now
        now += 60.0
        return {"of": "digits"}

    monkeypatch.setattr(judging, "tasks", lambda out, chapters: [("judging digits", slow), ("judging portraits", slow)])
    assert len(list(module._judge(tmp_path, CHAPTERS, page, Clock(0.0, 100.0, [1.0])))) == 1
    assert page.judged == [{"of": "digits"}] and page.left_out == ["judging portraits"]


def test_sheets_have_air_between_their_pictures():
    import numpy as np

    sheet = np.asarray(airy(np.zeros((4, 1, 8, 8), np.uint8), columns=2))
    assert (sheet == 255).all(-1).mean() > 0.2
    assert (sheet == 0).all(-1).mean() > 0.5


def test_links_lead_to_pages_that_exist(tmp_path):
    found = doc_links(tmp_path, {"VAEs": "vae", "Nothing": "no-such-page"})
    assert list(found) == ["VAEs"]
    assert (tmp_path / found["VAEs"]).resolve().is_file()


@pytest.mark.parametrize("budget", ["5s", "0", "soon"])
def test_impossible_budgets_are_refused(tmp_path, budget):
    with pytest.raises(mg.MorphogenError, match=r"budget|duration|seconds"):
        list(quickstart(tmp_path / "q", budget))
    assert not (tmp_path / "q").exists()
