"""`DataSpec`: stored elements to x and back, and what a density of one says of the other."""

from __future__ import annotations

import json
import math

import pytest
import scipy.stats
import torch

from morphogen.core.data_spec import Attribute, DataSpec, Kind, TextSchema
from morphogen.core.errors import DataError, SpecError


def spec(kind: Kind = "continuous", levels: int | None = 256, **other: object) -> DataSpec:
    return DataSpec.parse({"name": "data", "shape": (1, 2, 3), "kind": kind, "levels": levels, **other})


@pytest.mark.parametrize("levels", (2, 3, 17, 256, 65536))
@pytest.mark.parametrize("dtype", (torch.float32, torch.float64))
def test_decode_inverts_encode_at_every_level(levels: int, dtype: torch.dtype) -> None:
    data, stored = spec(levels=levels), torch.arange(levels)
    x = data.encode(stored, dtype)
    assert x.dtype == dtype and x.min() == -1.0 and float(x.max()) == pytest.approx(1.0, abs=1e-6)
    assert torch.equal(data.decode(x).long(), stored)
    assert data.decode(x).dtype == (torch.uint8 if levels <= 256 else torch.int64)
    data.check(x.reshape(-1, 1, 1, 1).expand(-1, 1, 2, 3))
    # Anything nearer to one level than to its neighbors is that level; beyond the range, the end.
    assert torch.equal(data.decode(x + 0.9 / (levels - 1)).long(), stored)
    assert data.decode(torch.tensor([-7.0, 7.0])).tolist() == [0, levels - 1]


@pytest.mark.parametrize("kind", ("discrete", "sequence", "binary"))
def test_decode_inverts_encode_for_the_other_kinds(kind: Kind) -> None:
    data = spec(kind, 2 if kind == "binary" else 9)
    stored = torch.arange(data.levels or 2, dtype=torch.uint8)
    x = data.encode(stored)
    assert torch.equal(data.decode(x).long(), stored.long())
    assert x.dtype == (torch.float32 if kind == "binary" else torch.int64)
    assert (data.low, data.high) == (0.0, float(stored.max()))
    assert data.log_jacobian == 0.0


def test_real_numbers_are_shifted_and_scaled() -> None:
    data = spec(levels=None, shift=3.0, scale=0.5)
    u = torch.tensor([-1.5, 3.0, 10.0], dtype=torch.float64)
    x = data.encode(u, torch.float64)
    assert x.tolist() == [-9.0, 0.0, 14.0]
    torch.testing.assert_close(data.decode(x), u)


@pytest.mark.parametrize("data", (spec(), spec(levels=17), spec(levels=None, shift=3.0, scale=0.25)))
def test_log_jacobian_is_the_derivative_of_encode(data: DataSpec) -> None:
    u = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(data.encode(u, torch.float64), u)
    assert data.log_jacobian == pytest.approx(6 * math.log(float(slope)), rel=1e-12)


def test_log_jacobian_carries_a_density_to_the_stored_elements() -> None:
    """A density of x over [-1, 1], moved to u, integrates to 1 over the stored range."""
    data = DataSpec(name="one", shape=(1,), kind="continuous", levels=256)
    p = scipy.stats.truncnorm(-2.5, 5.0, loc=-0.3, scale=0.28)
    u = torch.linspace(-20.0, 275.0, 1_000_001, dtype=torch.float64)
    log_p = torch.from_numpy(p.logpdf(data.encode(u, torch.float64).numpy())) + data.log_jacobian
    assert float(torch.trapezoid(log_p.exp(), u)) == pytest.approx(1.0, abs=1e-4)


def test_bits_per_dim() -> None:
    data = spec()
    uniform = -data.dimensions * math.log(256)  # every byte equally likely: 8 bits
    assert data.bits_per_dim(uniform, "mass") == pytest.approx(8.0, rel=1e-12)
    # As a density of x, uniform over the 256 bins, which reach half a step beyond [-1, 1].
    density = -data.dimensions * math.log(2.0 * 256 / 255)
    assert data.bits_per_dim(density, "density") == pytest.approx(8.0, rel=1e-12)
    assert spec("binary", 2).bits_per_dim(-6 * math.log(2), "mass") == pytest.approx(1.0, rel=1e-12)


def test_check_names_what_is_wrong() -> None:
    data = spec()
    data.check(torch.zeros(2, 1, 2, 3))
    data.check(torch.zeros(0, 1, 2, 3))
    with pytest.raises(DataError, match=r"shape \(1, 2, 3\), got \(1, 2, 2\)"):
        data.check(torch.zeros(2, 1, 2, 2))
    with pytest.raises(DataError, match="NaN or infinite"):
        data.check(torch.full((2, 1, 2, 3), math.nan))
    with pytest.raises(DataError, match=r"\[0, 1.5\], expected \[-1, 1\]"):
        data.check(torch.tensor([0.0, 1.5]).reshape(2, 1, 1, 1).expand(2, 1, 2, 3))
    with pytest.raises(DataError, match=r"expected \[0, 8\]"):
        spec("discrete", 9).check(torch.full((2, 1, 2, 3), 9))
    spec(levels=None).check(torch.full((2, 1, 2, 3), 12.0))  # real numbers have no range


@pytest.mark.parametrize("levels", (None, 2))
def test_check_holds_binary_data_to_0_and_1(levels: int | None) -> None:
    with pytest.raises(DataError, match=r"expected \[0, 1\]"):
        spec("binary", levels).check(torch.full((2, 1, 2, 3), -1.0))


def test_impossible_descriptions_are_refused() -> None:
    with pytest.raises(SpecError, match="needs levels"):
        spec("discrete", None)
    with pytest.raises(SpecError, match="at least 2"):
        spec(levels=1)
    with pytest.raises(SpecError, match="scale must be positive"):
        spec(levels=None, scale=0.0)
    with pytest.raises(SpecError, match="did you mean 'shape'"):
        DataSpec.parse({"name": "x", "shap": (1,), "kind": "binary"})


def test_pictures_are_told_by_their_shape() -> None:
    for shape, expected in (((1, 8, 8), True), ((3, 8, 8), True), ((2, 8, 8), False), ((64,), False)):
        assert DataSpec(name="x", shape=shape, kind="continuous").is_picture == expected


def test_round_trip_through_json() -> None:
    data = spec(
        classes=("cat", "dog"),
        attributes=(Attribute(name="size"), Attribute(name="color", values=("red", "blue"))),
        text=TextSchema(longest=5, examples=("a red dog",)),
        context_shape=(3, 8, 8),
        splits={"train": 10, "test": 2},
        preprocessing={"resize": "crop", "background": [0, 0, 0]},
        fingerprint="abc",
    )
    assert DataSpec.parse(json.loads(json.dumps(data.to_dict()))) == data
