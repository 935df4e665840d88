"""Fields as flags: every way to write one, and every way to get one wrong."""

from __future__ import annotations

import pytest

from morphogen import UsageError, api
from morphogen.cli.flags import flag, parse_fields
from morphogen.cli.verbs.make.train import OWN_FLAGS
from tests.cli.fake_api import VAE

GROUPS = [VAE["options"], VAE["recipe"]]


@pytest.mark.parametrize(
    ("line", "options", "recipe"),
    [
        ("", {}, {}),
        ("--latent-dim 16", {"latent_dim": "16"}, {}),
        ("--latent-dim=16 --batch-size 32", {"latent_dim": "16"}, {"batch_size": "32"}),
        ("--hidden 500,500", {"hidden": ["500", "500"]}, {}),
        ("--hidden (500,)", {"hidden": ["500"]}, {}),
        ("--free-bits -0.1", {"free_bits": "-0.1"}, {}),
        ("--prior none", {"prior": None}, {}),
        ("--prior vamp", {"prior": "vamp"}, {}),
        ("--flips", {}, {"flips": True}),
        ("--no-flips", {}, {"flips": False}),
        ("--flips=false", {}, {"flips": "false"}),
    ],
)
def test_values(line: str, options: dict[str, object], recipe: dict[str, object]) -> None:
    assert parse_fields(line.split(), GROUPS) == [options, recipe]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--latent-dmi 16", "did you mean '--latent-dim'"),
        ("--bugdet 4min", "did you mean '--budget'"),
        ("--no-flps", "did you mean '--no-flips'"),
        ("--latent-dim", "--latent-dim needs a value: whole number"),
        ("--latent-dim --flips", "--latent-dim needs a value: whole number"),
        ("--latent-dim 1 --latent-dim 2", "given twice"),
        ("--flips --no-flips", "given twice"),
        ("--no-flips=1", "takes no value"),
        ("16", "unexpected argument '16'"),
        ("-x 3", "unexpected argument '-x'"),
    ],
)
def test_mistakes(line: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_fields(line.split(), GROUPS, ["--budget"])


def test_a_mapping_is_json() -> None:
    fields = [{"name": "extra", "type": "dict[str, int]", "default": {}, "description": ""}]
    assert parse_fields(["--extra", '{"a": 1}'], [fields]) == [{"extra": {"a": 1}}]
    with pytest.raises(UsageError, match="JSON object"):
        parse_fields(["--extra", "a=1"], [fields])


def test_a_flag_that_would_mean_two_options_is_refused() -> None:
    field = {"name": "flips", "type": "bool", "default": False, "description": ""}
    with pytest.raises(UsageError, match="--flips would mean two options"):
        parse_fields([], [[field], VAE["recipe"]])


@pytest.mark.parametrize("name", [each["name"] for each in api.list_families()])
def test_every_option_of_a_family_has_a_flag_of_its_own(name: str) -> None:
    """But for one: `train --steps` is how long to train, and the steps of sampling are said to `sample --steps`."""
    known = api.describe_family(name)
    recipe = [each for each in known["recipe"] if flag(each["name"]) not in OWN_FLAGS]
    assert parse_fields([], [known["options"], recipe]) == [{}, {}]
    assert {flag(each["name"]) for each in known["options"]} & set(OWN_FLAGS) <= {"--steps"}
