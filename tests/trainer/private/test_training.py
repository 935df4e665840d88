"""Private trainings from end to end: what they promise, what they refuse, and what a kill costs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from morphogen import api, artifact
from morphogen.core import registry
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import ArtifactError, SpecError, UsageError
from morphogen.core.family import Family, Player, Progress, Step
from morphogen.core.rng import Rng
from morphogen.core.spec import Spec
from morphogen.core.strong_noise import SeededSource
from morphogen.data import PoissonStream, Records
from morphogen.theory.privacy import gaussian_epsilon, subsampled_epsilon
from morphogen.trainer import Recipe, fit
from morphogen.trainer.optim import PlayerOptimizer
from morphogen.trainer.private import probing
from morphogen.trainer.private.ledger import BLOCK, Ledger
from morphogen.trainer.private.updates import PrivateUpdates

pytestmark = pytest.mark.filterwarnings("ignore::morphogen.MorphogenWarning")
pytest.importorskip("dp_accounting")
PRIVACY = "epsilon=2,delta=1e-4"
SMALL: dict[str, Any] = {"backbone": "mlp", "hidden": (16,), "latent_dim": 2, "device": "cpu", "batch_size": 100}


class Line(Family):
    """Fits the mean of records: the loss of a record is half its squared distance."""

    name = "line"
    summary = "a mean"
    capabilities = frozenset()

    class Spec(Spec):
        lr: float = 0.1
        pairs: bool = False
        counts: bool = False

    def __init__(self, spec: Any, data: DataSpec, parts: Any = None) -> None:
        super().__init__(spec, data, parts)
        self.layer = torch.nn.Linear(1, 2, bias=False)
        torch.nn.init.zeros_(self.layer.weight)
        self.register_buffer("seen", torch.zeros(()))

    def players(self) -> dict[str, Player]:
        return {"mean": Player(list(self.layer.parameters()), lr=self.spec.lr)}

    def networks(self) -> dict[str, torch.nn.Module]:
        return {"layer": self.layer}

    def steps(self, batch: Any, rng: Any, at: Progress) -> Any:
        if self.spec.counts:
            self.seen += len(batch)
        x = batch.x - (batch.x.mean(0) if self.spec.pairs else 0.0)
        away = self.network("layer")(torch.ones(len(x), 1)) - x
        yield Step("mean", {"distance": 0.5 * away.square().sum(1)})


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The family by the name that artifacts give it, for these tests alone."""
    monkeypatch.setattr(registry, "_registered", {"line": f"{__name__}:Line"})


DATA = DataSpec(name="points", shape=(2,), kind="continuous")


def _stream(n: int = 400, batch: int = 100) -> PoissonStream:
    x = 0.05 * torch.randn(n, 2, generator=torch.Generator().manual_seed(0)) + torch.tensor([0.5, -0.25])
    return PoissonStream(Records(DATA, x, torch.arange(n)), batch, SeededSource(0))


def _recipe(**changes: Any) -> Recipe:
    plain = {"steps": 30, "batch_size": 100, "device": "cpu", "privacy": PRIVACY + ",seeded", "warmup": 0}
    return Recipe.parse({**plain, **changes})


def _line(**options: Any) -> Line:
    with Rng(0).forked():
        return Line(Line.Spec.parse(options), DATA)


# ---------------------------------------------------------------- the promise


def test_a_private_model_states_what_it_promises(tmp_path: Path) -> None:
    told: list[str] = []
    for _ in api.training("vae", "digits", tmp_path / "m", steps=12, privacy=PRIVACY, on_plan=told.append, **SMALL):
        pass
    found = api.describe(tmp_path / "m")
    promise = found.privacy
    assert promise is not None and promise.epsilon <= 2.0 and promise.epsilon > 1.9
    item = promise.ledger[0]
    n = found["data"]["splits"]["train"]
    assert (promise.delta, promise.unit, item.rounds, item.rate) == (1e-4, "record", 12, pytest.approx(100 / n))
    assert promise.epsilon == pytest.approx(subsampled_epsilon(item.noise or 0, item.rate, 12, 1e-4))
    assert any(line.startswith("privacy: epsilon 2 at delta 0.0001") for line in told) and "12 rounds" in " ".join(told)
    assert found["data"]["fingerprint"] == "" and "## Privacy" in (tmp_path / "m" / "card.md").read_text()
    log = [json.loads(line) for line in (tmp_path / "m" / "log.jsonl").read_text().splitlines()]
    assert not any(entry.get("terms") for entry in log)  # losses of records tell of them
    assert not any(entry.get("kind") == "health" for entry in log) and not list((tmp_path / "m").glob("samples/*"))
    assert api.sample(tmp_path / "m", 3, seed=0).x.shape[0] == 3


GAME = {"game": "non_saturating", "penalty": "none", "latent_dim": 4}


@pytest.mark.parametrize(
    ("family", "data", "options"),
    [
        ("diffusion", "digits", {"backbone": "mlp", "hidden": (16,)}),
        ("flow_matching", "digits", {"backbone": "mlp", "hidden": (16,)}),
        ("autoregressive", "digits", {"width": 8, "inner": 8, "blocks": 1}),
        ("hierarchical_vae", "digits", {"widths": (8,), "groups": (1,), "latent_channels": (1,), "mixtures": 2}),
        ("autoencoder", "digits", {"widths": (8,), "blocks": 1}),
        ("gan", "digits", {"backbone": "mlp", **GAME}),
        ("class_gaussian", "digits", {"rank": 8}),
        ("vae", "breast_cancer", {"hidden": (16,), "latent_dim": 2}),
        ("diffusion", "breast_cancer", {"hidden": (16,)}),
        ("autoregressive", "breast_cancer", {"column_width": 4, "column_hidden": 8}),
        ("gan", "breast_cancer", {"hidden": (16,), **GAME}),
    ],
)
def test_families_of_other_kinds_train_privately(
    tmp_path: Path, family: str, data: str, options: dict[str, Any]
) -> None:
    length = {} if family == "class_gaussian" else {"steps": 2, "batch_size": 20}
    privacy = PRIVACY + ",seeded" + (",public=ranges" if data == "breast_cancer" else "")
    api.train(family, data, tmp_path / "m", privacy=privacy, device="cpu", **length, **options)
    promise = api.describe(tmp_path / "m").privacy
    assert promise is not None and 0.0 < promise.epsilon <= 2.0 + 1e-6 and not promise.release
    assert "not for release" in (tmp_path / "m" / "card.md").read_text().lower()
    if family != "autoencoder":
        drawn = api.sample(tmp_path / "m", 2, seed=0)
        assert np.isfinite(np.asarray(drawn.x, dtype=np.float64)).all()


def _updates(family: Line, stream: PoissonStream, clip: float, noise: float, watched: bool = True) -> Any:
    optimizers = {name: PlayerOptimizer(p, None) for name, p in family.players().items()}
    made = PrivateUpdates(family, stream, _recipe(), optimizers, Ledger(None), SeededSource(5), clip, watched)
    made.noise = noise
    return made


@pytest.mark.parametrize("watched", [True, False])
def test_without_clipping_and_noise_gradients_are_the_plain_ones(watched: bool) -> None:
    stream, family = _stream(100, 100), _line()
    for optimizer, _ in _updates(family, stream, 1e3, 1e-9, watched).of(Progress(0, 0.0), "fp32", None):
        found = optimizer.parameters[0].grad.clone()
    plain = _line()
    x = stream._records.batch().x
    (0.5 * (plain.layer(torch.ones(100, 1)) - x).square().sum(1)).mean().backward()
    assert torch.allclose(found, plain.layer.weight.grad, atol=1e-6)


def test_the_noise_of_a_step_has_the_planned_deviation() -> None:
    family, stream = _line(), _stream()
    updates = _updates(family, stream, 0.5, 3.0)
    seen = []
    for step in range(600):
        for optimizer, _ in updates.of(Progress(step, 0.0), "fp32", None):
            seen.append(optimizer.parameters[0].grad.clone().flatten())
    g = torch.stack(seen).double()
    away = -stream._records.batch().x.double()
    short = 0.5 * away / away.norm(dim=1, keepdim=True)  # every gradient is longer than 0.5
    assert (away.norm(dim=1) > 0.5).double().mean() > 0.9
    short = torch.where(away.norm(dim=1, keepdim=True) > 0.5, short, away)
    mean, q = short.sum(0) * stream.rate / 100, stream.rate
    sampled = (q * (1 - q) * short.square().sum(0)) / 100**2  # the variance of a sum over random units
    wanted = (sampled + (3.0 * 0.5 / 100) ** 2).sqrt()
    assert ((g.mean(0) - mean).abs() < 6 * wanted / len(g) ** 0.5).all()
    assert ((g.std(0) / wanted - 1).abs() < 6 / (2 * len(g)) ** 0.5).all()


# ---------------------------------------------------------------- the ledger


def test_a_run_that_goes_on_keeps_its_ledger_and_a_killed_one_pays(tmp_path: Path) -> None:
    events = fit(_line(), _stream(), _recipe(log_every=5), tmp_path / "m")
    for event in events:
        if event.step >= 10:
            events.close()
            break
    ledger = tmp_path / "m" / "checkpoint" / "ledger.json"
    made = json.loads(ledger.read_text())["rounds"]
    assert made == event.step
    before = api.describe(tmp_path / "m").privacy
    assert before is not None and before.ledger[0].rounds == made
    ledger.write_text(json.dumps({"rounds": made + 7}))  # what a killed run had written down
    events = list(fit(_line(), _stream(), _recipe(log_every=5), tmp_path / "m", resume=True))
    after = api.describe(tmp_path / "m").privacy
    assert after is not None and after.ledger[0].rounds == 30 and events[-1].step == 23
    assert after.ledger[0].noise == before.ledger[0].noise and before.epsilon < after.epsilon <= 2.0
    assert any("7 private rounds" in w for e in events for w in e.warnings)


def test_a_ledger_that_is_missing_or_says_less_stops_the_run(tmp_path: Path) -> None:
    events = fit(_line(), _stream(), _recipe(log_every=5), tmp_path / "m")
    next(events)
    events.close()
    ledger = tmp_path / "m" / "checkpoint" / "ledger.json"
    ledger.write_text('{"rounds": 1}')
    with pytest.raises(ArtifactError, match="the ledger says 1 rounds"):
        list(fit(_line(), _stream(), _recipe(log_every=5), tmp_path / "m", resume=True))
    ledger.unlink()
    with pytest.raises(ArtifactError, match="cannot be read"):
        list(fit(_line(), _stream(), _recipe(log_every=5), tmp_path / "m", resume=True))


def test_rounds_are_written_down_before_they_are_made(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.json")
    ledger.before_round()
    assert json.loads((tmp_path / "ledger.json").read_text())["rounds"] == BLOCK
    again = Ledger(tmp_path / "ledger.json")
    assert again.recover(0) == BLOCK  # as after a kill in the first round
    ledger.settle()
    assert json.loads((tmp_path / "ledger.json").read_text())["rounds"] == 1


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("options", "why"), [({"pairs": True}, "compares the records"), ({"counts": True}, "keeps statistics")]
)
def test_losses_that_mix_records_and_statistics_are_refused(options: dict[str, Any], why: str) -> None:
    with pytest.raises(SpecError, match=why):
        probing.check(_line(**options))
    assert probing.check(_line()) == ["mean"]


@pytest.mark.parametrize(
    ("family", "options", "why"),
    [
        ("gan", {}, r"sees the records|compares"),
        ("gan", {"game": "non_saturating", "penalty": "none", "augment": "adaptive"}, "keeps statistics"),
        ("flow_matching", {"coupling": "optimal-across"}, "compares the records"),
    ],
)
def test_real_families_are_refused_for_what_they_do(family: str, options: dict[str, Any], why: str) -> None:
    kind = registry.family(family)
    data = DataSpec(name="d", shape=(1, 8, 8), kind="continuous", levels=17)
    with Rng(0).forked():
        model = kind(kind.Spec.parse({"backbone": "mlp", **options}), data, {})
    with pytest.raises(SpecError, match=why):
        probing.check(model)


def test_gradients_are_read_at_layers_or_record_by_record() -> None:
    data = DataSpec(name="d", shape=(1, 8, 8), kind="continuous", levels=17)
    for family, options, slow in (
        ("vae", {"backbone": "conv", "widths": (8,), "blocks": 1}, False),
        ("diffusion", {"backbone": "unet", "widths": (16, 16), "blocks": (1,), "attention": 1}, False),
        ("vae", {"backbone": "mlp", "hidden": (8,), "prior": "vamp", "pseudo_inputs": 3}, True),
    ):
        kind = registry.family(family)
        with Rng(0).forked():
            model = kind(kind.Spec.parse(options), data, {})
        players = {name: list(model.players()[name].parameters) for name in probing.check(model)}
        before = {name: p.clone() for name, p in model.named_parameters()}
        assert (probing.readable(model, players) is not None) == slow, (family, probing.readable(model, players))
        assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"privacy": "epsilon=1"}, "delta missing"),
        ({"privacy": "epsilom=1,delta=1e-5"}, "did you mean 'epsilon'"),
        ({"privacy": "epsilon=1,delta=1e-5,epsilom=2"}, "epsilom"),
        ({"privacy": "epsilon=0,delta=1e-5"}, "epsilon"),
        ({"privacy": "epsilon=1,delta=1e-5,public=weights"}, "public"),
        ({"patience": 3}, "leave out patience"),
        ({"flips": True}, "leave out flips"),
        ({"precision": "bf16"}, "fp32"),
    ],
)
def test_terms_that_make_no_promise_are_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(SpecError, match=why):
        _recipe(**changes)


def test_what_tells_of_records_outside_of_epsilon_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="less than 1/n"):
        list(fit(_line(), _stream(), _recipe(privacy="epsilon=1,delta=0.01"), tmp_path / "a"))
    numbers = {"x": np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)}
    with pytest.raises(SpecError, match=r"the range of its numbers.*public=ranges"):
        api.train("vae", numbers, tmp_path / "b", steps=1, privacy=PRIVACY, **SMALL)
    (tmp_path / "t.csv").write_text("age,sex\n" + "".join(f"{20 + i % 50},{'fm'[i % 2]}\n" for i in range(400)))
    with pytest.raises(SpecError, match=r"column 'age'.*column 'sex'.*schema file"):
        api.train("marginal_tree", str(tmp_path / "t.csv"), tmp_path / "c", privacy=PRIVACY)
    plain = api.train("vae", "digits", tmp_path / "plain", steps=1, **SMALL)
    with pytest.raises(UsageError, match="cannot start from a model"):
        api.train("vae", "digits", tmp_path / "d", steps=1, privacy=PRIVACY, start=plain, **SMALL)
    with pytest.raises(SpecError, match="leave out steps, epochs and batch_size"):
        api.train("class_gaussian", "digits", tmp_path / "g", privacy=PRIVACY, steps=5)
    with pytest.raises(UsageError, match="names no units"):
        api.train("vae", "digits", tmp_path / "e", steps=1, privacy=PRIVACY + ",unit=patient", **SMALL)


def test_a_public_schema_and_units_of_several_rows(tmp_path: Path) -> None:
    rows = "".join(f"p{i // 3},{20 + i % 50},{'fm'[i % 2]}\n" for i in range(900))
    (tmp_path / "t.csv").write_text("patient,age,sex\n" + rows)
    (tmp_path / "t.schema.yaml").write_text(
        "group: patient\ncolumns:\n  age: {type: integer, low: 0, high: 120, resolution: 1}\n"
        '  sex: {type: category, values: ["f", "m", "x"]}\n'
    )
    terms = "epsilon=3,delta=1e-4,unit=patient"
    api.train("vae", str(tmp_path / "t.csv"), tmp_path / "m", steps=3, privacy=terms, **SMALL)
    found = api.describe(tmp_path / "m")
    assert found.privacy is not None and found.privacy.unit == "patient"
    table = found["data"]["table"]["columns"]
    assert all(not c["knots"] and not c["rare"] and c["common"] is None and c["public"] for c in table)
    assert found.privacy.ledger[0].rate == pytest.approx(100 / 255, rel=0.1)
    assert len(api.synthesize(tmp_path / "m", 5)) == 5
    told: list[str] = []
    for _ in api.training("marginal_tree", str(tmp_path / "t.csv"), tmp_path / "r", privacy=terms, on_plan=told.append):
        pass
    assert any("one record of each 'patient'" in line for line in told)
    promise = api.describe(tmp_path / "r").privacy
    assert promise is not None and promise.unit == "patient" and promise.epsilon <= 3.0
    with pytest.raises(SpecError, match="leave out copies"):
        api.train("marginal_tree", str(tmp_path / "t.csv"), tmp_path / "c", privacy=f"{terms},copies=2")


def test_a_full_batch_is_accounted_in_closed_form(tmp_path: Path) -> None:
    list(fit(_line(), _stream(100, 100), _recipe(steps=4), tmp_path / "m"))
    promise = api.describe(tmp_path / "m").privacy
    assert promise is not None and "closed form" in promise.accountant
    noise = promise.ledger[0].noise
    assert noise is not None and promise.epsilon == pytest.approx(gaussian_epsilon(noise / 2.0, 1e-4))
    assert artifact.load(tmp_path / "m").provenance["privacy"]["release"] is False


def test_numbers_of_records_stay_out_of_a_private_model_and_do_not_choose_one(tmp_path: Path) -> None:
    from morphogen.api.private_evaluation import check_no_choice

    for name in ("a", "b"):
        api.train("class_gaussian", "digits", tmp_path / name, rank=4, privacy=PRIVACY)
    found = api.evaluate(tmp_path / "a", "digits", ["kid"], n=40)
    assert any("not kept" in note for note in found.notes) and not (tmp_path / "a" / "evaluation").exists()
    held = {name: api.load(tmp_path / name) for name in ("a", "b")}
    spec = held["a"].data.replace(name="mnist")
    with pytest.raises(UsageError, match="nobody counts"):
        check_no_choice(held, spec, None, True)
    check_no_choice(held, spec, "general", True)
    check_no_choice({"a": held["a"]}, spec, None, True)
