"""Maps of words: averages of attention, in their place, of the condition that was asked for alone."""

import pytest
import torch
from torch import nn

from morphogen.core.batch import RawCondition
from morphogen.core.data_spec import DataSpec, TextSchema
from morphogen.core.errors import CapabilityError
from morphogen.core.rng import Rng
from morphogen.nn.backbones.dit import DiT
from morphogen.nn.backbones.unet import UNet
from morphogen.nn.conditioning.conditioner import Conditioner
from morphogen.nn.conditioning.word_maps import WordMaps, watched
from morphogen.nn.layers.attention import CrossAttention

DATA = DataSpec(name="d", shape=(1, 8, 8), kind="continuous", text=TextSchema(longest=5, vocabulary=20))


@pytest.fixture(autouse=True)
def _seeded():
    with Rng(0).forked():
        yield


def test_a_call_is_brought_to_the_size_of_the_picture_and_what_was_padded_is_cut():
    """6 x 10 pixels are padded to 8 x 12, and places of 4 x 4 pixels are 2 x 3; one looks at the word alone."""
    weights = torch.zeros(1, 2, 6, 2)
    weights[..., 0] = 1.0
    weights[:, 0, 2] = torch.tensor([0.0, 1.0])  # one of two heads, in the place above on the right
    maps = WordMaps((6, 10), multiple=4)
    maps.add(weights)
    found = maps.mean()
    assert found.shape == (1, 1, 6, 10)
    assert found[0, 0, 0, -1] == pytest.approx(0.4375) and found.max() < 0.5  # column 9 is 1/8 of the way to the left
    assert not found[..., :6].any() and not found[0, 0, -1, :6].any()
    maps.add(torch.full((1, 2, 60 * 2 - 24, 2), 0.5))  # a call at every pixel of the padded picture
    assert torch.allclose(maps.mean(), (found + 0.5) / 2)


@pytest.mark.parametrize("backbone", ["unet", "dit"])
def test_every_layer_of_the_condition_asked_for_counts_once(backbone):
    """And at each pixel the words and the learned key together are 1."""
    conditioner = Conditioner(DATA, 16)
    if backbone == "unet":
        how = {"widths": (16, 16), "blocks": (1, 2), "attention": 2}
        network, layers = UNet(1, 1, cond=16, tokens=True, **how), 4
    else:
        network, layers = DiT(1, 1, cond=16, tokens=True, patch=4, width=16, depth=3), 3
    cond, other = (RawCondition(text=torch.randint(4, 20, (2, 5))) for _ in range(2))
    x, u = torch.randn(2, 1, 6, 10), torch.zeros(2)
    learned = []
    for module in network.modules():
        if isinstance(module, CrossAttention):
            module.register_forward_hook(lambda m, given, out: learned.append(m.weights(*given)[..., 0].mean()))
    with watched({"c": conditioner, "n": network}, cond, (6, 10)) as seen:
        network(x, u, conditioner(cond, 2))
        before = len(learned)
        network(x, u, conditioner(other, 2))
        network(x, u, conditioner(None, 2))
    assert before == layers == seen.calls
    found = seen.mean()
    assert found.shape == (2, 5, 6, 10) and (found > 0).all() and (found.sum(1) < 1).all()
    network(x, u, conditioner(cond, 2))
    assert seen.calls == layers, "nothing is watched afterwards"
    alone = RawCondition(text=cond.text, text_mask=torch.tensor([[True, True, False, False, False]] * 2))
    with watched({"c": conditioner, "n": network}, alone, (6, 10)) as seen:
        network(x, u, conditioner(alone, 2))
    assert not seen.mean()[:, 2:].any() and (seen.mean()[:, :2] > 0).all(), "what is hidden draws nothing"


def test_networks_that_look_at_no_words_are_refused():
    plain = UNet(1, 1, widths=(16,), blocks=(1,), cond=16, tokens=False)
    with pytest.raises(CapabilityError, match="as one vector alone"), watched({"n": plain}, RawCondition(), (8, 8)):
        pass
    with watched({"n": nn.ModuleList([CrossAttention(8, 4)])}, RawCondition(), (8, 8)) as seen:
        pass
    with pytest.raises(CapabilityError, match="cross-attention"):
        seen.mean()
