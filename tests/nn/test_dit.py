"""The diffusion transformer: its blocks' formula, positions, parameters, and how it treats patches."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from morphogen.core.rng import Rng
from morphogen.nn.backbones import dit
from morphogen.nn.backbones.dit import DiT, DiTBlock, positions


@pytest.fixture(autouse=True)
def _seeded():
    with Rng(0).forked():
        yield


def moved(net):
    for p in net.parameters():
        if not p.any():
            nn.init.normal_(p, std=0.1)
    return net.double()


def test_a_block_starts_as_the_identity_and_equals_its_formula():
    block = DiTBlock(16, 5, 0, 0.0).double()
    x, e = torch.randn(2, 7, 16).double(), torch.randn(2, 5).double()
    assert torch.equal(block(x, e, None), x)
    moved(block)
    s1, b1, g1, s2, b2, g2 = (part[:, None] for part in block.modulate(e).chunk(6, dim=1))
    h = x + g1 * block.itself(F.layer_norm(x, (16,)) * (1 + s1) + b1)
    expected = h + g2 * block.perceptron(F.layer_norm(h, (16,)) * (1 + s2) + b2)
    assert torch.allclose(block(x, e, None), expected, atol=1e-10)


def test_positions_are_sines_and_cosines_of_row_and_column():
    p = positions(3, 5, 16).unflatten(0, (3, 5))
    for i, j, k in ((0, 0, 0), (2, 4, 1), (1, 3, 3)):
        w = torch.tensor(1e4 ** (-k / 4))
        expected = torch.stack(((i * w).sin(), (i * w).cos(), (j * w).sin(), (j * w).cos()))
        assert torch.allclose(p[i, j, k::4], expected, atol=1e-6)


def test_positions_tell_places_apart_and_do_not_depend_on_the_picture_s_size():
    p = positions(32, 32, 64)
    assert (torch.cdist(p, p) + torch.eye(1024)).min() > 0.1
    assert torch.equal(positions(9, 4, 64).unflatten(0, (9, 4)), p.unflatten(0, (32, 32))[:9, :4])


def test_without_positions_patches_are_a_set(monkeypatch):
    net = moved(DiT(1, 1, patch=2, width=16, depth=2))
    x, u = torch.randn(1, 1, 8, 8).double(), torch.zeros(1).double()

    def swapped(y):  # two patches change places
        y = y.clone()
        y[..., 0:2, 0:2], y[..., 4:6, 6:8] = y[..., 4:6, 6:8].clone(), y[..., 0:2, 0:2].clone()
        return y

    assert not torch.allclose(net(swapped(x), u), swapped(net(x, u)), atol=1e-3), "positions count"
    monkeypatch.setattr(dit, "positions", lambda rows, columns, width, device: torch.zeros(rows * columns, width))
    assert torch.allclose(net(swapped(x), u), swapped(net(x, u)), atol=1e-12)


def test_the_number_of_parameters():
    w, depth, patch = 32, 3, 2
    net = DiT(3, 6, patch=patch, width=w, depth=depth)
    block = 6 * w * (w + 1) + (4 * w * w + 4 * w) + (8 * w * w + 5 * w)
    expected = (
        (64 * w + w) + (w * w + w)  # the embedding of 32 frequencies
        + (3 * patch**2 + 1) * w + depth * block
        + 2 * w * (w + 1) + 6 * patch**2 * (w + 1)
    )  # fmt: skip
    assert sum(p.numel() for p in net.parameters()) == expected


def test_odd_sizes_are_padded_and_cropped():
    net = moved(DiT(1, 1, patch=4, width=16, depth=2))
    x, u = torch.randn(2, 1, 10, 13).double(), torch.zeros(2).double()
    assert torch.allclose(net(x, u), net(F.pad(x, (0, 3, 0, 2)), u)[..., :10, :13], atol=1e-12)
