"""Copies that are shifted, turned, cut, mirrored or averaged are found among new pictures, and new ones are not."""

from __future__ import annotations

from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from morphogen.core.rng import Rng
from morphogen.evaluation.metrics.copying import by_distances, cells
from morphogen.evaluation.metrics.disguised_copies import DisguisedCopies, _outside, _to_segment, _warped
from morphogen.theory.statistics.intervals import binomial_tail

SIDE, N = 16, 120


def pictures(seed: int, n: int) -> Tensor:
    """Bytes (n, 1, SIDE, SIDE): four soft spots of random places, sizes and shades on black."""
    u = Rng(seed).uniform("spots", n * 4, dtype=torch.float64)[:, None]
    more = torch.cat([Rng(seed).uniform(name, n * 4, dtype=torch.float64)[:, None] for name in ("x", "s", "a")], 1)
    center = 3.0 + 10.0 * torch.cat((u, more[:, :1]), 1)
    place = torch.arange(SIDE).double()
    across, down = (torch.exp(-0.5 * ((place - c[:, None]) / (1.0 + 2.0 * more[:, 1:2])) ** 2) for c in center.T)
    spots = (more[:, 2, None, None] * down[:, :, None] * across[:, None]).reshape(n, 4, SIDE, SIDE)
    return (255.0 * spots.amax(1, keepdim=True)).round().byte()


TRAIN, HELD_OUT, NEW = pictures(1, 2000), pictures(2, N), pictures(3, N)


@cache
def search() -> DisguisedCopies:
    return DisguisedCopies(TRAIN)


@cache
def held_out(how: str) -> Tensor:
    return getattr(search(), how)(HELD_OUT)[0]


def warped(x: Tensor, *p: float) -> Tensor:
    return (255.0 * _warped(x.float() / 255.0, torch.tensor(p))).round().byte()


DISGUISES = {
    "exact": lambda x: x,
    "shifted": lambda x: x.roll(1, -1),
    "turned": lambda x: warped(x, 0.0, 0.0, 0.0873, 0.0),
    "cut": lambda x: warped(x, 0.02, -0.02, 0.0, -0.12),
    "mirrored": lambda x: x.flip(-1),
}


@pytest.mark.parametrize("how", DISGUISES)
def test_a_moved_copy_is_led_back_to_its_original(how: str) -> None:
    distances, twins = search().moved(DISGUISES[how](TRAIN[:N]))
    assert (twins == torch.arange(N)).double().mean() > 0.8
    found = by_distances(distances, twins, held_out("moved"), (torch.zeros(N), torch.zeros(N)))
    assert found.flagged and found.copied.interval[0] > 0.5


def test_an_average_of_two_is_led_back_to_both() -> None:
    pairs = torch.stack((torch.arange(N), torch.arange(N) + 500), 1)
    made = (TRAIN[pairs[:, 0]].float() + TRAIN[pairs[:, 1]].float()).mul(0.5).round().byte()
    distances, twins = search().mixed(made)
    assert (twins.sort(1).values == pairs).all(1).double().mean() > 0.8
    found = by_distances(distances, twins, held_out("mixed"), (torch.zeros(N), torch.zeros(N)))
    assert found.flagged and found.copied.interval[0] > 0.5


def test_a_fifth_of_shifted_copies_is_found_among_new_pictures() -> None:
    made = torch.cat((NEW[24:], TRAIN[:24].roll(1, -1)))
    found = by_distances(*search().moved(made), held_out("moved"), (torch.zeros(N), torch.zeros(N)))
    assert found.flagged and len(set(found.closest[:8].tolist()) & set(range(N - 24, N))) >= 6


def test_a_smooth_generator_is_not_called_a_mixer() -> None:
    """Blurred new pictures are nearer to averages than sharp ones are; as a share of the next average they are not."""
    row = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16.0
    blurred = F.conv2d(F.pad(NEW.float(), (2, 2, 2, 2), mode="replicate"), torch.outer(row, row)[None, None])
    found = by_distances(*search().mixed(blurred.round().byte()), held_out("mixed"), (torch.zeros(N), torch.zeros(N)))
    assert not found.flagged and found.p_value > 1e-3


@pytest.mark.parametrize("how", ["moved", "mixed"])
def test_new_pictures_alarm_at_no_more_than_the_stated_rate(how: str) -> None:
    """200 splits of 300 new pictures into two kinds: more than 20 alarms of 5 % come once in 10^3."""
    x = pictures(7, 300)
    distances, twins = getattr(search(), how)(x)
    of = cells(search().components(x), search().components(x), search().low)[0]
    alarms = 0
    for trial in range(200):
        a, b = Rng(trial).permutation("kinds", 0, len(x)).chunk(2)
        alarms += by_distances(distances[a], twins[a], distances[b], (of[a], of[b])).flagged
    assert binomial_tail(alarms, 200, 0.05) > 1e-3


def test_results_do_not_depend_on_the_batch() -> None:
    for how in ("moved", "mixed"):
        whole, alone = getattr(search(), how)(NEW[:5]), getattr(search(), how)(NEW[3:4])
        torch.testing.assert_close(whole[0][3:4], alone[0], rtol=0, atol=1e-4)
        assert torch.equal(whole[1][3:4], alone[1])


def test_a_half_of_an_average_breaks_no_limit_and_lies_on_the_segment() -> None:
    y, w = torch.rand(2, 50, 9, generator=torch.Generator().manual_seed(0))
    x = 0.5 * (y + w)
    assert float(torch.stack([_outside(y[i : i + 1], x[i]) for i in range(50)]).max()) < 1e-12
    assert float(_to_segment(x, y, w).max()) < 1e-6
    apart = _to_segment(x + 1.0, y, w)
    middle = ((x + 1.0)[:, None] - torch.lerp(y[:, None], w[:, None], torch.linspace(0.2, 0.8, 2001)[:, None])).norm(
        dim=2
    )
    torch.testing.assert_close(apart, middle.min(1).values, rtol=1e-5, atol=1e-5)


def test_colors_and_small_and_long_pictures_are_searched_too() -> None:
    for shape in ((3, 8, 8), (1, 40, 20)):
        x = F.interpolate(pictures(5, 300).float(), shape[1:], mode="bilinear").expand(-1, *shape).round().byte()
        found = DisguisedCopies(x)
        moved = x[:20].flip(-1) if shape[1] == 8 else x[:20].roll(1, -1)  # a pixel of 8 is too far to search
        assert (found.moved(moved)[1] == torch.arange(20)).double().mean() > 0.7
        halves = (x[:5].float() + x[20:25].float()).mul(0.5).round().byte()
        pairs = torch.stack((torch.arange(5), torch.arange(20, 25)), 1)
        assert (found.mixed(halves)[1].sort(1).values == pairs).all(1).double().mean() > 0.7
