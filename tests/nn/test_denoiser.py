"""What every denoiser does alike, be it a U-Net, a transformer or a perceptron; and which one the data get."""

import copy
import dataclasses

import pytest
import torch

from morphogen.core.batch import Condition
from morphogen.core.data_spec import Attribute, DataSpec, TextSchema
from morphogen.core.errors import SpecError
from morphogen.core.rng import Rng
from morphogen.nn.backbones.denoiser import DenoiserSpec, MLPDenoiser, denoiser
from morphogen.nn.backbones.dit import DiT
from morphogen.nn.backbones.unet import UNet

COND = 6
CAPTIONED = DataSpec(
    name="p", shape=(3, 13, 10), kind="continuous", text=TextSchema(longest=4), context_shape=(1, 5, 5)
)
POINTS = DataSpec(name="q", shape=(2,), kind="continuous", classes=("a", "b"))
SMALL = {"widths": (16, 24), "blocks": (1, 1), "patch": 3, "width": 16, "depth": 2, "hidden": (16, 16)}

NETS = {
    "unet": (DenoiserSpec(backbone="unet", **SMALL), CAPTIONED),
    "folded unet": (DenoiserSpec(backbone="unet", fold=2, **SMALL), CAPTIONED),
    "dit": (DenoiserSpec(backbone="dit", **SMALL), CAPTIONED),
    "mlp": (DenoiserSpec(backbone="mlp", **SMALL), POINTS),
}
PICTURES = [name for name in NETS if name != "mlp"]


@pytest.fixture(autouse=True)
def _seeded():
    with Rng(0).forked():
        yield


def fresh(name):
    spec, data = NETS[name]
    return denoiser(spec, data, 2 * data.shape[0], COND)


def moved(name):
    """A network whose layers that start as zero do not any more."""
    net = fresh(name)
    for p in net.parameters():
        if not p.any():
            torch.nn.init.normal_(p, std=0.1)
    return net


def records(name, n=3, dtype=torch.float32):
    """x_t, u, and a condition with 4, 2 and 0 words, and a picture where the data have one."""
    data = NETS[name][1]
    mask = (torch.arange(4) < torch.tensor([[4], [2], [0]]))[torch.arange(n) % 3]
    context = None if data.context_shape is None else torch.randn(n, *data.context_shape, dtype=dtype)
    cond = Condition(torch.randn(n, 4, COND, dtype=dtype), mask, torch.randn(n, COND, dtype=dtype), context)
    return torch.randn(n, *data.shape, dtype=dtype), torch.linspace(-8, 8, n, dtype=dtype), cond


@pytest.mark.parametrize("name", NETS)
def test_it_starts_as_zero_in_the_precision_of_its_input(name):
    x, u, cond = records(name)
    y = fresh(name)(x, u, cond)
    assert y.shape == (3, 2 * x.shape[1], *x.shape[2:]) and not y.any()
    with torch.autocast("cpu", torch.bfloat16):
        assert moved(name)(x, u, cond).dtype == torch.float32


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (12, 12), (9, 22)])
def test_any_size_of_picture_works(name, size):
    net, (_, u, cond) = moved(name), records(name)
    y = net(torch.randn(3, 3, *size), u, cond)
    assert y.shape == (3, 6, *size) and torch.isfinite(y).all()


@pytest.mark.parametrize("name", NETS)
def test_every_input_counts(name):
    net, (x, u, cond) = moved(name), records(name)
    y = net(x, u, cond)
    changed = {
        "x_t": net(x.flip(0), u, cond),
        "u": net(x, u + 1.0, cond),
        "pooled": net(x, u, dataclasses.replace(cond, pooled=cond.pooled + 1.0)),
        "no condition": net(x, u),
    }
    if name != "mlp":
        changed["words"] = net(x, u, dataclasses.replace(cond, tokens=cond.tokens.flip(-1)))
        changed["context"] = net(x, u, dataclasses.replace(cond, context=cond.context + 1.0))
        changed["no context"] = net(x, u, dataclasses.replace(cond, context=None))
    for what, other in changed.items():
        assert (other - y).abs().amax(tuple(range(1, y.dim())))[0] > 1e-3, what


@pytest.mark.parametrize("name", NETS)
def test_padding_never_changes_the_output(name):
    net, (x, u, cond) = moved(name), records(name)
    y = net(x, u, cond)
    other = torch.where(cond.mask[..., None], cond.tokens, 1e4 * torch.randn_like(cond.tokens))
    assert torch.equal(net(x, u, dataclasses.replace(cond, tokens=other)), y)
    longer = dataclasses.replace(
        cond,
        tokens=torch.cat((cond.tokens, torch.randn(3, 5, COND)), 1),
        mask=torch.cat((cond.mask, torch.zeros(3, 5, dtype=torch.bool)), 1),
    )
    assert torch.allclose(net(x, u, longer), y, atol=1e-5)


@pytest.mark.parametrize("name", NETS)
def test_records_do_not_see_each_other(name):
    net, (x, u, cond) = moved(name), records(name)
    x.requires_grad_(True)
    y = net(x, u, cond)
    (gradient,) = torch.autograd.grad(y[1].square().sum(), x)
    assert gradient[1].any() and not gradient[0].any() and not gradient[2].any()
    for i in range(3):
        assert torch.allclose(net(x[i : i + 1], u[i : i + 1], cond[i : i + 1]), y[i : i + 1], atol=1e-5)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("bf16", (False, True))
def test_every_parameter_learns_within_five_steps(name, bf16):
    net, (x, u, cond) = fresh(name), records(name)
    target = torch.randn(3, 2 * x.shape[1], *x.shape[2:])
    optimizer, asleep = torch.optim.Adam(net.parameters(), lr=1e-2), {n for n, _ in net.named_parameters()}
    for _ in range(5):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            y = net(x, u, cond)
        (y - target).square().mean().backward()
        assert all(torch.isfinite(p.grad).all() for p in net.parameters())
        asleep -= {n for n, p in net.named_parameters() if p.grad.any()}
        optimizer.step()
    assert not asleep


@pytest.mark.parametrize("name", NETS)
def test_bf16_is_close_to_full_precision(name):
    net, (x, u, cond) = moved(name), records(name)
    y = net(x, u, cond)
    with torch.autocast("cpu", torch.bfloat16):
        rough = net(x, u, cond)
    # bf16 rounds to 2^-9; a dozen layers of such independent errors stay below 2 percent.
    assert 0 < (rough - y).norm() / y.norm() < 0.02


@pytest.mark.parametrize("name", NETS)
def test_forward_mode_derivatives_equal_finite_differences(name):
    net, (x, u, cond) = moved(name).double(), records(name, dtype=torch.float64)
    dx, du = torch.randn_like(x), torch.randn_like(u)
    _, derivative = torch.func.jvp(lambda a, b: net(a, b, cond), (x, u), (dx, du))
    step = 1e-6
    difference = (net(x + step * dx, u + step * du, cond) - net(x - step * dx, u - step * du, cond)) / (2 * step)
    assert torch.allclose(derivative, difference, atol=1e-6 * float(derivative.detach().abs().max()))


@pytest.mark.parametrize("name", NETS)
def test_gradients_per_record_by_vmap_equal_those_one_by_one(name):
    """As differential privacy needs them."""
    net, (x, u, cond) = moved(name), records(name)
    weights = {k: p.detach() for k, p in net.named_parameters()}

    def loss(p, x, u, *cond):
        given = Condition(*(v[None] for v in cond))
        return torch.func.functional_call(net, p, (x[None], u[None], given)).square().mean()

    fields = [v for v in (cond.tokens, cond.mask, cond.pooled, cond.context) if v is not None]
    rows = torch.func.vmap(torch.func.grad(loss), in_dims=(None, *(0,) * (2 + len(fields))))(weights, x, u, *fields)
    for i in range(3):
        (net(x[i : i + 1], u[i : i + 1], cond[i : i + 1]).square().mean()).backward()
        for k, p in net.named_parameters():
            assert torch.allclose(rows[k][i], p.grad, atol=1e-5 + 1e-4 * float(p.grad.abs().max())), k
        net.zero_grad()


@pytest.mark.parametrize("name", NETS)
def test_it_compiles_to_one_graph(name):
    torch._dynamo.reset()
    net, (x, u, cond) = moved(name), records(name)
    traced = torch.compile(net, backend="eager", fullgraph=True)  # raises at a graph break
    assert torch.allclose(traced(x, u, cond), net(x, u, cond), atol=1e-6)


@pytest.mark.parametrize("name", NETS)
def test_a_copy_by_state_computes_the_same(name):
    net, (x, u, cond) = moved(name), records(name)
    other = fresh(name)
    other.load_state_dict(copy.deepcopy(net.state_dict()))
    assert torch.equal(other(x, u, cond), net(x, u, cond))


def test_the_perceptron_keeps_what_is_behind_the_channels():
    net = MLPDenoiser((1, 4, 5), 2, hidden=(8,), inputs=2)
    assert net(torch.randn(3, 1, 4, 5), torch.randn(3, 2)).shape == (3, 2, 4, 5)


@pytest.mark.parametrize(
    "shape, kind",
    [((1, 28, 28), UNet), ((3, 8, 8), UNet), ((8, 16, 16), UNet), ((1, 28, 6), MLPDenoiser), ((2,), MLPDenoiser)],
)
def test_auto_picks_by_shape(shape, kind):
    assert isinstance(denoiser(DenoiserSpec(), DataSpec(name="d", shape=shape, kind="continuous"), shape[0]), kind)


def test_only_several_tokens_are_attended_to():
    def words(data, cond_dim):
        net = denoiser(DenoiserSpec(backbone="dit", **SMALL), data, 1, cond_dim)
        return any("words" in name for name, _ in net.named_modules())

    labelled = DataSpec(name="d", shape=(1, 8, 8), kind="continuous", classes=("a", "b"))
    assert not words(labelled, COND), "a label is in the pooled vector"
    assert words(labelled.replace(attributes=(Attribute(name="age"),)), COND)
    assert words(CAPTIONED.replace(context_shape=None), COND) and not words(CAPTIONED, 0)


def test_what_does_not_fit_is_said():
    with pytest.raises(SpecError, match="use backbone 'mlp'"):
        denoiser(DenoiserSpec(backbone="unet"), POINTS, 2)
    with pytest.raises(SpecError, match="takes no picture"):
        denoiser(DenoiserSpec(backbone="mlp"), CAPTIONED, 3)
    with pytest.raises(SpecError, match="one a width"):
        DenoiserSpec.parse({"widths": (32, 64, 64), "blocks": (1, 2)})
    with pytest.raises(SpecError, match="as many blocks as widths"):
        UNet(1, 1, widths=(16, 16), blocks=(1,))
    with pytest.raises(SpecError, match="multiple of 4"):
        DiT(1, 1, width=18)


def test_one_number_of_blocks_holds_for_all_resolutions():
    spec = DenoiserSpec(backbone="unet", widths=(16, 16, 32), blocks=(2,))
    net = denoiser(spec, CAPTIONED, 3)
    assert [len(stage) for stage in (*net.down, net.middle)] == [2, 2, 2]
