"""Generators and discriminators: shapes, records that stand for themselves, slopes, and how they begin."""

import pytest
import torch
import torch.nn.functional as F

from morphogen.core.rng import Rng
from morphogen.nn.backbones.adversarial_nets import (
    MLPDiscriminator,
    MLPGenerator,
    PictureDiscriminator,
    PictureGenerator,
    Sloped,
    _Resampled,
)
from morphogen.nn.inversion import inverted

SHAPE, COND = (3, 13, 10), 5


def build(make, *arguments, moved=True, **options):
    """In float64; `moved` away from the zeros that residual branches begin with."""
    with Rng(0).forked():
        network = make(*arguments, **options).double()
        for p in network.parameters() if moved else ():
            p.data.add_(0.1 * torch.randn_like(p))
    return network.eval()


def draw(name, n, shape):
    return Rng(3).normal(name, n, shape, torch.float64)


GENERATORS = {
    "conv": lambda **how: build(PictureGenerator, 6, SHAPE, (8, 12), **how),
    "mlp": lambda **how: build(MLPGenerator, 6, SHAPE, (16, 16), **how),
}
DISCRIMINATORS = {
    "conv": lambda **how: build(PictureDiscriminator, SHAPE, (8, 12), cond=COND, **how),
    "mlp": lambda **how: build(MLPDiscriminator, SHAPE, (16, 16), cond=COND, **how),
}


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (4, 13, 10), (1, 5, 3)])
@pytest.mark.parametrize("widths", [(8,), (4, 6, 8)])
def test_pictures_of_any_size_go_out_and_in(shape, widths):
    free, bounded = (build(PictureGenerator, 6, shape, widths, bounded=b) for b in (False, True))
    x = bounded(draw("z", 2, (6,)))
    assert x.shape == (2, *shape) and torch.equal(x, free(draw("z", 2, (6,))).tanh())
    assert build(PictureDiscriminator, shape, widths)(x).shape == (2,)


@pytest.mark.parametrize("kind", GENERATORS)
def test_records_stand_for_themselves(kind):
    generator, discriminator = GENERATORS[kind](), DISCRIMINATORS[kind]()
    z, c = draw("z", 4, (6,)), draw("c", 4, (COND,))
    x = generator(z)
    for i in range(4):
        assert torch.allclose(generator(z[i : i + 1]), x[i : i + 1], atol=1e-12)
        assert torch.allclose(discriminator(x[i : i + 1], c[i : i + 1]), discriminator(x, c)[i], atol=1e-12)


@pytest.mark.parametrize("kind", DISCRIMINATORS)
def test_the_condition_projects_the_features(kind):
    """l(x, c) - l(x, 0) is linear in c."""
    network, x = DISCRIMINATORS[kind](), draw("x", 4, SHAPE)
    a, b = draw("c", 8, (COND,)).split(4)
    base = network(x)
    assert torch.equal(network(x, 0 * a), base)
    both = network(x, 2 * a - b) - base
    assert torch.allclose(both, 2 * (network(x, a) - base) - (network(x, b) - base), atol=1e-12)
    assert both.abs().min() > 1e-6


def test_the_picture_as_a_condition_enters_everywhere_and_nothing_is_zero():
    generator = build(PictureGenerator, 6, SHAPE, (8, 12), context=2)
    discriminator = build(PictureDiscriminator, SHAPE, (8, 12), context=2)
    z, context = draw("z", 2, (6,)), draw("context", 2, (2, 7, 5)).requires_grad_()
    (gradient,) = torch.autograd.grad(generator(z, context)[0].sum(), context)
    assert gradient[0].ne(0).all() and not gradient[1].any()
    with torch.no_grad():
        assert torch.allclose(generator(z), generator(z, torch.zeros_like(context)))
        x = generator(z)
        assert torch.allclose(discriminator(x), discriminator(x, None, torch.zeros_like(context)))
        assert not torch.allclose(discriminator(x), discriminator(x, None, context))


def test_residual_branches_begin_as_nothing():
    """So the depth changes neither what a new network gives out nor, to first order, how it changes."""
    one, many = (build(PictureDiscriminator, SHAPE, (8,), blocks=b, moved=False) for b in (1, 5))
    for block in [*one.stages[0], *many.stages[0]]:
        h = draw("h", 2, (8, 7, 5))
        assert torch.equal(block(h), h)
    assert float(many.stages[0][0].first.weight.detach().std()) == pytest.approx(
        float(one.stages[0][0].first.weight.detach().std()) / 5**0.5, rel=0.1
    )


@pytest.mark.parametrize("sizes", [((4, 4), (7, 7)), ((3, 5), (6, 9)), ((1, 2), (2, 4))])
def test_resampling_is_bilinear(sizes):
    x = draw("x", 2, (3, *sizes[0]))
    expected = F.interpolate(x, size=sizes[1], mode="bilinear")
    assert torch.allclose(_Resampled(*sizes).double()(x), expected, atol=1e-6)  # its weights are made in float32


@pytest.mark.parametrize("kind", DISCRIMINATORS)
def test_slopes_are_those_of_each_logit(kind):
    """Against the gradient from outside, and its derivative by the parameters against finite differences."""
    network = Sloped(DISCRIMINATORS[kind]())
    x, c = draw("x", 3, SHAPE), draw("c", 3, (COND,))
    logits, slope = network(x, c, slope=True)
    at = x.clone().requires_grad_()
    for i in range(3):
        (gradient,) = torch.autograd.grad(network.network(at, c)[i], at)
        assert not gradient[torch.arange(3) != i].any()
        assert torch.allclose(slope[i], gradient.square().sum(), rtol=1e-9)
    plain, none = network(x, c)
    assert torch.equal(plain, logits) and none is None
    p = next(p for n, p in network.named_parameters() if n.endswith(("first.weight", "layers.0.weight")))
    (found,) = torch.autograd.grad(slope.sum() + logits.sum(), p)
    direction = Rng(5).normal("direction", 1, p.shape, torch.float64)[0]

    def value(t):
        with torch.no_grad():
            p.add_(t * direction)
            logits, slope = network(x, c, slope=True)
            p.sub_(t * direction)
        return float(slope.sum() + logits.sum())

    h = 1e-6
    assert (value(h) - value(-h)) / (2 * h) == pytest.approx(float((found * direction).sum()), rel=1e-5)


@pytest.mark.parametrize("kind", DISCRIMINATORS)
def test_spectral_normalization_bounds_every_map(kind):
    """Each weight's largest singular value comes to 1, whatever the weights are; slopes can be taken through it."""
    network = DISCRIMINATORS[kind](spectral=True)
    x, c = draw("x", 4, SHAPE), draw("c", 4, (COND,))
    network.train()
    for _ in range(100):  # iterations of the power method
        network(x, c)
    network.eval()
    weights = [m.weight for m in network.modules() if hasattr(m, "parametrizations")]
    assert len(weights) == sum("original" in n for n, _ in network.named_parameters()) >= 4
    for weight in weights:
        assert float(torch.linalg.matrix_norm(weight.detach().flatten(1), 2)) == pytest.approx(1.0, abs=0.01)
    slope = Sloped(network)(x, c, slope=True)[1]
    assert torch.isfinite(slope).all() and (slope > 0).all()


@pytest.mark.parametrize("kind", GENERATORS)
def test_the_first_map_says_how_far_the_first_features_move(kind):
    generator = GENERATORS[kind]()
    z, dz = draw("z", 2, (6,))
    features = generator.first if kind == "conv" else generator.layers[0]
    moved = (features(z + dz) - features(z)).norm()
    assert float((generator.first_map() @ dz).norm().detach()) == pytest.approx(float(moved.detach()), rel=1e-9)


def test_inversion_finds_the_minimum_of_each_row_by_itself():
    """Of a quadratic, and of one with two valleys, of which a start in each must be tried."""
    target = draw("target", 5, (3,))
    starts = draw("start", 4, (3,))

    def quadratic(z, rows):
        return (z - target[rows]).square().sum(1)

    found = inverted(quadratic, 5, starts, 300)
    assert not found.requires_grad and torch.allclose(found, target, atol=1e-3)
    alone = inverted(lambda z, rows: quadratic(z, rows + 2), 1, starts, 300)
    assert torch.equal(alone[0], found[2])

    def valleys(z, rows):  # the lower one is at -1
        return ((z.square() - 1).square() + 0.3 * z).sum(1)

    near = torch.tensor([[1.1]], dtype=torch.float64)
    assert float(inverted(valleys, 1, near, 200)) > 0.5
    assert float(inverted(valleys, 1, torch.cat((near, -near)), 200)) < -0.5
