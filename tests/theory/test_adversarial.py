"""Adversarial losses on known densities on a grid: what the best discriminator is, and what the game is worth."""

import math

import pytest
import torch

from morphogen.core.rng import Rng
from morphogen.theory.adversarial import (
    GAMES,
    HINGE,
    LEAST_SQUARES,
    MINIMAX,
    NON_SATURATING,
    RELATIVISTIC,
    WASSERSTEIN,
    balance,
    one_centered,
    zero_centered,
)
from tests.oracles.divergences import jensen_shannon
from tests.oracles.transport import kantorovich_potential

CELL = 0.01
X = torch.arange(-8, 8, CELL, dtype=torch.float64)


def normal(mean, std=1.0):
    return torch.exp(-0.5 * ((X - mean) / std) ** 2) / (std * math.sqrt(2 * math.pi))


PAIRS = {"apart": (normal(-1.0), normal(1.5, 0.7)), "far": (normal(-4), normal(4)), "equal": (normal(0), normal(0))}


SEPARATE = [name for name, game in GAMES.items() if not game.paired and game.best_logit]  # one problem a point


def thinned(density, by=20):
    """Masses on fewer points, that sum to 1: a game of pairs looks at all pairs of them."""
    mass = density[::by]
    return mass / mass.sum()


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("name", SEPARATE)
def test_no_logit_beats_the_best_one(name, pair):
    """Point by point, against a fine grid of logits: the loss splits into one problem a point."""
    game, (p, q) = GAMES[name], PAIRS[pair]
    logits = torch.linspace(-12, 12, 2401, dtype=torch.float64)[:, None]
    losses = p * game.real(logits) + q * game.fake(logits)
    best = game.best_logit(p, q)
    at_best = p * game.real(best) + q * game.fake(best)
    assert (at_best <= losses.min(0).values + 1e-12).all()
    # The grid reaches it, too, wherever the best logit lies on the grid's range.
    inside = best.abs() < 12
    assert torch.allclose(at_best[inside], losses.min(0).values[inside], atol=1e-5)


@pytest.mark.parametrize("game", [MINIMAX, NON_SATURATING], ids=["minimax", "non_saturating"])
@pytest.mark.parametrize("pair", PAIRS)
def test_the_first_discriminator_attains_the_jensen_shannon_divergence(pair, game):
    p, q = PAIRS[pair]
    best = game.best_logit(p, q)
    assert torch.allclose(torch.sigmoid(best), p / (p + q))
    value = -game.discriminator_loss(best, p, q, CELL)
    exact = 2 * jensen_shannon(p, q, CELL) - math.log(4) * 0.5 * CELL * (p + q).sum()
    assert float(value) == pytest.approx(float(exact), abs=1e-10)
    if pair == "equal":
        assert float(value) == pytest.approx(-math.log(4), abs=1e-10)


@pytest.mark.parametrize("pair", PAIRS)
def test_the_hinge_discriminator_attains_the_total_variation(pair):
    p, q = PAIRS[pair]
    best = HINGE.best_logit(p, q)
    total_variation = 0.5 * CELL * (p - q).abs().sum()
    loss = HINGE.discriminator_loss(best, p, q, CELL)
    assert float(loss) == pytest.approx(float(CELL * (p + q).sum() - 2 * total_variation), abs=1e-10)
    of_generator = CELL * (q * HINGE.generator(best)).sum()
    assert -1e-12 <= float(of_generator) <= 1 + 1e-12
    expected = {"equal": 0.0, "far": 1.0}
    if pair in expected:
        assert float(of_generator) == pytest.approx(expected[pair], abs=1e-3)


@pytest.mark.parametrize("pair", PAIRS)
def test_the_least_squares_discriminator_attains_the_triangular_discrimination(pair):
    p, q = PAIRS[pair]
    best = LEAST_SQUARES.best_logit(p, q)
    assert torch.allclose(0.5 * (1 + best), p / (p + q))
    triangular = 0.5 * CELL * ((p - q) ** 2 / (p + q)).sum()
    mass = 0.5 * CELL * (p + q).sum()
    assert float(LEAST_SQUARES.discriminator_loss(best, p, q, CELL)) == pytest.approx(
        float(mass - triangular), abs=1e-10
    )


@pytest.mark.parametrize("pair", PAIRS)
def test_the_relativistic_discriminator_attains_the_divergence_of_pairs(pair):
    """JSD of (record, sample) and (sample, record) less log 2; sigmoid of the margin is Bayes' rule for a pair."""
    p, q = (thinned(v) for v in PAIRS[pair])
    best = RELATIVISTIC.best_logit(p, q)
    straight, swapped = p[:, None] * q, q[:, None] * p
    margin = best[:, None] - best
    assert torch.allclose(torch.sigmoid(margin), straight / (straight + swapped))
    value = -RELATIVISTIC.discriminator_loss(best, p, q)
    exact = jensen_shannon(straight.flatten(), swapped.flatten()) - math.log(2)
    assert float(value) == pytest.approx(float(exact), abs=1e-12)
    assert float(RELATIVISTIC.discriminator_loss(best + 3.7, p, q)) == pytest.approx(-float(value), abs=1e-12)


def test_no_logit_beats_the_best_relativistic_one():
    """The loss is convex in the logits, as softplus of a linear map, and its gradient vanishes there."""
    p, q = (thinned(v) for v in PAIRS["apart"])
    best = RELATIVISTIC.best_logit(p, q).requires_grad_()
    loss = RELATIVISTIC.discriminator_loss(best, p, q)
    (gradient,) = torch.autograd.grad(loss, best)
    assert float(gradient.abs().max()) < 1e-14
    for seed in range(20):
        other = best.detach() + Rng(seed).normal("logit", 1, best.shape, torch.float64)[0]
        assert RELATIVISTIC.discriminator_loss(other, p, q) > loss


@pytest.mark.parametrize("pair", PAIRS)
def test_the_wasserstein_critic_attains_the_cost_of_moving_mass(pair):
    p, q = PAIRS[pair]
    best = kantorovich_potential(p, q, CELL)
    assert float(best.diff().abs().max()) <= CELL * (1 + 1e-12)
    value = -WASSERSTEIN.discriminator_loss(best, p, q, CELL)
    cost = CELL * (CELL * (p - q)).cumsum(0).abs()[:-1].sum()
    # By parts, up to the mass that the grid lacks, at the end of the potential.
    assert float(value) == pytest.approx(float(cost), abs=1e-4)
    shifts = {"far": 8.0, "equal": 0.0}  # the same shape elsewhere is moved as a whole
    if pair in shifts:
        assert float(value) == pytest.approx(shifts[pair], abs=2e-3)
    for seed in range(20):  # nor is any other function of slope at most 1 better
        slope = Rng(seed).uniform("slope", 1, best.shape, torch.float64)[0] * 2 - 1
        assert -WASSERSTEIN.discriminator_loss(CELL * slope.cumsum(0), p, q, CELL) <= value + 1e-4


@pytest.mark.parametrize("name", [*SEPARATE, "relativistic"])
def test_the_generator_rests_where_its_density_is_that_of_the_data(name):
    """With samples N(theta, 1) and the best discriminator for them: no gradient at theta = 0, and else one towards it.

    The hinge's best logit is any number where p = q, so there it is looked at from both sides alone.
    """
    game, p = GAMES[name], thinned(normal(0.0))

    def gradient(theta):
        at = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
        q = torch.softmax(-0.5 * (X[::20] - at) ** 2, 0)
        best = game.best_logit(p, q.detach())
        (found,) = torch.autograd.grad(game.generator_loss(best, p, q), at)
        return float(found)

    assert abs(gradient(0.0)) < 1e-9 or name == "hinge"
    for theta in (0.3, 2.0):
        assert gradient(theta) > 1e-3 and gradient(-theta) < -1e-3


def test_the_minimax_generator_alone_has_no_gradient_where_the_discriminator_is_sure():
    logit = torch.tensor([-30.0], dtype=torch.float64, requires_grad=True)
    real = torch.zeros(1, dtype=torch.float64)
    pulls = {n: torch.autograd.grad(g.generator_term(real, logit).sum(), logit)[0].abs() for n, g in GAMES.items()}
    assert float(pulls.pop("minimax")) < 1e-12
    assert min(float(v) for v in pulls.values()) > 0.5


def test_pairs_are_compared_one_by_one_and_levels_play_no_part():
    real, fake = Rng(0).normal("logit", 2, (50,), torch.float64)
    terms = RELATIVISTIC.discriminator_terms(real, fake)
    assert set(terms) == {"pairs"} and torch.allclose(terms["pairs"], -torch.sigmoid(real - fake).log())
    assert torch.allclose(RELATIVISTIC.generator_term(real, fake), -torch.sigmoid(fake - real).log())
    assert torch.allclose(RELATIVISTIC.generator_term(real + 5, fake + 5), RELATIVISTIC.generator_term(real, fake))
    with pytest.raises(ValueError, match="logits of both"):
        RELATIVISTIC.generator_term(None, fake)
    for game in (NON_SATURATING, HINGE):
        assert set(game.discriminator_terms(real, fake)) == {"real", "fake"}
        assert torch.equal(game.generator_term(None, fake), game.generator(fake))
        assert torch.equal(game.verdict(real, fake), real)
    for game in (RELATIVISTIC, WASSERSTEIN):
        assert torch.equal(game.verdict(real, fake), real - fake)


# ----------------------------------------------------------------------------- penalties


def test_penalties_of_a_linear_discriminator_are_those_of_its_weight():
    w = Rng(0).normal("w", 1, (7,), torch.float64)[0]
    x = Rng(0).normal("x", 5, (7,), torch.float64).requires_grad_()
    (g,) = torch.autograd.grad((x @ w + 0.3).sum(), x)
    squared = g.square().sum(1)
    assert torch.allclose(zero_centered(squared), 0.5 * w.square().sum())
    assert torch.allclose(one_centered(squared), (w.norm() - 1).square())


def test_the_one_centered_penalty_has_a_finite_gradient_where_nothing_slopes():
    squared = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(one_centered(squared).sum(), squared)
    assert torch.isfinite(gradient).all() and torch.allclose(one_centered(squared), torch.ones(()).double())


def test_the_best_linear_critic_under_each_penalty():
    """min_w -w.d + c (|w| - 1)^2 has |w| = 1 + |d| / (2 c) along d; with c |w|^2 / 2 at both sides, w = d / (2 c)."""
    d, c = torch.tensor([0.6, -0.8], dtype=torch.float64) * 3, 10.0
    for expected, penalty in (
        (d / d.norm() * (1 + d.norm() / (2 * c)), lambda s: c * one_centered(s)),
        (d / (2 * c), lambda s: 2 * c * zero_centered(s)),
    ):
        w = expected.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(-(w * d).sum() + penalty(w.square().sum()), w)
        assert torch.allclose(gradient, torch.zeros(2, dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("name", ["relativistic", "non_saturating", "minimax"])
def test_a_penalty_makes_the_smallest_game_converge(name, gamma):
    """Data at 0, samples at theta, l = psi x, descent of both (Mescheder et al., 2018): about the optimum (0, 0) it is
    linear, with eigenvalues -gamma +- sqrt(gamma^2 - 1/4). So it turns for ever without a penalty, and else shrinks."""

    def velocity(psi_theta):
        psi, theta = psi_theta
        game = GAMES[name]
        real, fake = 0.0 * psi, theta * psi
        terms = [*game.discriminator_terms(real, fake).values(), *(gamma * zero_centered(psi.square()) for _ in "12")]
        (down_psi,) = torch.autograd.grad(sum(terms), psi, create_graph=True)
        (down_theta,) = torch.autograd.grad(game.generator_term(real, fake), theta, create_graph=True)
        return -torch.stack((down_psi, down_theta))

    rest = torch.zeros(2, dtype=torch.float64)
    found = torch.linalg.eigvals(torch.autograd.functional.jacobian(velocity, rest))
    root = torch.sqrt(torch.tensor(gamma**2 - 0.25, dtype=torch.complex128))
    expected = torch.stack((-gamma - root, -gamma + root))
    order = lambda v: sorted(v.tolist(), key=lambda e: (round(e.real, 9), round(e.imag, 9)))  # noqa: E731
    assert order(found) == pytest.approx(order(expected), abs=1e-9)
    assert bool((found.real < 0).all()) == (gamma > 0)


def test_the_games_agree_with_probabilities_written_out():
    logit = Rng(0).normal("logit", 100, (), torch.float64) * 5
    d = torch.sigmoid(logit)
    assert torch.allclose(NON_SATURATING.real(logit), -d.log())
    assert torch.allclose(NON_SATURATING.fake(logit), -(1 - d).log())
    assert torch.allclose(NON_SATURATING.generator(logit), -d.log())
    assert torch.allclose(MINIMAX.generator(logit), (1 - d).log())
    assert torch.allclose(HINGE.real(logit), torch.where(logit < 1, 1 - logit, torch.zeros(())))
    assert torch.allclose(HINGE.fake(logit), torch.where(logit > -1, 1 + logit, torch.zeros(())))


@pytest.mark.parametrize("name", GAMES)
def test_losses_and_gradients_stay_finite_for_sure_discriminators(name):
    game = GAMES[name]
    logit = torch.tensor([-1e4, -100.0, 0.0, 100.0, 1e4], requires_grad=True)
    steepest = 1 + (1e4 if name == "least_squares" else 0)
    for loss in (game.loss,) if game.paired else (game.real, game.fake, game.generator):
        (gradient,) = torch.autograd.grad(loss(logit).sum(), logit)
        assert torch.isfinite(loss(logit)).all() and (gradient.abs() <= steepest).all()


def test_balance_gives_one_gradient_the_norm_of_another():
    a, b = Rng(0).normal("g", 2, (5, 4))
    b = b.requires_grad_()
    weight = balance(a, 0.01 * b)
    assert not weight.requires_grad
    assert float((weight * 0.01 * b).detach().norm()) == pytest.approx(float(a.norm()), rel=1e-5)
    assert float(balance(a, torch.zeros(5, 4))) == 1e4
    assert float(balance(torch.zeros(5, 4), b)) == 0.0
