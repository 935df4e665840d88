import dataclasses
import json
import math
from types import SimpleNamespace

import pytest
import torch

from morphogen import artifact
from morphogen.core.errors import NonFiniteError, SpecError, UsageError
from morphogen.core.family import Player, Progress, Step
from morphogen.core.rng import Rng
from morphogen.trainer import fit
from morphogen.trainer.ema import Ema
from morphogen.trainer.monitors import Guard
from morphogen.trainer.optim import factor
from morphogen.trainer.trainer import Trainer
from tests.trainer.toys import DATA, Autoencoder, Game, Points, build, points, recipe, train, weights

CONSTANT = {"lr_schedule": "constant", "warmup": 0}


def test_it_does_what_the_formulas_say(tmp_path):
    """The trainer against a loop written by hand: AdamW with a schedule, clipping, the average."""
    options = {"steps": 30, "clip": 3.0, "warmup": 3, "lr_schedule": "linear", "seed": 4}
    train(tmp_path / "m", **options)

    family, stream, rng = build(), Points(points()), Rng(4).child("train")
    parameters = list(family.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.0, fused=True)
    average, clipped = [p.detach().clone() for p in parameters], 0
    for step in range(30):
        move = next(family.steps(stream.batch(step), rng, Progress(step, step / 30)))
        optimizer.zero_grad()
        sum(move.terms.values()).mean().backward()
        clipped += int(torch.nn.utils.clip_grad_norm_(parameters, 3.0) > 3.0)
        optimizer.param_groups[0]["lr"] = 0.01 * factor(recipe(**options), step, step / 30)
        optimizer.step()
        d = min(0.9, (1 + step) / (10 + step))
        average = [d * a + (1 - d) * p.detach() for a, p in zip(average, parameters, strict=True)]
    assert 0 < clipped < 30
    stored = weights(tmp_path / "m")
    for (name, _), expected in zip(family.named_parameters(), average, strict=True):
        assert torch.allclose(stored[name], expected, rtol=2e-6, atol=1e-7), name


def test_without_an_average_the_weights_themselves_are_the_model(tmp_path):
    family, _ = train(tmp_path / "m", build(ema=None), steps=12)
    stored = weights(tmp_path / "m")
    assert all(torch.equal(stored[name], value) for name, value in family.state_dict().items())


def test_it_learns_the_best_linear_model(tmp_path):
    """The loss comes near that of the best linear autoencoder, found by L-BFGS in float64, and not below."""
    x = points()
    _, events = train(tmp_path / "m", build(lr=0.03), Points(x, 128), batch_size=128, steps=400)
    loaded = artifact.load(tmp_path / "m").family
    w = torch.randn(2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    v = torch.eye(2, dtype=torch.float64).requires_grad_()

    def loss(w, v, data):
        # E|x - V(Wx + eps)|^2 + |Wx|^2 / 2 over eps ~ N(0, I); the points have mean near 0.
        mean = data @ w.T
        return (data - mean @ v.T).square().sum(1).mean() + v.square().sum() + 0.5 * mean.square().sum(1).mean()

    optimizer = torch.optim.LBFGS([w, v], max_iter=100, line_search_fn="strong_wolfe")
    centered = (x - x.mean(0)).double()

    def closure():
        optimizer.zero_grad()
        value = loss(w, v, centered)
        value.backward()
        return value

    optimizer.step(closure)
    best = loss(w, v, centered).item()
    mean = loaded.encoder(x)
    error = (x - loaded.decoder(mean) - loaded.shift).square().sum(1) + loaded.decoder.weight.square().sum()
    reached = (error + 0.5 * mean.square().sum(1)).mean().item()
    assert best - 1e-6 < reached < 1.02 * best
    assert sum(events[0].terms.values()) > 1.2 * sum(events[-1].terms.values())


@pytest.mark.parametrize("kind", [Autoencoder, Game])
def test_accumulated_parts_make_the_step_of_the_whole_batch(tmp_path, kind):
    for accumulate in (1, 4):
        train(tmp_path / str(accumulate), build(kind), steps=25, accumulate=accumulate, log_every=5)
    one, four = weights(tmp_path / "1"), weights(tmp_path / "4")
    for name in one:
        assert torch.allclose(one[name], four[name], rtol=1e-4, atol=1e-5), name
    logs = [[json.loads(line) for line in (tmp_path / n / "log.jsonl").open()] for n in ("1", "4")]
    for a, b in zip(*logs, strict=True):
        assert a.get("terms", {}) == pytest.approx(b.get("terms", {}), rel=1e-5)


def test_the_first_player_has_moved_when_the_second_computes_its_loss(tmp_path):
    """AdamW's first move with betas (0, 0.9) is lr times the gradient's sign, so it shows in the reported bias."""
    for accumulate in (1, 2):
        family = build(Game)
        before = family.discriminator[2].bias.item()
        _, events = train(tmp_path / str(accumulate), family, steps=1, **CONSTANT, accumulate=accumulate)
        seen = events[-1].metrics
        assert seen["discriminator/bias"] == pytest.approx(before, abs=1e-7)
        assert abs(seen["generator/bias"] - before) == pytest.approx(0.01, rel=1e-3)


def test_a_player_moves_nothing_but_its_own(tmp_path):
    family = build(Game)
    frozen = {name: value.clone() for name, value in family.generator.state_dict().items()}
    players = family.players
    family.players = lambda: {
        name: Player(p.parameters, lr=0.0 if name == "generator" else p.lr, betas=p.betas)
        for name, p in players().items()
    }
    train(tmp_path / "m", family, steps=5)
    assert all(torch.equal(value, frozen[name]) for name, value in family.generator.state_dict().items())
    assert all(p.grad is None for p in family.parameters())


def test_the_average_is_its_recursion():
    p = torch.nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    ema, expected = Ema([p], 0.5), p.detach().clone()
    for t in range(20):
        with torch.no_grad():
            p.add_(t + 1.0)
        ema.update(t)
        d = min(0.5, (1 + t) / (10 + t))
        expected = d * expected + (1 - d) * p.detach()
    assert torch.allclose(ema.averages[0], expected, rtol=1e-12)
    raw = p.detach().clone()
    with ema.swapped():
        assert torch.equal(p, ema.averages[0])
    assert torch.equal(p, raw)


def test_autocast_is_on_while_losses_are_computed_and_off_outside(tmp_path):
    seen = []

    class Watching(Autoencoder):
        def steps(self, batch, rng, at):
            seen.append((torch.is_autocast_enabled("cpu"), self.network("decoder")(batch.x).dtype))
            yield from super().steps(batch, rng, at)

    for _ in fit(build(Watching), Points(points()), recipe(steps=3, precision="bf16", log_every=1), tmp_path / "m"):
        assert not torch.is_autocast_enabled("cpu")
    assert seen == [(True, torch.bfloat16)] * 3
    assert artifact.load(tmp_path / "m").provenance["precision"] == "bf16"
    assert all(v.dtype == torch.float32 for v in weights(tmp_path / "m").values())


def test_the_global_random_state_is_left_alone(tmp_path):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    for _ in fit(build(dropout=0.5), Points(points()), recipe(steps=20, log_every=5), tmp_path / "m"):
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_depends_on_the_seed_and_the_step_alone(tmp_path):
    def run(name, state, **options):
        torch.manual_seed(state)
        train(tmp_path / name, build(dropout=0.5), steps=10, **options)
        return weights(tmp_path / name)["decoder.weight"]

    assert torch.equal(run("a", 1), run("b", 2))
    assert not torch.equal(run("c", 1, seed=9), run("d", 1))


def test_epochs_are_passes_over_the_records(tmp_path):
    _, events = train(tmp_path / "m", epochs=2.5, batch_size=32)
    assert events[-1].total == events[-1].step == 20  # 2.5 x 256 / 32


def test_a_bad_record_is_named_and_moves_nothing(tmp_path):
    x = points()
    x[17, 1] = float("nan")
    stream = Points(x)
    when = next(s for s in range(100) if 1017 in stream.batch(s).ids)
    family = build()
    with pytest.raises(NonFiniteError) as caught:
        train(tmp_path / "m", family, stream, steps=when + 10, lr_schedule="constant", warmup=0)
    message = str(caught.value)
    assert f"step {when}, player 'model'" in message
    assert "'reconstruction' is nan for the records with id 1017" in message
    assert "'kl' is nan" in message
    plain, _ = train(tmp_path / "until", build(), stream, steps=when, lr_schedule="constant", warmup=0)
    assert all(torch.equal(p, q) for p, q in zip(family.parameters(), plain.parameters(), strict=True))
    assert not (tmp_path / "m" / "manifest.json").exists()


def test_a_gradient_that_is_not_finite_is_named_though_the_loss_is(tmp_path):
    class Rooted(Autoencoder):
        def steps(self, batch, rng, at):
            # The derivative of sqrt at 0 is infinite, and 0 x inf is NaN.
            yield Step("model", {"root": (self.shift.square().sum() * 0.0).sqrt() + batch.x.sum(1)})

    family = build(Rooted)
    with pytest.raises(NonFiniteError, match="the gradient is not in shift"):
        train(tmp_path / "m", family, steps=10)
    assert torch.equal(family.shift, torch.zeros(2))


def test_a_guard_that_looks_seldom_stops_at_the_same_move(tmp_path, monkeypatch):
    """As on an accelerator: the bad move and those after it are turned off until the next look."""
    x = points()
    x[17, 1] = float("nan")
    stream = Points(x)
    when = next(s for s in range(100) if 1017 in stream.batch(s).ids)
    messages, found = [], []
    for at_once in (True, False):
        with monkeypatch.context() as patch:
            patch.setattr(Guard, "at_once", property(lambda self, v=at_once: v, lambda self, v: None), raising=False)
            family = build(Game)
            with pytest.raises(NonFiniteError) as caught:
                train(tmp_path / str(at_once), family, stream, steps=100, lr_schedule="constant", warmup=0)
        messages.append(str(caught.value))
        found.append(family.state_dict())
    assert messages[0] == messages[1]
    assert f"step {when}, player 'discriminator': term 'real' is" in messages[0]
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())


def test_sharding_is_refused_where_a_loss_differentiates_a_gradient():
    family = build()
    family.shardable = False
    world = SimpleNamespace(sharded=True)
    with pytest.raises(SpecError, match="cannot be sharded: use distributed=ddp"):
        Trainer(family, Points(points()), recipe(steps=1), world, None, None)


class Skipping(Autoencoder):
    """Leaves out moves whose gradient is too large."""

    limit = 1e6  # times the usual norm

    def players(self):
        return {"model": dataclasses.replace(super().players()["model"], skip=self.limit)}


def test_a_player_that_skips_leaves_bad_moves_out_and_counts_them(tmp_path):
    x = points()
    x[17, 1] = float("nan")
    stream = Points(x)
    bad = [s for s in range(20) if 1017 in stream.batch(s).ids]
    assert 0 < len(bad) < 20
    _, events = train(tmp_path / "m", build(Skipping), stream, steps=20, log_every=20)
    assert events[-1].metrics["skipped"] == pytest.approx(len(bad) / 20)
    assert all(math.isfinite(v) for v in events[-1].terms.values())  # the bad moves' losses do not count

    class Without(Points):  # the same batches, and hence the same noise, without the bad ones
        def batch(self, step, rank=0, world=1):
            return super().batch([s for s in range(20) if s not in bad][step])

    plain, _ = train(tmp_path / "plain", build(), Without(x), steps=20 - len(bad), lr_schedule="constant", warmup=0)
    again, _ = train(tmp_path / "again", build(Skipping), stream, steps=20, lr_schedule="constant", warmup=0)
    for (name, p), q in zip(plain.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(p, q), name


def test_what_is_usual_is_remembered(tmp_path):
    """A spike is skipped by the first move after an interruption, too, which could not tell it without a memory."""
    x = points()
    x[17] *= 1e4
    stream = Points(x)
    when = next(s for s in range(25, 100) if 1017 in stream.batch(s).ids)
    for name, stops in {"whole": [when + 5], "parts": [when, when + 5]}.items():
        for stop in stops:
            family = build(Skipping)
            family.limit = 10.0
            options = recipe(steps=when + 5, log_every=1)
            events = fit(family, stream, options, tmp_path / name, resume=(tmp_path / name).exists())
            made = next(event.step for event in events if event.step >= stop)
            assert made == stop
            if stop == when:
                events.close()
            for _ in events:  # to the end, where it was not closed
                pass
    logs = [[json.loads(line) for line in (tmp_path / name / "log.jsonl").open()] for name in ("whole", "parts")]
    for log in logs:
        assert [line["metrics"]["skipped"] for line in log if line["step"] == when + 1 and "terms" in line] == [1.0]
    found = [weights(tmp_path / name) for name in ("whole", "parts")]
    assert all(torch.equal(v, found[1][name]) for name, v in found[0].items())


def test_a_player_that_skips_everything_has_failed(tmp_path):
    family = build(Skipping)
    family.limit = 1e-6
    with pytest.raises(NonFiniteError, match="the last 50 moves were skipped"):
        train(tmp_path / "m", family, steps=100)


def test_parts_are_frozen_and_stored_once(tmp_path):
    base = build()
    with Rng(1).forked():
        family = Autoencoder(Autoencoder.Spec(), DATA, {"base": base})
    before = {name: value.clone() for name, value in base.state_dict().items()}
    train(tmp_path / "m", family, steps=5)
    loaded = artifact.load(tmp_path / "m").family
    assert all(torch.equal(loaded.parts["base"].state_dict()[n], v) for n, v in before.items())
    assert not base.training


def test_a_family_that_breaks_the_contract_is_told(tmp_path):
    class Stranger(Autoencoder):
        def steps(self, batch, rng, at):
            yield Step("modle", {"x": batch.x.sum(1)})

    with pytest.raises(UsageError, match="did you mean 'model'"):
        train(tmp_path / "a", build(Stranger), steps=1)

    class Uneven(Autoencoder):
        def steps(self, batch, rng, at):
            for move in super().steps(batch, rng, at):
                if batch.address[0] == 0:
                    yield move

    with pytest.raises(UsageError, match="different players for parts"):
        train(tmp_path / "b", build(Uneven), steps=1, accumulate=2)


def test_a_device_that_is_not_there(tmp_path):
    for device in ("cuda:99", "mps", "gpu"):
        with pytest.raises(SpecError, match=device):
            train(tmp_path / "m", steps=1, device=device)


def test_sharding_needs_several_processes(tmp_path):
    with pytest.raises(SpecError, match="torchrun"):
        train(tmp_path / "m", steps=1, distributed="fsdp")
