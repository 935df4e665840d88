"""`check_family`: the tests that every family has to pass, ours or anybody's.

    from morphogen.testing.check_family import check_family
    assert not check_family("vae").failures

Each check runs only where the family declares the capability it needs. A model of points in the plane is trained
for some seconds (of 8 x 8 digits for families that need pictures), then looked at from all sides. Compilation is
off and the precision is float32, so that "bit for bit" means it.

A Spec with a boolean field `conditional` is checked conditionally, too, and one with a field `text_encoder` also with
words: then each record comes with the name of its class as a caption.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from morphogen import artifact
from morphogen.core import capabilities, registry
from morphogen.core.batch import Batch, RawCondition
from morphogen.core.data_spec import PAD, DataSpec, TextSchema
from morphogen.core.errors import SpecError
from morphogen.core.family import Family, Progress
from morphogen.core.rng import Rng
from morphogen.data import Records, Stream, load, tokenizer
from morphogen.data.tokenizer import Tokenizer
from morphogen.evaluation.metrics.energy import closer_test
from morphogen.trainer import Recipe, fit

STEPS, BATCH = 1500, 256
ALPHA = 0.001  # false-alarm rate of the two-sample test
_NUMERALS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True)
class Check:
    """One check: whether it passed, or why it did not apply (`passed` None)."""

    name: str
    passed: bool | None
    detail: str
    seconds: float


@dataclass(frozen=True)
class Checked:
    """All checks of one family."""

    family: str
    checks: tuple[Check, ...]

    @property
    def failures(self) -> list[Check]:
        """Those that failed."""
        return [c for c in self.checks if c.passed is False]

    def to_dict(self) -> dict[str, Any]:
        """check -> "passed", "not applicable: why", or "FAILED: why"."""
        words = {True: "passed", None: "not applicable", False: "FAILED"}
        return {c.name: words[c.passed] + (f": {c.detail}" if c.detail else "") for c in self.checks}

    def __str__(self) -> str:
        return f"family {self.family!r}: " + "; ".join(f"{c.name} failed: {c.detail}" for c in self.failures)


class _NotApplicable(Exception):
    """The family does not declare what a check needs."""


def check_family(
    family: str | type[Family],
    options: Mapping[str, Any] | None = None,
    parts: Mapping[str, tuple[str, Mapping[str, Any]]] | None = None,
) -> Checked:
    """Run all checks on a family, by name or by class, with `options` of its Spec. About 25 seconds.

    `parts` are the models that it stands on, by name: a family and its options each, trained first, on the same data.
    Never raises for a family that fails: look at `failures`.
    """
    if not isinstance(family, str):
        registry.register(family.name, f"{family.__module__}:{family.__qualname__}")
    found = registry.family(family) if isinstance(family, str) else family
    with tempfile.TemporaryDirectory() as folder:
        subject = _Subject(found, dict(options or {}), Path(folder), parts or {})
        return Checked(found.name, tuple(_run(name, check, subject) for name, check in CHECKS.items()))


def _run(name: str, check: Callable[[_Subject], str | None], subject: _Subject) -> Check:
    start = time.perf_counter()
    passed: bool | None
    try:
        passed, detail = True, check(subject) or ""
    except _NotApplicable as reason:
        passed, detail = None, str(reason)
    except AssertionError as error:
        passed, detail = False, str(error)
    except Exception as error:  # a family may fail in any way, and the other checks still tell something
        passed, detail = False, f"{type(error).__name__}: {error}"
    return Check(name, passed, detail, time.perf_counter() - start)


class _Subject:
    """The family under test, its data, and a model that is trained once, when first needed."""

    def __init__(
        self,
        family: type[Family],
        options: dict[str, Any],
        folder: Path,
        parts: Mapping[str, tuple[str, Mapping[str, Any]]],
    ) -> None:
        self.family, self.folder = family, folder
        self.stages = {name: (registry.family(of), chosen) for name, (of, chosen) in parts.items()}
        self.parts: dict[str, Any] = {}
        if "conditional" in family.Spec.model_fields:
            options = {"conditional": True, **options}
        if "text_encoder" in family.Spec.model_fields:
            options = {"text_encoder": "recurrent", **options}  # three times as fast
        self.spec = family.Spec.parse(options)
        self.train, self.test = _ring(4096, 0), _ring(1000, 1)
        try:
            self.build()
        except SpecError:  # this family needs pictures
            digits = load("digits")
            self.train, self.test = digits.train, digits.split("test")
        if "text_encoder" in family.Spec.model_fields:
            schema = tokenizer.describe([_caption(label) for label in range(10)] * 2, vocabulary=256, longest=16)
            self.train, self.test = _captioned(self.train, schema), _captioned(self.test, schema)
        self.parts = {
            name: artifact.load(self.fit(f"part-{name}", STEPS, model=stage)).family
            for name, stage in self._untrained(seed=0).items()
        }
        self.raw: Any = None  # what was trained, as it is in memory: no average, never saved
        self._trained: Any = None

    @property
    def data(self) -> DataSpec:
        return self.train.spec

    def build(self, seed: int = 0) -> Any:
        parts = self.parts or self._untrained(seed)
        with Rng(seed).forked():
            return self.family(self.spec, self.data, parts)

    def _untrained(self, seed: int) -> dict[str, Any]:
        with Rng(seed).forked():
            return {name: of(of.Spec.parse(dict(chosen)), self.data) for name, (of, chosen) in self.stages.items()}

    def fit(self, out: str, steps: int, stop_at: int | None = None, resume: bool = False, model: Any = None) -> Path:
        """Train in `out`, perhaps only to the first event at or after step `stop_at`."""
        recipe = Recipe(steps=steps, batch_size=BATCH, precision="fp32", compile="off", device="cpu", log_every=5)
        stream = Stream(self.train, BATCH, seed=0)
        events = fit(model or self.build(), stream, recipe, self.folder / out, resume=resume)
        for event in events:
            if stop_at is not None and event.step >= stop_at:
                cast(Any, events).close()
                break
        return self.folder / out

    @property
    def trained(self) -> Any:
        """The trained model, as loaded from its artifact."""
        if self._trained is None:
            self.raw = self.build()
            self._trained = artifact.load(self.fit("trained", STEPS, model=self.raw)).family
            self.raw.eval()
        return self._trained

    def needs(self, capability: type) -> Any:
        """The trained model, if it declares the capability."""
        if capability not in self.trained.capabilities:
            raise _NotApplicable(f"does not declare {capability.__name__}")
        return self.trained

    def batch(self, n: int = 32) -> Batch:
        return self.test.batch(slice(0, n))


def _ring(n: int, seed: int) -> Records:
    """Points around eight centers on a circle, sigma 0.05; the class is the quadrant."""
    rng = Rng(seed).child("ring")
    which = rng.integers("center", n, 8)
    angle = (which + 0.5) * (math.pi / 4)
    points = 0.75 * torch.stack((angle.cos(), angle.sin()), 1) + 0.05 * rng.normal("spread", n, (2,))
    spec = DataSpec(name="ring", shape=(2,), kind="continuous", classes=("0", "1", "2", "3"))
    ids = torch.arange(n) + seed * 1_000_000
    return Records(spec, points.clamp(-1, 1), ids, labels=which // 2)


def _caption(label: int) -> str:
    return f"class {_NUMERALS[label]}"


def _captioned(records: Records, schema: TextSchema) -> Records:
    captions = [_caption(label) for label in cast(Tensor, records.labels).tolist()]
    text = Tokenizer.of(schema).ids(captions, schema.longest)[:, None]
    return replace(records, spec=records.spec.replace(text=schema), captions=captions, text=text)


def _spec_round_trips(s: _Subject) -> None:
    assert s.family.Spec.parse(s.spec.to_dict()) == s.spec, "Spec.parse(spec.to_dict()) is another Spec"
    for preset, options in s.family.presets.items():
        s.family.Spec.parse(options)  # raises where the preset is impossible
        assert preset, "a preset without a name"
    name = next(iter(s.family.Spec.model_fields))
    try:
        s.family.Spec.parse({name + "x": 1})
    except SpecError as error:
        assert repr(name) in str(error), f"the error for {name + 'x'!r} does not name {name!r}: {error}"
    else:
        raise AssertionError(f"the unknown option {name + 'x'!r} was accepted")


def _players_cover_parameters(s: _Subject) -> None:
    model = s.build()
    owned = [id(p) for player in model.players().values() for p in player.parameters]
    assert len(owned) == len(set(owned)), "a parameter belongs to two players"
    trainable = {id(p): n for n, p in model.named_parameters() if p.requires_grad}
    missing = [n for i, n in trainable.items() if i not in set(owned)]
    assert not missing, f"no player owns {', '.join(missing)}"


def _gradients_reach_parameters(s: _Subject) -> None:
    """Finite gradients everywhere, and a non-zero one within five steps but for unseen embedding rows."""
    model, stream, seen = s.build(), Stream(s.train, BATCH, seed=0), set()
    players = model.players()
    optimizers = {n: torch.optim.AdamW(list(p.parameters), lr=p.lr) for n, p in players.items()}
    for step in range(5):
        for move in model.steps(stream.batch(step), Rng(0), Progress(step, 0.5 + step / 100)):
            sizes = {name: tuple(term.shape) for name, term in move.terms.items()}
            assert set(sizes.values()) == {(BATCH,)}, f"terms are per record, ({BATCH},): got {sizes}"
            parameters = list(players[move.player].parameters)
            loss = torch.stack(list(move.terms.values())).sum(0).mean()
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            for p, g in zip(parameters, gradients, strict=True):
                assert g is None or torch.isfinite(g).all(), f"non-finite gradient of {_name(model, p)} at step {step}"
                p.grad = g
                if g is not None and g.any():
                    seen.add(id(p))
            optimizers[move.player].step()
    owned = [p for player in players.values() for p in player.parameters]
    dead = [_name(model, p) for p in owned if id(p) not in seen]
    assert not dead, f"no gradient within five steps: {', '.join(dead)}"


def _learns(s: _Subject) -> str:
    """Samples are closer to held-out records than those of the best single Gaussian, in a two-sample test."""
    model = s.needs(capabilities.Samples)
    n = min(1000, len(s.test))
    data, train = s.data.encode(s.test.stored[:n]).flatten(1), s.data.encode(s.train.stored).flatten(1)
    rng = Rng(0).child("check")
    samples = _float(model.sample(n, s.batch(n).cond, rng)).flatten(1)
    mean, cov = train.mean(0), train.T.cov() + 1e-6 * torch.eye(train.shape[1])
    gaussian = mean + rng.normal("gaussian", n, (train.shape[1],)) @ torch.linalg.cholesky(cov).T
    p, statistic = closer_test(samples, gaussian.clamp(s.data.low, s.data.high), data, rng)
    assert p <= ALPHA + 1e-9, f"samples are not closer to the data than one Gaussian's (p = {p:.3f})"
    return f"energy distance below one Gaussian's by {statistic:.4f}, p = {p:.3f}"


def _resume_is_exact(s: _Subject) -> None:
    whole, parts = s.fit("whole", 30), s.fit("parts", 30, stop_at=12)
    s.fit("parts", 30, resume=True, model=s.build(seed=1))  # other initial weights must not matter
    a, b = (artifact.load(p).family.state_dict() for p in (whole, parts))
    different = [name for name in a if not torch.equal(a[name], b[name])]
    assert not different, f"resumed training differs in {', '.join(different)}"


def _artifact_keeps_samples(s: _Subject) -> None:
    """Also for the model in memory, so that nothing which training changed is missing from the artifact."""
    for name, model in {"loaded": s.needs(capabilities.Samples), "raw": s.raw}.items():
        artifact.save(s.folder / name, model, recipe={}, provenance={})
        copy = cast(Any, artifact.load(s.folder / name).family)
        same = torch.equal(model.deployed().eval().sample(8, None, Rng(3)), copy.sample(8, None, Rng(3)))
        assert same, "other samples after save and load: what they depend on is in no parameter or buffer"


def _samples_have_addresses(s: _Subject) -> None:
    """Sample i is the same in any batch size to 1/255 of the range, and bit for bit at the same size."""
    model = s.needs(capabilities.Samples)
    whole = _float(model.sample(12, None, Rng(5)))
    tolerance = (s.data.high - s.data.low) / 255 if s.data.kind == "continuous" else 1e-6
    for size in (1, 5):
        parts = [model.sample(min(size, 12 - i), None, Rng(5).shifted(i)) for i in range(0, 12, size)]
        error = float((_float(torch.cat(parts)) - whole).abs().max())
        assert error <= tolerance, f"samples drawn {size} at a time differ by {error:.4g}"
    assert torch.equal(_float(model.sample(12, None, Rng(5))), whole), "the same call gave other samples"
    assert not torch.equal(_float(model.sample(12, None, Rng(6))), whole), "another seed gave the same samples"


def _samples_are_in_range(s: _Subject) -> None:
    x = s.needs(capabilities.Samples).sample(64, None, Rng(0))
    assert tuple(x.shape) == (64, *s.data.shape), f"expected shape {(64, *s.data.shape)}, got {tuple(x.shape)}"
    assert torch.isfinite(_float(x)).all(), "samples hold NaN or infinite values"
    low, high = float(x.min()), float(x.max())
    assert s.data.low <= low and high <= s.data.high, f"[{low:.4g}, {high:.4g}] leaves [{s.data.low}, {s.data.high}]"


def _conditions_are_obeyed(s: _Subject) -> str:
    """Samples drawn for a class, by its number or in words, lie nearest to the records of that class."""
    model = s.needs(capabilities.Samples)
    if not model.conditional or not s.data.classes:
        raise _NotApplicable("is not conditional")
    k, n = len(s.data.classes), 400
    label = torch.arange(n) % k
    asked = {"a class": RawCondition(label=label)}
    if s.data.text is not None:
        text = Tokenizer.of(s.data.text).ids([_caption(i) for i in label.tolist()], s.data.text.longest)
        asked["words"] = RawCondition(text=text, text_mask=text != PAD)
    train = s.data.encode(s.train.stored).flatten(1)
    said = []
    for what, cond in asked.items():
        x = _float(model.sample(n, cond, Rng(1))).flatten(1)
        nearest = torch.cdist(x, train).argmin(1)
        share = float((cast(Tensor, s.train.labels)[nearest] == label).double().mean())
        assert share >= 0.9, f"only {share:.0%} of the samples drawn for {what} look like it"
        said.append(f"for {what} {share:.0%}")
    return f"{', '.join(said)} of samples lie nearest to a record of their class"


def _no_condition_is_all_null(s: _Subject) -> None:
    """Neither a class nor words, whatever stands where they are hidden."""
    model = s.needs(capabilities.Samples)
    null = RawCondition(label=torch.full((8,), -1))
    if s.data.text is not None:
        hidden = torch.ones(8, s.data.text.longest, dtype=torch.int64)
        null = replace(null, text=hidden, text_mask=torch.zeros_like(hidden, dtype=torch.bool))
    assert torch.equal(model.sample(8, None, Rng(2)), model.sample(8, null, Rng(2))), "None and an all-null differ"


def _scores_are_true(s: _Subject) -> str:
    """Finite, per record, made of their terms, and higher for data than for noise."""
    model, batch = s.needs(capabilities.Scores), s.batch(200)
    score = model.score(batch.x, batch.cond, Rng(0))
    assert tuple(score.value.shape) == (len(batch),) and torch.isfinite(score.value).all(), "scores are not (B,) finite"
    total = torch.stack(list(score.terms.values())).sum(0)
    assert torch.allclose(total, score.value, rtol=1e-4, atol=1e-3), "the terms do not add up to the value"
    noise = Rng(0).uniform("noise", len(batch), s.data.shape) * (s.data.high - s.data.low) + s.data.low
    worse = model.score(s.data.encode(s.data.decode(noise)), batch.cond, Rng(0)).value.mean()
    assert score.value.mean() > worse, "uniform noise scores higher than data"
    if score.kind == "lower_bound":
        tight = model.score(batch.x, batch.cond, Rng(0), 64)
        assert tight.value.mean() >= score.value.mean() - 0.1, "64 importance samples give a lower bound than one"
    return f"{float(score.value.mean()):.2f} nats ({score.kind}); noise {float(worse):.2f}"


def _capabilities_are_truthful(s: _Subject) -> str:
    model, batch = s.trained, s.batch(8)
    for capability in model.capabilities:
        assert capability in capabilities.ALL, f"{capability!r} is no capability"
        assert isinstance(model, capability), f"declares {capability.__name__} but lacks its methods"
    for name in model.compiled_networks:
        assert name in model.networks(), f"compiled_networks names {name!r}, which is none of its networks"
    if capabilities.Encodes in model.capabilities:
        z = model.encode(batch.x, batch.cond).mean
        x = model.decode(z, batch.cond).mean
        assert x.shape == batch.x.shape, f"decode(encode(x)) has shape {tuple(x.shape)}, not {tuple(batch.x.shape)}"
        far = (_float(x) - _float(batch.x).roll(3, 0)).square().mean()
        assert (_float(x) - _float(batch.x)).square().mean() < far, "a reconstruction is no closer to its own record"
    if capabilities.Latents in model.capabilities:
        z: list[Tensor] = []  # type: ignore[no-redef]
        for k in range(model.groups):
            q, p = model.posterior(k, batch.x, z, batch.cond), model.prior(k, z, len(batch), batch.cond)
            assert q.mean.shape == p.mean.shape, f"group {k}: posterior and prior have different shapes"
            z.append(q.mean)
        assert torch.isfinite(model.likelihood(z, batch.cond).log_prob(batch.x)).all(), "log p(x | z) is not finite"
    if capabilities.Discriminates in model.capabilities:
        assert tuple(model.realness(batch.x, batch.cond).shape) == (8,), "realness is (B,)"
    return ", ".join(sorted(c.__name__ for c in model.capabilities))


def _global_state_stays(s: _Subject) -> None:
    """Nothing reads or moves torch's global random state: not steps, not samples, not scores."""
    used = []
    for seed in (1, 2):
        model = s.build()  # anew, as a step may change buffers
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        moves = list(model.steps(Stream(s.train, BATCH, seed=0).batch(0), Rng(0), Progress(0, 0.0)))
        values = [float(t.detach().sum()) for move in moves for t in move.terms.values()]
        if capabilities.Samples in model.capabilities:
            values.append(float(_float(model.sample(4, None, Rng(0))).sum()))
        if capabilities.Scores in model.capabilities:
            values.append(float(model.score(s.batch().x, s.batch().cond, Rng(0)).value.detach().sum()))
        assert torch.equal(before, torch.get_rng_state()), "the global random state was moved"
        used.append(values)
    assert used[0] == used[1], "results depend on the global random state"


def _no_files_no_network(s: _Subject) -> None:
    model, batch = s.build(), Stream(s.train, BATCH, seed=0).batch(0)

    def work() -> None:
        for move in model.steps(batch, Rng(0), Progress(0, 0.0)):
            torch.stack(list(move.terms.values())).sum(0).mean().backward()
        if capabilities.Samples in model.capabilities:
            model.sample(4, None, Rng(0))

    work()  # modules that are imported late are read now
    with _watched() as events:
        work()
        s.build()
    assert not events, f"reached outside: {', '.join(sorted(set(events)))}"


_WATCHING: list[list[str]] = []
_HOOKED: list[bool] = []


@contextmanager
def _watched() -> Iterator[list[str]]:
    """The files, sockets and processes that were opened meanwhile. Audit hooks stay for good, so there is one."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if _WATCHING and event in ("open", "socket.connect", "socket.bind", "subprocess.Popen", "os.remove"):
            _WATCHING[-1].append(f"{event} {arguments[0]}")

    if not _HOOKED:
        sys.addaudithook(hook)
        _HOOKED.append(True)
    _WATCHING.append([])
    try:
        yield _WATCHING[-1]
    finally:
        _WATCHING.pop()


def _float(x: Tensor) -> Tensor:
    return x.detach().float()


def _name(model: Family, parameter: Tensor) -> str:
    return next((n for n, p in model.named_parameters() if p is parameter), "a parameter outside of the model")


CHECKS: dict[str, Callable[[_Subject], str | None]] = {
    "the Spec round-trips and names the nearest option": _spec_round_trips,
    "players cover every trainable parameter once": _players_cover_parameters,
    "gradients are finite and reach every parameter": _gradients_reach_parameters,
    "samples beat the best single Gaussian": _learns,
    "resumed training equals uninterrupted training": _resume_is_exact,
    "save and load keep the samples": _artifact_keeps_samples,
    "sample i does not depend on the batch size": _samples_have_addresses,
    "samples lie in the data's range": _samples_are_in_range,
    "conditions are obeyed": _conditions_are_obeyed,
    "no condition equals an all-null one": _no_condition_is_all_null,
    "scores are per record and tell data from noise": _scores_are_true,
    "declared capabilities are truthful": _capabilities_are_truthful,
    "no global random state is used or moved": _global_state_stays,
    "no file and no network is touched": _no_files_no_network,
}
