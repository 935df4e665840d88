"""Measure the likelihood of held-out records under a model.

elbo           a lower bound of log p(x), one draw of z per record: -E[log p(x | z)] + KL, in nats
nll            -log 1/K sum_k w_k, importance sampling; in expectation an upper bound of -log p(x) that falls to
               it as K grows. The change from K/2 to K samples shows its bias
bits_per_dim   the bound (or the exact value) as bits for each stored element, beside general compressors
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from morphogen.core.capabilities import Score, Scores
from morphogen.core.chunks import chunks
from morphogen.core.data_spec import Measure
from morphogen.core.errors import DataError
from morphogen.core.family import Family, require
from morphogen.core.rng import Rng
from morphogen.core.telling import told
from morphogen.data import Dataset, Records
from morphogen.evaluation.metrics.codecs import bits_per_dim_of_codecs
from morphogen.evaluation.result import Result, mean_interval
from morphogen.theory import baselines, copula, elbo

CHUNK = 250  # records that are scored together
MIN_RECORDS = 16  # an interval of a mean needs so many records
IMPORTANCE_SAMPLES = 500
Measured = tuple[Tensor, dict[str, Any]]  # the values of single records, and further fields of the result


def measure(
    family: Family,
    dataset: Dataset,
    metrics: Sequence[str],
    *,
    split: str = "test",
    n: int | None = None,
    samples: int | None = None,
    seed: int = 0,
) -> list[tuple[Result, Tensor]]:
    """Measure some of `METRICS` on the first `n` records of a split (all by default).

    Returns each result with the values (N,) of single records, for paired comparisons; the result is their mean.

    Raises `DataError` for too few records.
    """
    records = dataset.split(split).select(slice(0, n))
    if len(records) < MIN_RECORDS:
        raise DataError(f"an evaluation needs at least {MIN_RECORDS} records; the {split} split gives {len(records)}.")
    results = []
    for name in told(metrics):
        start = time.perf_counter()
        values, made = METRICS[name](family, dataset, records, seed, samples or IMPORTANCE_SAMPLES)
        mean = float(values.mean())
        result = Result(
            name=name,
            value=mean,
            interval=mean_interval(mean, float(values.std()), len(values)),
            n=len(records),
            seed=seed,
            data=f"{dataset.spec.source or dataset.spec.name} ({split})",
            fingerprint=dataset.spec.fingerprint,
            duration_s=round(time.perf_counter() - start, 2),
            **made,
        )
        results.append((result, values))
    return results


@torch.no_grad()
def scores(family: Family, records: Records, seed: int, samples: int = 1, conditioned: bool = True) -> list[Score]:
    """The family's scores of all records, chunk by chunk; noise is addressed by the row."""
    device = family.device
    rng, scorer = Rng(seed, device), require(family, Scores, "score")
    found = []
    for rows in chunks(len(records), CHUNK):
        batch = records.batch(rows).to(device)
        cond = batch.cond if conditioned else None
        found.append(scorer.score(batch.x, cond, rng.shifted(rows.start), samples))
    return found


def _elbo(family: Family, dataset: Dataset, records: Records, seed: int, samples: int) -> Measured:
    found = scores(family, records, seed)
    value = torch.cat([s.value for s in found]).double().cpu()
    terms = {k: float(torch.cat([s.terms[k] for s in found]).double().mean()) for k in found[0].terms}
    kind = found[0].kind.replace("_", " ")
    draws = "" if found[0].kind == "exact" else ", one draw of z per record"
    return value, {
        "unit": "nats",
        "better": "higher",
        "protocol": f"{kind} of log p(x){_given(family)}{draws}; 95 % interval over records",
        "baselines": {name: -nll for name, nll in _trivial(dataset, records, found[0].measure).items()},
        "details": {"kind": found[0].kind, "measure": found[0].measure, "terms": terms},
    }


def _nll(family: Family, dataset: Dataset, records: Records, seed: int, samples: int) -> Measured:
    found = scores(family, records, seed, samples)
    value = -torch.cat([s.value for s in found]).double().cpu()
    details: dict[str, Any] = {"kind": found[0].kind, "measure": found[0].measure, "importance_samples": samples}
    protocol = f"-log p(x){_given(family)}, {found[0].kind}"
    if found[0].log_weights is not None:
        log_w = torch.cat([cast(Tensor, s.log_weights) for s in found]).double().cpu()  # (N, K)
        details["bias_by_halving"] = float(elbo.halving(log_w, dim=1).mean())
        details["effective_samples"] = float(elbo.effective_sample_size(log_w, dim=1).median())
        protocol += f" sampling with {samples} samples from q(z | x): an upper bound in expectation"
    return value, {
        "unit": "nats",
        "protocol": protocol + "; 95 % interval over records",
        "baselines": _trivial(dataset, records, found[0].measure),
        "details": details,
    }


def _bits_per_dim(family: Family, dataset: Dataset, records: Records, seed: int, samples: int) -> Measured:
    found = scores(family, records, seed)
    spec = family.data
    log_p = torch.cat([s.value for s in found]).double().cpu()
    bits = torch.tensor([spec.bits_per_dim(v, found[0].measure) for v in log_p.tolist()], dtype=torch.float64)
    trivial = _trivial(dataset, records, found[0].measure)
    others = {name: spec.bits_per_dim(-nll, found[0].measure) for name, nll in trivial.items()}
    if records.stored.dtype == torch.uint8 and spec.is_picture:
        others |= bits_per_dim_of_codecs(records.stored.cpu())
    kind = "mass" if found[0].measure == "mass" else "density, by the log-Jacobian per stored value"
    return bits, {
        "unit": "bits/dim",
        "protocol": f"{found[0].kind.replace('_', ' ')} of P(x){_given(family)} as bits per stored element ({kind});"
        " 95 % interval over records",
        "baselines": others,
        "details": {"kind": found[0].kind, "measure": found[0].measure},
    }


def _given(family: Family) -> str:
    """The conditions of the likelihood, in words."""
    return " given the record's condition" if family.conditional else ""


def _trivial(dataset: Dataset, records: Records, measure: Measure) -> dict[str, float]:
    """-log p(x) in nats of models with independent elements, fitted on the training split. Empty without that split.

    Histograms give masses of stored elements. To compare with a density of x, they become a density that is constant
    over the cell of each element, -log p(x) = -log P(u) + log |dx / du|. Of tables the unit is
    that of `core.column_views.log_within_bins`: masses of cells, and densities of real numbers.
    """
    if "train" not in dataset.splits:
        return {}
    spec, train = dataset.spec, dataset.train.stored.cpu()
    if spec.table is not None:
        cells, rng = records.stored.cpu(), Rng(0).child("copula")
        return {
            "independent columns": -float(copula.independent_rows(spec.table, train, cells).mean()),
            "Gaussian copula": -float(copula.copula_rows(spec.table, train, cells, rng).mean()),
        }
    if spec.levels is None and spec.kind != "binary":
        try:
            x, y = spec.encode(train), spec.encode(records.stored.cpu())
            return {"one Gaussian": -baselines.single_gaussian(x, y).nats}
        except DataError:
            return {}
    levels, shift = spec.levels or 2, spec.log_jacobian if measure == "density" else 0.0
    return {
        "pixel marginals": shift - baselines.pixel_marginals(train, records.stored.cpu(), levels).nats,
        "one histogram": shift - baselines.global_histogram(train, records.stored.cpu(), levels).nats,
    }


Metric = Callable[[Family, Dataset, Records, int, int], Measured]
METRICS: dict[str, Metric] = {"elbo": _elbo, "nll": _nll, "bits_per_dim": _bits_per_dim}
