"""What a family says of its health where too few held-out records tell."""

import math
import warnings

import pytest
import torch

from morphogen.core import registry
from morphogen.core.batch import Batch, RawCondition
from morphogen.core.data_spec import DataSpec
from morphogen.core.family import TELLING
from morphogen.core.rng import Rng

DATA = DataSpec(name="squares", shape=(1, 16, 16), kind="continuous", levels=256, classes=("a", "b"))
SMALL = {
    "vae": {"hidden": [16], "latent_dim": 4},
    "hierarchical_vae": {"width": 8},
    "vq_vae": {"width": 8},
    "autoencoder": {"width": 8},
    "gan": {"width": 8},
    "rate_distortion": {"widths": (8, 8), "prior_width": 8},
    "diffusion": {"width": 8},
    "flow_matching": {"width": 8},
    "autoregressive": {"width": 8},
}


@pytest.mark.parametrize("name", SMALL)
def test_few_records_are_no_reason_to_warn(name):
    """An untrained model, which may well be worth a warning, seen through 1, 2 and 3 records."""
    kind = registry.family(name)
    fields = kind.Spec.model_fields
    with Rng(0).forked():
        model = kind(kind.Spec.parse({k: v for k, v in SMALL[name].items() if k in fields}), DATA, {}).eval()
    x = Rng(1).uniform("x", 3, DATA.shape) * 2 - 1
    for n in (1, 2, 3):
        batch = Batch(x[:n], torch.arange(n), cond=RawCondition(label=torch.zeros(n, dtype=torch.long)))
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("error")
            health = model.health(batch, Rng(2))
        assert n < TELLING
        assert list(health.warnings) == []
        values = [v for value in health.metrics.values() for v in (value if isinstance(value, list) else [value])]
        assert all(math.isfinite(v) for v in values), health.metrics
