import pytest
import torch

from morphogen import artifact
from morphogen.trainer import checkpoint, fit
from morphogen.trainer import compile as compilation
from morphogen.trainer.distributed import World
from tests.trainer.toys import Points, build, points, recipe

HERE = World(torch.device("cpu"))


class Doubling(torch.nn.Module):
    """Stands for a compiled network, and counts its calls."""

    calls = 0

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, *arguments):
        Doubling.calls += 1
        return self.network(*arguments)


@pytest.fixture
def compiler(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda network, **_: Doubling(network))
    monkeypatch.setattr(Doubling, "calls", 0)


def choose(monkeypatch, eager_s, compiled_s, compiler=True, **options):
    """The choice between an eager and a compiled step of these durations."""
    family = build()
    now = [0.0]

    def trial():
        now[0] += compiled_s if family._wrapped.get("encoder") else eager_s

    monkeypatch.setattr(compilation.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(compilation, "compiler", lambda device: compiler)
    chosen = recipe(**{"compile": "auto", **options})
    result, warnings = compilation.choose(family, chosen, HERE, chosen.steps, trial)
    assert (family.network("encoder") is not family.encoder) is result
    assert warnings == []
    return result


def test_auto_compiles_long_runs_that_gain(monkeypatch, compiler):
    assert choose(monkeypatch, 0.1, 0.05, steps=40_000)
    assert choose(monkeypatch, 0.1, 0.05, budget="30min")
    assert not choose(monkeypatch, 0.1, 0.098, steps=40_000)  # gains too little
    assert not choose(monkeypatch, 0.1, 0.2, steps=40_000)  # loses
    assert not choose(monkeypatch, 0.1, 0.05, steps=4000)  # 400 s
    assert not choose(monkeypatch, 0.1, 0.05, budget="10min")
    assert not choose(monkeypatch, 0.1, 0.05, steps=40_000, compiler=False)


def test_on_and_off_are_obeyed(monkeypatch, compiler):
    assert choose(monkeypatch, 0.1, 0.2, steps=5, compile="on")
    assert not choose(monkeypatch, 0.1, 0.01, steps=100_000, compile="off")


def test_a_compiler_that_fails_is_one_warning_and_the_same_model(tmp_path, monkeypatch):
    def fail(network, **_):
        raise RuntimeError("no C++ compiler\nand much more")

    list(fit(build(), Points(points()), recipe(steps=10), tmp_path / "eager"))
    monkeypatch.setattr(torch, "compile", fail)
    events = list(fit(build(), Points(points()), recipe(steps=10, log_every=2, compile="on"), tmp_path / "m"))
    (warning,) = [w for event in events for w in event.warnings]
    assert "torch.compile failed" in warning
    assert "no C++ compiler" in warning
    assert "much more" not in warning
    loaded = artifact.load(tmp_path / "m")
    assert loaded.provenance["compiled"] is False
    eager = artifact.load(tmp_path / "eager").family.state_dict()
    assert all(torch.equal(value, eager[name]) for name, value in loaded.family.state_dict().items())


def test_the_choice_is_kept_when_a_run_goes_on(tmp_path, monkeypatch, compiler):
    options = recipe(steps=20, log_every=5, compile="on")
    events = fit(build(), Points(points()), options, tmp_path / "m")
    next(events)
    events.close()
    assert checkpoint.read(tmp_path / "m" / "checkpoint")[1]["compiled"] is True

    def measured(*_, **__):
        raise AssertionError("measured again")

    monkeypatch.setattr(compilation, "choose", measured)
    monkeypatch.setattr(Doubling, "calls", 0)
    family = build()
    list(fit(family, Points(points()), options, tmp_path / "m", resume=True))
    assert Doubling.calls == 15 * 2  # two networks, once for each of the steps 5 .. 19
    assert family.network("encoder") is family.encoder  # given back as it was


def test_sheets_are_drawn_by_the_eager_networks(tmp_path, compiler):
    seen = []

    def on_sheet(model, step):
        seen.append(type(model.network("encoder")))

    list(fit(build(), Points(points()), recipe(steps=5, compile="on"), tmp_path / "m", on_sheet=on_sheet))
    assert seen == [torch.nn.Sequential]


def test_the_trial_of_a_step_leaves_buffers_and_weights_alone(tmp_path, compiler):
    family = build(lr=0.0)
    list(fit(family, Points(points()), recipe(steps=3, compile="on"), tmp_path / "m"))
    assert family.seen == 3 * 32  # the records of three steps, and not of the trial


@pytest.mark.slow
def test_a_compiled_run_learns_what_the_eager_one_does(tmp_path):
    for choice in ("on", "off"):
        events = list(fit(build(), Points(points()), recipe(steps=50, compile=choice), tmp_path / choice))
        assert events[-1].warnings == []
    on, off = (artifact.load(tmp_path / c).family.state_dict() for c in ("on", "off"))
    assert artifact.load(tmp_path / "on").provenance["compiled"] is True
    assert all(torch.allclose(on[name], off[name], rtol=1e-4, atol=1e-5) for name in on)
