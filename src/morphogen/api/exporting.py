"""A model for other programs."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from morphogen.api.opened import AnyModel, OpenModel, open_model
from morphogen.api.results import Exported
from morphogen.applications import exporting
from morphogen.artifact import weights
from morphogen.core.errors import UsageError
from morphogen.report.saving import write_whole

FORMATS = ("onnx", "safetensors")


def export(
    model: AnyModel,
    out: Path | str,
    *,
    format: Literal["onnx", "safetensors"] | None = None,
    graph: str | None = None,
    overwrite: bool = False,
) -> Exported:
    """Write a model as ONNX graphs, or its weights as one safetensors file.

    A model that denoises has the graph `denoiser`, from x_t and t to the mean and the variance of p(x_0 | x_t). One
    that encodes has `decoder` and `encoder`; a GAN has `generator` and `discriminator`. Each graph is run by
    onnxruntime on records and noise that the export did not see, and written only if it agrees with the model:
    max |g - y| / max(1, max |y|) <= 1e-4.

    Args:
        model: a held model, or the path of its directory.
        out: a file that ends in .onnx or .safetensors, or a folder for all graphs.
        format: "onnx" or "safetensors"; None: as `out` ends, and "onnx" for a folder.
        graph: which one, for a file .onnx; None: the one that draws.
        overwrite: replace files that exist.

    Returns:
        The files, the inputs and outputs of each graph, and its difference from the model.

    Raises:
        CapabilityError: a model that has no such graph.
        UsageError: an unknown format or graph, or a file that exists.
        MorphogenError: an operation that ONNX does not know, or the extra `onnx` is not installed.

    Example:
        >>> mg.export("runs/first", "weights.safetensors").format
        'safetensors'
    """
    place = Path(out)
    kind = _format(place, format)
    held = open_model(model, "cpu")
    about = _about(held)
    if kind == "safetensors":
        _free(place, overwrite)
        place.parent.mkdir(parents=True, exist_ok=True)
        weights.write(place, held.module.state_dict(), about)
        return Exported(kind, {"weights": str(place)}, bytes=place.stat().st_size)
    found = exporting.graphs(held.module)
    if place.suffix == ".onnx":
        one = exporting.chosen(found, graph)
        wanted, places = {one.name: one}, {one.name: place}
    else:
        wanted = found if graph is None else {graph: exporting.chosen(found, graph)}
        places = {name: place / f"{name}.onnx" for name in wanted}
    for file in places.values():
        _free(file, overwrite)
    made = {name: exporting.to_onnx(one, {**about, "graph": name}) for name, one in wanted.items()}
    for name, (data, _) in made.items():
        places[name].parent.mkdir(parents=True, exist_ok=True)
        write_whole(places[name], data)
    return Exported(
        kind,
        {name: str(file) for name, file in places.items()},
        {name: tuple(one.inputs) for name, one in wanted.items()},
        {name: one.outputs for name, one in wanted.items()},
        {name: difference for name, (_, difference) in made.items()},
        sum(len(data) for data, _ in made.values()),
    )


def _format(out: Path, asked: str | None) -> str:
    """The format, which the suffix of `out` names if nothing else does."""
    suffix = out.suffix.removeprefix(".")
    if asked is not None and asked not in FORMATS:
        raise UsageError(f"a model is exported as {' or '.join(FORMATS)} (got {asked!r}).")
    if suffix and suffix not in FORMATS:
        raise UsageError(f"{out}: an export ends in .onnx or .safetensors, or is a folder of graphs.")
    kind = asked or suffix or "onnx"
    if kind != (suffix or "onnx"):
        raise UsageError(f"{out} is no place for {kind}: give a file that ends in .{kind}.")
    return kind


def _free(file: Path, overwrite: bool) -> None:
    if file.exists() and not overwrite:
        raise UsageError(f"{file} exists: choose another name, or allow it to be replaced by overwrite.")
    if file.is_dir():
        raise UsageError(f"{file} is a folder: choose another name.")


def _about(held: OpenModel) -> dict[str, str]:
    """What a file says of itself: the family, and options and data as in spec.json."""
    told = {name: json.dumps(held.stored.get(name, {})) for name in ("options", "data")}
    maker = f"morphogen {version('morphogen')}"
    return {"format": "pt", "producer": maker, "family": held.family, "fingerprint": held.fingerprint, **told}
