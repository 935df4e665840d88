"""The U-Net: its blocks' formula, memory format, parameters, and how it treats places."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from morphogen.core.rng import Rng
from morphogen.nn.backbones.unet import TimedResidualBlock, UNet
from morphogen.nn.layers.attention import SelfAttention
from morphogen.nn.layers.norm import GroupNorm
from morphogen.nn.layers.sizes import padded, resized


@pytest.fixture(autouse=True)
def _seeded():
    with Rng(0).forked():
        yield


def moved(net):
    for p in net.parameters():
        if not p.any():
            nn.init.normal_(p, std=0.1)
    return net.double()


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def test_a_block_starts_as_the_identity_and_equals_its_formula():
    block = TimedResidualBlock(16, 5, skip=True, dropout=0.0).double()
    x, skip, e = torch.randn(2, 16, 6, 7).double(), torch.randn(2, 16, 6, 7).double(), torch.randn(2, 5).double()
    assert torch.equal(block(x, e, skip), x)
    moved(block)
    both = torch.cat((F.silu(block.norm1(x)), skip), dim=1)
    weight = torch.cat((block.conv1.weight, block.skip.weight), dim=1)
    y = F.conv2d(both, weight, block.conv1.bias, padding=1)
    scale, shift = (part[:, :, None, None] for part in block.modulate(e).chunk(2, dim=1))
    expected = x + block.conv2(F.silu((1 + scale) * block.norm2(y) + shift))
    assert torch.allclose(block(x, e, skip), expected, atol=1e-10)


def test_dropout_acts_in_training_only():
    net = moved(UNet(1, 1, widths=(16,), blocks=(1,), dropout=0.5)).float()
    x, u = torch.randn(2, 1, 8, 8), torch.zeros(2)
    assert not torch.equal(net(x, u), net(x, u))
    net.eval()
    assert torch.equal(net(x, u), net(x, u))


@pytest.mark.parametrize("channels, fold", [(1, 1), (3, 1), (3, 2)])
@pytest.mark.parametrize("bf16", (False, True))
def test_everything_inside_is_channels_last_and_normalized_in_groups_of_sixteen(channels, fold, bf16):
    net = UNet(channels, 3, widths=(32, 48), blocks=(1, 1), fold=fold)
    seen = []

    def look(layer, args):
        seen.append(args[0].is_contiguous(memory_format=torch.channels_last))

    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.GroupNorm) and layer is not net.stem:
            layer.register_forward_pre_hook(look)
        if isinstance(layer, GroupNorm):
            assert layer.num_channels // layer.num_groups == 16
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        net(torch.randn(2, channels, 8, 8), torch.zeros(2))
    assert len(seen) > 10 and all(seen)


def test_the_number_of_parameters():
    w0, w1, e = 16, 32, 64
    net = UNet(1, 2, widths=(w0, w1), blocks=(2, 3), attention=1)

    def block(w, skip):
        return 2 * (9 * w * w + w) + 4 * w + 2 * w * (e + 1) + skip * 9 * w * w

    attention = 2 * w1 + 4 * w1 * w1 + 4 * w1
    expected = (
        (64 * e + e) + (e * e + e)  # the embedding of 32 frequencies
        + (9 * w0 + w0) + 2 * block(w0, False) + (4 * w0 * w1 + w1)  # down
        + 3 * (block(w1, False) + attention)
        + (w1 * w0 + w0) + 2 * block(w0, True) + 2 * w0 + (9 * w0 * 2 + 2)  # up
    )  # fmt: skip
    assert parameters(net) == expected


def test_attention_sits_at_the_lowest_resolutions():
    def places(attention):
        net = UNet(1, 1, widths=(16, 16, 16), blocks=(1, 1, 1), attention=attention)
        return {
            name.split(".residual")[0].split(".attention")[0]
            for name, m in net.named_modules()
            if isinstance(m, SelfAttention)
        }

    assert places(0) == set()
    assert places(1) == {"middle.0"}
    assert places(2) == {"middle.0", "down.1.0", "up.1.0"}


def test_odd_sizes_are_padded_and_cropped():
    net = moved(UNet(1, 1, widths=(16, 16, 16), blocks=(1, 1, 1)))
    x, u = torch.randn(2, 1, 13, 18).double(), torch.zeros(2).double()
    assert torch.allclose(net(x, u), net(F.pad(x, (0, 2, 0, 3)), u)[..., :13, :18], atol=1e-12)


def test_what_moves_in_the_picture_moves_in_the_output():
    """Without attention, by whole cells of the lowest resolution, and away from the borders."""
    net = moved(UNet(1, 1, widths=(16, 16), blocks=(1, 1), attention=0))
    u, spot = torch.zeros(1).double(), torch.randn(1, 1, 4, 4).double()

    def shown(i, j):
        x = torch.zeros(1, 1, 72, 72).double()
        x[..., i : i + 4, j : j + 4] = spot
        return net(x, u)

    reach = 14  # pixels that a spot or a border changes, at most
    one = shown(30, 32)[..., 30 - reach : 34 + reach, 32 - reach : 36 + reach]
    two = shown(36, 28)[..., 36 - reach : 40 + reach, 28 - reach : 32 + reach]
    assert torch.allclose(one, two, atol=1e-10)
    assert one.std() > 1e-3
    odd = shown(31, 32)[..., 31 - reach : 35 + reach, 32 - reach : 36 + reach]
    assert not torch.allclose(one, odd, atol=1e-4), "the test sees a difference where there is one"


def test_context_of_another_size_is_resized_to_the_picture():
    x = torch.arange(4.0).reshape(1, 1, 2, 2)
    assert resized(x, (2, 2)) is x
    up = resized(x, (8, 6))
    assert up.shape == (1, 1, 8, 6) and abs(float(up.mean()) - 1.5) < 1e-5
    assert torch.allclose(resized(torch.ones(1, 2, 9, 7), (4, 4)), torch.ones(1, 2, 4, 4))
    assert (
        padded(torch.ones(1, 1, 5, 8), 4).shape == (1, 1, 8, 8) and float(padded(torch.ones(1, 1, 5, 8), 4).sum()) == 40
    )
