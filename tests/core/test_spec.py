"""`Spec`: strict about names, frozen, and the same after a round trip through JSON."""

from __future__ import annotations

import json

import pydantic
import pytest

from morphogen.core.errors import SpecError
from morphogen.core.spec import Spec


class Part(Spec):
    width: int = 8


class Options(Spec):
    latent_dim: int = 2
    hidden: tuple[int, ...] = (512, 256)
    beta: float = pydantic.Field(1.0, ge=0)
    part: Part = Part()
    note: str | None = None


class Needy(Spec):
    records: int


class Paired(Spec):
    means: tuple[float, float] = (1.0, 0.4)


def test_an_unknown_key_names_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"^Options: unknown option 'latent_dims': did you mean 'latent_dim'\?$"):
        Options.parse({"latent_dims": 3})
    with pytest.raises(SpecError, match="known are beta, hidden, latent_dim, note, part"):
        Options.parse({"zzzzzz": 3})


def test_every_problem_is_listed() -> None:
    with pytest.raises(SpecError) as error:
        Options.parse({"betta": 1, "latent_dim": "many", "beta": -1})
    message = str(error.value)
    assert "did you mean 'beta'" in message
    assert "'latent_dim'" in message and "'many'" in message and "integer" in message
    assert "greater than or equal to 0 (got -1)" in message
    with pytest.raises(SpecError, match="option 'records' is missing"):
        Needy.parse({})
    with pytest.raises(SpecError, match=r"option 'means' takes more than 1 value \(got \['2'\]\)"):
        Paired.parse({"means": ["2"]})


def test_frozen() -> None:
    options = Options()
    with pytest.raises(pydantic.ValidationError):
        options.latent_dim = 3  # type: ignore[misc]
    assert hash(options) == hash(Options())


def test_round_trip_through_json() -> None:
    options = Options(latent_dim=5, hidden=(3,), beta=0.1, part=Part(width=2), note="n")
    assert Options.parse(json.loads(json.dumps(options.to_dict()))) == options


def test_replace_validates() -> None:
    options = Options(latent_dim=5)
    assert options.replace(beta=2.0) == Options(latent_dim=5, beta=2.0)
    assert options.beta == 1.0
    with pytest.raises(SpecError, match="did you mean 'beta'"):
        options.replace(bet=2.0)
    with pytest.raises(SpecError, match="beta"):
        options.replace(beta=-2.0)


@pytest.mark.parametrize("values", [{"latent_dim": 10**30}, {"hidden": [8, -(2**70)]}])
def test_whole_numbers_fit_into_63_bits(values: dict[str, object]) -> None:
    with pytest.raises(SpecError, match="63 bits"):
        Options.parse(values)
