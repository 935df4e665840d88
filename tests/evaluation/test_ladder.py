"""A ladder places values between the right rungs, whichever direction is better, and says where a metric is blind."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from scipy.stats import kendalltau

from morphogen.core.errors import DataError
from morphogen.core.rng import Rng
from morphogen.evaluation.context.degradations import Blur, Noise
from morphogen.evaluation.context.ladder import Ladder, Rung, degraded


def track(degradation: Any, values: list[float]) -> list[Rung]:
    return [Rung.of(degradation, s, v) for s, v in zip(degradation.strengths, values, strict=True)]


BLUR, NOISE = Blur((0.25, 0.5, 1.0)), Noise((0.05, 0.1, 0.2))
LADDER = Ladder(metric="FD", n=100, rungs=(*track(BLUR, [1.0, 3.0, 9.0]), *track(NOISE, [2.0, 3.0, 5.0])))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (-5.0, "better than every rung (milder than blur 0.25 px)"),
        (1.0, "level with blur 0.25 px"),
        (1.5, "between blur 0.25 px and noise 0.05"),
        (2.9, "between noise 0.05 and blur 0.5 px"),
        (3.0, "level with blur 0.5 px and 1 more"),
        (3.1, "between noise 0.10 and noise 0.20"),
        (5.1, "between noise 0.20 and blur 1 px"),
        (9.1, "worse than every rung (beyond blur 1 px)"),
    ],
)
def test_a_value_stands_between_its_neighbors_in_harm(value: float, words: str) -> None:
    assert LADDER.place(value) == words


def test_higher_is_better_is_the_mirrored_ladder() -> None:
    mirrored = LADDER.replace(better="higher", rungs=[r.replace(value=-r.value) for r in LADDER.rungs])
    for value in (-5.0, 1.0, 1.5, 2.9, 5.1, 9.1):
        assert mirrored.place(-value) == LADDER.place(value)
    assert mirrored.tau() == LADDER.tau() and mirrored.monotone() == LADDER.monotone()


def test_between_names_rungs_that_enclose_the_value() -> None:
    """On random ladders: nothing lies strictly between the two rungs that are named."""
    for seed in range(30):
        values = Rng(seed).uniform("values", 7).tolist()
        rungs = track(BLUR, sorted(values[:3])) + track(NOISE, sorted(values[3:6]))
        ladder, value = Ladder(metric="FD", n=1, rungs=tuple(rungs)), values[6]
        by_label = {r.label: r.value for r in rungs}
        words = ladder.place(value)
        if words.startswith("between"):
            low, high = (by_label[w] for w in words.removeprefix("between ").split(" and "))
            assert low < value < high
            assert not any(low < v < high for v in by_label.values())
        else:
            assert value < min(by_label.values()) if words.startswith("better") else value > max(by_label.values())


def test_a_degradation_that_the_metric_does_not_see_places_nothing() -> None:
    blind = Ladder(metric="precision", n=1, rungs=(*track(BLUR, [1.0, 3.0, 9.0]), *track(NOISE, [4.0, 3.5, 4.1])))
    assert blind.place(4.05) == "between blur 0.5 px and blur 1 px"
    nothing = Ladder(metric="precision", n=1, rungs=tuple(track(NOISE, [4.0, 4.0, 4.0])))
    assert nothing.place(4.0) == "not placed: precision sees none of these degradations"


def test_tau_is_kendalls() -> None:
    strengths = tuple(float(k) for k in range(8))
    for seed in range(10):
        values = (Rng(seed).uniform("values", 8) * 6).round().tolist()  # with ties
        ladder = Ladder(metric="FD", n=1, rungs=tuple(track(Blur(strengths), values)))
        assert ladder.tau()["blur"] == pytest.approx(kendalltau(strengths, values).statistic, abs=1e-12)
    flat = Ladder(metric="FD", n=1, rungs=tuple(track(BLUR, [2.0, 2.0, 2.0])))
    assert flat.tau() == {"blur": 0.0} and flat.monotone() == {"blur": False}


def test_misses_are_the_neighbors_in_the_wrong_order() -> None:
    ladder = Ladder(metric="FD", n=1, rungs=(*track(BLUR, [1.0, 3.0, 2.0]), *track(NOISE, [1.0, 1.0, 4.0])))
    assert [(a.label, b.label) for a, b in ladder.misses()] == [
        ("blur 0.5 px", "blur 1 px"),
        ("noise 0.05", "noise 0.10"),
    ]
    assert ladder.monotone() == {"blur": False, "noise": True}
    assert LADDER.misses() == []


def test_a_ladder_survives_json() -> None:
    rungs = tuple(r.replace(interval=(r.value - 0.5, r.value + 0.5)) for r in LADDER.rungs)
    ladder = LADDER.replace(rungs=rungs, network="mnist-1a2b", seed=3, fingerprint="f")
    again = Ladder.parse(json.loads(json.dumps(ladder.to_dict())))
    assert again == ladder and again.place(2.9) == ladder.place(2.9)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_only_finite_numbers_have_a_place(value: float) -> None:
    with pytest.raises(DataError, match="finite"):
        LADDER.place(value)
    with pytest.raises(DataError, match="blur 0"):
        Rung.of(BLUR, 0.25, value)


def test_all_degradations_change_the_same_pictures_one_after_the_other() -> None:
    real = Rng(0).integers("real", 40, 256, (1, 6, 6)).to(torch.uint8)
    found = degraded(real, (BLUR, NOISE), Rng(0), n=10)
    seen = [next(found), *found]
    assert [(d.name, s) for d, s, _ in seen] == [(d.name, s) for d in (BLUR, NOISE) for s in d.strengths]
    assert all(len(pictures) == 10 for *_, pictures in seen)
    # A blur takes variance away, and the noise of all strengths is the same.
    rungs = [Rung.of(d, s, -float(pictures.double().var())) for d, s, pictures in seen]
    assert Ladder(metric="variance", n=10, rungs=tuple(rungs)).monotone()["blur"]
    with pytest.raises(DataError, match="cannot draw 41 of 40"):
        next(degraded(real, (BLUR,), Rng(0), n=41))
