"""The VQ-VAE against exact truths: enumeration of codes and pictures, one process against two, parts against the whole.

Run as a script, it trains what the JSON in its first argument tells, for the test that needs two processes.
"""

import itertools
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from morphogen.core.batch import Batch, RawCondition
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import SpecError
from morphogen.core.family import Progress
from morphogen.core.rng import Rng
from morphogen.families.vq_vae import VQVAE, VQVAESpec
from morphogen.nn.quantization.quantizer import usage
from morphogen.testing import check_family
from morphogen.trainer import Recipe, checkpoint, fit
from tests.processes import run_two_processes
from tests.toys import LONG_CHECKS

GRAY = DataSpec(name="gray", shape=(1, 9, 11), kind="continuous", levels=256, classes=("a", "b"), splits={"train": 64})
SMALL = {"widths": (4, 6), "blocks": 1, "norm": False, "codes": 12, "code_dim": 3, "prior_width": 8, "prior_blocks": 1}
TINY = {
    "codebook": {"codes": 3},
    "residual": {"codes": 2, "residual": 2},
    "fsq": {"quantizer": "fsq", "levels": (3,)},
}
BINARY = DataSpec(name="binary", shape=(1, 4, 4), kind="binary")


def build(data=GRAY, moved=True, **options):
    """A model whose every weight matters: those that start at zero are moved."""
    with Rng(0).forked():
        model = VQVAE(VQVAESpec.parse({**SMALL, **options}), data)
        for p in model.parameters() if moved else ():
            p.data.add_(0.5 * torch.randn_like(p) / math.sqrt(p[0].numel()))
    return model.eval()


def records(data=GRAY, n=64):
    """Smooth pictures, so that there is something to learn."""
    z = Rng(3).normal("records", n, (2,))
    h, w = (torch.linspace(-1, 1, size) for size in data.shape[1:])
    x = torch.tanh(3.0 * (z[:, :1, None] * h[:, None] + z[:, 1:, None] * w))[:, None].expand(n, *data.shape)
    return x.gt(0).float() if data.kind == "binary" else data.encode(data.decode(x))


@dataclass
class Pictures:
    """An endless stream: step s takes the rows drawn at the addresses sB .. sB + B - 1."""

    data: DataSpec = GRAY
    batch_size: int = 16
    records: int = 64

    def batch(self, step, rank=0, world=1):
        share = self.batch_size // world
        index = torch.arange(share) + step * self.batch_size + rank * share
        rows = Rng(7).integers("rows", index, self.records).reshape(-1)
        return Batch(records(self.data)[rows], rows, RawCondition(label=rows % 2), index)


def batch(data=GRAY, n=8):
    return Batch(records(data)[:n], torch.arange(n), RawCondition(label=torch.arange(n) % 2), torch.arange(n))


def recipe(**options):
    return Recipe.parse({"batch_size": 16, "device": "cpu", "precision": "fp32", "compile": "off", **options})


def every_code(model):
    """All grids of codes, (K^T, N, R)."""
    n, r = math.prod(model.grid), model.spec.residual
    codes = itertools.product(range(model.quantizer.size), repeat=n * r)
    return torch.tensor(list(codes)).reshape(-1, n, r)


@pytest.mark.parametrize("options", TINY.values(), ids=TINY)
@torch.no_grad()
def test_the_bound_stays_below_the_enumerated_probability(options):
    """P(x) = sum_k P(k) p(x | k) over all codes; it sums to 1 over all 65,536 pictures of 4 x 4 bits."""
    model = build(BINARY, widths=(4,), code_dim=1, **options)
    for _ in model.steps(batch(BINARY, 64), Rng(0), Progress(0, 0.5)):  # moves the codes to where they are used
        pass
    wide = build(BINARY, widths=(4,), code_dim=1, **options)
    wide.load_state_dict(model.state_dict())
    wide.double()
    assert model.grid == (2, 2)
    codes = every_code(model)
    assert len(codes) == (256 if options.get("residual") else 81)
    prior = wide.prior(codes, wide.quantizer.table().double()).flatten(1).sum(1)
    p = wide.decoder.distribution(wide._grid(wide.quantizer.lookup(codes).double()))
    x = torch.tensor(list(itertools.product((0.0, 1.0), repeat=16)), dtype=torch.float64)
    on, off = p.log_prob_elements(torch.ones(())).flatten(1), p.log_prob_elements(torch.zeros(())).flatten(1)
    log_p = torch.logsumexp(x @ on.T + (1.0 - x) @ off.T + prior, dim=1)
    assert float(log_p.exp().sum()) == pytest.approx(1.0, abs=1e-10)
    some = torch.arange(0, len(x), 7)
    pictures = x[some].reshape(-1, 1, 4, 4).float()
    score = model.score(pictures, None, Rng(0))
    assert score.kind == "lower_bound" and score.measure == "mass"
    gap = log_p[some] - score.value
    assert (gap > 0).all() and gap.std() > 0
    k = model.codes(pictures).flatten(1, 2)
    assert len(k.flatten(1).unique(dim=0)) > 3
    row = (codes[None].flatten(2) == k[:50].flatten(1)[:, None]).all(-1).long().argmax(1)
    exact = (x[some[:50]] * on[row] + (1.0 - x[some[:50]]) * off[row]).sum(1) + prior[row]
    assert torch.allclose(score.value[:50].double(), exact, atol=1e-4)


@pytest.mark.parametrize("kind", ["continuous", "binary", "discrete", "real"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 11), (2, 5, 3)])
@torch.no_grad()
def test_it_takes_pictures_of_any_size_and_kind(kind, shape):
    levels = {"continuous": 256, "discrete": 5}.get(kind)
    data = DataSpec(name="x", shape=shape, kind="continuous" if kind == "real" else kind, levels=levels)
    model = build(data)
    x = data.encode(Rng(0).integers("x", 4, levels or 2, shape)) if levels or kind == "binary" else None
    x = Rng(0).normal("x", 4, shape).tanh() if x is None else x
    h, w = (math.ceil(math.ceil(s / 2) / 2) for s in shape[1:])
    assert model.codes(x).shape == (4, h, w, 1)
    z = model.encode(x).mean
    assert z.shape == (4, 3, h, w)
    assert model.decode(z).mean.shape == x.shape
    assert torch.allclose(model.decode(z.flatten(1)).mean, model.decode(z).mean, atol=1e-5)
    assert torch.isfinite(model.score(x, None, Rng(0)).value).all()
    assert model.score(x, None, Rng(0)).measure == ("density" if kind == "real" else "mass")
    for output in ("mean", "sample"):
        drawn = build(data, output=output).sample(5, None, Rng(0))
        assert drawn.shape == (5, *shape) and drawn.dtype == x.dtype
        assert drawn.min() >= data.low and drawn.max() <= data.high


@torch.no_grad()
def test_encoding_is_sure_of_its_vectors():
    model, b = build(), batch()
    q = model.encode(b.x)
    at = model.quantizer.lookup(model.codes(b.x)).permute(0, 3, 1, 2)
    assert torch.equal(q.mean, at) and torch.equal(q.sample(torch.zeros(q.noise_shape)), at)
    assert torch.equal(q.log_prob(at), torch.zeros(8))
    assert (q.log_prob(at + 1e-3) == -math.inf).all()


def test_the_losses_are_the_negative_score():
    model, b = build(conditional=True, condition_dropout=0.0), batch()
    autoencoder, prior = model.steps(b, Rng(0), Progress(5, 0.5))
    model = build(conditional=True)  # the step has moved the codes
    score = model.score(b.x, b.cond, Rng(0))
    assert torch.allclose(-autoencoder.terms["distortion"], score.terms["log_likelihood"], rtol=1e-5)
    assert torch.allclose(-prior.terms["rate"], score.terms["-rate"], rtol=1e-5)
    assert float(prior.metrics["bound"]) == pytest.approx(float(score.value.mean()), rel=1e-5)
    z = model.encoder(b.x)
    distance = (z - model.encode(b.x).mean).square().sum((1, 2, 3))
    assert torch.allclose(autoencoder.terms["commitment"], 0.25 * distance, rtol=1e-4)
    assert autoencoder.metrics["perplexity"].shape == (1,)


def test_each_player_learns_from_its_own_loss_alone():
    model = build(conditional=True).train()
    players = {name: list(player.parameters) for name, player in model.players().items()}
    for step in model.steps(batch(), Rng(0), Progress(0, 0.5)):
        loss = sum(step.terms.values()).mean()
        for name, parameters in players.items():
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
            assert all(g is None for g in gradients) == (name != step.player)


def test_the_prior_starts_later_but_is_seen_by_a_budget():
    def moves(fraction, **options):
        return [step.player for step in build(**options).steps(batch(), Rng(0), Progress(3, fraction))]

    assert moves(0.05) == ["autoencoder"]
    assert moves(0.1) == moves(0.0) == ["autoencoder", "prior"]
    assert moves(0.05, prior_start=0.0) == ["autoencoder", "prior"]
    assert moves(0.4, prior_start=0.5) == ["autoencoder"]


def test_codes_are_done_before_the_prior():
    """From `codes_until` on only the prior moves, and no code, vector or weight of the autoencoder does."""
    model = build(codes_until=0.5)
    before = {name: v.clone() for name, v in model.state_dict().items()}
    steps = list(model.steps(batch(), Rng(0), Progress(5, 0.5)))
    assert [step.player for step in steps] == ["prior"]
    assert all(torch.equal(v, before[name]) for name, v in model.state_dict().items())
    sum(steps[0].terms.values()).mean().backward()
    assert all(p.grad is None for p in (*model.encoder.parameters(), *model.decoder.parameters()))
    assert model.players()["autoencoder"].until == 0.5 and model.players()["prior"].until == 1.0


def test_a_cold_prior_draws_its_likeliest_codes():
    model = build()
    cold = model.sample(3, None, Rng(0), temperature=0.0)
    assert torch.allclose(cold, cold[:1].expand_as(cold), atol=1e-5)


def test_samples_do_not_depend_on_the_batch_size():
    model = build(conditional=True, output="sample", residual=2)
    label = torch.arange(7) % 2
    whole = model.sample(7, RawCondition(label=label), Rng(1))
    parts = [model.sample(1, RawCondition(label=label[i : i + 1]), Rng(1).shifted(i)) for i in range(7)]
    assert torch.equal(whole, torch.cat(parts))
    assert {p.dtype for p in model.parameters()} == {torch.float32}  # the model itself stays as it was


def test_condition_changes_and_null_does_not():
    model, b = build(conditional=True), batch()
    null = RawCondition(label=torch.full((8,), -1))
    of = lambda cond: model.score(b.x, cond, Rng(0)).terms  # noqa: E731
    assert torch.equal(of(None)["-rate"], of(null)["-rate"])
    assert ((of(b.cond)["-rate"] - of(None)["-rate"]).abs() > 1e-3).all()
    assert torch.equal(of(b.cond)["log_likelihood"], of(None)["log_likelihood"])
    assert torch.equal(model.sample(8, None, Rng(0)), model.sample(8, null, Rng(0)))


def test_health_counts_codes_and_says_what_to_change():
    model = build()
    b = batch(n=64)
    health = model.health(b, Rng(0))
    used, perplexity = usage(model.codes(b.x), 12)
    assert health.metrics["codes_in_use"] == used.tolist() and health.metrics["perplexity"] == perplexity.tolist()
    assert health.metrics["held_out_elbo"] == pytest.approx(float(model.score(b.x, None, Rng(0)).value.mean()), 1e-5)
    for options, advice in (({}, "--codes"), ({"quantizer": "fsq", "levels": (3, 2, 2)}, "--levels")):
        model = build(residual=2, **options)
        with torch.no_grad():
            model.encoder.out[-1].weight.zero_()  # all pictures look alike
        (first, second) = model.health(b, Rng(0)).warnings
        assert first.startswith("8% of the 12 codes of level 1 are in use") and advice in first
        assert "level 2" in second
    few = build(codes=500)
    assert few.health(b[:1], Rng(0)).metrics["codes_in_use"][0] < 0.02
    with torch.no_grad():
        few.quantizer.vectors[0, :9] = few.encoder(b.x[:1]).flatten(2).mT[0]
    assert few.health(b[:1], Rng(0)).warnings == []  # nine places cannot use more than nine codes


# -------------------------------------------------------------------- training


def stored(out):
    return checkpoint.read(out / "checkpoint")[0]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(tmp_path, accumulate):
    told = recipe(steps=20, log_every=5, accumulate=accumulate)
    options = {"residual": 2, "prior_start": 0.4, "conditional": True}
    list(fit(build(moved=False, **options), Pictures(), told, tmp_path / "whole"))
    events = fit(build(moved=False, **options), Pictures(), told, tmp_path / "parts")
    next(events)
    events.close()
    list(fit(build(**options), Pictures(), told, tmp_path / "parts", resume=True))
    whole, parts = stored(tmp_path / "whole"), stored(tmp_path / "parts")
    assert whole.keys() == parts.keys() and "weights/quantizer.vectors" in whole
    assert not any(name.endswith("_seen") for name in whole)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_batch_in_parts_is_the_whole_batch(tmp_path):
    """Gradient accumulation: the codes move once for all parts, and the next step's codes are the same."""
    for parts in (1, 4):
        told = recipe(steps=10, log_every=1, accumulate=parts)
        list(fit(build(residual=2), Pictures(), told, tmp_path / str(parts)))
    one, four = stored(tmp_path / "1"), stored(tmp_path / "4")
    for name in one:
        if name.startswith("weights/"):
            assert torch.allclose(one[name], four[name], rtol=1e-3, atol=1e-4), name


@pytest.mark.slow
def test_two_processes_end_where_one_does(tmp_path):
    options = {"residual": 2, "conditional": True, "codes": 20}
    told = {"options": options, "recipe": {"steps": 15, "log_every": 1, "accumulate": 2}, "out": str(tmp_path / "two")}
    run_two_processes(__file__, json.dumps(told))
    list(fit(build(moved=False, **options), Pictures(), recipe(**told["recipe"]), tmp_path / "one"))
    one, two = stored(tmp_path / "one"), stored(tmp_path / "two")
    assert not torch.allclose(one["weights/quantizer.vectors"], build(**options).quantizer.vectors, atol=0.1)
    for name in one:
        if name.startswith("weights/"):
            assert torch.allclose(one[name], two[name], rtol=1e-3, atol=1e-4), name
    logs = [[json.loads(line) for line in (tmp_path / w / "log.jsonl").open()] for w in ("one", "two")]
    for a, b in zip(*([line for line in log if "terms" in line] for log in logs), strict=True):
        assert b["terms"] == pytest.approx(a["terms"], rel=1e-4)


@pytest.mark.parametrize("options", [{"codes": 16, "residual": 2}, {"quantizer": "fsq", "levels": (4, 4)}], ids=str)
def test_training_learns_the_pictures_and_uses_the_codes(tmp_path, options):
    """It beats one histogram of all pixels, with most codes in use and pictures that come back."""
    more = {"widths": (16, 16), "prior_width": 32, "lr": 5e-3, "prior_lr": 5e-3, "ema": None}
    model = build(moved=False, **{**more, **options})
    list(fit(model, Pictures(), recipe(steps=330), tmp_path / "out"))
    model.eval().requires_grad_(False)
    x = records()
    used, _ = usage(model.codes(x), 16)
    assert (used > 0.7).all()
    score = model.score(x, None, Rng(0)).value.mean()
    p = torch.bincount(GRAY.decode(x).long().flatten(), minlength=256) / x.numel()
    histogram = torch.special.xlogy(p, p).sum() * GRAY.dimensions
    assert float(score) > float(histogram)
    reconstructed = model.decode(model.encode(x).mean).mean
    assert float((reconstructed - x).square().mean()) < 0.05 * float(x.var())


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (DataSpec(name="points", shape=(4,), kind="continuous"), {}, "families for other data: vae"),
        (DataSpec(name="words", shape=(9,), kind="sequence", levels=50), {}, r"sequence records of shape \(9,\)"),
        (BINARY, {"likelihood": "gaussian"}, "likelihoods that fit: bernoulli"),
        (BINARY, {"conditional": True}, "has none"),
        (GRAY, {"code": 3}, "codes"),
        (GRAY, {"levels": (8, 1)}, "levels"),
        (GRAY, {"widths": ()}, "widths"),
        (GRAY, {"quantizer": "vq"}, "quantizer"),
    ],
)
def test_impossible_options_say_what_is_possible(data, options, message):
    with pytest.raises(SpecError, match=message):
        build(data, **options)


@pytest.mark.parametrize("thorough", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("options", [{}, {"quantizer": "fsq", "levels": (8, 8)}], ids=["codebook", "fsq"])
def test_it_passes_check_family(thorough, options):
    """Without its training, which takes a minute, unless slow tests run."""
    size = {} if thorough else {"skip": LONG_CHECKS, "records": 1024, "steps": 60}
    small = {"widths": (32, 32), "blocks": 1, "codes": 64, "prior_width": 64, "prior_blocks": 2, "lr": 3e-3}
    checked = check_family("vq_vae", {**small, **options}, **size)
    assert not checked.failures, str(checked)


def train(told):
    for _ in fit(build(moved=False, **told["options"]), Pictures(), recipe(**told["recipe"]), Path(told["out"])):
        pass


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(json.loads(sys.argv[1]))
