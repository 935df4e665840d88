"""Bounds on log p(x) and their gradients, on the linear-Gaussian model, where log p(x) is known exactly.

Monte-Carlo assertions use fixed seeds and were given room for z = 5 standard errors: a correct
implementation fails once in about two million choices of the seed.
"""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from morphogen.core.distributions import Gaussian, standard_normal
from morphogen.core.errors import UsageError
from morphogen.theory.elbo import (
    dreg,
    dreg_loss,
    effective_sample_size,
    elbo_terms,
    free_bits,
    halving,
    iwae_bound,
    kl_weight,
    log_weights,
)
from morphogen.theory.linear_gaussian import LinearGaussian

Z = 5.0


def model() -> LinearGaussian:
    """Orthogonal columns, so that the exact posterior is a diagonal Gaussian."""
    weight = torch.tensor([[1.0, 0.3], [0.5, -0.6], [-0.4, 0.0]]).double()
    weight[2, 1] = (weight[0, 0] * weight[0, 1] + weight[1, 0] * weight[1, 1]) / 0.4
    return LinearGaussian(weight, torch.tensor([0.2, -0.1, 0.4]).double(), 0.3)


def exact_posterior(m: LinearGaussian, x: Tensor) -> Gaussian:
    mean, cov = m.posterior(x)
    return Gaussian(mean, cov.diagonal().log().expand_as(mean))


def proposal(m: LinearGaussian, x: Tensor, shift: float = 0.4, widen: float = 0.3) -> Gaussian:
    """Near the posterior but not equal: moved by `shift`, log-variance raised by `widen`."""
    q = exact_posterior(m, x)
    return Gaussian(q.mean + shift, q.log_var + widen)


X = torch.tensor([[0.7, -0.3, 0.1]]).double()
PRIOR = standard_normal((2,), X)


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weights(seed: int, k: int, replicates: int, shift: float = 0.4, widen: float = 0.3) -> Tensor:
    """log w (K, replicates) of one record."""
    m = model()
    q = proposal(m, X.expand(replicates, 3), shift, widen)
    z = q.rsample(noise(seed, k, replicates, 2))
    return log_weights(X, z, m.likelihood(z), q, PRIOR)


def assert_mean(values: Tensor, want: float) -> None:
    error = values.std() / math.sqrt(len(values))
    assert abs(float(values.mean()) - want) < Z * float(error)


# ------------------------------------------------------------------ values


def test_at_the_exact_posterior_every_weight_is_the_likelihood() -> None:
    m = model()
    x = m.sample(noise(0, 5, 2), noise(1, 5, 3))
    q = exact_posterior(m, x)
    z = q.rsample(noise(2, 7, 5, 2))
    log_w = log_weights(x, z, m.likelihood(z), q, PRIOR)
    torch.testing.assert_close(log_w, m.log_prob(x).expand(7, 5), rtol=0, atol=1e-12)
    torch.testing.assert_close(effective_sample_size(log_w), torch.full((5,), 7.0).double(), rtol=1e-12, atol=0)


def test_terms_average_to_the_closed_form_bound() -> None:
    m, n = model(), 20_000
    q = proposal(m, X)
    z = q.rsample(noise(1, n, 2))
    exact = float(m.elbo(X, q.mean, q.var[0].diag()))
    assert exact < float(m.log_prob(X))
    terms = elbo_terms(X, z, m.likelihood(z), q, PRIOR)
    assert_mean(terms.elbo, exact)
    torch.testing.assert_close(terms.rate, q.kl(PRIOR))

    class Opaque:  # the same prior where no closed form is known
        def log_prob(self, z: Tensor) -> Tensor:
            return PRIOR.log_prob(z)

    sampled = elbo_terms(X, z, m.likelihood(z), q, Opaque())
    assert sampled.rate.shape == (n,)
    assert_mean(sampled.rate, float(q.kl(PRIOR)))
    assert_mean(sampled.elbo, exact)


def test_bounds_rise_with_the_number_of_samples_up_to_log_p() -> None:
    """On the same 64 samples, taken in groups of k: paired, so the order must hold without any tolerance."""
    m, q = model(), proposal(model(), X)
    log_w = weights(6, 64, 3000)
    exact, elbo = float(m.log_prob(X)), float(m.elbo(X, q.mean, q.var[0].diag()))
    means = []
    for k in (1, 2, 4, 8, 16, 32, 64):
        bounds = iwae_bound(log_w.reshape(64 // k, k, -1), dim=1).mean(0)
        means.append(float(bounds.mean()))
        assert means[-1] < exact + Z * float(bounds.std()) / math.sqrt(3000)
        if k == 1:
            assert_mean(bounds, elbo)
    assert all(low < high for low, high in itertools.pairwise(means))
    assert exact - means[-1] < 0.05 * (exact - means[0])  # and it does tend to log p


def test_iwae_is_stable_for_far_away_weights() -> None:
    log_w = torch.tensor([[-2000.0, 900.0], [-2001.0, -900.0]]).double()
    got = iwae_bound(log_w)
    want = [-2000 + math.log((1 + math.exp(-1)) / 2), 900 - math.log(2)]
    assert got.tolist() == pytest.approx(want, rel=1e-14)
    torch.testing.assert_close(iwae_bound(log_w.T, dim=1), got)


# ---------------------------------------------------------------- gradients


def gradients(k: int, replicates: int, estimator: str) -> Tensor:
    """The estimator's gradients of IWAE_k for the posterior's mean and log-variance, (replicates, 4)."""
    m = model()
    start = proposal(m, X)
    mean = start.mean.expand(replicates, 2).clone().requires_grad_()
    log_var = start.log_var.expand(replicates, 2).clone().requires_grad_()
    q = Gaussian(mean, log_var)
    z = q.rsample(noise(2, k, replicates, 2))
    if estimator == "dreg":
        z, tag = dreg(z)
        loss = dreg_loss(log_weights(X, z, m.likelihood(z), q.detach(), PRIOR), tag)
    elif estimator == "iwae":
        loss = -iwae_bound(log_weights(X, z, m.likelihood(z), q, PRIOR))
    else:  # a biased one, to show that the test sees bias: the score is dropped, one factor v_k kept
        loss = -iwae_bound(log_weights(X, z, m.likelihood(z), q.detach(), PRIOR))
    return torch.cat(torch.autograd.grad(loss.sum(), (mean, log_var)), dim=1)


def z_scores(a: Tensor, b: Tensor) -> Tensor:
    difference = a - b  # paired: the same noise
    return difference.mean(0).abs() / (difference.std(0) / math.sqrt(len(difference)))


@pytest.mark.parametrize("k", (1, 2, 8))
def test_dreg_is_unbiased_for_the_inference_network(k: int) -> None:
    n = 40_000
    plain = gradients(k, n, "iwae")
    assert (z_scores(gradients(k, n, "dreg"), plain) < Z).all()
    if k > 1:
        assert (z_scores(gradients(k, n, "biased"), plain) > Z).any()


def test_dreg_has_the_smaller_variance_and_gains_with_samples() -> None:
    gain = {k: gradients(k, 2000, "iwae").var(0) / gradients(k, 2000, "dreg").var(0) for k in (1, 64)}
    assert (gain[64] > 2.0).all()
    assert (gain[64] > gain[1]).all()


def test_dreg_leaves_value_and_generative_gradient_as_they_are() -> None:
    m = model()
    start = proposal(m, X)
    z0 = start.rsample(noise(3, 6, 1, 2))
    weight = m.weight.clone().requires_grad_()
    pseudo = torch.zeros(2).double().requires_grad_()  # a parameter of the prior
    learned = LinearGaussian(weight, m.offset, m.var)
    results = []
    for z, tag in ((z0, None), dreg(z0)):
        prior = Gaussian(pseudo[None], torch.zeros(1, 2).double())
        log_w = log_weights(X, z, learned.likelihood(z), start, prior)
        loss = -iwae_bound(log_w) if tag is None else dreg_loss(log_w, tag)
        results.append((loss, *torch.autograd.grad(loss.sum(), (weight, pseudo))))
    for plain, doubly in zip(*results, strict=True):
        torch.testing.assert_close(doubly, plain, rtol=1e-13, atol=1e-15)


def test_dreg_gradient_does_not_depend_on_how_the_loss_is_scaled() -> None:
    """A mean over records, a weight of a record (even 0) and a loss scale only scale the gradient."""
    m, n = model(), 3
    x = torch.cat((X, X + 0.5, X - 0.5))
    q = proposal(m, x)
    z0 = q.rsample(noise(4, 5, n, 2)).requires_grad_()
    scale = torch.tensor([2.0, 0.0, 1e-3]).double()

    def loss() -> Tensor:
        z, tag = dreg(z0)
        return dreg_loss(log_weights(x, z, m.likelihood(z), q, PRIOR), tag)

    (plain,) = torch.autograd.grad(loss().sum(), z0)
    (scaled,) = torch.autograd.grad((scale * loss()).sum(), z0)
    torch.testing.assert_close(scaled, plain * scale[:, None], rtol=1e-12, atol=0)


def test_dreg_is_traced_as_one_graph_with_equal_gradients() -> None:
    """Tracing forward and backward is what could fail; the backend that runs the graph is not ours to test."""
    m = model()
    eps = noise(5, 3, 4, 2)

    def loss(mean: Tensor, log_var: Tensor, weight: Tensor) -> Tensor:
        q = Gaussian(mean, log_var)
        z, tag = dreg(q.rsample(eps))
        p = Gaussian(z @ weight.T, torch.zeros_like(X), event_dims=1)
        return dreg_loss(log_weights(X, z, p, q.detach(), PRIOR), tag).sum()

    q = proposal(m, X.expand(4, 3))
    inputs = [t.detach().clone().requires_grad_() for t in (q.mean, q.log_var, m.weight)]
    plain = torch.autograd.grad(loss(*inputs), inputs)
    compiled = torch.autograd.grad(torch.compile(loss, fullgraph=True, backend="aot_eager")(*inputs), inputs)
    for a, b in zip(compiled, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


# ------------------------------------------------------- free bits, warm-up


def test_free_bits_charge_the_floor_per_dimension() -> None:
    kl = torch.tensor([[0.1, 2.0, 0.0], [0.5, 0.2, 0.1]]).double().requires_grad_()
    assert free_bits(kl, 0.0).tolist() == pytest.approx(kl.sum(1).tolist())
    per_record = free_bits(kl, 0.3)
    assert per_record.tolist() == pytest.approx([0.3 + 2.0 + 0.3, 0.5 + 0.3 + 0.3])
    (gradient,) = torch.autograd.grad(per_record.sum(), kl)
    assert gradient.tolist() == [[0, 1, 0], [1, 0, 0]]


def test_free_bits_over_the_batch_are_the_papers_objective() -> None:
    """Mean and gradient equal sum_d max(floor, mean_b kl_bd), though the terms are per record."""
    kl = torch.tensor([[0.1, 2.0, 0.0], [0.5, 0.2, 0.1]]).double().requires_grad_()
    for floor in (0.0, 0.2, 0.35, 5.0):
        got = free_bits(kl, floor, over="batch").mean()
        want = kl.mean(0).clamp_min(floor).sum()
        torch.testing.assert_close(got, want, rtol=1e-14, atol=0)
        if floor < 5.0:
            torch.testing.assert_close(*(torch.autograd.grad(v, kl)[0] for v in (got, want)))
    assert free_bits(kl, 0.35, over="batch").tolist() == pytest.approx([0.35 + 2.0 + 0.35, 0.35 + 0.2 + 0.35])


def test_warm_up_is_linear_then_one() -> None:
    assert [kl_weight(f, 0.4) for f in (0.0, 0.1, 0.4, 1.0)] == [0.0, 0.25, 1.0, 1.0]
    assert kl_weight(0.0, 0.0) == 1.0


# ------------------------------------------------------ importance sampling


def test_effective_sample_size_of_known_weights() -> None:
    log_w = torch.tensor([[0.0, 0.0, math.log(3)], [0.0, -1e4, math.log(1)]]).double()
    assert effective_sample_size(log_w).tolist() == pytest.approx([2.0, 1.0, 16 / 10])


def test_halving_shows_the_bias_that_is_left() -> None:
    """To first order the estimate from half the samples falls short by one more bias; second order is below 10 %."""
    log_w = weights(8, 256, 10_000, shift=0.6, widen=0.5)
    bias = float(model().log_prob(X)) - iwae_bound(log_w)
    shown = halving(log_w)
    assert (shown > -1e-12).all()
    difference = bias - shown
    allowed = Z * float(difference.std()) / math.sqrt(len(difference)) + 0.1 * float(shown.mean())
    assert abs(float(difference.mean())) < allowed < float(shown.mean())
    torch.testing.assert_close(halving(log_w[:7].T, dim=1), halving(log_w[:6]))  # an odd one is left out


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(UsageError, match="at least 2 importance samples"):
        halving(torch.zeros(4, 1), dim=1)
