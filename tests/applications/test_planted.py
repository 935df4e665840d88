"""Detectors that learn from planted anomalies, and what they plant."""

from __future__ import annotations

import scipy.stats
import torch
from sklearn.metrics import roc_auc_score

from morphogen.applications.anomalies.scores import planted_defects, planted_rows
from morphogen.core.data_spec import DataSpec
from morphogen.core.rng import Rng
from morphogen.data import Records

ROWS = DataSpec(name="x", shape=(2,), kind="continuous")
PICTURES = DataSpec(name="p", shape=(1, 16, 16), kind="continuous", levels=256)


def related(seed: int, n: int, sign: float = 1.0) -> Records:
    """Rows whose second column is nearly the first, or its opposite."""
    z = Rng(seed).normal("z", n, (2,), dtype=torch.float64)
    return Records(ROWS, torch.stack((z[:, 0], sign * z[:, 0] + 0.1 * z[:, 1]), 1), torch.arange(n))


def stripes(seed: int, n: int) -> torch.Tensor:
    """(n, 1, 16, 16) bytes: vertical stripes of four pixels, shifted."""
    shift = Rng(seed).integers("shift", n, 8)
    return (255 * (((torch.arange(16) + shift[:, None]) % 8) < 4))[:, None, None].expand(n, 1, 16, 16).to(torch.uint8)


def pictures(stored: torch.Tensor) -> Records:
    return Records(PICTURES, stored, torch.arange(len(stored)))


def test_planted_rows_are_exchanged_replaced_and_shaken() -> None:
    v = related(0, 400).stored
    exchanged, replaced, shaken = planted_rows.planted(v, Rng(1)).split(400)
    assert all(bool(torch.isin(exchanged[:, j], v[:, j]).all()) for j in range(2)), "values are those of the column"
    same = (exchanged == v).double().mean()
    assert 0.4 < float(same) < 0.6
    assert 0.6 < float((replaced == v).double().mean()) < 0.8
    reach = 0.1 * (v.amax(0) - v.amin(0))
    assert bool(((replaced >= v.amin(0) - reach) & (replaced <= v.amax(0) + reach)).all())
    moved = (shaken - v) / v.std(0, correction=0)
    assert bool((moved != 0).all()) and abs(float(moved.mean())) < 0.1


def test_planted_rows_find_what_no_column_shows() -> None:
    """Each column of an anomaly is usual; what they have to do with each other is not."""
    found = planted_rows.PlantedRows()
    parts = list(torch.arange(600).tensor_split(2))
    held = found.fit_and_hold_out(related(0, 600), parts, 300, Rng(0))
    usual, odd = found.score(related(1, 400), Rng(0)), found.score(related(2, 400, sign=-1.0), Rng(0))
    assert roc_auc_score([0] * 400 + [1] * 400, torch.cat((usual, odd))) > 0.9
    assert scipy.stats.ks_2samp(held.numpy(), usual.numpy()).statistic < 0.2, "held-out scores are those of new rows"


def test_a_blob_changes_what_it_covers_and_nothing_else() -> None:
    x = stripes(0, 64).float() / 255.0
    changed, where = planted_defects.planted(x, Rng(0))
    assert bool((changed >= 0.0).all()) and bool((changed <= 1.0).all())
    differs = (changed - x).abs()
    assert bool((differs[~where] <= 0.1).all()) and bool((differs[where] > 0.1).all())
    assert 0.002 < float(where.float().mean()) < 0.2
    share = planted_defects.blobs(200, (16, 16), Rng(1))
    assert bool(((share == 0.0) | (share == 1.0)).float().mean() > 0.8), "borders are a pixel wide"


def test_a_planted_defect_is_found_and_shown() -> None:
    found = planted_defects.PlantedDefects(steps=200)
    found.fit(pictures(stripes(0, 200)))
    usual = stripes(1, 60)
    odd = usual.clone()
    odd[:, :, 6:10, 6:10] = 255 - odd[:, :, 6:10, 6:10]
    scores = torch.cat([found.score(pictures(x), Rng(0)) for x in (usual, odd)])
    assert roc_auc_score([0] * 60 + [1] * 60, scores) > 0.95
    maps = found.maps(pictures(odd), Rng(0))
    assert maps is not None and maps.shape == (60, 16, 16) and bool((maps >= 0.0).all())
    assert float(maps[:, 6:10, 6:10].mean()) > 2.0 * float(maps[:, :3].mean())
    large = torch.cat((odd[:3], usual[:3]), 3)
    spec = PICTURES.replace(shape=(1, 16, 32))
    whole = found.score(Records(spec, large, torch.arange(3)), Rng(0))
    assert bool((whole > scores[:60].median()).all()), "pictures of other sizes are scored, too"
