"""Judging records that anything made."""

from __future__ import annotations

from collections.abc import Sequence

from morphogen.api.measuring import evaluation_of, find_network, source_name
from morphogen.api.results import Evaluation
from morphogen.core.chunks import limited
from morphogen.data import load
from morphogen.data.in_memory import AnyData
from morphogen.data.samples import load_samples
from morphogen.evaluation import judge_records


@limited
def evaluate_samples(
    samples: AnyData,
    data: AnyData,
    metrics: str | Sequence[str] | None = None,
    *,
    split: str = "test",
    n: int | None = None,
    seed: int = 0,
    network: str | None = None,
    batch_size: int | None = None,
) -> Evaluation:
    """Judge records that any other program made beside the records of `data`.

    They are prepared as `data` are, and all of them are judged, or `n` that their content decides, so that no number
    depends on their order.

    Args:
        samples: a folder of pictures, an .npz file, or arrays. Real numbers in 0 to 1 or -1 to 1 are shades.
        data: the real records: a source, arrays or a loaded `Dataset`.
        metrics, split, n, seed, network: as of `evaluate`.
        batch_size: how many records are computed together, at most; None: as many as are fast.

    Returns:
        One result a metric; its `notes` say what was taken for what.

    Raises:
        DataError: pictures of different sizes, or numbers of no known range.

    Example:
        >>> mg.evaluate_samples("made-by-others/", "digits", ["fd"])["FD"].value
    """
    dataset = load(data)
    made = load_samples(samples, dataset.spec)
    found = judge_records(
        made.stored,
        made.spec,
        dataset,
        [metrics] if isinstance(metrics, str) else metrics,
        split=split,
        n=n,
        seed=seed,
        network=find_network(network),
        labels=made.labels,
    )
    return evaluation_of(found, data, notes=made.notes, samples=source_name(samples))
