"""Sampling importance resampling on distributions of a few points, where its law can be counted out."""

import itertools
import math

import pytest
import torch

from morphogen.core.rng import Rng
from morphogen.theory.adversarial import GAMES
from morphogen.theory.resampling import gumbel_scores

P = torch.tensor([0.5, 0.2, 0.25, 0.05], dtype=torch.float64)
Q = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)


def law(k, weight):
    """What is taken of k candidates, by counting all of them."""
    taken = torch.zeros_like(Q)
    for drawn in itertools.product(range(len(Q)), repeat=k):
        rows = torch.tensor(drawn)
        taken.index_add_(0, rows, Q[rows].prod() * weight[rows] / weight[rows].sum())
    return taken


def divergence(p, q):
    return float((p * (p / q).log()).sum())


def test_one_candidate_leaves_the_law_and_more_lead_to_the_datas():
    weight = 3.0 * P / Q  # a factor in common plays no part
    assert torch.allclose(law(1, weight), Q, atol=1e-15)
    far = [divergence(P, law(k, weight)) for k in range(1, 7)]
    assert all(b < a for a, b in itertools.pairwise(far))
    assert far[5] < far[0] / 9  # the bias falls as 1 / K, so the divergence nearly as its square


@pytest.mark.parametrize("k", [1, 2, 5])
def test_equal_weights_change_nothing(k):
    assert torch.allclose(law(k, torch.ones_like(Q)), Q, atol=1e-14)


def test_the_race_takes_each_candidate_as_often_as_it_weighs():
    n, weight = 200_000, torch.tensor([1.0, 4.0, 0.5, 2.5], dtype=torch.float64)
    u = Rng(0).uniform("u", n, (4,), torch.float64)
    share = gumbel_scores(weight.log(), u).argmax(1).bincount(minlength=4) / n
    wanted = weight / weight.sum()
    deviation = (wanted * (1 - wanted) / n).sqrt()
    assert ((share - wanted).abs() < 4.5 * deviation).all()  # false alarm below 1 in 30,000
    never = gumbel_scores(torch.tensor([0.0, -math.inf], dtype=torch.float64), u[:, :2])
    assert (never.argmax(1) == 0).all()


@pytest.mark.parametrize("name", [name for name, game in GAMES.items() if game.log_ratio is not None])
def test_the_best_logit_of_a_game_tells_the_ratio_of_densities(name):
    game = GAMES[name]
    read = game.log_ratio(game.best_logit(P, Q))
    assert torch.allclose((read - read[0]).exp(), (P / Q) / (P / Q)[0], atol=1e-12)
    assert game.log_ratio(torch.tensor([-1e3, 1e3])).isfinite().all()
