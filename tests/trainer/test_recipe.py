import math

import pytest
import torch

from morphogen.core.errors import SpecError
from morphogen.trainer import Recipe
from morphogen.trainer.optim import factor


@pytest.mark.parametrize(
    "text, expected",
    [("90s", 90), ("10min", 600), ("1h30min", 5400), ("1.5h", 5400), ("2m 5s", 125), ("45", 45), (12.5, 12.5)],
)
def test_durations(text, expected):
    recipe = Recipe.parse({"budget": text})
    assert recipe.budget == expected
    assert Recipe.parse(recipe.to_dict()) == recipe


@pytest.mark.parametrize("budget", ["soon", "10 parsecs", "", "min", "-5s", "0s", 0, -3, "1h30", float("inf"), "nan"])
def test_an_impossible_budget_is_refused(budget):
    with pytest.raises(SpecError, match="budget"):
        Recipe.parse({"budget": budget})


def test_a_length_is_steps_or_epochs_and_a_budget_beside_or_instead():
    with pytest.raises(SpecError, match=r"by steps, epochs or a budget \(got none"):
        Recipe.parse({})
    with pytest.raises(SpecError, match=r"one of steps and epochs, .* \(got both"):
        Recipe.parse({"steps": 5, "epochs": 1})
    for length in ({"steps": 5}, {"epochs": 2.0}, {}):
        assert Recipe.parse({**length, "budget": "1min"}).budget == 60.0


@pytest.mark.parametrize(
    "options, said",
    [
        ({"batch_size": 10, "accumulate": 4}, "not divisible"),
        ({"steps": 0}, "steps"),
        ({"epochs": -1}, "epochs"),
        ({"clip": 0}, "clip"),
        ({"lr_shedule": "linear"}, "did you mean 'lr_schedule'"),
        ({"precision": "fp16"}, "precision"),
    ],
)
def test_impossible_values_are_named(options, said):
    with pytest.raises(SpecError, match=said):
        Recipe.parse({"steps": 5, **options} if "epochs" not in options else options)


def test_the_learning_rate_rises_linearly_and_falls_as_the_schedule_says():
    steps = torch.arange(1000, dtype=torch.float64)
    shapes = {
        "constant": torch.ones(1000, dtype=torch.float64),
        "linear": 1 - steps / 1000,
        "cosine": (1 + torch.cos(math.pi * steps / 1000)) / 2,
    }
    for name, shape in shapes.items():
        recipe = Recipe(steps=1000, lr_schedule=name, warmup=20)
        values = torch.tensor([factor(recipe, int(s), int(s) / 1000) for s in steps], dtype=torch.float64)
        expected = shape * ((steps + 1) / 21).clamp(max=1)
        assert torch.allclose(values, expected, rtol=1e-12, atol=0)
        assert values.min() > 0  # no step is wasted


def test_a_player_may_be_done_before_the_end():
    recipe = Recipe(steps=1000, warmup=20)
    for step in (0, 5, 300, 599):
        assert factor(recipe, step, step / 1000, 0.6) == pytest.approx(factor(recipe, step, step / 600), rel=1e-12)
    assert factor(recipe, 600, 0.6, 0.6) == factor(recipe, 900, 0.9, 0.6) == 0.0


def test_warm_up_takes_at_most_a_tenth_and_nothing_falls_before_the_length_is_known():
    assert factor(Recipe(steps=50, warmup=100, lr_schedule="constant"), 5, 0.1) == 1.0
    recipe = Recipe(budget=60, warmup=10)
    assert [factor(recipe, step, 0.0) for step in (9, 10, 500)] == [10 / 11, 1.0, 1.0]
