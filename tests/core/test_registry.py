"""Families by name, and what a family refuses."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping

import pytest
import torch
from torch import nn

from morphogen.core import registry
from morphogen.core.batch import Batch
from morphogen.core.capabilities import ALL, Discriminates, Samples
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import CapabilityError, SpecError, UsageError, nearest, unknown
from morphogen.core.family import Family, Health, Player, Progress, Step, require, resolve_preset
from morphogen.core.rng import Rng
from morphogen.core.spec import Spec as BaseSpec


class ToySpec(BaseSpec):
    width: int = 1


class Toy(Family):
    name = "toy"
    summary = "does nothing much"
    Spec = ToySpec
    capabilities = frozenset({Samples})
    presets = {"small": {"width": 1}, "large": {"width": 9}}
    part_names = ("teacher",)

    def __init__(self, spec: BaseSpec, data: DataSpec, parts: Mapping[str, nn.Module] | None = None) -> None:
        super().__init__(spec, data, parts)
        self.net = nn.Linear(1, 1)

    def players(self) -> Mapping[str, Player]:
        return {"toy": Player(list(self.net.parameters()), lr=1e-3)}

    def networks(self) -> Mapping[str, nn.Module]:
        return {"net": self.net}

    def steps(self, batch: Batch, rng: Rng, at: Progress) -> Iterator[Step]:
        yield Step("toy", {"loss": self.network("net")(batch.x).square().sum(1)})


DATA = DataSpec(name="points", shape=(1,), kind="continuous")


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.setattr("morphogen.core.registry._announced", lambda group: {})
    monkeypatch.setitem(sys.modules, "a_third_partys_module", sys.modules[__name__])
    registry.register("toy", "a_third_partys_module:Toy")


@pytest.mark.usefixtures("registered")
def test_a_registered_family_is_found() -> None:
    assert registry.names() == ["toy"] and registry.family("toy") is Toy
    assert registry.having(Samples) == ["toy"] and registry.having(Discriminates) == []


@pytest.mark.usefixtures("registered")
def test_an_unknown_family_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown family 'toys': did you mean 'toy'"):
        registry.family("toys")


def test_the_projects_own_families_are_announced_and_listing_imports_none() -> None:
    code = "import sys; from morphogen.core import registry; print(registry.names(), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'vae'" in done.stdout and done.stdout.strip().endswith("False")


def test_every_announced_family_declares_known_capabilities_under_its_own_name() -> None:
    for name in registry.names():
        family = registry.family(name)
        assert family.name == name and family.summary and family.capabilities <= set(ALL)
        for preset in family.presets:
            family.Spec.parse(resolve_preset(family, preset))


def test_a_missing_capability_is_an_error_that_says_who_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Toy(ToySpec(), DATA)
    require(toy, Samples, "sample")
    monkeypatch.setattr(registry, "having", lambda capability: ["gan", "dcgan"])
    with pytest.raises(
        CapabilityError, match=r"cannot detect with a 'toy' model.*Discriminates.*have it: gan, dcgan\."
    ):
        require(toy, Discriminates, "detect")
    monkeypatch.setattr(registry, "having", lambda capability: [])
    with pytest.raises(CapabilityError, match="none that is installed"):
        require(toy, Discriminates, "detect")


def test_presets() -> None:
    assert resolve_preset(Toy, None) == {} and resolve_preset(Toy, "large") == {"width": 9}
    with pytest.raises(SpecError, match="unknown preset of toy 'larg': did you mean 'large'"):
        resolve_preset(Toy, "larg")


def test_a_wrapped_network_is_used_and_leaves_no_trace_in_the_state() -> None:
    toy = Toy(ToySpec(), DATA)
    before = list(toy.state_dict())
    toy.wrap("net", nn.Sequential(toy.net, nn.ReLU()))
    assert isinstance(toy.network("net"), nn.Sequential) and list(toy.state_dict()) == before
    toy.wrap("net", None)
    assert toy.network("net") is toy.net


def test_parts_are_frozen_and_in_no_player() -> None:
    toy = Toy(ToySpec(), DATA, {"teacher": nn.Linear(1, 1)})
    assert not any(p.requires_grad for p in toy.parts.parameters())
    moving = {id(p) for player in toy.players().values() for p in player.parameters}
    assert moving == {id(p) for p in toy.parameters() if p.requires_grad}
    assert {id(p) for p in toy.own_parameters()} == moving
    assert toy.health(Batch(torch.zeros(1, 1), torch.arange(1)), Rng(0)) == Health()
    with pytest.raises(SpecError, match=r"unknown part of a 'toy' model 'techer': did you mean 'teacher'\?"):
        Toy(ToySpec(), DATA, {"techer": nn.Linear(1, 1)})


def test_families_are_not_pickled() -> None:
    with pytest.raises(TypeError, match="save an artifact"):
        Toy(ToySpec(), DATA).__setstate__({})


def test_nearest_names() -> None:
    known = ["mnist", "fashion_mnist", "emoji", "digits"]
    assert nearest("mnsit", known)[0] == "mnist" and nearest("MNIST", known)[0] == "mnist"
    assert nearest("qqqq", known) == []
    assert unknown("data set", "digit", known) == "unknown data set 'digit': did you mean 'digits'?"
    assert unknown("data set", "qqqq", known).endswith("known are digits, emoji, fashion_mnist, mnist.")
    assert unknown("data set", "x", []).endswith("none is known.")


def test_errors_tell_wrong_usage_from_failed_work() -> None:
    assert issubclass(SpecError, UsageError) and not issubclass(CapabilityError, UsageError)


@pytest.mark.parametrize("target", ["mixture", "mixture:", ":Mixture", ""])
def test_a_place_that_is_none_is_refused_at_once(target: str) -> None:
    with pytest.raises(UsageError, match=r"package\.module:Class"):
        registry.register("mixture", target)
    assert "mixture" not in registry.names()
