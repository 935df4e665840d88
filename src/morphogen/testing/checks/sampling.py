"""Checks of samples: their quality, their range, and that nothing but the seed and the index decides them."""

from __future__ import annotations

from typing import Any, cast

import torch

from morphogen import artifact
from morphogen.core import capabilities
from morphogen.core.rng import Rng
from morphogen.core.sequences import SPECIAL
from morphogen.evaluation.metrics.energy import closer_test
from morphogen.testing.subject import Subject, as_float

ALPHA = 0.001  # false-alarm rate of the two-sample test


def check_samples_beat_a_gaussian(s: Subject) -> str:
    """Samples are closer to held-out records than those of a baseline, in a two-sample test.

    The baseline is the best single Gaussian; of a table, the columns drawn independently of each other.
    """
    model = s.needs(capabilities.Samples)
    n = min(1000, len(s.test))
    rng = Rng(0).child("check")
    data, samples = (
        s.view(s.test.select(slice(0, n)).stored),
        as_float(model.sample(n, s.batch(n).cond, rng)).flatten(1),
    )
    if s.data.table is not None:
        what, baseline = "independent columns", s.independent(n, rng)
        samples = s.view(s.data.decode(samples))
    else:
        what, train = "one Gaussian", as_float(s.data.encode(s.train.stored)).flatten(1).double()
        mean, cov = train.mean(0), train.T.cov() + 1e-6 * torch.eye(train.shape[1], dtype=train.dtype)
        z = rng.normal("gaussian", n, (train.shape[1],), train.dtype)
        baseline = (mean + z @ torch.linalg.cholesky(cov).T).clamp(s.data.low, s.data.high).to(samples.dtype)
    p, statistic = closer_test(samples, baseline, data, rng)
    assert p <= ALPHA + 1e-9, f"samples are not closer to the data than those of {what} (p = {p:.3f})"
    return f"energy distance below that of {what} by {statistic:.4f}, p = {p:.3f}"


def check_given_cells_stay(s: Subject) -> str:
    """Completed rows keep what is given, and the rest follows it better than the cells of other rows would."""
    model, n, rng = s.needs(capabilities.Completes), min(400, len(s.test)), Rng(0).child("complete")
    cells = s.test.stored[:n]
    given = torch.zeros(cells.shape, dtype=torch.bool)
    given[:, : cells.shape[1] // 2] = True
    asked = torch.where(given, cells, torch.nan)
    found = model.complete(asked, given, rng, present=True)
    assert not found[~given].isnan().any(), "a cell was left missing, although none may be"
    found = model.complete(asked, given, rng)
    assert found.shape == cells.shape, f"completed rows have the shape {tuple(found.shape)}"
    assert torch.equal(found[given].nan_to_num(-1.0), cells[given].nan_to_num(-1.0)), "a given cell was changed"
    few = model.complete(asked[:5], given[:5], rng)
    near = (s.view(few) - s.view(found[:5])).abs().max()
    assert near < 0.02, "a completed row depends on the others"
    p, statistic = closer_test(
        s.view(found), s.view(torch.where(given, cells, cells.roll(n // 3, 0))), s.view(cells), rng
    )
    assert p <= ALPHA + 1e-9, f"what was completed does not follow what was given (p = {p:.3f})"
    return f"energy distance below that of exchanged cells by {statistic:.4f}, p = {p:.3f}"


def check_seen_places_stay(s: Subject) -> None:
    """Infilled records keep what is seen, hidden places are drawn anew, and no record depends on the others."""
    model, rng = s.needs(capabilities.Infills), Rng(0).child("infill")
    x = s.data.encode(s.test.stored[:12])
    tokens = s.data.decode(x).long()
    hidden = tokens >= SPECIAL if s.data.sequence is not None else torch.ones_like(tokens, dtype=torch.bool)
    hidden &= torch.rand(hidden.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    found = model.infill(x, hidden, None, rng)
    assert found.shape == x.shape, f"infilled records have the shape {tuple(found.shape)}"
    assert torch.equal(found[~hidden], x[~hidden]), "a place that is not hidden was changed"
    assert torch.equal(model.infill(x[:5], hidden[:5], None, rng), found[:5]), "a record depends on the others"
    other = model.infill(x, hidden, None, rng.child("other"))
    assert not torch.equal(other, found), "hidden places do not depend on the noise"


def check_artifact_keeps_samples(s: Subject) -> None:
    """Also for the model in memory, so that nothing which training changed is missing from the artifact."""
    for name, model in {"loaded": s.needs(capabilities.Samples), "raw": s.raw}.items():
        artifact.save(s.folder / name, model, recipe={}, provenance={})
        copy = cast(Any, artifact.load(s.folder / name).family)
        same = torch.equal(model.deployed().eval().sample(8, None, Rng(3)), copy.sample(8, None, Rng(3)))
        assert same, "other samples after save and load: what they depend on is in no parameter or buffer"


def check_samples_have_addresses(s: Subject) -> None:
    """Sample i is the same in any batch size to 1/255 of the range, and bit for bit at the same size."""
    model = s.needs(capabilities.Samples)
    whole = as_float(model.sample(12, None, Rng(5)))
    tolerance = (s.data.high - s.data.low) / 255 if s.data.kind in ("continuous", "columns") else 1e-6
    for size in (1, 5):
        parts = [model.sample(min(size, 12 - i), None, Rng(5).shifted(i)) for i in range(0, 12, size)]
        error = float((as_float(torch.cat(parts)) - whole).abs().max())
        assert error <= tolerance, f"samples drawn {size} at a time differ by {error:.4g}"
    assert torch.equal(as_float(model.sample(12, None, Rng(5))), whole), "the same call gave other samples"
    assert not torch.equal(as_float(model.sample(12, None, Rng(6))), whole), "another seed gave the same samples"


def check_samples_are_in_range(s: Subject) -> None:
    x = s.needs(capabilities.Samples).sample(64, None, Rng(0))
    assert tuple(x.shape) == (64, *s.data.shape), f"expected shape {(64, *s.data.shape)}, got {tuple(x.shape)}"
    assert torch.isfinite(as_float(x)).all(), "samples hold NaN or infinite values"
    low, high = float(x.min()), float(x.max())
    assert s.data.low <= low and high <= s.data.high, f"[{low:.4g}, {high:.4g}] leaves [{s.data.low}, {s.data.high}]"
