"""Judging drawn molecules."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from morphogen.api.measuring import source_name
from morphogen.api.opened import OpenModel, open_model
from morphogen.api.results import Evaluation
from morphogen.api.sampling import sample
from morphogen.core.errors import DataError
from morphogen.core.limits import check_numbers
from morphogen.data import Dataset, load
from morphogen.data.in_memory import AnyData
from morphogen.data.molecules.reading import smiles_of_file
from morphogen.data.molecules.writing import as_smiles
from morphogen.data.sequences.tokenizers import to_texts
from morphogen.evaluation.molecules.baselines import BASELINES
from morphogen.evaluation.molecules.judge import judge_molecules
from morphogen.evaluation.molecules.measures import MEASURES


def evaluate_molecules(
    molecules: OpenModel | Path | str | Sequence[str],
    data: AnyData,
    measures: Sequence[str] | None = None,
    *,
    baselines: Sequence[str] | None = None,
    split: str = "test",
    n: int = 10_000,
    seed: int = 0,
    temperature: float | None = None,
    batch_size: int = 256,
) -> Evaluation:
    """Judge drawn molecules: MOSES's measures and the Frechet ChemNet distance, beside a floor and baselines.

    product = different novel molecules / all that was drawn (valid x unique x novel). See
    Polykovskiy et al., "Molecular Sets (MOSES)", 2020, and Preuer et al., "Frechet ChemNet Distance", 2018.

    Args:
        molecules: a model, which draws `n`; a .smi file; or SMILES. What is no molecule counts as drawn.
        data: the molecules of training and those held out.
        measures: valid, unique, novel, product, filters, diversity, snn, fragments, scaffolds, qed, logp, sa, mol_wt
            and fcd; None for all of them. fcd needs the extra `fcd`.
        baselines: characters, selfies, copies and neighbors; None for all of them.
        split: the split that was not trained on.
        n: how many a model draws.
        seed: of drawing, and of the baselines.
        temperature: of drawing; None is the model's own.
        batch_size: how many are drawn together.

    Returns:
        One result a measure, each with its interval, its floor (training molecules) and its baselines.

    Raises:
        UsageError: an unknown measure or baseline, or an extra that is missing.
        DataError: the data are no molecules, or too few for a measure.

    Example:
        >>> found = mg.evaluate_molecules("runs/molecules", "chembl", ["product", "fcd"])
        >>> found["product"].value, found["product"].interval
    """
    check_numbers(n=n, seed=seed, batch_size=batch_size)
    dataset = load(data)
    known, held_out = _smiles(dataset, "train"), _smiles(dataset, split)
    of: dict[str, str] = {}
    if isinstance(molecules, OpenModel) or (isinstance(molecules, Path | str) and Path(molecules).is_dir()):
        held = open_model(molecules)
        if held.module.data.sequence is None:
            raise DataError(f"{molecules} draws no texts: give a model of molecules, or a .smi file.")
        drawn = sample(held, n, seed, temperature=temperature, batch_size=batch_size)
        made, of = drawn.texts, {"samples": str(getattr(molecules, "path", molecules))}
    elif isinstance(molecules, Path | str):
        made, of = smiles_of_file(Path(molecules)), {"samples": source_name(str(molecules))}
    else:
        made, of = list(molecules), {"samples": "SMILES in memory"}
    found = judge_molecules(
        made,
        known,
        held_out,
        seed=seed,
        measures=tuple(MEASURES) if measures is None else measures,
        baselines=tuple(BASELINES) if baselines is None else baselines,
        data=dataset.spec.source,
    )
    return Evaluation(of=of, data=dataset.spec.source, results=tuple(found.values()))


def _smiles(dataset: Dataset, split: str) -> list[str]:
    """The SMILES of a split. Raises `DataError` for data that are no molecules."""
    schema = dataset.spec.sequence
    if schema is None or schema.content != "molecules":
        raise DataError(f"{dataset.spec.name} holds no molecules: give a .smi file, or a table with SMILES.")
    return as_smiles(schema, to_texts(schema, dataset.split(split).stored))
