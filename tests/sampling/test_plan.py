"""The grid that suits a stepper: the default is the most accurate one on exact mixtures, and old models keep theirs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import morphogen as mg
from morphogen.core.errors import SpecError
from morphogen.core.rng import Rng
from morphogen.families.diffusion import DiffusionSpec
from morphogen.sampling.grids import grid
from morphogen.sampling.loop import addressed, sample, starting_noise
from morphogen.sampling.plan import planned
from morphogen.sampling.steppers import STEPPERS, stepper
from morphogen.theory.schedules import SCHEDULES, schedule
from tests.oracles.denoisers import line_mixture, plane_mixture

EARLIER = Path(__file__).parents[1] / "artifact" / "earlier-diffusion"
DEFAULT = DiffusionSpec().stepper


@pytest.mark.parametrize("process", SCHEDULES)
@pytest.mark.parametrize("name", STEPPERS)
def test_auto_is_the_grid_that_the_stepper_names(process: str, name: str) -> None:
    method, of = stepper(name), schedule(process)
    assert torch.equal(planned(method, "auto", of, 7), grid(method.suited_grid(of), of, 7))
    assert torch.equal(planned(method, "karras", of, 7, 0.6), grid("karras", of, 7, 0.6))
    with pytest.raises(SpecError, match="did you mean 'auto'"):
        planned(method, "atuo", of, 7)


@pytest.mark.parametrize("process", ["cosine", "linear-beta", "edm", "rectified-flow"])
@pytest.mark.parametrize("make", [line_mixture, plane_mixture])
def test_the_default_is_several_times_nearer_to_the_flow_than_the_former_one(process: str, make) -> None:
    """Deterministic: the root mean square of 200 endpoints of 20 evaluations against 400 steps, from the same noise."""
    of = schedule(process)
    oracle = make(of)
    x = starting_noise(of, Rng(0), 200, oracle.shape, torch.float64)

    def end(name: str, times: str, steps: int) -> Tensor:
        method = stepper(name)
        return sample(oracle, method, x, planned(method, times, of, steps), lambda i: x, from_noise=True)

    exact = end(DEFAULT, "auto", 400)
    errors = {how: float((end(*how, 20) - exact).square().mean().sqrt()) for how in FORMER}
    now = float((end(DEFAULT, "auto", 20) - exact).square().mean().sqrt())
    assert now < min(errors.values()) and 3.0 * now < errors["dpm++2m", "karras"], (now, errors)


FORMER = [("dpm++2m", "karras"), ("unipc", "karras"), ("unipc", "log-snr")]


def test_a_model_of_an_earlier_version_keeps_its_stepper_its_grid_and_its_samples() -> None:
    """It was trained, and the samples were drawn, while Karras' times were the default of every stepper."""
    model = mg.load(EARLIER).module
    assert (model.spec.stepper, model.spec.grid) == ("dpm++2m", "karras")
    found = model.sample(4, None, Rng(7), steps=12)
    torch.testing.assert_close(found, torch.from_numpy(np.load(EARLIER.with_suffix(".npy"))), rtol=0, atol=1e-3)
    x = starting_noise(model.schedule, Rng(7), 4, model.shape)
    with torch.no_grad():
        times = grid("karras", model.schedule, 12)
        explicit = sample(model, stepper("dpm++2m"), x, times, addressed(Rng(7), 4, x), from_noise=True)
    assert torch.equal(model.decoded(explicit), found)


def test_a_stored_model_says_its_stepper_and_its_grid() -> None:
    """A later default would change the samples of a model that left them out."""
    assert {"stepper": DEFAULT, "grid": "auto"}.items() <= DiffusionSpec().to_dict().items()
