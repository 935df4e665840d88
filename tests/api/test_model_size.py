"""A model that no memory holds is refused before it is made."""

import pytest

from morphogen.api.model_size import check_size
from morphogen.core import registry
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import UsageError

DATA = DataSpec(name="points", shape=(3,), kind="continuous")


@pytest.mark.parametrize("family", ["vae", "flow_matching"])
@pytest.mark.parametrize("width", [10**7, 2**40, 10**30])
def test_a_model_that_fits_into_no_memory_is_refused(family, width):
    kind = registry.family(family)
    with pytest.raises(UsageError, match="make it smaller"):
        check_size(kind, kind.Spec.parse({"hidden": (width, width)}), DATA, {})


def test_a_model_that_fits_is_not_refused():
    kind = registry.family("vae")
    check_size(kind, kind.Spec.parse({"hidden": (16,)}), DATA, {})
