"""The functions that a user calls; every face (Python, command line, studio) calls these and nothing below.

A model is the path of its artifact. Data are a source string (`morphogen data inspect` explains them), which is
always prepared as the model's own `DataSpec` says, so that nothing has to be repeated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from morphogen import artifact, data
from morphogen.check_family import check_family as checks
from morphogen.core import capabilities, registry
from morphogen.core.batch import RawCondition
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import MorphogenError, SpecError, UsageError, unknown
from morphogen.core.family import Family, require, resolve_preset
from morphogen.core.rng import Rng
from morphogen.core.spec import Spec
from morphogen.evaluate import Evaluation, Reference, differences, fidelity, judge_records
from morphogen.evaluate import evaluate as measure
from morphogen.nn.frozen import NAMES, frozen
from morphogen.quickstart import quickstart as first_steps
from morphogen.report.sheets import sheet, to_bytes
from morphogen.train import Event, Recipe, fit
from morphogen.train.distributed import resolve_device

CHUNK = 64  # samples drawn together; with `exact`, always this many, so that the arithmetic is the same
LENGTHS = {"steps", "epochs", "budget"}  # of training; ten minutes where none is given
WATCHED = 1000  # validation records that a family's health is judged on


@dataclass(frozen=True)
class Pictures:
    """Records that a model made or saw: `x` (n, *shape) in stored units (0 .. 255 for 8-bit pictures),
    as means where a model gives means; what they are; their record ids and labels where they have any."""

    x: np.ndarray
    spec: DataSpec
    ids: np.ndarray | None = None
    labels: np.ndarray | None = None


def families(name: str | None = None) -> Any:
    """All families as a list of descriptions, or one with its presets and options."""
    if name is None:
        return [_describe(registry.family(n)) for n in registry.names()]
    found = registry.family(name)
    return {**_describe(found), "options": _fields(found.Spec), "recipe": _fields(Recipe)}


def load_data(source: str) -> data.Dataset:
    """The records of a source, in memory. Raises `DataError` that names what cannot be read."""
    return data.load(source)


def load_model(model: Path | str, device: str = "cpu") -> artifact.Artifact:
    """A model as a module (`.family`, in evaluation mode) with what is known about it. Raises `ArtifactError`."""
    return artifact.load(model, resolve_device(device))


def inspect(source: str) -> data.Inspection:
    """What is in a source: its DataSpec, class balance, exact duplicates, unusable records."""
    return data.inspect(source)


def train(
    family: str,
    data: str,
    out: Path | str,
    *,
    preset: str | None = None,
    options: Mapping[str, Any] | None = None,
    recipe: Mapping[str, Any] | None = None,
    resume: bool = False,
    start: Path | str | None = None,
) -> Iterator[Event]:
    """Train a model; iterate over the events, and `out` holds its artifact.

    `start` is a trained model whose weights to begin with, for fine-tuning; its networks must be the same.

    `options` are fields of the family's Spec, on top of the preset's; `recipe` are fields of `train.Recipe`.
    Raises `UsageError` or `DataError` before any work is done where the call or the data are wrong.
    """
    found = registry.family(family)
    spec = found.Spec.parse({**resolve_preset(found, preset), **(options or {})})
    plan = Recipe.parse({**({} if LENGTHS & set(recipe or {}) else {"budget": "10min"}), **(recipe or {})})
    dataset = load_data(data)
    with Rng(plan.seed).forked():
        model = found(spec, dataset.spec)
    if start is not None:
        _begin_with(model, start)
    stream = _stream(dataset, plan)
    watched = dataset.validation or dataset.train
    validation = watched.batch(slice(0, WATCHED))
    sheets = Path(out) / "samples"

    def draw(trained: Family, step: int) -> None:
        if not dataset.spec.is_picture:
            return
        if capabilities.Samples in trained.capabilities:
            n = 64
            cond = _grid_of_classes(dataset.spec, n) if getattr(spec, "conditional", False) else None
            cond = None if cond is None else cond.to(_device(trained))
            x = cast(Any, trained).sample(n, cond, Rng(plan.seed, _device(trained)))
        elif capabilities.Encodes in trained.capabilities:  # rows of held-out pictures, each above what is made of it
            seen = validation[:32].to(_device(trained))
            made = cast(Any, trained).decode(cast(Any, trained).encode(seen.x, seen.cond).mean, seen.cond).mean
            rows = zip(seen.x.split(8), made.split(8), strict=True)
            x = torch.cat([row.to(made.dtype) for pair in rows for row in pair])
        else:
            return
        sheets.mkdir(parents=True, exist_ok=True)
        sheet(to_bytes(_stored(x, dataset.spec), dataset.spec)).save(sheets / f"step-{step:07d}.png")

    provenance: dict[str, Any] = {"source": data, "preset": preset}
    if start is not None:
        provenance["started_from"] = {
            "model": str(start),
            "sha256": artifact.files.sha256(Path(start) / artifact.MANIFEST),
        }
    provenance["problems"] = [str(p) for p in dataset.problems]
    return fit(
        model, stream, plan, Path(out), resume=resume, validation=validation, provenance=provenance, on_sheet=draw
    )


def sample(
    model: Path | str,
    n: int = 64,
    seed: int = 0,
    *,
    label: str | int | None = None,
    exact: bool = False,
    batch_size: int | None = None,
    device: str = "cpu",
    **how: Any,
) -> Pictures:
    """Draw `n` new records. Sample i depends on (seed, i, label) only.

    In another `batch_size` it agrees to within 1/255; with `exact` it is the same bit for bit whatever n is.
    `how` are further options of the family's own `sample`, such as temperature; None leaves one as it is.
    """
    if n < 1:
        raise UsageError(f"cannot draw {n} samples: --n is at least 1.")
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"cannot draw {batch_size} samples at a time: the batch size is at least 1.")
    family = load_model(model, device).family
    require(family, capabilities.Samples, "sample", registry.having(capabilities.Samples))
    how = _drawn_how(family, how)
    row = _label(family.data, label, family)
    on = _device(family)
    rng = Rng(seed, on)
    size = CHUNK if exact else (batch_size or CHUNK)
    parts = []
    for start in range(0, n, size):
        count = size if exact else min(size, n - start)
        cond = None if row is None else RawCondition(label=torch.full((count,), row, device=on))
        parts.append(cast(Any, family).sample(count, cond, rng.shifted(start), **how))
    labels = None if row is None else np.full(n, row)
    return Pictures(_stored(torch.cat(parts)[:n], family.data), family.data, labels=labels)


def reconstruct(model: Path | str, data: str, n: int = 16, *, split: str = "test") -> tuple[Pictures, Pictures]:
    """Records of a split, and what the model makes of them: the mean of p(x | z) at the mean of q(z | x)."""
    family = artifact.load(model).family
    require(family, capabilities.Encodes, "reconstruct", registry.having(capabilities.Encodes))
    records = _records(data, family.data, split, n)
    batch = records.batch()
    with torch.no_grad():
        z = cast(Any, family).encode(batch.x, batch.cond).mean
        x = cast(Any, family).decode(z, batch.cond).mean
    return _pictures(records, records.stored.numpy()), _pictures(records, _stored(x, family.data))


def interpolate(model: Path | str, data: str, n: int = 8, *, steps: int = 8, split: str = "test") -> Pictures:
    """`n` walks of `steps` pictures between pairs of records, row after row: x (n * steps, *shape).

    Latents move on the great circle between the two encoded means, which keeps their distance from the
    origin typical of the prior (White, 2016). For a conditional model the condition is that of the nearer end.
    """
    if steps < 2:
        raise UsageError(f"an interpolation needs at least 2 steps (got {steps}).")
    family = artifact.load(model).family
    require(family, capabilities.Encodes, "interpolate", registry.having(capabilities.Encodes))
    records = _records(data, family.data, split, 2 * n)
    if len(records) < 2:
        raise UsageError(f"an interpolation needs at least 2 records; {data} has {len(records)} in its {split} split.")
    pairs = len(records) // 2
    batch = records.batch(slice(0, 2 * pairs))
    with torch.no_grad():
        z = cast(Any, family).encode(batch.x, batch.cond).mean
        shape, z = z.shape[1:], z.flatten(1)
        t = torch.linspace(0, 1, steps)
        walk = torch.stack([_slerp(z[:pairs], z[pairs:], float(ti)) for ti in t], dim=1).flatten(0, 1)
        cond = None
        if batch.cond is not None:
            nearer = torch.tensor([[i + pairs * (ti > 0.5) for ti in t] for i in range(pairs)]).flatten().long()
            cond = batch.cond[nearer]
        x = cast(Any, family).decode(walk.unflatten(1, shape), cond).mean
    return Pictures(_stored(x, family.data), family.data, ids=batch.ids.numpy())


def encode(model: Path | str, data: str, *, split: str = "test", n: int | None = None) -> Pictures:
    """The means of q(z | x) for records of a split: x (n, D) are latents; ids and labels are the records'."""
    family = artifact.load(model).family
    require(family, capabilities.Encodes, "encode", registry.having(capabilities.Encodes))
    records = _records(data, family.data, split, n)
    batch = records.batch()
    with torch.no_grad():
        z = cast(Any, family).encode(batch.x, batch.cond).mean.flatten(1)
    return _pictures(records, z.numpy())


def levels(model: Path | str, data: str, n: int = 8, *, split: str = "test") -> tuple[Pictures, Pictures]:
    """What each level of latents knows: records, and what the model makes of them from their first k groups.

    For k = 0 .. K, row after row of `n`, the first k groups are at the means of their posteriors and the others at
    those of their priors: x ((K + 1) * n, *shape). So the first row knows nothing of the records, and the last all.
    """
    family = artifact.load(model).family
    require(family, capabilities.Latents, "show levels", registry.having(capabilities.Latents))
    records = _records(data, family.data, split, n)
    batch, ladder = records.batch(), cast(Any, family)
    known: list[Tensor] = []
    rows = []
    with torch.no_grad():
        for k in range(ladder.groups + 1):
            z = list(known)
            for j in range(k, ladder.groups):
                z.append(ladder.prior(j, z, len(batch), batch.cond).mean)
            rows.append(ladder.likelihood(z, batch.cond).mean)
            if k < ladder.groups:
                known.append(ladder.posterior(k, batch.x, known, batch.cond).mean)
    return _pictures(records, records.stored.numpy()), _pictures(records, _stored(torch.cat(rows), family.data))


def manifold(model: Path | str, n: int = 20) -> Pictures:
    """The latent plane of a model of two latents: n * n decoded places, x (n * n, *shape), row by row from the top.

    They are the quantiles (i + 1/2) / n of the standard normal in each direction (Kingma and Welling, 2014).
    """
    family = artifact.load(model).family
    require(family, capabilities.Encodes, "draw the manifold", registry.having(capabilities.Encodes))
    with torch.no_grad():
        shape = cast(Any, family).encode(torch.zeros(1, *family.data.shape)).mean.shape[1:]
        if shape.numel() != 2:
            raise UsageError(
                f"a manifold is drawn for 2 latents, this model has {shape.numel()}: train a VAE with --latent-dim 2."
            )
        at = torch.special.ndtri((torch.arange(n, dtype=torch.float64) + 0.5) / n).float()
        z = torch.stack(torch.meshgrid(-at, at, indexing="ij"), dim=-1).flip(-1).reshape(-1, 2)
        x = cast(Any, family).decode(z.unflatten(1, shape), None).mean
    return Pictures(_stored(x, family.data), family.data)


def evaluate(
    model: Path | str,
    data: str,
    metrics: Sequence[str] | None = None,
    *,
    split: str = "test",
    n: int | None = None,
    samples: int | None = None,
    seed: int = 0,
    network: str | None = None,
    device: str = "cpu",
    save: bool = True,
) -> dict[str, Any]:
    """Measure a model: its likelihood of held-out records, and the records that it makes.

    Each number stands with its interval, n, seed and baselines. `metrics` are names in `evaluate.METRICS` (default: all
    that the model is capable of and the data allow); `n` is how many records, `samples` how many importance samples;
    `network` is a shipped feature network or a file of one's own. The results are kept in the artifact unless `save`
    is false.
    """
    how: dict[str, Any] = {"split": split, "n": n, "samples": samples, "seed": seed}
    found = compare([model], data, metrics, network=network, device=device, save=save, **how)
    return found["models"][0]


def compare(
    models: Sequence[Path | str],
    data: str,
    metrics: Sequence[str] | None = None,
    *,
    split: str = "test",
    n: int | None = None,
    samples: int | None = None,
    seed: int = 0,
    network: str | None = None,
    device: str = "cpu",
    save: bool = True,
) -> dict[str, Any]:
    """Measure several models on the same records with the same noise, and each pair's differences with intervals.

    Every model is judged in the units of the first one's data. The rest is as in `evaluate`.
    """
    if len({str(m) for m in models}) < len(models):
        raise UsageError("a model is given twice: name each once.")
    loaded = {str(model): load_model(model, device) for model in models}
    first, *others = (one.family.data for one in loaded.values())
    for name, other in zip(list(loaded)[1:], others, strict=True):
        if (other.shape, other.kind, other.levels) != (first.shape, first.kind, first.levels):
            raise UsageError(
                f"{name} models {other.kind} records of shape {other.shape}, {models[0]} {first.kind} ones of shape"
                f" {first.shape}: only models of the same kind of records can be compared."
            )
    dataset = _load_like(data, first)
    given = _network(network)
    drawn = not metrics or set(metrics) & set(fidelity.METRICS)
    draws = any(capabilities.Samples in one.family.capabilities for one in loaded.values())
    reference = None
    if drawn and draws:
        try:
            reference = Reference(dataset, split=split, n=n, seed=seed, network=given)
        except MorphogenError:  # said for each model, among what is left out
            if metrics:
                raise
    how: dict[str, Any] = {"split": split, "n": n, "samples": samples, "seed": seed}
    measured = {
        name: measure(one.family, dataset, metrics, network=given, reference=reference, **how)
        for name, one in loaded.items()
    }
    described = [_described(measured[name], data, model=name, family=one.family.name) for name, one in loaded.items()]
    if save:
        for name, evaluation in measured.items():
            for result in evaluation.results:
                artifact.write_evaluation(name, result.name, result.to_dict())
    return {"models": described, "differences": [d.to_dict() for d in differences(measured, reference)]}


def evaluate_samples(
    pictures: str,
    data: str,
    metrics: Sequence[str] | None = None,
    *,
    split: str = "test",
    n: int | None = None,
    seed: int = 0,
    network: str | None = None,
) -> dict[str, Any]:
    """Judge records that any other program made, a folder of pictures or an .npz file, beside the records of `data`.

    They are prepared as `data` are (size, channels); bytes no larger than the data's largest level are levels. `n`
    takes the first of them only. Raises as `evaluate` does.
    """
    dataset = load_data(data)
    as_drawn = dataset.spec
    if as_drawn.is_picture:  # bytes, whatever levels the data have: metrics compare bytes
        plain = {k: v for k, v in as_drawn.preprocessing.items() if k != "binary"}
        as_drawn = as_drawn.model_copy(update={"kind": "continuous", "levels": 256, "preprocessing": plain})
    made = _load_like(pictures, as_drawn)
    stored = torch.cat([records.stored for records in made.splits.values()])
    levels = dataset.spec.levels or 2
    # Arrays such as `sample --out FILE.npz` writes hold the data's own levels, picture files 0 .. 255.
    spec = dataset.spec if as_drawn.is_picture and int(stored.max()) < levels else made.spec
    order = torch.cat([records.ids for records in made.splits.values()]).argsort()[:n]
    labels = [records.labels for records in made.splits.values()]
    asked = None if any(given is None for given in labels) else torch.cat(cast(list[Tensor], labels))[order]
    found = judge_records(
        stored[order], spec, dataset, metrics, split=split, seed=seed, network=_network(network), labels=asked
    )
    return _described(found, data, samples=pictures)


def show(model: Path | str) -> dict[str, Any]:
    """What a model is, what it was trained on and how, and its evaluations."""
    loaded = artifact.load(model)
    family = loaded.family
    return {
        "model": str(model),
        "family": family.name,
        "capabilities": sorted(c.__name__ for c in family.capabilities),
        "parameters": sum(p.numel() for p in family.parameters()),
        "options": family.spec.to_dict(),
        "data": family.data.to_dict(),
        "recipe": loaded.spec["recipe"],
        "provenance": dict(loaded.provenance),
        "evaluations": artifact.read_evaluations(model),
    }


def verify(model: Path | str) -> dict[str, Any]:
    """Check every file of a model against its manifest. Raises `ArtifactError` naming what is wrong."""
    loaded = artifact.load(model)
    return {"model": str(model), "family": loaded.family.name, "whole and unaltered": True}


def check_family(name: str) -> dict[str, Any]:
    """Put a family to the tests that all families must pass; raises `MorphogenError` with those that failed."""
    found = checks(name)
    if found.failures:
        raise MorphogenError(str(found))
    return found.to_dict()


def quickstart(out: Path | str, budget: str = "4min") -> Iterator[Event]:
    """Train on real digits, judge, and write `out`/report.html; iterate over the training's events."""
    return first_steps(Path(out), budget)


def _network(name: str | None) -> Any:
    """A shipped feature network by name, or one's own by its path; None for the one that suits the data."""
    if name is None:
        return None
    from morphogen.nn.pretrained import pretrained

    return frozen(name) if name in NAMES or not Path(name).exists() else pretrained(name)


def _described(found: Evaluation, data: str, **of: str) -> dict[str, Any]:
    return {
        **of,
        "data": data,
        "results": [r.to_dict() for r in found.results],
        "left_out": found.left_out,
        "ladders": {
            name: {
                "n": ladder.n,
                "better": ladder.better,
                "tracks": {d: [(r.short, r.value) for r in track] for d, track in ladder.tracks().items()},
            }
            for name, ladder in found.ladders.items()
        },
    }


def _begin_with(model: Family, start: Path | str) -> None:
    """Copy the weights of a trained model. Raises `SpecError` where the networks differ."""
    weights = artifact.load(start).family.state_dict()
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    different = sorted(name for name in shapes.keys() | wanted.keys() if shapes.get(name) != wanted.get(name))
    if different:
        raise SpecError(
            f"cannot start from {start}: {len(different)} weights differ in name or shape, such as {different[0]!r};"
            " give the same network options that it was trained with."
        )
    model.load_state_dict(weights)


def _stream(dataset: data.Dataset, plan: Recipe) -> data.Stream:
    return data.Stream(dataset.train, plan.batch_size, plan.seed, plan.flips, resolve_device(plan.device))


def _load_like(source: str, spec: DataSpec) -> data.Dataset:
    return data.load(source, like=spec)


def _records(source: str, spec: DataSpec, split: str, n: int | None) -> data.Records:
    """The first `n` records of a split (all for None), prepared as the model's data were."""
    if n is not None and n < 1:
        raise UsageError(f"cannot take {n} records: --n is at least 1.")
    return _load_like(source, spec).split(split).select(slice(0, n))


def _pictures(records: data.Records, x: np.ndarray) -> Pictures:
    return Pictures(x, records.spec, records.ids.numpy(), None if records.labels is None else records.labels.numpy())


def _stored(x: Tensor, spec: DataSpec) -> np.ndarray:
    """Model values in stored units; means of binary pictures stay between 0 and 1."""
    x = x.detach().cpu()
    return (x.float().clamp(0, 1) if spec.kind == "binary" else spec.decode(x)).numpy()


def _slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """The point at t on the great circle from a to b (n, D), norms interpolated linearly; straight if parallel."""
    na, nb = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    angle = torch.arccos(((a / na) * (b / nb)).sum(1, keepdim=True).clamp(-1, 1))
    on_circle = (torch.sin((1 - t) * angle) * a / na + torch.sin(t * angle) * b / nb) / torch.sin(angle)
    curved = on_circle * ((1 - t) * na + t * nb)
    return torch.where(torch.sin(angle) > 1e-4, curved, (1 - t) * a + t * b)


def _label(spec: DataSpec, label: str | int | None, family: Family) -> int | None:
    """A class by its name or number. Raises `UsageError` for one that the model does not know."""
    if label is None:
        return None
    if not getattr(family.spec, "conditional", False) or not spec.classes:
        raise UsageError("this model knows no classes: train one on labelled data with --conditional.")
    if str(label) in spec.classes:
        return spec.classes.index(str(label))
    if str(label).isdecimal() and int(label) < len(spec.classes):
        return int(label)
    raise UsageError(unknown("class", str(label), spec.classes))


def _drawn_how(family: Family, how: Mapping[str, Any]) -> dict[str, Any]:
    """The given options of `sample`. Raises `UsageError` for one that this family's does not take."""
    given = {name: value for name, value in how.items() if value is not None}
    known = _options_of_sample(type(family))
    for name in given:
        if name not in known:
            others = [f for f in registry.names() if name in _options_of_sample(registry.family(f))]
            raise UsageError(
                f"a {family.name!r} model is not sampled with {name!r}; its options: {', '.join(known) or 'none'};"
                f" families that have {name!r}: {', '.join(others) or 'none'}."
            )
    if given.get("temperature", 1.0) < 0:
        raise UsageError(f"a temperature is at least 0 (got {given['temperature']}).")
    return given


def _options_of_sample(family: type[Family]) -> list[str]:
    """The keyword-only parameters of a family's `sample`."""
    method = getattr(family, "sample", None)
    parameters = [] if method is None else list(signature(method).parameters.values())
    return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]


def _grid_of_classes(spec: DataSpec, n: int) -> RawCondition | None:
    return RawCondition(label=torch.arange(n) % len(spec.classes)) if spec.classes else None


def _device(family: Family) -> torch.device:
    return next(family.parameters()).device


def _describe(family: type[Family]) -> dict[str, Any]:
    return {
        "name": family.name,
        "summary": family.summary,
        "capabilities": sorted(c.__name__ for c in family.capabilities),
        "presets": {name: dict(options) for name, options in family.presets.items()},
    }


def _fields(spec: type[Spec]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "type": str(getattr(field.annotation, "__name__", field.annotation))
            if isinstance(field.annotation, type)
            else str(field.annotation).replace("typing.", ""),
            "default": field.default,
            "description": field.description,
        }
        for name, field in spec.model_fields.items()
    ]
