r"""A model as functions of tensors, which other programs run: ONNX graphs, each compared with the model.

Which graphs a model has follows from its capabilities:

    Denoises       denoiser       x_t, t -> mean, variance       of p(x_0 | x_t)
    Encodes        encoder        x -> z                         E[z | x], where encoding is no search
                   decoder        z -> x                         E[x | z]; of a GAN the generator
    Discriminates  discriminator  x -> realness

A conditional model has further inputs, as `RawCondition` names them: `label` (-1 for none), `attributes` and `present`,
`text` and `text_mask`, `context`. The first dimension of each input and output is the batch, of any size.

A graph is written only if onnxruntime gives what the model gives. For outputs y of the model and g of the graph, on
records and noise that the export did not see and in another batch size,

    max |g - y| / max(1, max |y|) <= 1e-4.

References: Bai, Lu, Zhang et al., "ONNX: Open Neural Network Exchange", 2019; `torch.onnx.export(dynamo=True)`.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from morphogen.core.batch import RawCondition
from morphogen.core.capabilities import Denoises, Discriminates, Encodes, Samples
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import CapabilityError, MorphogenError, UsageError, unknown
from morphogen.core.family import Family
from morphogen.core.rng import Rng

TOLERANCE = 1e-4
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_EXPORTED, _CHECKED = 2, 3  # records
_SEED = 20_250


class _Function(nn.Module):
    """A function of a model: `forward` takes its own inputs, then the fields of a condition."""

    def __init__(self, family: Any, fields: tuple[str, ...]) -> None:
        super().__init__()
        self.family, self.fields = family, fields

    def condition(self, given: tuple[Tensor, ...]) -> RawCondition | None:
        """The condition whose fields are given."""
        fields: dict[str, Any] = dict(zip(self.fields, given, strict=True))
        return RawCondition(**fields) if fields else None


class _Denoiser(_Function):
    def forward(self, x_t: Tensor, t: Tensor, *given: Tensor) -> tuple[Tensor, Tensor]:
        posterior = self.family.posterior(x_t, t.double(), self.condition(given))
        return posterior.mean, posterior.var


class _Encoder(_Function):
    def forward(self, x: Tensor, *given: Tensor) -> Tensor:
        mean: Tensor = self.family.encode(x, self.condition(given)).mean
        return mean


class _Decoder(_Function):
    def forward(self, z: Tensor, *given: Tensor) -> Tensor:
        mean: Tensor = self.family.decode(z, self.condition(given)).mean
        return mean


class _Discriminator(_Function):
    def forward(self, x: Tensor, *given: Tensor) -> Tensor:
        realness: Tensor = self.family.realness(x, self.condition(given))
        return realness


@dataclass(frozen=True)
class Graph:
    """A function of a model that can be exported, and examples of its inputs, by name and in order."""

    name: str
    function: nn.Module
    inputs: Mapping[str, Tensor]
    unseen: Mapping[str, Tensor]
    outputs: tuple[str, ...]


def graphs(family: Family) -> dict[str, Graph]:
    """The functions of a model by name, the one that draws first. Raises `CapabilityError` where there is none."""
    found = {}
    if Denoises in family.capabilities:
        found["denoiser"] = _graph("denoiser", _Denoiser, family, ("mean", "variance"))
    if Encodes in family.capabilities and family.data.sequence is None:
        name = "generator" if Discriminates in family.capabilities else "decoder"
        found[name] = _graph(name, _Decoder, family, ("x",))
    if Encodes in family.capabilities and family.encodes_at_once:
        found["encoder"] = _graph("encoder", _Encoder, family, ("z",))
    if Discriminates in family.capabilities:
        found["discriminator"] = _graph("discriminator", _Discriminator, family, ("realness",))
    if not found:
        raise CapabilityError(
            f"a {family.name!r} model has no function that ONNX can say: graphs are of models that denoise, decode or"
            " discriminate. Its weights go out with --format safetensors."
        )
    return found


def chosen(found: Mapping[str, Graph], name: str | None) -> Graph:
    """The graph of this name, or the one that draws. Raises `UsageError`."""
    if name is None:
        return next(iter(found.values()))
    if name not in found:
        raise UsageError(unknown("graph of this model", name, found))
    return found[name]


def to_onnx(graph: Graph, about: Mapping[str, str]) -> tuple[bytes, float]:
    """The graph as an ONNX file, and its largest difference from the model.

    `about` goes into the file's metadata. Raises `MorphogenError` where it cannot be said in ONNX, or differs by more
    than `TOLERANCE`.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise MorphogenError(f"ONNX needs {', '.join(missing)}: pip install 'morphogen[onnx]'.")
    batch = torch.export.Dim("batch", min=1, max=2**20)
    names, rows = list(graph.inputs), ({0: batch},) * len(graph.inputs)
    own = len(names) - len(getattr(graph.function, "fields", ()))
    shapes = (*rows[:own], rows[own:]) if own < len(names) else rows
    try:
        with _quietly(), torch.no_grad():
            graph.function(*graph.inputs.values())  # so that matrices that are made once and kept are real numbers
            traced = torch.export.export(
                graph.function, tuple(graph.inputs.values()), dynamic_shapes=shapes, strict=False
            )
            program = torch.onnx.export(
                traced.run_decompositions({torch.ops.aten.hypot.default: _hypot}),
                dynamo=True,
                input_names=names,
                output_names=list(graph.outputs),
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # whatever an operator without a translation raises
        raise MorphogenError(
            f"the {graph.name} cannot be written as ONNX ({_reason(error)}). Its weights go out with --format"
            " safetensors."
        ) from error
    assert program is not None
    proto = program.model_proto
    for key, value in about.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
    data = proto.SerializeToString()
    return data, _difference(graph, data)


def _difference(graph: Graph, data: bytes) -> float:
    """max |g - y| / max(1, max |y|) on the unseen inputs. Raises `MorphogenError` above the tolerance."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, torch.get_num_threads()
    with torch.no_grad():
        wanted = graph.function(*graph.unseen.values())
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        fed = {i.name: graph.unseen[i.name].numpy() for i in session.get_inputs()}
        got = session.run(list(graph.outputs), fed)
    except Exception as error:  # onnxruntime's own errors share no public base
        raise MorphogenError(f"onnxruntime cannot run the {graph.name} ({str(error)[:300]}).") from error
    worst = 0.0
    for y, g in zip(wanted if isinstance(wanted, tuple) else (wanted,), got, strict=True):
        y, g = y.double().numpy(), np.asarray(g, np.float64)
        apart = np.abs(g - y).max() / max(1.0, np.abs(y).max()) if g.shape == y.shape else np.inf
        worst = max(worst, float(np.nan_to_num(apart, nan=np.inf)))
    if worst > TOLERANCE:
        raise MorphogenError(
            f"the {graph.name} as ONNX gives other numbers than the model, by {worst:.2g} where {TOLERANCE:g} is"
            " allowed, so it is not written. Its weights go out with --format safetensors."
        )
    return worst


def _graph(name: str, function: type[_Function], family: Family, outputs: tuple[str, ...]) -> Graph:
    both = [_inputs(name, family, n, _SEED + n) for n in (_EXPORTED, _CHECKED)]
    fields = tuple(_condition(family, _EXPORTED, _SEED))
    made = function(family, fields).eval()
    conditions = [_condition(family, n, _SEED + n) for n in (_EXPORTED, _CHECKED)]
    inputs, unseen = ({**own, **given} for own, given in zip(both, conditions, strict=True))
    return Graph(name, made, inputs, unseen, outputs)


@torch.no_grad()
def _inputs(name: str, family: Any, n: int, seed: int) -> dict[str, Tensor]:
    """Examples of what the function of this name takes."""
    rng = Rng(seed)
    if name == "denoiser":
        t = 0.05 + 0.9 * rng.uniform("t", n, ())
        return {"x_t": rng.normal("x_t", n, tuple(family.drawn_shape)), "t": t.float()}
    cond = _condition(family, n, seed)
    given = RawCondition(**cond) if cond else None  # type: ignore[arg-type]
    x = _records(family, given, n, rng)
    if name in ("encoder", "discriminator"):
        return {"x": x}
    return {"z": family.encode(x, given).mean.contiguous()}


def _records(family: Any, given: RawCondition | None, n: int, rng: Rng) -> Tensor:
    """`n` records: the model's own, or noise in their range where it draws none."""
    data: DataSpec = family.data
    if Samples in family.capabilities:
        drawn: Tensor = family.sample(n, given, rng)
        return drawn
    x = data.low + (data.high - data.low) * rng.uniform("x", n, data.shape)
    return x.round().long() if data.kind in ("discrete", "sequence") else x.float()


def _condition(family: Family, n: int, seed: int) -> dict[str, Tensor]:
    """Examples of the fields that a model reads."""
    data, rng, found = family.data, Rng(seed), dict[str, Tensor]()
    if family.conditional and data.classes:
        found["label"] = (rng.uniform("label", n, ()) * len(data.classes)).long()
    if family.conditional and data.attributes:
        values = rng.uniform("attributes", n, (len(data.attributes),)).float()
        ends = [(0.0, len(a.values) - 1.0) if a.values else (a.low or 0.0, a.high or 1.0) for a in data.attributes]
        low, high = (torch.tensor(side) for side in zip(*ends, strict=True))
        found["attributes"] = low + (high - low) * values
        found["present"] = torch.ones(n, len(data.attributes), dtype=torch.bool)
    if family.conditional and data.text is not None and data.text.vocabulary:
        size = (data.text.longest,)
        found["text"] = (rng.uniform("text", n, size) * data.text.vocabulary).long()
        found["text_mask"] = rng.uniform("mask", n, size) < 0.8
    if data.context_shape is not None and family.takes_context:
        found["context"] = rng.uniform("context", n, tuple(data.context_shape)).float() * 2.0 - 1.0
    return found


def _hypot(a: Tensor, b: Tensor) -> Tensor:
    """For ONNX, which has no such operator."""
    return (a * a + b * b).sqrt()


def _reason(error: BaseException) -> str:
    """The first line of the error that began it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without what the exporter tells its own developers."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "torch.export")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
