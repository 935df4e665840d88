"""Latents of a GAN: truncation, candidates, inversion, directions."""

import pytest
import torch

from morphogen.core.batch import RawCondition
from morphogen.core.errors import UsageError
from morphogen.core.rng import Rng
from tests.families.gans import BINARY, CONDITIONAL, PICTURES, POINTS, batch, build


@torch.no_grad()
@pytest.mark.parametrize("data", [PICTURES, POINTS, BINARY], ids=lambda d: d.name)
def test_truncation_draws_samples_to_that_of_the_mean_latent(data):
    model = build(data).eval()
    mean = model.decode(torch.zeros(1, 5)).mean
    assert torch.allclose(model.sample(4, None, Rng(0), truncation=0.0), mean.expand(4, *data.shape), atol=1e-6)
    assert torch.equal(model.sample(4, None, Rng(0), truncation=1.0), model.sample(4, None, Rng(0)))
    far = [float((model.sample(64, None, Rng(0), truncation=t) - mean).square().mean()) for t in (0.1, 0.3, 1.0)]
    assert far[0] < far[1] < far[2]
    x = model.sample(64, None, Rng(0), truncation=5.0)
    assert data.low <= float(x.min()) and float(x.max()) <= data.high
    with pytest.raises(UsageError, match="at least 0"):
        model.sample(1, None, Rng(0), truncation=-1.0)


@torch.no_grad()
@pytest.mark.parametrize("game", ["relativistic", "non_saturating", "least_squares"])
def test_the_discriminator_chooses_among_candidates_as_it_weighs_them(game):
    """A generator that gives z / 8, and a logit that makes p / q = exp(z) up to a factor: N(0, 1) becomes N(1, 1)."""
    model = build(POINTS.replace(shape=(1,)), game=game, latent_dim=1).eval()
    model.generator.forward = lambda z, context, words: z / 8  # which keeps the data's range
    logit = (lambda z: (0.5 * z).tanh()) if game == "least_squares" else lambda z: z
    model.discriminator.forward = lambda x, c, context, words: (logit(8 * x[:, 0]), None)
    n = 20_000
    assert torch.equal(model.sample(n, None, Rng(0), candidates=1), model.sample(n, None, Rng(0)))
    means = [8 * float(model.sample(n, None, Rng(0), candidates=k).mean()) for k in (1, 2, 8)]
    z = torch.randn(n, 8, generator=torch.Generator().manual_seed(0))  # the same by plain weights, all at once
    plain = [z[:, :1], *(z[:, :k].softmax(1) * z[:, :k] for k in (2, 8))]
    for found, weighted in zip(means, plain, strict=True):
        assert found == pytest.approx(float(weighted.sum(1).mean()), abs=0.05)  # five deviations of the difference
    some = model.sample(64, None, Rng(0), candidates=4)
    parts = [model.sample(16, None, Rng(0).shifted(16 * i), candidates=4) for i in range(4)]
    assert torch.allclose(torch.cat(parts), some, atol=1e-6), "a sample's candidates are its own"


@pytest.mark.parametrize("game", ["hinge", "wasserstein"])
def test_games_without_a_ratio_of_densities_do_not_choose(game):
    model = build(game=game).eval()
    with pytest.raises(UsageError, match="games whose discriminator does: relativistic"):
        model.sample(2, None, Rng(0), candidates=2)
    with pytest.raises(UsageError, match="at least 1 candidate"):
        model.sample(2, None, Rng(0), candidates=0)


@pytest.mark.parametrize("data", [PICTURES, POINTS], ids=lambda d: d.name)
def test_inversion_recovers_what_was_made(data):
    """The picture, and for pictures, whose elements are many more than the latents, the latent itself.

    The prior pulls z towards 0, by about s^2 for each element of the data that it moves by one.
    """
    model = build(data, latent_dim=3 if data is PICTURES else 2, inversion_steps=200, moved=0.05, tanh=True).eval()
    z = Rng(8).normal("z", 4, (model.latent_dim,))
    with torch.no_grad():
        x = model.decode(z).mean
        q = model.encode(x)
        rebuilt = model.decode(q.mean).mean
    assert not q.mean.requires_grad
    spread = (x - x.mean(0)).square().mean()
    assert float((rebuilt - x).square().mean()) < 0.01 * float(spread)
    if data is PICTURES:
        assert torch.allclose(q.mean, z, atol=0.15)
    with torch.no_grad():  # one record by itself, to what arithmetic in another batch size leaves
        assert torch.allclose(model.encode(x[1:2]).mean, q.mean[1:2], atol=1e-2)


def test_inversion_keeps_to_the_condition():
    model, b = build(**CONDITIONAL).eval(), batch()
    q = model.encode(b.x, b.cond)
    assert q.mean.shape == (6, 5)
    assert model.decode(q.mean, b.cond).noise_shape == b.x.shape
    assert not torch.allclose(q.mean, model.encode(b.x, RawCondition(label=b.cond.label.flip(0))).mean, atol=1e-4)


@pytest.mark.parametrize("data", [PICTURES, POINTS], ids=lambda d: d.name)
def test_directions_are_those_of_the_first_map_in_order_of_their_effect(data):
    model = build(data, conditional=data is PICTURES)
    found = model.directions(5)
    assert torch.allclose(found @ found.T, torch.eye(5), atol=1e-5)
    effect = (model.generator.first_map()[:, :5].detach() @ found.T).norm(dim=0)
    assert (effect.diff() <= 1e-6).all()
    singular = torch.linalg.svdvals(model.generator.first_map()[:, :5].detach())
    assert torch.allclose(effect, singular, atol=1e-5)
    assert torch.equal(model.directions(2), found[:2])
    with pytest.raises(UsageError, match="1 to 5 directions"):
        model.directions(6)
