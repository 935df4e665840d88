"""Training to the end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from morphogen.api.looping import training
from morphogen.api.model import Model, load
from morphogen.api.opened import OpenModel
from morphogen.api.showing import shown_events
from morphogen.api.training_options import TrainingOptions
from morphogen.data.in_memory import AnyData
from morphogen.trainer import Event


def train(
    family: str | None = None,
    data: AnyData | None = None,
    out: Path | str | None = None,
    *,
    preset: str | None = None,
    resume: bool = False,
    start: OpenModel | Path | str | None = None,
    parts: Mapping[str, OpenModel | Path | str] | None = None,
    options: Mapping[str, Any] | None = None,
    recipe: Mapping[str, Any] | None = None,
    progress: bool | None = None,
    on_event: Callable[[Event], object] | None = None,
    log: str | Sequence[str] | None = None,
    **settings: Unpack[TrainingOptions],
) -> Model:
    """Train a model, to the end, with a progress bar on a terminal.

    Args:
        family: what to train: "vae", "gan", "diffusion", ... (`mg.list_families`).
        data: what to learn from: a source such as "digits" or "photos:size=32,resize=crop", arrays, (records, labels),
            a mapping of arrays, PIL images, a data frame of numbers, a `torch` dataset or a loaded `Dataset`.
        out: the model directory to make.
        preset: a named set of options of the family.
        resume: go on with the run in `out`, bit for bit. It needs nothing but `out`; what is given again has to be the
            same. Where there is no run yet, one begins.
        start: a trained model whose weights to begin with; its networks must be the same.
        parts: trained models that this one stands on, by name, such as the "autoencoder" of latent diffusion. The part
            "text", which reads captions, is a directory of `transformers` with a text encoder and its tokenizer.
        progress: show progress on standard error; None does so on a terminal.
        on_event: called with each event of the training.
        log: "csv", "tensorboard" or both: what the log says also goes to `out`/logs/log.csv, or as events of
            TensorBoard to `out`/logs/tensorboard, while it trains. A resumed run goes on with them.
        settings: options of the family (`latent_dim=8`) and of the training (`steps=2000`, `budget="10min"`, `seed=1`);
            `mg.describe_family` lists them. Ten minutes where no length is given.
        options, recipe: the same as mappings, for programs: options of the family, and of the training.

    Returns:
        The trained model, held.

    Raises:
        UsageError: an unknown option or an impossible value, before any work is done.
        DataError: data that cannot be read.
        NonFiniteError: a loss became NaN; the message names the term and the records.

    Example:
        >>> model = mg.train("vae", "digits", "runs/first", latent_dim=8, steps=200)
        >>> model.sample(16, seed=1).save("samples.png")
    """
    given: dict[str, Any] = {"preset": preset, "resume": resume, "start": start, "parts": parts}
    shown = progress is True or (progress is None and sys.stderr is not None and sys.stderr.isatty())
    given |= {"options": options, "recipe": recipe, "on_plan": _tell if shown else None, "log": log}
    events = training(family, data, out, **given, **settings)
    for event in shown_events(events, family or "training", shown):
        if on_event is not None:
            on_event(event)
    assert out is not None  # `training` has seen to it
    return load(out)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
