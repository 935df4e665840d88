"""`check_family` passes a sound family, and finds each planted defect by the check that is meant for it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pydantic
import pytest
import torch
from torch import Tensor, nn

from morphogen import api
from morphogen.core.batch import RawCondition
from morphogen.core.capabilities import Encodes, Samples, Score, Scores
from morphogen.core.distributions import LOG_2PI
from morphogen.core.errors import MorphogenError, UsageError
from morphogen.core.family import Family, Player, Step
from morphogen.core.rng import Rng
from morphogen.core.spec import Spec
from morphogen.testing import CHECKS, check_family, parametrize_with_checks

SPEC = "the Spec round-trips and names the nearest option"
PLAYERS = "players cover every trainable parameter once"
GRADIENTS = "gradients are finite and reach every parameter"
LEARNS = "samples beat the best single Gaussian"
RESUME = "resumed training equals uninterrupted training"
ARTIFACT = "save and load keep the samples"
ADDRESSES = "sample i does not depend on the batch size"
RANGE = "samples lie in the data's range"
CONDITIONS = "conditions are obeyed"
NULL = "no condition equals an all-null one"
SCORES = "scores are per record and tell data from noise"
TRUTHFUL = "declared capabilities are truthful"
GLOBAL = "no global random state is used or moved"
OUTSIDE = "no file and no network is touched"


class Options(Spec):
    defect: str = ""
    conditional: bool = True


class Toy(Family):
    """Two Gaussians for each of the four classes: p(x | class) = 1/2 sum_j N(mean_j, std_j^2 I)."""

    name, summary, Spec = "toy", "Gaussians by class", Options
    capabilities = frozenset({Samples, Scores})

    def __init__(self, spec, data, parts=None):
        super().__init__(spec, data, parts)
        angle = (torch.arange(8) + 0.4 + 0.2 * torch.rand(8)) * (math.pi / 4)
        self.means = nn.Parameter(0.6 * torch.stack((angle.cos(), angle.sin()), 1))
        self.log_std = nn.Parameter(torch.full((8,), -1.5))
        self.forgotten = torch.zeros(())
        self.seen = 0
        if self.spec.defect in ("no player owns it", "no gradient reaches it"):
            self.idle = nn.Parameter(torch.zeros(3))
        if self.spec.defect == "a capability that it lacks":
            self.capabilities = self.capabilities | {Encodes}
        if self.spec.defect == "a network that it lacks":
            self.compiled_networks = ("denoiser",)

    def players(self):
        mine = [self.means, self.log_std]
        if self.spec.defect == "no gradient reaches it":
            mine.append(self.idle)
        return {"all": Player(mine, lr=0.01, ema=0.9)}

    def networks(self):
        return {}

    def steps(self, batch, rng, at):
        loss = -self._log_prob(batch.x, batch.cond)
        match self.spec.defect:
            case "losses of a batch":
                loss = loss.mean()
            case "gradients that are not finite":
                loss = loss + (self.means - self.means.detach()).abs().sqrt().sum()
            case "global noise in the loss":
                loss = loss * (1 + 0.1 * torch.rand(len(loss)))
            case "a file is read":
                Path(__file__).read_bytes()
            case "training depends on what no checkpoint holds":
                self.seen += at.step > 9
                loss = loss * (1 + self.seen)
            case "samples depend on what no artifact holds":
                self.forgotten += 0.01
            case "nothing is learned":
                loss = 1e-9 * loss + (self.means - 0.2).square().sum() + (self.log_std + 1).square().sum()
        yield Step("all", {"nll": loss})

    @torch.no_grad()
    def sample(self, n: int, cond: RawCondition | None, rng: Rng) -> Tensor:
        defect = self.spec.defect
        label = torch.full((n,), -1) if cond is None or defect == "conditions are ignored" else cond.label
        if defect == "the seed is ignored":
            rng = Rng(0, offset=rng.offset)
        any_class, half = rng.integers("class", n, 4), rng.integers("half", n, 2)
        j = 2 * torch.where(label < 0, any_class, label) + half
        noise = torch.randn(n, 2) if defect == "global noise in samples" else rng.normal("x", n, (2,))
        x = self.means[j] + self.log_std[j, None].exp() * noise
        match defect:
            case "the global state is moved":
                torch.rand(1)
            case "samples depend on their number":
                x = x + 0.2 / n
            case "null differs from none" if cond is not None:
                x = torch.where(label[:, None] < 0, 0.9 * x, x)
            case "values out of range":
                return 2.0 * x
            case "samples depend on what no artifact holds":
                x = x + 0.1 * self.forgotten.sin()
            case "samples of another shape":
                return x[:, :1].clamp(-1, 1)
        return x.clamp(-1, 1)

    @torch.no_grad()
    def score(self, x: Tensor, cond: RawCondition | None, rng: Rng, samples: int = 1) -> Score:
        value = self._log_prob(x, cond)
        match self.spec.defect:
            case "noise is likely":
                value = -value
            case "scores of a batch":
                value = value.mean()
        terms = {"log_likelihood": value + (self.spec.defect == "terms that do not add up")}
        return Score(value, "exact", "density", terms)

    def _log_prob(self, x: Tensor, cond: RawCondition | None) -> Tensor:
        distance = (x[:, None] - self.means).square().sum(-1)  # (B, 8)
        log_p = -0.5 * distance / (2 * self.log_std).exp() - 2 * self.log_std - LOG_2PI
        label = torch.full((len(x),), -1) if cond is None else cond.label
        allowed = (torch.arange(8) // 2 == label[:, None]) | (label[:, None] < 0)
        return log_p.masked_fill(~allowed, -torch.inf).logsumexp(1) - allowed.sum(1).log()


class Loose(Spec):
    model_config = pydantic.ConfigDict(extra="ignore")
    defect: str = ""
    conditional: bool = True


class Careless(Toy):
    name, Spec = "careless", Loose


class Unbuilt(Toy):
    name = "unbuilt"

    def steps(self, batch, rng, at):
        raise NotImplementedError("not written yet")


@pytest.fixture
def failures(monkeypatch: pytest.MonkeyPatch):
    """The checks that a toy fails, name -> why. It learns in a few steps; whether it does has a test of its own."""
    monkeypatch.setattr("morphogen.core.registry._registered", {})

    def run(family: type[Family] = Toy, but: tuple[str, ...] = (LEARNS,), **options: Any) -> dict[str, str]:
        checked = check_family(family, options, skip=but, steps=150, records=1024)
        return {check.name: check.detail for check in checked.failures}

    return run


def test_the_variational_autoencoder_passes() -> None:
    found = check_family("vae", steps=600, records=2048)
    assert found.failures == []
    skipped = [check.detail for check in found.checks if check.passed is None]
    assert len(found.checks) == len(CHECKS) and skipped == [
        "does not declare Completes",
        "does not declare Infills",
    ]


def test_a_sound_family_passes(failures) -> None:
    assert failures(but=()) == {}


@pytest.mark.parametrize(
    ("defect", "caught"),
    [
        ("no player owns it", {PLAYERS: "no player owns idle"}),
        ("no gradient reaches it", {GRADIENTS: "no gradient within five steps: idle"}),
        ("training depends on what no checkpoint holds", {RESUME: "resumed training differs in"}),
        ("samples depend on what no artifact holds", {ARTIFACT: "in no parameter or buffer"}),
        ("samples depend on their number", {ADDRESSES: "samples drawn 1 at a time differ by 0.18"}),
        ("the seed is ignored", {ADDRESSES: "another seed gave the same samples"}),
        ("values out of range", {RANGE: "leaves [-1.0, 1.0]"}),
        ("conditions are ignored", {CONDITIONS: "of the samples drawn for a class look like it"}),
        ("null differs from none", {NULL: "None and an all-null differ"}),
        ("terms that do not add up", {SCORES: "the terms do not add up"}),
        ("noise is likely", {SCORES: "uniform noise scores higher than data"}),
        ("a capability that it lacks", {TRUTHFUL: "declares Encodes but lacks its methods"}),
        ("a network that it lacks", {TRUTHFUL: "compiled_networks names 'denoiser', which is none of its networks"}),
        ("the global state is moved", {GLOBAL: "the global random state was moved"}),
        ("global noise in the loss", {GLOBAL: "the global random state was moved"}),
        ("a file is read", {OUTSIDE: "test_check_family.py"}),
    ],
)
def test_a_defect_is_found_by_the_check_meant_for_it_and_by_no_other(failures, defect, caught) -> None:
    found = failures(defect=defect)
    assert set(found) == set(caught)
    for name, words in caught.items():
        assert words in found[name]


@pytest.mark.parametrize(
    ("defect", "caught"),
    [
        ("losses of a batch", {GRADIENTS: "terms are per record"}),
        ("gradients that are not finite", {GRADIENTS: "non-finite gradient of means at step 0"}),
        ("global noise in samples", {GLOBAL: "was moved", ADDRESSES: "differ by", ARTIFACT: "other samples"}),
        ("samples of another shape", {RANGE: "expected shape (64, 2), got (64, 1)"}),
        ("scores of a batch", {SCORES: "not (B,) finite"}),
    ],
)
def test_a_defect_with_consequences_is_found_at_its_root_too(failures, defect, caught) -> None:
    found = failures(defect=defect)
    for name, words in caught.items():
        assert words in found[name]


def test_a_family_that_learns_nothing_is_found(failures) -> None:
    found = failures(but=(CONDITIONS, SCORES), defect="nothing is learned")
    assert set(found) == {LEARNS} and "not closer to the data" in found[LEARNS]


def test_a_spec_that_swallows_unknown_options_is_found(failures) -> None:
    assert failures(Careless) == {SPEC: "the unknown option 'defectx' was accepted"}


def test_checks_that_do_not_apply_say_why() -> None:
    found = check_family(Toy, {"conditional": False}, only=(TRUTHFUL, CONDITIONS), steps=5)
    assert found.to_dict() == {CONDITIONS: "not applicable: is not conditional", TRUTHFUL: "passed: Samples, Scores"}


def test_a_family_that_fails_everywhere_is_reported_and_not_raised(failures) -> None:
    found = failures(Unbuilt)
    assert found[GRADIENTS] == "NotImplementedError: not written yet"
    assert {RESUME, RANGE, SCORES} <= set(found) and SPEC not in found and PLAYERS not in found


def test_failures_reach_the_user(failures) -> None:
    failures(Careless, but=tuple(set(CHECKS) - {PLAYERS}))
    assert api.check_family("careless", only=[PLAYERS]) == {PLAYERS: "passed"}
    with pytest.raises(MorphogenError, match=r"family 'careless': .*the unknown option 'defectx' was accepted"):
        api.check_family("careless", only=[SPEC, PLAYERS])


def test_only_and_skip_choose_checks_by_name() -> None:
    names = [check.name for check in check_family("vae", only=(PLAYERS, SPEC, RANGE), skip=(RANGE,)).checks]
    assert names == [SPEC, PLAYERS]
    for wrong in ({"only": ["conditions are obeyd"]}, {"skip": ["conditions are obeyd"]}):
        with pytest.raises(UsageError, match="did you mean 'conditions are obeyed'"):
            check_family("vae", **wrong)
        with pytest.raises(UsageError, match="unknown check"):
            parametrize_with_checks(["vae"], **wrong)


@parametrize_with_checks([Toy], steps=150, records=1024, skip=(LEARNS,))
def test_each_check_is_a_test_of_its_own(check) -> None:
    check()


def test_a_test_of_its_own_fails_and_skips_as_the_check_says() -> None:
    def cases(options: dict[str, Any], *names: str) -> list[Any]:
        mark = parametrize_with_checks([Toy], options, only=names, steps=5, records=300)
        return [case.values[0] for case in mark.args[1]]

    out_of_range, truthful = cases({"defect": "values out of range"}, RANGE, TRUTHFUL)
    with pytest.raises(AssertionError, match="leaves"):
        out_of_range()
    truthful()
    (does_not_apply,) = cases({"conditional": False}, CONDITIONS)
    with pytest.raises(pytest.skip.Exception, match="is not conditional"):
        does_not_apply()
