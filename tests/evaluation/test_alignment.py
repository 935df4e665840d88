"""Alignment: shares with their intervals, prompts and baselines, the judges, and what is found of whole sets."""

from __future__ import annotations

import dataclasses
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from morphogen import api
from morphogen.core.data_spec import Attribute
from morphogen.core.errors import CapabilityError, DataError, UsageError
from morphogen.core.rng import Rng
from morphogen.data import Dataset, Records, load
from morphogen.data.shapes import COLORS, draw, scenes
from morphogen.evaluation.alignment.aligned_emoji import Discriminant, EmojiJudge
from morphogen.evaluation.alignment.aligned_shapes import ShapesJudge
from morphogen.evaluation.alignment.alignment import NEAREST_TRAINING_CAPTION, SHUFFLED, AlignmentTask, copies, splits
from morphogen.evaluation.alignment.prompts import chosen, deranged, matched, nearest
from morphogen.evaluation.features.trunk import words_of
from morphogen.theory.statistics.intervals import binomial_interval
from morphogen.theory.statistics.shares import difference, share

SHAPES = "shapes:size=16,n=1200"


@pytest.fixture(scope="module")
def shapes() -> Dataset:
    return load(SHAPES)


# ------------------------------------------------------------------- shares


def test_a_share_of_prompts_drawn_once_has_the_exact_interval() -> None:
    holds = torch.tensor([1.0] * 37 + [0.0] * 3)
    assert share(holds, torch.arange(40)) == (37 / 40, binomial_interval(37, 40), 0.0)
    with pytest.raises(DataError, match="at least one picture"):
        share(holds[:0], torch.arange(0))


def test_pictures_of_one_prompt_do_not_count_as_independent() -> None:
    """Where all pictures of a prompt are alike, m prompts 10 times each are worth about m pictures."""
    right = torch.tensor([1.0] * 48 + [0.0] * 12)
    prompt = torch.arange(60)
    once, often = share(right, prompt), share(right.repeat(10), prompt.repeat(10))
    assert once.value == often.value and once.interval is not None and often.interval is not None
    assert abs(np.diff(often.interval) / np.diff(once.interval) - 1.0) < 0.1
    perfect = share(torch.ones(600), prompt.repeat(10))
    assert perfect.interval is not None and perfect.interval[0] < binomial_interval(590, 600)[0]
    assert share(torch.ones(5), torch.zeros(5, dtype=torch.int64)).interval is None


def test_intervals_of_repeated_prompts_cover() -> None:
    """600 sets of 40 prompts, each right with a chance of its own, beta distributed about 0.8, drawn 6 times. Nominal
    95 %; below 92.5 % with a probability under 1 %. Taken as independent they would cover about 80 %."""
    rng = np.random.default_rng(0)
    covered = naive = 0
    prompt = torch.arange(40).repeat(6)
    for _ in range(600):
        chance = rng.beta(1.6, 0.4, 40)
        holds = torch.from_numpy((rng.random((6, 40)) < chance).reshape(-1).astype(np.float32))
        interval = share(holds, prompt).interval
        assert interval is not None
        covered += interval[0] <= 0.8 <= interval[1]
        low, high = binomial_interval(int(holds.sum()), 240)
        naive += low <= 0.8 <= high
    assert covered / 600 >= 0.925 and naive / 600 < 0.9


def test_differences_are_paired_and_stay_within_their_range() -> None:
    """500 pairs of shares, 0.9 and 0.7, that rise and fall together: nominal 95 %; below 92 % with under 0.5 %."""
    rng, covered, paired, apart = np.random.default_rng(1), 0, 0.0, 0.0
    prompt = torch.arange(120)
    for _ in range(500):
        u = rng.random(120)
        a, b = (torch.from_numpy((u < p).astype(np.float32)) for p in (0.9, 0.7))
        found = difference(a, b, prompt).interval
        assert found is not None
        covered += found[0] <= 0.2 <= found[1]
        paired += found[1] - found[0]
        loose = difference(a, b[torch.from_numpy(rng.permutation(120))], prompt).interval
        assert loose is not None
        apart += loose[1] - loose[0]
    assert covered / 500 >= 0.92 and paired < 0.9 * apart
    value, interval, _ = difference(torch.ones(50), torch.zeros(50), torch.arange(50))
    assert value == 1.0 and interval is not None and 0.8 < interval[0] < 1.0 and interval[1] == 1.0


# ------------------------------------------------------------------ prompts


def test_every_caption_has_its_turn_before_any_has_another(shapes: Dataset) -> None:
    records = shapes.split("test")
    n = 2 * len(records) + 5
    prompts = chosen(records, "test", n, Rng(0))
    counts = prompts.rows.bincount(minlength=len(records))
    assert len(prompts) == n and counts.min() == 2 and counts.max() == 3
    assert prompts.captions == [records.captions[i] for i in prompts.rows.tolist()]  # type: ignore[index]
    assert torch.equal(prompts.real(), records.stored[prompts.rows])
    assert chosen(records, "test", 7, Rng(0)).captions == prompts.captions[:7]
    assert chosen(records, "test", 7, Rng(1)).captions != prompts.captions[:7]
    with pytest.raises(DataError, match="no captions"):
        chosen(dataclasses.replace(records, captions=None), "test", 3, Rng(0))


def test_captions_of_others_are_never_ones_own() -> None:
    captions = ["a"] * 5 + ["b"] * 2 + list("cdefg")
    seen = set()
    for seed in range(200):
        partner = deranged(captions, Rng(seed))
        assert partner is not None and sorted(partner.tolist()) == list(range(12))
        assert all(captions[i] != captions[j] for i, j in enumerate(partner.tolist()))
        seen.add(captions[int(partner[0])])
    assert seen == set("bcdefg")
    assert deranged(["a", "a", "b"], Rng(0)) is None


def test_the_nearest_caption_has_the_fewest_edits() -> None:
    def edits(a: list[str], b: list[str]) -> int:
        if not a or not b:
            return len(a) + len(b)
        kept = edits(a[1:], b[1:]) + (a[0] != b[0])
        return min(kept, edits(a[1:], b) + 1, edits(a, b[1:]) + 1)

    draw_ = random.Random(0)
    words = ["red", "green", "blue", "small", "large"]
    some = [" ".join(draw_.choices(words, k=draw_.randint(1, 5))) for _ in range(60)]
    asked = [*some[:15], "red violet", "Small, RED"]
    for caption, at in zip(asked, nearest(asked, some[15:], Rng(0)).tolist(), strict=True):
        distances = [edits(words_of(caption), words_of(other)) for other in some[15:]]
        assert distances[at] == min(distances)
    tied = nearest(["a b"] * 300, ["a c", "x y z", "d b"], Rng(0)).bincount(minlength=3)
    assert tied[1] == 0 and 100 < tied[0] < 200  # a fair coin is outside with a probability under 1e-8


# ------------------------------------------------------------------- shapes


def test_a_known_share_of_wrong_pictures_is_found_statement_by_statement(shapes: Dataset) -> None:
    found = scenes(torch.arange(200), seed=9)
    captions = _captions(found)
    wrong = found.color.clone()
    wrong[:30] = (wrong[:30] + 2) % len(COLORS)
    other = found.shape.clone()
    other[20:70] = (other[20:70] + 1) % 4
    made = draw(dataclasses.replace(found, color=wrong, shape=other), 32)
    made[180:] = 240  # nothing drawn
    judged = {name: float(holds.nanmean()) for name, holds in ShapesJudge()(captions, made).items()}
    assert judged["color"] == pytest.approx(1 - (30 + 20) / 200)
    assert judged["shape"] == pytest.approx(1 - (50 + 20) / 200)
    assert judged["size"] == judged["number"] == pytest.approx(0.9)
    assert judged["everything"] == pytest.approx(1 - (70 + 20) / 200)
    two, there = found.two, torch.arange(200) < 180
    assert judged["relation"] == pytest.approx(float((two & there).sum() / two.sum()))


def _captions(found: Any) -> list[str]:
    from morphogen.data.shapes import captions

    return captions(found)


def test_real_pictures_are_all_right_and_stand_beside_both_baselines(shapes: Dataset) -> None:
    assert splits(shapes) == ["test", "test_withheld"]
    prompts = chosen(shapes.split("test_withheld"), "test_withheld", 150, Rng(0))
    results = AlignmentTask(shapes, prompts, 3).results(prompts.real(), " of nobody", {"guidance": 2.0})
    everything, *rest = results
    assert everything.name == "aligned-everything-test_withheld" and everything.n == 150 and everything.seed == 3
    assert [r.name.split("-")[1] for r in rest] == ["number", "size", "color", "shape", "relation"]
    assert all(r.value == r.floor == 1.0 and r.interval is not None and r.interval[0] > 0.9 for r in results)
    assert everything.baselines[NEAREST_TRAINING_CAPTION] == 0.0, "no training picture has a withheld triple"
    assert everything.baselines[SHUFFLED] < 0.05
    assert everything.details["drawn_with"] == {"guidance": 2.0}
    assert "of nobody" in everything.protocol and "never seen in training" in everything.protocol
    # One of two sizes of a single object; both of two objects, less often. 150 prompts: 0.4 * 1/2 at the very least.
    assert 0.15 < rest[1].baselines[SHUFFLED] < 0.6
    with pytest.raises(UsageError, match="did you mean 'test_withheld'"):
        splits(shapes, ["withheld_test"])


def test_pictures_of_other_prompts_are_as_good_as_shuffled_captions(shapes: Dataset) -> None:
    prompts = chosen(shapes.split("test"), "test", 60, Rng(0))
    shifted = AlignmentTask(shapes, prompts, 0).results(prompts.real().roll(1, 0))
    assert shifted[0].value < 0.2 and shifted[0].floor == 1.0
    below = shifted[0].details["below_real"]
    assert below[0] == pytest.approx(1.0 - shifted[0].value) and below[1][0] > 0.5


def test_only_some_data_have_a_judge() -> None:
    with pytest.raises(DataError, match="shapes and emoji"):
        splits(load("digits"))


# -------------------------------------------------------------------- emoji


class Planted:
    """Features of a picture are its first pixels, those of a caption are planted: a dual encoder that is known."""

    name, sha256, dim, classes = "planted-0000", "0" * 64, 8, ()

    def __init__(self, of_captions: dict[str, torch.Tensor]) -> None:
        self.of_captions = of_captions

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return (x[:, 0, 0, :8] + 1.0) * 127.5

    def text(self, captions: list[str]) -> torch.Tensor:
        return torch.stack([self.of_captions[c] for c in captions])


@pytest.fixture(scope="module")
def planted() -> tuple[Dataset, Planted]:
    """Captions "0" .. "7" are axes of the features; tone is the caption's number modulo 5, and odd ones are male."""
    base = load(SHAPES)
    schema = (
        Attribute(name="tone", values=("light", "medium-light", "medium", "medium-dark", "dark")),
        Attribute(name="gender", values=("female", "male", "mixed")),
    )
    spec = base.spec.replace(source="emoji", attributes=[a.to_dict() for a in schema])

    def records(n: int) -> Records:
        number = torch.arange(n) % 8
        pictures = torch.zeros(n, 3, 16, 16, dtype=torch.uint8)
        pictures[torch.arange(n), 0, 0, number] = 200
        present = torch.ones(n, 2, dtype=torch.bool)
        present[number == 7] = False
        attributes = torch.stack((number % 5, number % 2), dim=1).float()
        return dataclasses.replace(
            base.train.select(slice(0, n)),
            spec=spec,
            stored=pictures,
            captions=[str(k) for k in number.tolist()],
            attributes=attributes,
            present=present,
        )

    axes = {str(k): torch.eye(8)[k] for k in range(8)}
    return Dataset(spec, {"train": records(80), "test_combo": records(16)}), Planted(axes)


def test_retrieval_tone_and_gender_are_what_was_planted(planted: tuple[Dataset, Planted]) -> None:
    dataset, network = planted
    judge = EmojiJudge(dataset, "test_combo", network)  # type: ignore[arg-type]
    records = dataset.split("test_combo")
    captions = list(records.captions or [])
    real = judge(captions, records.stored)
    assert all((holds.nan_to_num(1.0) == 1.0).all() for holds in real.values())
    assert int(real["tone"].isnan().sum()) == int(real["gender"].isnan().sum()) == 2, "those of caption 7 are not told"
    made = records.stored.clone()
    made[:4] = records.stored[1:5]  # 0 looks like 1, ..., 3 like 4: other tones, other genders, another caption nearer
    found = judge(captions, made)
    assert found["recall_at_1"][:4].sum() == 0 and found["recall_at_1"][4:].all()
    assert found["tone"].nansum() == found["gender"].nansum() == 14 - 4
    made[0, 0, 0, :8] = torch.tensor([60, 200, 190, 180, 170, 0, 0, 0], dtype=torch.uint8)  # its own is the fifth
    made[1, 0, 0, :8] = torch.tensor([200, 60, 190, 180, 170, 160, 0, 0], dtype=torch.uint8)  # the sixth
    made[2, 0, 0, :8] = 100  # all are as near: ties count against it
    assert judge(captions, made)["recall_at_5"][:3].tolist() == [1.0, 0.0, 0.0]


def test_the_discriminant_is_that_of_equal_gaussians() -> None:
    """Against the rule that is best for known Gaussians: of 4,000 points the two disagree on few."""
    rng = np.random.default_rng(0)
    means, mix = rng.normal(size=(3, 4)), rng.normal(size=(4, 4))
    label = torch.from_numpy(rng.integers(3, size=4000))
    x = torch.from_numpy(means[label.numpy()] + rng.normal(size=(4000, 4)) @ mix)
    inverse = np.linalg.inv(mix.T @ mix)
    away = x.numpy()[:, None] - means
    best = -np.einsum("nki,ij,nkj->nk", away, inverse, away)
    agree = (Discriminant(x, label, 3)(x).numpy() == best.argmax(1)).mean()
    assert agree > 0.97
    with pytest.raises(DataError, match="each of 4 classes"):
        Discriminant(x, label, 4)


@pytest.mark.skipif("MORPHOGEN_DATA" not in os.environ, reason="MORPHOGEN_DATA does not say where emoji are")
def test_real_emoji_are_found_and_captions_of_others_give_chance() -> None:
    dataset = load("emoji:size=32")
    assert splits(dataset) == ["test_combo", "test_concept"]
    records = dataset.split("test_combo")
    prompts = chosen(records, "test_combo", len(records), Rng(0))
    found = {r.name.split("-")[1]: r for r in AlignmentTask(dataset, prompts, 0).results(prompts.real())}
    assert found["recall_at_5"].value > 0.95 and found["tone"].value > 0.9 and found["gender"].value > 0.9
    # Chance is 1/79, 5/79, 1/5 and 1/2; each bound is missed with a probability under 1 %.
    for name, most in {"recall_at_1": 0.08, "recall_at_5": 0.16, "tone": 0.33, "gender": 0.72}.items():
        assert found[name].baselines[SHUFFLED] < most
        assert found[name].baselines[NEAREST_TRAINING_CAPTION] < found[name].value


# --------------------------------------------------- copies, models, samples


def test_planted_copies_are_found_and_shown_beside_their_originals(shapes: Dataset) -> None:
    prompts = chosen(shapes.split("test_withheld"), "test_withheld", 2 * len(shapes.split("test_withheld")), Rng(0))
    task = AlignmentTask(shapes, prompts, 0)
    clean = copies([task], [prompts.real()])
    assert not any(r.details["flagged"] for r in clean.results)
    made = prompts.real().clone()
    made[:60] = shapes.train.stored[:60]
    found = copies([task], [made])
    assert found.drawn.tolist() == list(range(len(prompts) // 2)), "one drawing a prompt"
    assert all(r.details["flagged"] and r.value > 0.15 for r in found.results)
    assert torch.equal(shapes.train.stored[found.twins[:60]], made[:60])
    with pytest.raises(DataError, match="at least 30"):
        copies([AlignmentTask(shapes, chosen(shapes.split("test"), "test", 20, Rng(0)), 0)], [made[:20]])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hardly trained, but it reads and can be guided."""
    out = tmp_path_factory.mktemp("alignment") / "model"
    options = {"backbone": "mlp", "hidden": (32,), "conditional": True}
    recipe = {"compile": "off", "precision": "fp32", "steps": 3}
    list(api.training("diffusion", SHAPES, out, options=options, recipe=recipe))
    return out


def test_a_model_is_asked_and_its_drawings_can_be_judged_again(model: Path, tmp_path: Path) -> None:
    found = api.evaluate_alignment(model, "shapes", n=70, seed=1, steps=2, guidance=2.0)
    assert [r.n for r in found.results if "everything" in r.name] == [70, 70]
    assert all(r.floor == 1.0 for r in found.results if "copied" not in r.name)
    assert found.drawn.x.shape == (140, 3, 16, 16) and found.drawn.x.dtype == np.uint8
    assert found.asked == ("test",) * 70 + ("test_withheld",) * 70
    assert found.compared is not None and found.nearest is not None and len(found.compared) == len(found.nearest.x)
    kept = {e["name"] for e in api.describe(model)["evaluations"]}
    assert {r.name for r in found.results} <= kept

    few = api.evaluate_alignment(model, "shapes", n=5, seed=1, steps=2, guidance=2.0, save=False)
    assert few.captions[:5] == found.captions[:5], "fewer prompts are the first of more"
    assert np.abs(few.drawn.x[:5].astype(int) - found.drawn.x[:5]).max() <= 1
    assert "aligned-copied" in few.left_out and few.nearest is None
    (only,) = {r.data for r in api.evaluate_alignment(model, "shapes", n=5, only=["test"], steps=1, save=False).results}
    assert only.endswith("(test)")

    # Real pictures judged from a file: among them some of no split of prompts.
    data = api.load_data(SHAPES)
    some, train = data.split("test").select(slice(0, 40)), data.train.select(slice(0, 20))
    file = tmp_path / "pictures.npz"
    asked = [*(some.captions or []), *(train.captions or [])]
    np.savez(file, x=torch.cat((some.stored, train.stored)).numpy(), captions=np.array(asked))
    judged = api.evaluate_alignment(None, SHAPES, samples=str(file))
    tests = set(data.split("test").captions or []) | set(data.split("test_withheld").captions or [])
    assert judged.captions == tuple(c for c in asked if c in tests)
    everything = next(r for r in judged.results if r.name == "aligned-everything-test")
    assert everything.value == 1.0 and str(file) in everything.protocol


def test_captions_of_samples_are_matched_with_a_split(shapes: Dataset) -> None:
    records = shapes.split("test")
    captions = list(records.captions or [])
    prompts, places = matched(records, "test", ["no such thing", captions[4], captions[2], captions[4]])
    assert places.tolist() == [1, 2, 3] and prompts.captions == [captions[4], captions[2], captions[4]]
    assert [captions[i] for i in prompts.rows.tolist()] == prompts.captions and prompts.rows[0] == prompts.rows[2]


@pytest.mark.slow
def test_a_curve_has_alignment_and_fidelity_at_each_scale(model: Path) -> None:
    points = api.alignment_curve(model, "shapes", [1.0, 3.0], only=["test"], n=260, seed=0, steps=1)
    assert [p["guidance"] for p in points] == [1.0, 3.0]
    for point in points:
        assert point["alignment"][0]["details"]["drawn_with"] == {"steps": 1, "guidance": point["guidance"]}
        names = [r["name"].split("-")[0] for r in point["fidelity"]]
        assert names == ["FD", "copied"] and all(r["n"] == 260 for r in point["fidelity"])


def test_wrong_calls_are_explained(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give one of them"):
        api.evaluate_alignment(None, "shapes")
    with pytest.raises(UsageError, match="leave out steps"):
        api.evaluate_alignment(None, SHAPES, samples="x.npz", steps=3, guidance=None)
    with pytest.raises(UsageError, match="from 1 to"):
        api.evaluate_alignment(model, "shapes", n=0)
    with pytest.raises(UsageError, match="not sampled with 'truncation'"):
        api.evaluate_alignment(model, "shapes", truncation=0.5)
    np.savez(
        tmp_path / "bare.npz",
        x=np.zeros((30, 16, 16, 3), np.uint8) + np.arange(30, dtype=np.uint8)[:, None, None, None],
    )
    with pytest.raises(DataError, match="no captions"):
        api.evaluate_alignment(None, SHAPES, samples=str(tmp_path / "bare.npz"))
    options = {"backbone": "mlp", "hidden": (16,), "latent_dim": 2}
    list(api.training("vae", SHAPES, tmp_path / "m", options=options, recipe={"compile": "off", "steps": 1}))
    with pytest.raises((UsageError, CapabilityError), match="reads no text"):
        api.evaluate_alignment(tmp_path / "m", "shapes")
