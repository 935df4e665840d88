"""The hierarchical VAE: a bound that is one, groups that agree with the whole, and a contract that is kept."""

import itertools
import math

import pytest
import torch

from morphogen.core.batch import Batch, RawCondition
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import SpecError
from morphogen.core.family import Progress
from morphogen.core.rng import Rng
from morphogen.families.hierarchical_vae import HierarchicalVAE, HierarchicalVAESpec
from morphogen.testing import check_family
from morphogen.theory import elbo
from tests.toys import LONG_CHECKS

TINY = DataSpec(name="tiny", shape=(1, 2, 3), kind="binary", levels=2)
ODD = DataSpec(name="odd", shape=(3, 9, 7), kind="continuous", levels=256, classes=("a", "b"))
SMALL = {"widths": (8, 12), "groups": (2, 1), "latent_channels": (2, 3), "blocks": 1, "mixtures": 2}


def build(data=ODD, **options):
    """A model whose every weight matters: those that start at zero are moved."""
    with Rng(0).forked():
        model = HierarchicalVAE(HierarchicalVAESpec.parse({**SMALL, **options}), data)
        for p in model.parameters():
            p.data.add_(0.3 * torch.randn_like(p) / math.sqrt(p[0].numel()))
    return model.eval()


def batch(data=ODD, n=6):
    u = Rng(5).integers("u", n, data.levels, data.shape)
    cond = RawCondition(label=torch.arange(n) % 2) if data.classes else None
    return Batch(data.encode(u), torch.arange(n), cond, torch.arange(n))


def drawn(model, x, cond, rng):
    """One draw of each group, by the contract of `Latents`, and the factors of p and q."""
    z, p, q = [], [], []
    for k in range(model.groups):
        p.append(model.prior(k, z, len(x), cond))
        q.append(model.posterior(k, x, z, cond))
        z.append(q[-1].rsample(rng.normal(f"z{k}", len(x), q[-1].mean.shape[1:], q[-1].mean.dtype)))
    return z, p, q


@pytest.mark.parametrize("conditional", [False, True])
@torch.no_grad()
def test_the_whole_pass_is_the_product_of_the_groups(conditional):
    """One pass and one group at a time give the same log p(x, z) - log q(z | x), KL, and picture."""
    model, b = build(conditional=conditional).double(), batch()
    x = b.x.double()
    eps = Rng(1).normal("z", len(x), (model.dimensions,), torch.float64)
    c = model._condition(b.cond, len(x))
    z, kl, log_w = [], [], torch.zeros(len(x), dtype=torch.float64)
    for k, noise in enumerate(model.bound.split(eps)):
        p, q = model.prior(k, z, len(x), b.cond), model.posterior(k, x, z, b.cond)
        kl.append(q.kl(p))
        z.append(q.rsample(noise))
        log_w += p.log_prob(z[-1]) - q.log_prob(z[-1])
    log_p = model.likelihood(z, b.cond).log_prob(x)
    whole_log_p, whole_kl = model.bound(x, eps, c)
    assert torch.allclose(whole_log_p, log_p, atol=1e-9)
    assert torch.allclose(whole_kl, torch.stack(kl, dim=1), atol=1e-9)
    assert torch.allclose(model.bound.log_weights(x, eps, c, 1)[:, 0], log_w + log_p, atol=1e-9)
    assert (whole_kl > 0).all()


@torch.no_grad()
def test_masses_of_all_pictures_sum_to_one_and_the_bound_lies_below():
    """By importance sampling, log p(x) of all 64 binary pictures; E[w] = p(x) whatever q is."""
    model = build(TINY, groups=(1, 2)).double()
    every = torch.tensor(list(itertools.product([0.0, 1.0], repeat=6)), dtype=torch.float64).reshape(-1, 1, 2, 3)
    log_w = model.score(every, None, Rng(0), 1000).log_weights
    p, se = log_w.exp().mean(1), log_w.exp().std(1) / math.sqrt(1000)
    assert abs(float(p.sum()) - 1.0) < 5.0 * float(se.square().sum().sqrt())  # five standard errors
    many = torch.stack([model.score(every, None, Rng(s)).value for s in range(100)])
    assert (many.mean(0) <= p.log() + 5.0 * (many.std(0) / 10.0 + se / p)).all()


@torch.no_grad()
def test_the_importance_bound_rises_from_the_elbo():
    model, b = build(), batch()
    values = [float(model.score(b.x, b.cond, Rng(s), k).value.mean()) for k in (2, 200) for s in range(8)]
    elbos = [float(model.score(b.x, b.cond, Rng(s)).value.mean()) for s in range(8)]
    mean = lambda v: sum(v) / len(v)  # noqa: E731
    assert mean(elbos) < mean(values[:8]) < mean(values[8:])


@torch.no_grad()
def test_latents_in_units_of_their_priors_rebuild_what_the_groups_draw():
    """decode(u) is p(x | z) for z_k = mean_p + std_p u_k; encode walks through the means."""
    model, b = build().double(), batch()
    x = b.x.double()
    u = Rng(2).normal("u", len(x), (model.dimensions,), torch.float64)
    z = []
    for k, part in enumerate(model.bound.split(u)):
        z.append(model.prior(k, z, len(x), b.cond).rsample(part))
    assert torch.allclose(model.decode(u, b.cond).mean, model.likelihood(z, b.cond).mean, atol=1e-9)
    z, found = [], model.bound.split(model.encode(x, b.cond).mean)
    for k in range(model.groups):
        p, q = model.prior(k, z, len(x), b.cond), model.posterior(k, x, z, b.cond)
        assert torch.allclose(p.rsample(found[k]), q.mean, atol=1e-9)
        z.append(q.mean)


@torch.no_grad()
def test_groups_lie_on_grids_that_get_finer():
    model = build(widths=(4, 4, 6), groups=(2, 0, 1), latent_channels=(1, 2, 3))
    z, p, q = drawn(model, batch().x, batch().cond, Rng(0))
    assert [tuple(v.shape[1:]) for v in z] == model.bound.top_down.latents == [(3, 2, 1), (1, 5, 4), (1, 5, 4)]
    assert all(a.event_dims == 3 for a in (*p, *q))


@torch.no_grad()
def test_the_prior_of_a_group_depends_on_those_before_and_not_on_those_after():
    model, b = build(), batch()
    z, p, _ = drawn(model, b.x, b.cond, Rng(0))
    for k in range(model.groups):
        for j in range(model.groups):
            moved = [v + 3.0 * (i == j) for i, v in enumerate(z)]
            changed = not torch.equal(model.prior(k, moved, len(b), b.cond).mean, p[k].mean)
            assert changed == (j < k)


def test_condition_changes_and_null_does_not():
    model, b = build(conditional=True), batch()
    null = RawCondition(label=torch.full((6,), -1))
    of = lambda cond: model.score(b.x, cond, Rng(0)).value  # noqa: E731
    assert torch.equal(of(None), of(null))
    assert ((of(b.cond) - of(None)).abs() > 1e-3).all()
    assert torch.equal(model.sample(6, None, Rng(0)), model.sample(6, null, Rng(0)))


def test_free_bits_cost_nothing_below_and_the_kl_above():
    model, b = build(), batch()
    step = next(model.steps(b, Rng(0), Progress(0, 1.0)))
    kl = step.metrics["kl_per_group"]
    floor = float(kl.median())
    freed = build(free_bits=floor)
    eps = Rng(0).normal("z", b.address, (model.dimensions,))
    paid = next(freed.steps(b, Rng(0), Progress(0, 1.0))).terms["rate"]
    each = freed.bound(b.x, eps, None)[1]
    assert torch.allclose(paid, elbo.free_bits(each, floor), atol=1e-4)
    assert torch.allclose(paid, each.clamp_min(floor).sum(1), atol=1e-4)


def test_warm_up_raises_the_weight_of_the_rate():
    model, b = build(kl_warmup=0.5, conditional=False), batch()
    rates = [
        float(next(model.steps(b, Rng(0), Progress(0, f))).terms["rate"].mean().detach()) for f in (0.0, 0.25, 0.5, 1.0)
    ]
    assert rates[0] == 0.0
    assert rates[1] == pytest.approx(0.5 * rates[2], rel=1e-5) and rates[2] == rates[3]


@torch.no_grad()
def test_temperature_scales_the_priors():
    """At temperature 0 all samples are one; with everything else equal it lies between them and the sample at 1."""
    model = build(conditional=False)
    cold = model.sample(4, None, Rng(0), temperature=0.0)
    assert torch.allclose(cold, cold[:1].expand_as(cold), atol=1e-5)
    spread = [float(model.sample(64, None, Rng(0), temperature=t).std(0).mean()) for t in (0.3, 0.7, 1.0)]
    assert spread[0] < spread[1] < spread[2]
    assert torch.equal(model.sample(4, None, Rng(0)), model.sample(4, None, Rng(0), temperature=1.0))


def test_health_names_a_collapse():
    model, b = build(), batch(n=24)
    assert not model.health(b, Rng(0)).warnings
    with torch.no_grad():
        for group in model.bound.top_down.groups:
            group.posterior_out.weight.zero_()
            group.posterior_out.bias.zero_()
            group.prior_out.weight.zero_()
            group.prior_out.bias.zero_()
    found = model.health(b, Rng(0))
    assert found.metrics["groups_in_use"] == 0
    assert "posterior collapse: 0 of 3 groups" in found.warnings[0] and "--free-bits" in found.warnings[0]


def test_it_refuses_what_it_cannot_do():
    with pytest.raises(SpecError, match=r"needs pictures.*families for other data: vae"):
        HierarchicalVAE(HierarchicalVAESpec(), DataSpec(name="points", shape=(2,), kind="continuous"))
    with pytest.raises(SpecError, match="each of the 2 resolutions"):
        HierarchicalVAESpec.parse({"widths": (8, 8), "groups": (1,), "latent_channels": (1, 1)})
    with pytest.raises(SpecError, match="at least one group"):
        HierarchicalVAESpec.parse({"widths": (8, 8), "groups": (0, 0), "latent_channels": (1, 1)})
    with pytest.raises(SpecError, match="bernoulli"):
        build(likelihood="bernoulli")


@pytest.mark.parametrize("thorough", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_it_passes_check_family(thorough):
    options = {"widths": (16, 24), "groups": (1, 2), "latent_channels": (2, 4), "blocks": 1}
    size = {} if thorough else {"skip": LONG_CHECKS, "records": 1024, "steps": 120}
    checked = check_family("hierarchical_vae", options, **size)
    assert not checked.failures, str(checked)
