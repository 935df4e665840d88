"""Wanted attributes: values, ranges, and what is refused."""

from __future__ import annotations

import pytest
import torch

from morphogen.applications.attributes import read_attributes
from morphogen.core.data_spec import Attribute, DataSpec
from morphogen.core.errors import UsageError
from morphogen.core.rng import Rng
from morphogen.data.sequences.tokenizers import describe
from morphogen.families.autoregressive import Autoregressive, AutoregressiveSpec

SCHEMA = describe("characters", ["abc"], None)
DATA = DataSpec(
    name="letters",
    shape=(SCHEMA.longest,),
    kind="sequence",
    levels=SCHEMA.vocabulary,
    sequence=SCHEMA,
    attributes=(Attribute(name="qed", low=0.1, high=0.9), Attribute(name="color", values=("red", "blue"))),
)


def model(conditional: bool = True) -> Autoregressive:
    spec = {"token_width": 16, "token_blocks": 1, "conditional": conditional}
    return Autoregressive(AutoregressiveSpec.parse(spec), DATA)


def test_a_value_is_the_same_for_all_and_a_range_is_drawn_by_address():
    wanted = read_attributes(model(), "qed=0.5..0.8,color=blue")
    assert wanted is not None
    cond = wanted.condition(None, torch.arange(400), Rng(0))
    assert cond.attributes is not None and cond.present is not None and cond.present.all()
    values = cond.attributes[:, 0]
    assert float(values.min()) >= 0.5 and float(values.max()) <= 0.8 and float(values.std()) > 0.05
    assert (cond.attributes[:, 1] == 1).all()
    part = wanted.condition(None, torch.arange(100, 120), Rng(0)).attributes
    assert part is not None and torch.equal(part[:, 0], values[100:120])
    one = read_attributes(model(), {"qed": 0.3})
    assert one is not None
    cond = one.condition(None, torch.arange(5), Rng(0))
    assert cond.attributes is not None and cond.present is not None
    assert torch.allclose(cond.attributes[:, 0], torch.tensor(0.3)) and not cond.present[:, 1].any()
    assert read_attributes(model(), None) is None and read_attributes(model(), "") is None


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("qed=0.95", "has seen 0.1 to 0.9"),
        ("qed=0.8..0.2", "not in order"),
        ("qed=much", "one number"),
        ("qed=nan", "one number"),
        ("qed", "NAME=VALUE"),
        ("qedd=0.5", "qed"),
        ("color=green", "red"),
        ("qed=0.5,qed=0.6", "twice"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_words(wanted, words):
    with pytest.raises(UsageError, match=words):
        read_attributes(model(), wanted)


def test_a_model_without_conditions_says_so():
    with pytest.raises(UsageError, match="conditional"):
        read_attributes(model(False), "qed=0.5")
