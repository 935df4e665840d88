"""The patch discriminator judges patches: what a logit sees, and its shapes."""

import pytest
import torch

from morphogen.core.rng import Rng
from morphogen.nn.backbones.patch_discriminator import PatchDiscriminator


@pytest.mark.parametrize("widths", [(4,), (4, 6), (4, 6, 8)])
def test_a_logit_depends_on_its_receptive_field_and_on_nothing_else(widths):
    with Rng(0).forked():
        network = PatchDiscriminator(2, widths).double()
    x = Rng(1).normal("x", 2, (2, 64, 64), torch.float64).requires_grad_()
    logits = network(x)
    stages = len(widths)  # the side of what a logit sees: 1 + sum of (kernel - 1) times the strides before the layer
    receptive_field = 1 + sum(3 * 2**i for i in range(stages)) + 2 * 2**stages
    row, column = logits.shape[1] // 2, logits.shape[2] // 2
    (gradient,) = torch.autograd.grad(logits[0, row, column], x)
    assert (gradient[1] == 0).all()  # nor on other records
    seen = gradient[0].abs().sum(0) > 0
    for axis in (0, 1):
        places = seen.any(axis).nonzero().flatten()
        assert int(places[-1] - places[0]) + 1 == receptive_field
    assert int(seen.sum()) <= receptive_field**2 < 64**2


@pytest.mark.parametrize("size", [(32, 32), (13, 10), (3, 5), (1, 1)])
def test_there_is_one_logit_for_each_square_of_pixels(size):
    with Rng(0).forked():
        network = PatchDiscriminator(3, (4, 8))
    assert network(torch.zeros(2, 3, *size)).shape == (2, -(-size[0] // 4), -(-size[1] // 4))
