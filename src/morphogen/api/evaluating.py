"""Measuring a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from morphogen.api.comparing import compare
from morphogen.api.opened import AnyModel
from morphogen.api.results import Evaluation
from morphogen.core.chunks import limited
from morphogen.data.in_memory import AnyData


@limited
def evaluate(
    model: AnyModel,
    data: AnyData,
    metrics: str | Sequence[str] | None = None,
    *,
    split: str = "test",
    n: int | None = None,
    samples: int | None = None,
    seed: int = 0,
    network: str | None = None,
    device: str | None = None,
    batch_size: int | None = None,
    save: bool = True,
) -> Evaluation:
    """Measure a model: its likelihood of held-out records, and the records that it makes.

    Args:
        model: a held model, or the path of a model directory.
        data: a source, arrays or a loaded `Dataset`, prepared as the model's data were.
        metrics: one or several by name (`morphogen.evaluation.METRICS`); None is all that the model is capable of and
            the data allow.
        split: the held-out records, "test" or "validation".
        n: how many records; None is all of the split, and up to 10,000 made ones.
        samples: importance samples of each record's likelihood.
        seed: of the noise.
        network: a shipped feature network by name, or the path of one of your own.
        device: where to compute; None leaves a held model where it is.
        batch_size: how many records are computed together, at most; None: as many as are fast.
        save: keep the results in the model's directory.

    Returns:
        One result a metric, each with its interval, n, seed, baselines and floor.

    Raises:
        UsageError: an unknown metric.
        CapabilityError: a named metric needs what the model cannot do.
        DataError: too few records.

    Example:
        >>> mg.evaluate("runs/first", "digits", ["nll"])["nll"].interval
    """
    more: dict[str, Any] = {"split": split, "n": n, "samples": samples, "seed": seed, "network": network}
    return compare([model], data, metrics, device=device, save=save, **more).models[0]
