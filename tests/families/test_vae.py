"""The VAE against exact truths: the linear-Gaussian model, enumeration of the prior, formulas of its losses."""

import math

import pytest
import torch

from morphogen.core.batch import Batch, RawCondition
from morphogen.core.capabilities import Latents
from morphogen.core.data_spec import DataSpec
from morphogen.core.distributions import Gaussian
from morphogen.core.errors import CapabilityError, SpecError
from morphogen.core.family import Progress
from morphogen.core.rng import Rng
from morphogen.families.vae import VAE, VAESpec
from morphogen.theory.linear_gaussian import LinearGaussian
from morphogen.trainer import compile as compilation

POINTS = DataSpec(name="points", shape=(4,), kind="continuous", classes=("a", "b"))
PICTURES = DataSpec(name="pictures", shape=(1, 28, 28), kind="continuous", levels=256, classes=("a", "b"))
BINARY = DataSpec(name="binary", shape=(1, 8, 8), kind="binary", levels=2)


def build(data=POINTS, **options):
    with Rng(0).forked():
        return VAE(VAESpec.parse(options), data)


def batch(data, n=16, seed=0):
    u = Rng(seed).integers("u", n, data.levels or 100, data.shape)
    x = data.encode(u.to(torch.uint8)) if data.levels else u / 50 - 1
    label = torch.arange(n) % 2 if data.classes else None
    return Batch(x, torch.arange(n), RawCondition(label=label), torch.arange(n))


def losses(model, b, fraction=1.0, seed=0):
    (step,) = model.steps(b, Rng(seed), Progress(0, fraction))
    return step


@pytest.fixture
def oracle():
    """A VAE whose linear networks are the exact posterior and likelihood of a linear-Gaussian model, in float64."""
    rng = Rng(3)
    weight, offset = rng.normal("w", 4, (2,), torch.float64), rng.normal("b", 4, (), torch.float64)
    truth = LinearGaussian(weight, offset, 0.3)
    model = build(backbone="mlp", hidden=(), latent_dim=2, likelihood="gaussian", variance=0.3).double()
    posterior = truth.posterior(torch.zeros(1, 4, dtype=torch.float64))
    precision = torch.eye(2, dtype=torch.float64) + weight.T @ weight / 0.3
    encoder, decoder = model.inference.encoder.mlp.out, model.generation.decoder.mlp.out
    # A diagonal q is exact where the precision is diagonal: rotate the latents to its eigenvectors.
    _, rotation = torch.linalg.eigh(precision)
    weight = weight @ rotation
    precision = torch.eye(2, dtype=torch.float64) + weight.T @ weight / 0.3
    gain = torch.linalg.solve(precision, weight.T) / 0.3
    with torch.no_grad():
        decoder.weight.copy_(weight)
        decoder.bias.copy_(offset)
        encoder.weight.copy_(torch.cat((gain, torch.zeros_like(gain))))
        encoder.bias.copy_(torch.cat((-gain @ offset, -precision.diagonal().log())))
    assert posterior is not None
    return model, truth, rng.normal("x", 64, (4,), torch.float64)


def test_the_bound_at_the_optimum_is_the_exact_likelihood(oracle):
    model, truth, x = oracle
    exact = truth.log_prob(x)
    for samples in (1, 7):
        score = model.score(x, None, Rng(1), samples)
        if samples > 1:  # every weight is p(x) where q is the posterior
            assert torch.allclose(score.value, exact, atol=1e-9)
    many = torch.stack([model.score(x, None, Rng(s)).value for s in range(400)])
    error = many.mean(0) - exact
    assert (error.abs() < 5 * many.std(0) / 20).all(), "the ELBO is unbiased for log p(x) at the optimum"


def test_a_worse_posterior_lowers_the_bound_and_importance_samples_tighten_it(oracle):
    model, truth, x = oracle
    with torch.no_grad():
        model.inference.encoder.mlp.out.bias[:2] += 0.5
    exact = truth.log_prob(x).mean()
    bounds = [float(model.score(x, None, Rng(1), k).value.mean()) for k in (2, 16, 2000)]
    assert bounds[0] < bounds[1] < bounds[2] < float(exact) + 0.02
    assert float(exact) - bounds[2] < 0.05


def test_terms_are_distortion_and_rate():
    model, b = build(latent_dim=3), batch(POINTS)
    step = losses(model, b)
    q = model.encode(b.x)
    zeros = torch.zeros(16, 3)
    assert torch.allclose(step.terms["rate"], q.kl(Gaussian(zeros, zeros)), atol=1e-5)
    z = q.rsample(Rng(0).normal("z", b.address, (1, 3))[:, 0])
    assert torch.allclose(step.terms["distortion"], -model.decode(z).log_prob(b.x), atol=1e-4)


def test_beta_warmup_and_free_bits_weigh_the_rate():
    b = batch(POINTS)
    rate = losses(build(), b).terms["rate"]
    assert torch.allclose(losses(build(beta=0.5), b).terms["rate"], 0.5 * rate)
    assert torch.allclose(losses(build(kl_warmup=0.4), b, fraction=0.1).terms["rate"], 0.25 * rate)
    assert torch.allclose(losses(build(kl_warmup=0.4), b, fraction=0.4).terms["rate"], rate)
    assert (losses(build(free_bits=0.7), b).terms["rate"] >= 16 * 0.7 - 1e-4).all()


@pytest.mark.slow
@pytest.mark.skipif(not compilation.compiler(torch.device("cpu")), reason="needs a C++ compiler")
@pytest.mark.parametrize("free_bits", [0.0, 0.5])
def test_the_compiled_bound_gives_the_same_gradients(free_bits):
    """What is charged and what is logged are one tensor where no bits are free."""
    model, b = build(prior="standard", free_bits=free_bits), batch(POINTS)

    def gradients():
        return torch.autograd.grad(sum(losses(model, b).terms.values()).mean(), model.own_parameters())

    eager = gradients()
    compilation.wrap(model)
    for g, h in zip(eager, gradients(), strict=True):
        assert g.any() and float((g - h).norm()) <= 1e-4 * float(g.norm()) + 1e-7


def test_classic_is_squared_error_plus_kl():
    """The textbook's loss on pixels in [0, 1] is this likelihood's, up to a constant."""
    with Rng(0).forked():
        model = VAE(VAESpec.parse(VAE.presets["classic"]), PICTURES)
    b = batch(PICTURES)
    step = losses(model, b)
    z = model.encode(b.x).rsample(Rng(0).normal("z", b.address, (1, 2))[:, 0])
    in_unit = lambda x: (x + 1) / 2  # noqa: E731
    squared = (in_unit(b.x) - in_unit(model.decode(z).mean)).square().flatten(1).sum(1)
    constant = 784 / 2 * math.log(2 * math.pi * 2.0)
    assert torch.allclose(step.terms["distortion"], squared + constant, atol=0.01)
    assert [layer.weight.shape for layer in model.inference.encoder.mlp.layers] == [(512, 784), (256, 512)]
    assert [layer.weight.shape for layer in model.generation.decoder.mlp.layers] == [(256, 2), (512, 256)]


def test_bounded_means_are_the_textbooks_sigmoid():
    options = {"backbone": "mlp", "hidden": (), "latent_dim": 2, "likelihood": "gaussian"}
    free, bounded = build(PICTURES, **options), build(PICTURES, bounded=True, **options)
    z = 50 * Rng(0).normal("z", 8, (2,))
    sigmoid = torch.sigmoid(2 * free.decode(z).mean)
    assert torch.allclose((bounded.decode(z).mean + 1) / 2, sigmoid, atol=1e-6)
    b = batch(PICTURES)
    z = bounded.encode(b.x).rsample(Rng(0).normal("z", b.address, (1, 2))[:, 0])
    assert torch.allclose(losses(bounded, b).terms["distortion"], -bounded.decode(z).log_prob(b.x), rtol=1e-5)


@pytest.mark.parametrize(("data", "which"), [(POINTS, "gaussian"), (PICTURES, "auto"), (BINARY, "bernoulli")])
def test_bounded_is_for_pictures_with_a_gaussian_likelihood(data, which):
    with pytest.raises(SpecError, match="bounded is for pictures and the likelihood 'gaussian'"):
        build(data, bounded=True, likelihood=which)


@pytest.mark.parametrize("prior", ["standard", "vamp", "flow"])
@pytest.mark.parametrize("k", [1, 5])
def test_the_training_loss_is_the_bound_that_score_gives(prior, k):
    """Averaged over noise, the loss and the score estimate the same number."""
    model = build(prior=prior, importance_samples=k, pseudo_inputs=20, latent_dim=3)
    b = batch(POINTS, 8)
    with torch.no_grad():
        loss = torch.stack([sum(losses(model, b, seed=s).terms.values()) for s in range(300)])
        score = torch.stack([model.score(b.x, None, Rng(s), k).value for s in range(300)])
    gap, error = (loss.mean(0) + score.mean(0)).abs(), (loss.var(0) + score.var(0)).sqrt() / math.sqrt(300)
    assert (gap < 5 * error + 1e-4).all()


def test_vamp_prior_is_the_mean_of_the_pseudo_posteriors():
    model = build(prior="vamp", pseudo_inputs=7, latent_dim=3)
    z = Rng(0).normal("z", 5, (3,))
    q = model.encode(model.inference.pseudo.tanh())
    each = torch.stack([Gaussian(q.mean[m : m + 1], q.log_var[m : m + 1]).log_prob(z) for m in range(7)])
    assert torch.allclose(model._prior().log_prob(z).float(), each.logsumexp(0) - math.log(7), atol=1e-4)
    assert Latents not in model.capabilities and Latents in VAE.capabilities
    with pytest.raises(CapabilityError, match="prior=standard"):
        model.prior(0, [], 1)


def test_latents_compose_to_the_bound():
    model, b = build(BINARY, backbone="mlp", latent_dim=3), batch(BINARY)
    q, p = model.posterior(0, b.x, []), model.prior(0, [], 16)
    z = q.rsample(Rng(9).normal("score", 16, (3,)))
    by_hand = model.likelihood([z]).log_prob(b.x) - q.kl(p)
    assert torch.allclose(by_hand, model.score(b.x, None, Rng(9)).value, atol=1e-4)


@pytest.mark.parametrize("prior", ["standard", "vamp", "flow"])
def test_a_binary_likelihood_sums_to_one_over_all_pictures(prior):
    data = DataSpec(name="tiny", shape=(1, 2, 2), kind="binary", levels=2)
    model = build(data, backbone="mlp", latent_dim=2, prior=prior, pseudo_inputs=5)
    if prior == "flow":  # which starts as the standard normal
        with Rng(1).forked(), torch.no_grad():
            for p in model.flow.parameters():
                p.normal_(std=0.1)
    every = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 4).reshape(-1, 1, 2, 2)
    total = model.score(every, None, Rng(0), 20_000).value.exp().sum()
    assert abs(float(total.detach()) - 1) < 0.02


def test_condition_changes_and_null_does_not():
    model = build(conditional=True)
    a, b = (model.sample(4, RawCondition(label=torch.full((4,), k)), Rng(0)) for k in (0, 1))
    assert not torch.allclose(a, b)
    assert torch.equal(model.sample(4, None, Rng(0)), model.sample(4, RawCondition(label=torch.full((4,), -1)), Rng(0)))


def test_health_names_a_collapsed_posterior():
    model, b = build(latent_dim=8), batch(POINTS, 64)
    with torch.no_grad():
        model.inference.encoder.mlp.out.weight.zero_()
        model.inference.encoder.mlp.out.bias.zero_()
    health = model.health(b, Rng(0))
    assert health.metrics["active_units"] == 0 and len(health.metrics["kl_per_dim"]) == 8
    assert "posterior collapse" in health.warnings[0] and "--free-bits" in health.warnings[0]


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (POINTS, {"likelihood": "bernoulli"}, "gaussian_learned"),
        (POINTS, {"backbone": "conv"}, "mlp"),
        (POINTS, {"hidden": (8, 0)}, "hidden"),
        (POINTS, {"free_bits": 0.1, "importance_samples": 5}, "KL per dimension"),
        (POINTS, {"latent_dims": 3}, "latent_dim"),
        (POINTS, {"prior": "flow", "latent_dim": 1}, "at least 2"),
        (BINARY, {"conditional": True}, "has none"),
    ],
)
def test_impossible_options_say_what_is_possible(data, options, message):
    with pytest.raises(SpecError, match=message):
        build(data, **options)
