"""Encoders to a grid of latents and decoders from it: shapes for every size, locality, one pixel's path."""

import pytest
import torch

from morphogen.core.rng import Rng
from morphogen.nn.backbones.spatial import PictureLayer, SpatialDecoder, SpatialEncoder, grid

SIZES = [(8, 8), (13, 10), (7, 7), (1, 3), (32, 20)]


@pytest.mark.parametrize("widths", [(8,), (8, 16), (8, 12, 16)])
@pytest.mark.parametrize("size", SIZES)
def test_shapes_for_any_size(size, widths):
    with Rng(0).forked():
        encoder = SpatialEncoder(3, widths, 5, blocks=1)
        decoder = SpatialDecoder(5, widths, blocks=1)
        last = PictureLayer(widths[0], (3, *size), 2)
    f = 2 ** len(widths)
    h = encoder(Rng(0).normal("x", 2, (3, *size)))
    assert h.shape == (2, 5, -(-size[0] // f), -(-size[1] // f)) == (2, 5, *grid(size, len(widths)))
    assert last(decoder(h)).shape == (2, 2, 3, *size)


def test_every_pixel_reaches_the_latents_and_is_rebuilt_from_them():
    """Also those of the odd row and column that padding completes."""
    with Rng(0).forked():
        encoder, decoder = SpatialEncoder(1, (8, 8), 3, blocks=1), SpatialDecoder(3, (8, 8), blocks=1)
        last = PictureLayer(8, (1, 9, 7))
    x = Rng(0).normal("x", 1, (1, 9, 7)).requires_grad_()
    z = encoder(x)
    (gradient,) = torch.autograd.grad(z.square().sum(), x)
    assert (gradient != 0).all()
    z = z.detach().requires_grad_()
    rebuilt = last(decoder(z))[0, 0, 0]
    for row, column in ((0, 0), (8, 6), (4, 3)):
        (gradient,) = torch.autograd.grad(rebuilt[row, column], z, retain_graph=True)
        assert gradient.any()


def test_a_latent_describes_its_own_place():
    """Moving a picture by f pixels moves the grid by one, away from the borders."""
    with Rng(0).forked():
        encoder = SpatialEncoder(1, (8, 8), 3, blocks=1)
    x = torch.zeros(1, 1, 96, 96)
    x[..., 40:48, 40:48] = Rng(0).normal("x", 1, (1, 8, 8))
    a, b = encoder(x), encoder(x.roll((4, 8), (2, 3)))
    inner = (slice(None), slice(None), slice(4, -4), slice(4, -4))
    assert torch.allclose(a.roll((1, 2), (2, 3))[inner], b[inner], atol=1e-4)
    assert not torch.allclose(a[inner], b[inner], atol=1e-2)
