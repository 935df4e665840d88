"""Directions of properties: recovered where they are known, and measured as an independent program would."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import roc_auc_score

from morphogen.applications.latent_directions import RIDGE, direction, enough, ordered, properties
from morphogen.core.data_spec import Attribute, DataSpec
from morphogen.core.errors import DataError
from morphogen.core.rng import Rng
from morphogen.data import Records

D = 6


def normals(n: int, purpose: str = "z", dim: int = D) -> torch.Tensor:
    return Rng(0).normal(purpose, n, (dim,), torch.float64)


def white(n: int, dim: int = D) -> torch.Tensor:
    """Latents (n, dim) whose sample mean is 0 and covariance I, exactly."""
    z = normals(n, "white", dim)
    return torch.linalg.qr(z - z.mean(0)).Q * n**0.5


def test_of_white_latents_it_is_the_true_direction_exactly() -> None:
    z, w = white(100), normals(1, "w")[0]
    assert torch.allclose(direction(z, 3.0 * z @ w + 7.0), w / w.norm(), atol=1e-12)
    assert torch.allclose(direction(z, -z @ w), -w / w.norm(), atol=1e-12)


def test_it_is_that_of_ridge_regression_and_as_long_as_a_standard_deviation() -> None:
    z = normals(80) @ normals(D, "mix") + 2.0
    y = (z[:, 0] > z[:, 0].median()).double()
    found = direction(z, y)
    # Ridge regression is plain regression on records to which D more are added, at +- the ridge.
    c = z - z.mean(0)
    ridge = RIDGE * c.square().mean()
    rows = torch.cat((c, (len(z) * ridge) ** 0.5 * torch.eye(D, dtype=torch.float64)))
    target = torch.cat((y - y.mean(), torch.zeros(D, dtype=torch.float64)))
    w = torch.linalg.lstsq(rows, target[:, None]).solution[:, 0]
    assert torch.allclose(found / found.norm(), w / w.norm(), atol=1e-10)
    assert float(found.norm()) == pytest.approx(float((c @ (w / w.norm())).std(correction=0)))
    assert torch.allclose(direction(10.0 * z, y), 10.0 * found, atol=1e-9)


def test_a_yes_or_no_of_a_linear_generator_is_recovered() -> None:
    """Records x = A z whose attribute is whether their first element exceeds 1: its direction is A's first row.

    The indicator has standard deviation 0.37 and mean slope 0.24, so that with 4000 records the angle is off by about
    5^1/2 0.37 / 4000^1/2 / 0.24 = 0.05; a cosine below 0.98, an angle of 0.2, would be 4 times that: below 1 in 1000.
    """
    a, z = normals(3, "A"), normals(4000)
    y = ((z @ a.T)[:, 0] > 1.0 * a[0].norm()).double()
    found = direction(z, y)
    cosine = float(found @ a[0] / found.norm() / a[0].norm())
    assert cosine > 0.98
    held_out = normals(1000, "held out")
    share = ordered(held_out @ found, ((held_out @ a.T)[:, 0] > a[0].norm()).double()).value
    assert share > 0.95


def test_it_does_not_run_along_latents_that_are_hardly_used() -> None:
    """A latent of 0.001 that knows the property a little would be all of an unregularized discriminant's normal."""
    z = normals(2000)
    y = (z[:, 0] + normals(2000, "noise", 1)[:, 0] > 0).double()
    z[:, 1] = 1e-3 * (z[:, 1] + 0.5 * y)
    found = direction(z, y)
    plain = torch.linalg.solve(torch.cov(z.T), (z - z.mean(0)).T @ y)
    assert found[0] / found.norm() > 0.99
    assert plain[1].abs() / plain.norm() > 0.99


def test_what_merely_occurs_together_stays() -> None:
    """Two properties that go along with each other: each direction leaves the other's latent nearly as it is."""
    z = normals(4000)
    z[:, 1] = 0.8 * z[:, 0] + 0.6 * z[:, 1]
    found = direction(z, (z[:, 0] > 0).double())
    assert abs(found[1] / found[0]) < 0.3 < 0.8  # 0.8 is what the difference of means would have


def test_the_share_in_order_is_the_area_under_the_roc_curve() -> None:
    p, y = normals(200, dim=1)[:, 0].mul(4).round(), (normals(200, "y", 1)[:, 0] > 0.5).double()
    assert ordered(p, y).value == pytest.approx(roc_auc_score(y.numpy(), p.numpy()), abs=1e-12)
    numbers = normals(30, "numbers", 1)[:, 0].mul(2).round()
    p = p[:30]
    pairs = [(p[j] - p[i]).sign() for i in range(30) for j in range(30) if numbers[i] < numbers[j]]
    assert ordered(p, numbers).value == pytest.approx(float(sum(0.5 * (1 + s) for s in pairs) / len(pairs)))
    assert ordered(-p, numbers).value == pytest.approx(1.0 - ordered(p, numbers).value)


def test_its_interval_covers() -> None:
    """At 60 records about 93 %: below 88 % of 400, or a noise that is not covered at all, is 1 in 10^4 by chance."""
    runs, n, hits = 400, 60, 0
    y = (torch.arange(n) % 3 == 0).double()
    z = Rng(1).normal("runs", runs, (n,), torch.float64) + y
    true = float(torch.special.ndtr(torch.tensor(0.5**0.5)))  # P(N(1, 2) > 0)
    for p in z:
        low, high = ordered(p, y).interval or (0.0, 0.0)
        hits += low <= true <= high
    assert 0.88 <= hits / runs < 1.0


def test_properties_have_names_and_gaps() -> None:
    attributes = (Attribute(name="smile", values=("no", "yes")), Attribute(name="age"))
    spec = DataSpec(name="faces", shape=(2,), kind="continuous", classes=("a", "b"), attributes=attributes)
    records = Records(
        spec,
        torch.zeros(3, 2),
        torch.arange(3),
        labels=torch.tensor([1, -1, 0]),
        attributes=torch.tensor([[1.0, 0.5], [0.0, 0.1], [1.0, 9.0]]),
        present=torch.tensor([[True, True], [True, True], [False, False]]),
    )
    found = {name: [None if v.isnan() else round(float(v), 6) for v in y] for name, y in properties(records).items()}
    assert found == {
        "a": [0, None, 1],
        "b": [1, None, 0],
        "smile=no": [0, 1, None],
        "smile=yes": [1, 0, None],
        "age": [0.5, 0.1, None],
    }


def test_what_cannot_be_found_is_said() -> None:
    with pytest.raises(DataError, match="equal"):
        direction(torch.ones(20, D), torch.arange(20.0))
    with pytest.raises(DataError, match="equal"):
        direction(normals(20), torch.ones(20))
    assert enough((torch.arange(20) < 5).double()) and not enough((torch.arange(20) < 4).double())
    assert not enough(torch.ones(50)) and not enough(torch.empty(0))
