"""What families recommend for data and time, and how it is taken."""

import math
import time

import pytest

from morphogen.api.choosing import choose
from morphogen.core import registry
from morphogen.core.data_spec import DataSpec
from morphogen.core.recommendation import Situation, recommended_training
from morphogen.data import load
from morphogen.families.recommending import _unets

PHOTOS = DataSpec(name="photos", shape=(3, 32, 32), kind="continuous", levels=256)


@pytest.mark.parametrize(("records", "batch"), [(8, 8), (255, 16), (1398, 64), (5000, 128), (60_000, 128)])
def test_a_batch_is_a_small_share_of_the_records(records, batch):
    (choice,) = recommended_training(Situation(PHOTOS, records))
    assert (choice.name, choice.value) == ("batch_size", batch)


def test_pictures_are_mirrored_only_where_mirror_images_look_alike_and_are_few():
    names = {
        (mirrored, n): [c.name for c in recommended_training(Situation(PHOTOS, n, mirrored=mirrored))]
        for mirrored in (True, False)
        for n in (300, 50_000)
    }
    assert {key for key, found in names.items() if "flips" in found} == {(True, 300)}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [8, 28, 32, 64, 96, 128])
def test_no_network_is_too_narrow_for_what_is_folded_in(channels, side):
    for size in _unets(side, channels):
        assert side % size["fold"] == 0
        assert size["widths"][0] >= channels * size["fold"] ** 2
        assert side / size["fold"] >= 8


@pytest.mark.parametrize("name", ["vae", "gan", "diffusion", "flow_matching"])
def test_what_is_recommended_makes_a_model_and_is_explained(name):
    kind = registry.family(name)
    for data in (PHOTOS, load("digits").spec):
        found = kind.recommend(Situation(data, 300, 60.0, True))
        options = {c.name: c.value for c in found.choices}
        for size in found.sizes or [{}]:
            kind(kind.Spec.parse({**options, **size}), data)
        assert all(c.why for c in [*found.choices, *found.training])
        assert found.needs > 0
        assert [steps for steps, _ in found.stages] == sorted(steps for steps, _ in found.stages)


def chosen(options, recipe, pace, whole=False):
    """The choice for diffusion of digits where a step of the k-th network takes pace[k] seconds."""
    paces = iter(pace)
    kind = registry.family("diffusion")
    return choose(kind, options, recipe, whole, False, load("digits"), time.perf_counter(), lambda *_: next(paces))


def test_the_largest_network_that_makes_its_steps_in_the_time_is_taken():
    widths = [chosen({}, {"budget": 600}, pace).spec.widths for pace in ([10.0], [0.1, 1.5], [0.1, 0.2, 0.3])]
    assert widths == [(32, 64), (64, 128), (64, 128, 128)]


def test_what_is_given_stays():
    found = chosen({"widths": [16, 32], "blocks": [1], "lr": 1e-3}, {"budget": 600, "batch_size": 7}, [])
    assert (found.spec.widths, found.spec.lr, found.recipe.batch_size) == ((16, 32), 1e-3, 7)
    assert {c.name for c in found.choices}.isdisjoint({"widths", "lr", "batch_size", "fold"})
    assert found.spec.parametrization == "x0"
    assert chosen({"schedule": "cosine"}, {"budget": 600}, [10.0]).spec.parametrization == "v"


def test_the_learning_rate_falls_as_the_network_widens_unless_it_is_given():
    found = chosen({}, {"budget": 600}, [0.1, 0.2, 0.3])
    assert (found.spec.widths[0], found.spec.lr) == (64, 2e-3)
    assert [c.value for c in found.choices if c.name == "lr"] == [2e-3]
    assert chosen({"lr": 3e-4}, {"budget": 600}, [0.1, 0.2, 0.3]).spec.lr == 3e-4


def test_larger_pictures_are_trained_at_more_noise():
    """The mean of s x s pixels has 1 / s of their noise."""
    kind = registry.family("diffusion")
    means = {}
    for side in (32, 64, 128):
        found = kind.recommend(Situation(PHOTOS.replace(shape=(3, side, side)), 300))
        means[side] = next(c.value for c in found.choices if c.name == "time_mean")
    assert means[64] - means[32] == pytest.approx(math.log(2), abs=0.01)
    assert means[128] - means[64] == pytest.approx(math.log(2), abs=0.01)


def test_a_preset_and_the_wish_for_no_choice_leave_the_model_alone():
    kind = registry.family("diffusion")
    assert chosen({}, {"budget": 600}, [], whole=True).spec == kind.Spec()
    plain = chosen({}, {"budget": 600, "auto": False}, [])
    assert (plain.spec, plain.recipe.batch_size, plain.choices) == (kind.Spec(), 128, ())


def test_a_length_in_steps_needs_no_measurement():
    assert chosen({}, {"steps": 500}, []).spec.widths < chosen({}, {"steps": 50_000}, []).spec.widths
