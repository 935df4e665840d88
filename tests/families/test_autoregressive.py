"""The autoregressive family against exact truths: enumeration, causality by derivatives, a source of known entropy."""

import itertools
import math

import pytest
import torch
from scipy.stats import chi2

from morphogen.core.batch import Batch, RawCondition
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import SpecError
from morphogen.core.family import Progress
from morphogen.core.rng import Rng
from morphogen.families.autoregressive import Autoregressive, AutoregressiveSpec
from morphogen.nn.backbones.causal import CausalNet
from morphogen.nn.backbones.symbols import Symbols
from morphogen.testing import check_family
from tests.toys import LONG_CHECKS

GRAY = DataSpec(name="gray", shape=(1, 5, 6), kind="continuous", levels=256, classes=("a", "b"))
RGB = DataSpec(name="rgb", shape=(3, 4, 3), kind="continuous", levels=100)
SHADES = DataSpec(name="mixtures", shape=(3, 4, 3), kind="continuous", levels=100)
SMALL = {"width": 8, "inner": 6, "blocks": 2, "hidden": 8, "stem": (2, 2)}
TINY = {  # few enough pictures to name them all
    "three values": DataSpec(name="three", shape=(1, 2, 3), kind="discrete", levels=3),
    "binary": DataSpec(name="binary", shape=(1, 3, 3), kind="binary", levels=2),
    "two digits, some of them impossible": DataSpec(name="digits", shape=(1, 1, 2), kind="continuous", levels=37),
    "colors": DataSpec(name="colors", shape=(3, 1, 2), kind="continuous", levels=3),
    "mixtures": DataSpec(name="mixtures", shape=(3, 1, 2), kind="continuous", levels=3),
}
MIXTURE = {"likelihood": "discretized_logistic_mixture", "mixtures": 3}


def build(data=GRAY, **options):
    """A model whose every weight matters: those that start at zero are moved."""
    options = {**SMALL, **(MIXTURE if data.name == "mixtures" else {}), **options}
    with Rng(0).forked():
        model = Autoregressive(AutoregressiveSpec.parse(options), data)
        for p in model.parameters():
            p.data.add_(0.5 * torch.randn_like(p) / math.sqrt(p[0].numel()))
    return model.eval()


def stored(data, n=8, seed=0):
    return Rng(seed).integers("u", n, data.levels, data.shape)


def batch(data, n=8):
    label = torch.arange(n) % 2 if data.classes else None
    return Batch(data.encode(stored(data, n)), torch.arange(n), RawCondition(label=label), torch.arange(n))


def every(data):
    """All pictures, in stored units: (levels^D, *shape)."""
    values = torch.tensor(list(itertools.product(range(data.levels), repeat=data.dimensions)))
    return values.reshape(-1, *data.shape)


def log_conditionals(model, u):
    """log P(x_i | x_<i) in raster order, channels innermost: (B, D)."""
    return model.pixels(u.permute(0, 2, 3, 1)).flatten(1)


@pytest.mark.parametrize("data", TINY.values(), ids=TINY)
def test_probabilities_of_all_pictures_sum_to_one(data):
    model = build(data).double()
    p = model.score(data.encode(every(data), torch.float64), None, Rng(0)).value.exp()
    assert p.std() > 0.1 * p.mean()  # the model is no uniform one
    assert float(p.sum()) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("data", TINY.values(), ids=TINY)
@torch.no_grad()
def test_conditionals_are_those_of_the_joint_distribution(data):
    """P(x_i | x_<i) is the ratio of two marginals, which summing the joint over later elements gives."""
    model, k, d = build(data).double(), data.levels, data.dimensions
    u = every(data)
    order = torch.argsort(sum(v * k ** (d - 1 - i) for i, v in enumerate(u.permute(0, 2, 3, 1).flatten(1).T)))
    log_p = log_conditionals(model, u[order])  # in the order of the sequences that the model reads
    marginal = log_p.sum(1).exp().reshape(*[k] * d)
    for i in reversed(range(d)):
        shorter = marginal.sum(-1)
        given = (marginal / shorter[..., None]).reshape(-1, *[1] * (d - 1 - i)).expand(-1, *[k] * (d - 1 - i))
        assert torch.allclose(log_p[:, i].exp(), given.reshape(-1), atol=1e-12)
        marginal = shorter


def test_features_depend_on_all_earlier_pixels_and_on_no_other():
    with Rng(0).forked():
        net = CausalNet((5, 6), 2, 4, 16, 16, 3, stem=(1, 1), near=(1, 1)).double()
        x = torch.randn(1, 5, 6, 6, dtype=torch.float64)
    of = lambda v: net(v[..., :2], v[..., 2:]).flatten(1, 2).sum((0, 2))  # noqa: E731
    moved = torch.autograd.functional.jacobian(of, x).reshape(30, 30, 6).abs().amax(-1)  # (output pixel, input pixel)
    assert (moved.triu() == 0).all()
    earlier = torch.ones(30, 30).tril(-1).bool()
    assert (moved[earlier] > 0).all()  # also what lies far to the right in the row above: no blind spot


@pytest.mark.parametrize("data", [GRAY, RGB, SHADES], ids=["gray", "rgb", "mixtures"])
@torch.no_grad()
def test_conditionals_ignore_what_comes_later_bit_for_bit(data):
    """Element by element, so that green may look at red but not at blue."""
    model, u = build(data), stored(data, 1)
    sequence = u.permute(0, 2, 3, 1).flatten(1)
    d, (c, h, w) = data.dimensions, data.shape
    changed = sequence.repeat(d, 1)
    changed[range(d), range(d)] = (sequence[0] + 1 + data.levels // 2) % data.levels
    before = log_conditionals(model, u)
    after = log_conditionals(model, changed.reshape(d, h, w, c).permute(0, 3, 1, 2))
    for i in range(d):
        # One row of a batch may round otherwise than another, so the features agree to the last bits only.
        assert torch.allclose(after[i, :i], before[0, :i], atol=1e-5)
        assert not torch.allclose(after[i, i:], before[0, i:], atol=1e-3)
    for i in range(0, d - 1, c):
        for j in range(i + 1, i + c):
            assert (after[i, j] - before[0, j]).abs() > 1e-3  # a channel is told of those before it


@pytest.mark.parametrize("levels", [2, 17, 32, 33, 37, 100, 101, 255, 256, 1000])
def test_symbols_spell_every_value_once(levels):
    symbols = Symbols(levels, 3)
    u = torch.arange(levels)[:, None].expand(-1, 3)
    s = symbols.split(u)
    assert torch.equal(symbols.join(s), u) and s.shape == (levels, len(symbols.sizes))
    assert (s.amax(0) < torch.tensor(symbols.sizes)).all() and (s >= 0).all()
    allowed = symbols.allowed()
    assert levels == (
        symbols.sizes[0] * (symbols.base if symbols.digits == 2 else 1) if allowed is None else allowed.sum()
    )


@pytest.mark.parametrize("levels", [5, 37])
def test_counts_are_those_of_the_pixels_before(levels):
    symbols = Symbols(levels, 2)
    with Rng(0).forked():
        u = torch.randint(levels, (3, 2, 4, 2))
    seen, s = symbols.seen(u), symbols.split(u)
    flat = u.flatten(1, 2)
    for i in range(8):
        for channel in range(2):
            before = flat[:, :i, channel]
            for value in range(levels):
                told = seen.flatten(1, 2)[:, i, channel, value]
                assert torch.equal(told, (before == value).sum(1))
    for k in range(len(symbols.sizes)):  # the symbols' counts: of the pixels that agree in the digits so far
        counts = symbols.counts(seen, k, s).flatten(1, 2)
        pixel = s.flatten(1, 2)
        first = k - k % symbols.digits
        for i in range(8):
            agree = (pixel[:, :i, first:k] == pixel[:, i, None, first:k]).all(-1)
            for digit in range(symbols.sizes[k]):
                assert torch.equal(counts[:, i, digit], (agree & (pixel[:, :i, k] == digit)).sum(1))


@pytest.mark.parametrize("data", TINY.values(), ids=TINY)
@torch.no_grad()
def test_sampling_frequencies_are_the_probabilities(data):
    """A chi-squared test on all pictures, rare ones together; it alarms falsely once in a million runs."""
    model, n = build(data).double(), 20_000
    u = every(data)
    p = model.score(data.encode(u, torch.float64), None, Rng(0)).value.exp()
    drawn = data.decode(model.float().sample(n, None, Rng(7))).long().flatten(1)
    place = sum(v * data.levels ** (data.dimensions - 1 - i) for i, v in enumerate(drawn.T))
    seen = torch.bincount(place, minlength=len(u)).double()
    common = n * p >= 10
    expected = torch.cat((n * p[common], n * p[~common].sum()[None])).clamp_min(1e-12)
    observed = torch.cat((seen[common], seen[~common].sum()[None]))
    statistic = ((observed - expected).square() / expected).sum()
    assert common.sum() > 10
    assert float(statistic) < chi2.isf(1e-6, len(expected) - 1)


@torch.no_grad()
def test_an_untrained_mixture_continues_a_plane():
    """Where values rise evenly across and down, the prediction of each inner pixel is that pixel."""
    with Rng(0).forked():
        pixels = Autoregressive(AutoregressiveSpec.parse({**SMALL, **MIXTURE}), SHADES).pixels
    rows, columns = torch.meshgrid(torch.arange(4.0), torch.arange(5.0), indexing="ij")
    x = torch.stack((0.1 * rows - 0.2 * columns, 0.3 * columns, 0.5 + 0.0 * rows), dim=-1)[None]
    steps = x[:, 1:, 1:] - pixels.predict(x)[:, 1:, 1:]
    assert torch.allclose(steps, torch.tensor([0.25 * 0.1 - 0.25 * 0.2, 0.25 * 0.3, 0.0]).expand_as(steps), atol=1e-6)


@torch.no_grad()
def test_a_cold_mixture_draws_its_likeliest_component():
    model = build(SHADES).double()
    uniform = Rng(0).uniform("u", 6, (4, 3, 6), torch.float64)
    cold = model.pixels.sample(uniform, temperature=0.0)
    assert torch.equal(cold, cold[:1].expand_as(cold))
    warm = model.pixels.sample(uniform)
    assert not torch.equal(warm, warm[:1].expand_as(warm))


class Whole:
    """The counts of a whole pass where a walk has its own."""

    def __init__(self, symbols, seen):
        self.symbols, self.seen = symbols, seen

    def of(self, k, s):
        return self.symbols.counts(self.seen, k, s)


@pytest.mark.parametrize("conditional", [False, True])
@torch.no_grad()
def test_the_walk_equals_the_whole_pass(conditional):
    """Sampling pixel by pixel draws what one whole pass per pixel would."""
    model = build(GRAY, conditional=conditional, reach=(2, 1)).double()
    n, (_, rows, columns) = 3, GRAY.shape
    c = Rng(0).normal("c", n, (64,), torch.float64) if conditional else None
    uniform = Rng(0).uniform("u", n, (rows, columns, 2), torch.float64)
    pixels = model.pixels
    fast = pixels.sample(uniform, c)
    slow = torch.zeros_like(fast)
    for i in range(rows):
        for j in range(columns):
            h = pixels.net(*pixels._read(slow), c)[:, i, j]
            seen = Whole(pixels.symbols, pixels.symbols.seen(slow)[:, i, j])
            slow[:, i, j] = pixels.symbols.join(pixels.head.sample(h.relu(), uniform[:, i, j], seen))
    assert torch.equal(fast, slow)
    walk, (x, digits) = pixels.net.walk(n, c), pixels._read(fast)
    whole = pixels.net(x, digits, c)
    h = next(walk)
    for place in range(rows * columns):
        i, j = divmod(place, columns)
        assert torch.allclose(h, whole[:, i, j], rtol=0, atol=1e-12)
        if place + 1 < rows * columns:
            h = walk.send((x[:, i, j], digits[:, i, j]))


def test_samples_do_not_depend_on_the_batch_size():
    model = build(GRAY, conditional=True)
    label = torch.arange(7) % 2
    whole = model.sample(7, RawCondition(label=label), Rng(1))
    parts = [model.sample(1, RawCondition(label=label[i : i + 1]), Rng(1).shifted(i)) for i in range(7)]
    assert torch.equal(whole, torch.cat(parts))
    assert {p.dtype for p in model.parameters()} == {torch.float32}  # the model itself stays as it was


def test_the_training_loss_is_the_negative_score():
    model, b = build(conditional=True, condition_dropout=0.0), batch(GRAY)
    (step,) = model.steps(b, Rng(0), Progress(0, 0.5))
    score = model.score(b.x, b.cond, Rng(0))
    assert torch.allclose(-step.terms["nll"], score.value, atol=1e-4)
    assert score.kind == "exact" and score.measure == "mass"
    bits = GRAY.bits_per_dim(float(score.value.mean()), "mass")
    assert float(step.metrics["bits_per_dim"]) == pytest.approx(bits, rel=1e-5)
    health = model.health(b, Rng(0))
    assert health.metrics["held_out_bits_per_dim"] == pytest.approx(bits, rel=1e-5)
    assert len(health.metrics["bits_per_row"]) == 5


def test_dropout_acts_in_training_alone():
    model, b = build(dropout=0.5), batch(GRAY)
    assert torch.equal(model.score(b.x, None, Rng(0)).value, model.score(b.x, None, Rng(0)).value)
    model.train()
    with Rng(0).forked():
        noisy = [next(iter(model.steps(b, Rng(0), Progress(0, 0.0)))).terms["nll"] for _ in range(2)]
    assert not torch.allclose(noisy[0], noisy[1])
    assert torch.equal(model.sample(2, None, Rng(0)), model.eval().sample(2, None, Rng(0)))


def test_condition_changes_and_null_does_not():
    model, b = build(conditional=True), batch(GRAY)
    null = RawCondition(label=torch.full((8,), -1))
    of = lambda cond: model.score(b.x, cond, Rng(0)).value  # noqa: E731
    assert torch.equal(of(None), of(null))
    assert ((of(b.cond) - of(None)).abs() > 1e-3).all()
    assert torch.equal(model.sample(8, None, Rng(0)), model.sample(8, null, Rng(0)))


def test_training_reaches_the_entropy_of_a_source_with_a_long_memory():
    """The last of five rows repeats the first, three rows of noise in between: 4 rows of 4 bits each."""
    data = DataSpec(name="echo", shape=(1, 5, 4), kind="binary", levels=2)
    with Rng(0).forked():
        spec = AutoregressiveSpec(width=32, inner=16, blocks=1, hidden=16, stem=(4, 1), reach=(1, 1), lr=2e-2)
        model = Autoregressive(spec, data)
    (player,) = model.players().values()
    optimizer = torch.optim.AdamW(player.parameters, lr=player.lr, weight_decay=0.0)

    def echoes(step):
        x = Rng(step).integers("x", 128, 2, data.shape).float()
        x[:, :, 4] = x[:, :, 0]
        return Batch(x, torch.arange(128))

    for step in range(100):
        (move,) = model.steps(echoes(step), Rng(0), Progress(step, step / 100))
        optimizer.zero_grad()
        move.terms["nll"].mean().backward()
        optimizer.step()
    entropy = 16 * math.log(2)
    held_out = -model.eval().score(echoes(1000).x, None, Rng(0)).value.double().mean()
    assert entropy - 1e-3 < float(held_out) < 1.02 * entropy
    x = model.sample(100, None, Rng(0))
    assert (x[:, :, 4] == x[:, :, 0]).double().mean() > 0.99


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (DataSpec(name="points", shape=(4,), kind="continuous"), {}, "values that can be counted"),
        (DataSpec(name="real", shape=(1, 4, 4), kind="continuous"), {}, "values that can be counted"),
        (DataSpec(name="words", shape=(9,), kind="sequence", levels=50), {}, r"shape \(9,\) with 50 levels"),
        (RGB, {"conditional": True}, "has none"),
        (RGB, {"blokcs": 3}, "blocks"),
        (RGB, {"stem": (0, 0)}, "stem"),
        (TINY["binary"], MIXTURE, "is for quantized data, but 'binary' is binary"),
    ],
)
def test_impossible_options_say_what_is_possible(data, options, message):
    with pytest.raises(SpecError, match=message):
        build(data, **options)


@pytest.mark.parametrize("thorough", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_it_passes_check_family(thorough):
    """Without its training, which takes a minute, unless slow tests run."""
    size = {} if thorough else {"skip": LONG_CHECKS, "records": 1024, "steps": 20}
    options = {"width": 48, "inner": 32, "blocks": 2, "hidden": 48, "lr": 6e-3, "stem": (3, 3), "reach": (1, 1)}
    options["near"] = (1, 1)
    checked = check_family("autoregressive", options, **size)
    assert not checked.failures, str(checked)
