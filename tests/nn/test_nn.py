"""Networks: shapes for every size, the guard of group normalization, conditions, the flow's exact inverse."""

import math

import pytest
import torch

from morphogen.core.batch import Batch, RawCondition
from morphogen.core.data_spec import Attribute, DataSpec
from morphogen.core.distributions import LOG_2PI
from morphogen.core.errors import SpecError
from morphogen.core.rng import Rng
from morphogen.nn.backbones.conv import ConvDecoder, ConvEncoder
from morphogen.nn.backbones.encoders import backbone, centered
from morphogen.nn.backbones.mlp import MLP, MLPDecoder, MLPEncoder
from morphogen.nn.conditioning.conditioner import Conditioner, drop_conditions
from morphogen.nn.distributions.flow_prior import FlowPrior
from morphogen.nn.layers.norm import GroupNorm


@pytest.fixture(autouse=True)
def _seeded():
    with Rng(0).forked():
        yield


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 48), (1, 13, 17), (4, 5, 5)])
def test_conv_pairs_keep_odd_sizes(shape):
    encoder = ConvEncoder(shape, (8, 16, 16), 6, blocks=1, cond=3)
    decoder = ConvDecoder(6, (8, 16, 16), shape, 2, blocks=1, cond=3)
    x, c = torch.randn(2, *shape), torch.randn(2, 3)
    h = encoder(x, c)
    assert h.shape == (2, 6)
    assert decoder(h, c).shape == (2, 2, *shape)


def test_mlp_pair_shapes():
    encoder, decoder = MLPEncoder((1, 4, 4), (8,), 6), MLPDecoder(3, (8,), (1, 4, 4), 2)
    assert encoder(torch.randn(5, 1, 4, 4)).shape == (5, 6)
    assert decoder(torch.randn(5, 3)).shape == (5, 2, 1, 4, 4)


def test_gated_mlp_is_its_formula():
    net = MLP(3, (4,), 2, gated=True).double()
    x = torch.randn(5, 3, dtype=torch.float64)
    value, gate = net.layers[0](x).chunk(2, dim=-1)
    assert torch.allclose(net(x), net.out(value * gate.sigmoid()), atol=1e-12)


def test_condition_enters_every_hidden_layer():
    net = MLP(3, (4, 4), 2, cond=2)
    x = torch.randn(5, 3)
    plain = net(x)
    for layer in net.conditions:
        moved = [other.weight.clone() for other in net.conditions]
        for other in net.conditions:
            other.weight.data.zero_()
        assert torch.equal(net(x, torch.ones(5, 2)), net(x)), "a zero condition weight is no condition"
        for other, weight in zip(net.conditions, moved, strict=True):
            other.weight.data.copy_(weight)
        layer.weight.data.normal_()
        assert not torch.allclose(net(x, torch.ones(5, 2)), plain)


def test_group_norm_equals_torch_and_survives_channels_last_without_gradient():
    ours, reference = GroupNorm(16), torch.nn.GroupNorm(8, 16)
    x = torch.randn(4, 16, 6, 6).to(memory_format=torch.channels_last)
    assert torch.equal(ours(x), reference(x.contiguous()))
    ours(x).square().sum().backward()  # the input needs no gradient: where torch's own crashes
    assert torch.isfinite(ours.weight.grad).all() and ours.weight.grad.any()


def test_group_norm_takes_any_channel_count():
    assert GroupNorm(12).num_groups == 4
    assert GroupNorm(7).num_groups == 1


def test_flow_inverts_and_its_density_is_exact():
    flow = FlowPrior(5).double()
    for p in flow.parameters():
        torch.nn.init.normal_(p, std=0.15)
    u = torch.randn(6, 5, dtype=torch.float64)
    z = flow.transform(u)
    jacobians = torch.stack(
        [torch.autograd.functional.jacobian(lambda v: flow.transform(v[None])[0], row) for row in u]
    )
    exact = -0.5 * (u.square() + LOG_2PI).sum(-1) - torch.linalg.slogdet(jacobians)[1]
    assert torch.allclose(flow.log_prob(z), exact, atol=1e-9)
    assert not torch.allclose(z, u, atol=0.1), "the test flow is not the identity"


def test_flow_density_integrates_to_one():
    flow = FlowPrior(2, layers=4, hidden=16).double()
    for p in flow.parameters():
        torch.nn.init.normal_(p, std=0.3)
    side = torch.linspace(-12, 12, 801, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side)
    mass = flow.log_prob(grid).detach().exp().sum() * (24 / 800) ** 2
    assert abs(float(mass) - 1) < 1e-3


SPEC = DataSpec(
    name="d",
    shape=(2,),
    kind="continuous",
    classes=("a", "b", "c"),
    attributes=(Attribute(name="age"), Attribute(name="tone", values=("light", "dark"))),
)


def test_conditioner_gives_a_token_a_field_and_none_equals_null():
    net = Conditioner(SPEC, 8)
    null = RawCondition(
        label=torch.full((4,), -1), attributes=torch.randn(4, 2), present=torch.zeros(4, 2, dtype=torch.bool)
    )
    nothing = net(None, 4)
    assert nothing.tokens.shape == (4, 3, 8) and nothing.mask.all()
    assert torch.equal(nothing.tokens, net(null, 4).tokens)
    assert torch.equal(nothing.pooled, net(null, 4).pooled)


def test_conditioner_hides_what_is_not_present():
    net = Conditioner(SPEC, 8)
    present = torch.tensor([[True, False]])
    one = net(RawCondition(torch.tensor([1]), torch.tensor([[0.3, 0.0]]), present), 1).tokens
    two = net(RawCondition(torch.tensor([1]), torch.tensor([[0.3, 1.0]]), present), 1).tokens
    assert torch.equal(one, two), "an absent attribute has no value"
    three = net(RawCondition(torch.tensor([1]), torch.tensor([[0.4, 0.0]]), present), 1).tokens
    assert not torch.equal(one[:, 1], three[:, 1]) and torch.equal(one[:, 0], three[:, 0])


def test_partly_hidden_conditions_are_hidden_whole():
    label, n = torch.arange(400) % 3, 400
    cond = RawCondition(label=label, attributes=torch.ones(n, 2))
    b = Batch(torch.zeros(n, 2), torch.arange(n), cond)
    hidden = drop_conditions(b, Rng(0), 0.5)
    gone = hidden.label == -1
    assert abs(float(gone.double().mean()) - 0.5) < 0.125  # five standard errors
    assert torch.equal(hidden.label[~gone], label[~gone])
    assert not hidden.present[gone].any() and float(hidden.present[~gone].double().mean()) > 0.6
    assert drop_conditions(b, Rng(0), 0.0) is cond


def test_conditioner_needs_something_to_condition_on():
    with pytest.raises(SpecError, match="has none"):
        Conditioner(DataSpec(name="d", shape=(2,), kind="continuous"), 8)


def test_backbone_and_centering():
    picture = DataSpec(name="p", shape=(1, 28, 28), kind="binary", levels=2)
    points = DataSpec(name="q", shape=(2,), kind="continuous")
    assert (backbone("auto", picture), backbone("auto", points)) == ("conv", "mlp")
    with pytest.raises(SpecError, match="use backbone 'mlp'"):
        backbone("conv", points)
    assert centered(torch.tensor([0.0, 1.0]), picture).tolist() == [-1.0, 1.0]
    discrete = DataSpec(name="k", shape=(1, 2, 2), kind="discrete", levels=5)
    assert centered(torch.tensor([0, 4]), discrete).tolist() == [-1.0, 1.0]
    assert math.isclose(float(centered(torch.tensor([0.25]), points)), 0.25)


def test_some_of_several_attributes_are_dropped_by_themselves():
    n = 4000
    cond = RawCondition(attributes=torch.zeros(n, 2))
    batch = Batch(torch.zeros(n, 2), torch.arange(n), cond)
    present = drop_conditions(batch, Rng(0), 0.2).present
    alone = float((present.sum(1) == 1).double().mean())
    assert alone == pytest.approx(0.8 * 0.25, abs=0.03), "half of half of those that keep their condition"
    assert float((present.sum(1) == 2).double().mean()) == pytest.approx(0.8 * 0.625, abs=0.03)
    one = Batch(torch.zeros(n, 2), torch.arange(n), RawCondition(attributes=torch.zeros(n, 1)))
    assert float(drop_conditions(one, Rng(0), 0.2).present.double().mean()) == pytest.approx(0.8, abs=0.03)
