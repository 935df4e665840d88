"""Do drawings show what their prompts say?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from morphogen import artifact
from morphogen.api.measuring import source_name
from morphogen.api.opened import AnyModel, open_model
from morphogen.api.results import Alignment, Pictures
from morphogen.applications import prompt_alignment
from morphogen.core.chunks import limited
from morphogen.core.errors import UsageError
from morphogen.data.in_memory import AnyData
from morphogen.evaluation.context.degradations import as_bytes


@limited
def evaluate_alignment(
    model: AnyModel | None,
    data: AnyData,
    *,
    samples: AnyData | None = None,
    only: Sequence[str] | None = None,
    n: int = 1000,
    seed: int = 0,
    negative: str | None = None,
    guidance: float | None = None,
    stepper: str | None = None,
    steps: int | None = None,
    grid: str | None = None,
    temperature: float | None = None,
    truncation: float | None = None,
    candidates: int | None = None,
    options: Mapping[str, Any] | None = None,
    device: str | None = None,
    batch_size: int | None = None,
    precision: str = "fp32",
    save: bool = True,
) -> Alignment:
    """Measure the share of prompts whose drawing shows what they say.

    `shapes` are judged by their parser, `emoji` by retrieval, skin tone and gender. Drawing i of a split depends on
    (seed, i, its caption) only.

    Args:
        model: a held model that reads text, or the path of its directory; None where `samples` are given.
        data: the source of prompts: `shapes` or `emoji`.
        samples: pictures with captions that anything drew, instead of a model's.
        only: some of the splits of prompts.
        n: captions of each split; where there are fewer, each is drawn several times, and intervals count prompts.
        seed, negative, guidance, stepper, steps, grid, temperature, truncation, candidates, options, device, precision:
            as of `sample`.
        batch_size: how many records are computed together, at most; None: as many as are fast.
        save: keep the results in the model's directory.

    Returns:
        The results, the drawings, and the training pictures nearest to them.

    Raises:
        DataError: captions that cannot be checked.
        UsageError: a model that reads no text.

    Example:
        >>> mg.evaluate_alignment("runs/words", "shapes", n=100).results[0].value
    """
    given = {"negative": negative, "guidance": guidance, "stepper": stepper, "steps": steps, "grid": grid}
    given |= {"temperature": temperature, "truncation": truncation, "candidates": candidates, **(options or {})}
    if (model is None) == (samples is None):
        raise UsageError("alignment is that of a model or of samples: give one of them.")
    if model is None:
        if unused := [name for name, value in given.items() if value is not None]:
            raise UsageError(f"samples are drawn already: leave out {', '.join(unused)}.")
        return alignment_of(
            prompt_alignment.align_samples(samples, data, only, seed), data, {"samples": source_name(samples)}
        )
    held = open_model(model, device)
    found = prompt_alignment.align_model(held.module, data, only, n, seed, precision, given)
    if save:
        for result in found.results:
            artifact.write_evaluation(held.path, result.name, result.to_dict())
    return alignment_of(found, data, {"model": str(held.path), "family": held.family})


def alignment_of(found: prompt_alignment.Aligned, source: AnyData, of: Mapping[str, str]) -> Alignment:
    nearest = None
    if found.nearest is not None:
        stored = as_bytes(found.nearest.stored, found.nearest.spec).numpy()
        nearest = Pictures(stored, found.spec, found.nearest.ids.numpy())
    return Alignment(
        of=of,
        data=source_name(source),
        results=tuple(found.results),
        drawn=Pictures(found.drawn.numpy(), found.spec),
        captions=found.captions,
        asked=found.asked,
        compared=None if found.compared is None else found.compared.numpy(),
        nearest=nearest,
        left_out=found.left_out,
    )
