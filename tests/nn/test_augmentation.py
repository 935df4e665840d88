"""Differentiable augmentation: transforms in closed form, nothing at strength 0, and a strength that finds its way."""

import pytest
import torch

from morphogen.core.rng import Rng
from morphogen.nn.layers.augmentation import (
    DRAWS,
    STRONGEST,
    AdaptiveStrength,
    augmented,
    brightened,
    contrasted,
    cut_out,
    saturated,
    translated,
)

ONE = torch.ones(())


def pictures(shape=(3, 9, 12), n=4):
    return Rng(0).uniform("x", n, shape, torch.float64) * 2 - 1


def draws(n, seed=1):
    return Rng(seed).uniform("augment", n, (DRAWS,))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 12), (4, 7, 7)])
def test_strength_zero_leaves_every_bit_and_every_gradient(shape):
    x = pictures(shape).float().requires_grad_()
    y = augmented(x, 0 * ONE, draws(4))
    assert torch.equal(y, x)
    v = Rng(2).normal("v", 4, shape)
    assert torch.equal(torch.autograd.grad(y, x, v)[0], v)


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 16, 16)])
def test_each_picture_depends_on_its_own_draws_and_each_transform_on_its_gate(shape):
    x, u = pictures(shape, 6), draws(6)
    whole = augmented(x, 0.7 * ONE, u)
    assert torch.equal(whole[2:4], augmented(x[2:4], 0.7 * ONE, u[2:4]))
    gates = u.clone()
    for k, changes in enumerate((True, True, shape[0] >= 3, True, True)):
        gates[:, :5] = 1.0
        gates[:, k] = 0.0
        gates[:, 5:] = 0.9  # off the middle, where all of them would do nothing
        assert torch.equal(augmented(x, 0.5 * ONE, gates), x) is not changes


def test_transforms_are_applied_as_often_as_the_strength_says():
    """A share of 4000 pictures that stay is within 4.5 standard errors of (1 - s)^4: a false alarm in 10^5."""
    x, s = pictures((1, 8, 8), 1).expand(4000, -1, -1, -1), 0.3
    # A translation by (0, 0), of 3 x 3, and a cutout that only touches what is 0 already leave a picture, too.
    stays = (augmented(x, s * ONE, draws(4000)) == x).flatten(1).all(1).double().mean()
    expected = (1 - s) ** 3 * (1 - s * 8 / 9)
    assert abs(float(stays) - expected) < 4.5 * (expected * (1 - expected) / 4000) ** 0.5


def test_brightness_contrast_and_saturation_are_affine():
    x, a = pictures(), torch.tensor([-0.5, 0.0, 0.3, 0.5], dtype=torch.float64)
    assert torch.allclose(brightened(x, a) - x, a[:, None, None, None].expand_as(x))
    y = contrasted(x, 1 + a)
    assert torch.allclose(y.mean((1, 2, 3)), x.mean((1, 2, 3)))
    assert torch.allclose(y.flatten(1).std(1), (1 + a) * x.flatten(1).std(1))
    y = saturated(x, 1 + a)
    assert torch.allclose(y.mean(1), x.mean(1))
    assert torch.allclose(y.std(1), (1 + a)[:, None, None] * x.std(1))
    gray = saturated(x, torch.zeros(4, dtype=torch.float64))
    assert torch.allclose(gray, x.mean(1, keepdim=True).expand_as(x))
    with_alpha = pictures((4, 5, 5))
    assert torch.equal(saturated(with_alpha, 1 + a)[:, 3], with_alpha[:, 3])


def test_translation_moves_pixels_and_fills_with_zero():
    x = pictures()
    y = translated(x, torch.tensor([2, 0, -3, 9]), torch.tensor([1, -4, 0, 0]))
    assert torch.equal(y[0, :, 2:, 1:], x[0, :, :-2, :-1]) and not y[0, :, :2].any() and not y[0, :, :, :1].any()
    assert torch.equal(y[1, :, :, :-4], x[1, :, :, 4:]) and not y[1, :, :, -4:].any()
    assert torch.equal(y[2, :, :-3], x[2, :, 3:]) and not y[2, :, -3:].any()
    assert not y[3].any()


@pytest.mark.parametrize("size", [(8, 8), (9, 12), (5, 7)])
def test_cutout_takes_a_square_of_half_of_each_side(size):
    x = torch.ones(3, 2, *size)
    h, w = size
    at = torch.tensor([h // 2, 0, h - 1]), torch.tensor([w // 2, 0, w - 1])
    y = cut_out(x, *at)
    gone = (y == 0).all(1)
    assert torch.equal((y == 0).any(1), gone)
    assert int(gone[0].sum()) == -(-h // 2) * -(-w // 2)
    for i in range(3):
        assert bool(gone[i, at[0][i], at[1][i]])
        rows, columns = gone[i].any(1), gone[i].any(0)
        assert torch.equal(gone[i], rows[:, None] & columns)  # a rectangle
    assert 0 < int(gone[1].sum()) < int(gone[0].sum())  # partly outside


def test_gradients_pass_through_it():
    x = pictures((3, 8, 8), 3).requires_grad_()
    u = draws(3)
    u[:, :5] = 0.0  # all transforms
    assert torch.autograd.gradcheck(lambda v: augmented(v, ONE, u), (x,))
    (gradient,) = torch.autograd.grad(augmented(x, ONE, u).square().sum(), x)
    assert gradient.flatten(1).any(1).all()


def test_the_strength_rises_while_records_are_taken_for_real_and_falls_while_they_are_not():
    strength = AdaptiveStrength(target=0.6, records=1000)
    for i in range(1, 5):
        strength.observe(torch.full((50,), 2.0))
        strength.commit()
        assert float(strength.strength) == pytest.approx(0.05 * i)
    strength.observe(torch.cat((torch.full((70,), 0.1), torch.full((30,), -9.0))))  # mean sign 0.4
    strength.commit()
    assert float(strength.strength) == pytest.approx(0.1)
    for _ in range(100):
        strength.observe(torch.ones(50))
        strength.commit()
    assert float(strength.strength) == pytest.approx(STRONGEST)
    for _ in range(100):
        strength.observe(-torch.ones(50))
        strength.commit()
    assert float(strength.strength) == 0.0


def test_parts_of_a_batch_move_it_once_and_by_their_mean():
    """One part alone is above the target, both together are below; a second commit does nothing."""
    whole, parts = (AdaptiveStrength(target=0.6, records=100) for _ in range(2))
    with torch.no_grad():
        for s in (whole, parts):
            s.strength.fill_(0.5)
    verdict = torch.cat((torch.ones(8), -torch.ones(8)))
    whole.observe(verdict)
    whole.commit()
    for part in verdict.split(8):
        parts.observe(part)
    for _ in range(2):
        parts.commit()
    assert torch.equal(whole.strength, parts.strength) and float(parts.strength) == pytest.approx(0.34)
    assert set(parts.state_dict()) == {"strength"}
