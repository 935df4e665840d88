"""A model that no memory holds is refused before it is made."""

import pytest

from morphogen.api.model_size import check_size
from morphogen.api.preparing import build
from morphogen.core import registry
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import SpecError, UsageError

DATA = DataSpec(name="points", shape=(3,), kind="continuous")


@pytest.mark.parametrize("family", ["vae", "flow_matching"])
@pytest.mark.parametrize("width", [10**7, 2**40])
def test_a_model_that_fits_into_no_memory_is_refused(family, width):
    kind = registry.family(family)
    with pytest.raises(UsageError, match="make it smaller"):
        check_size(kind, kind.Spec.parse({"hidden": (width, width)}), DATA, {})


@pytest.mark.parametrize("family", ["vae", "flow_matching"])
def test_a_width_that_no_machine_can_count_is_refused_before_it_is_computed_with(family):
    with pytest.raises(SpecError, match="'hidden' takes whole numbers of at most 63 bits"):
        registry.family(family).Spec.parse({"hidden": (10**30, 10**30)})


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("vae", {"backbone": "conv", "blocks": 10**9}),
        ("diffusion", {"backbone": "dit", "depth": 10**9}),
        ("hierarchical_vae", {"widths": (8,), "latent_channels": (1,), "groups": (1,), "blocks": 10**9}),
    ],
)
def test_layers_without_an_end_are_not_waited_for(family, options):
    kind, pictures = registry.family(family), DATA.replace(shape=(1, 8, 8), levels=256)
    with pytest.raises(UsageError, match=r"has more than 20,000 layers.*make it smaller"):
        check_size(kind, kind.Spec.parse(options), pictures, {})


@pytest.mark.parametrize("error", [ZeroDivisionError, IndexError, RuntimeError, ValueError])
def test_sizes_that_no_network_has_are_wrong_usage(monkeypatch, error):
    kind = registry.family("vae")

    def fails(*_):
        raise error("0.0 cannot be raised to a negative power")

    monkeypatch.setattr(kind, "__init__", fails)
    with pytest.raises(SpecError, match=f"no 'vae' model of these options can be made.*{error.__name__}"):
        build(kind, kind.Spec(), DATA, {}, seed=0)


def test_a_model_that_fits_is_not_refused():
    kind = registry.family("vae")
    check_size(kind, kind.Spec.parse({"hidden": (16,)}), DATA, {})
