"""Steppers by name. Each declares its order, whether it draws noise, and its evaluations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from morphogen.core.errors import SpecError, unknown
from morphogen.sampling.steppers.ancestral import Ancestral
from morphogen.sampling.steppers.base import Draw, State, StepEstimate, Stepper
from morphogen.sampling.steppers.multistep import Multistep
from morphogen.sampling.steppers.runge_kutta import Euler, Heun

__all__ = ["STEPPERS", "Ancestral", "Draw", "Euler", "Heun", "Multistep", "State", "StepEstimate", "Stepper", "stepper"]

STEPPERS: Mapping[str, Callable[..., Stepper]] = {
    "ddpm": Ancestral,
    "ddim": partial(Multistep, estimates=1),
    "euler": Euler,
    "heun": Heun,
    "edm": partial(Heun, churn=40.0),
    "dpm++2m": partial(Multistep, estimates=2),
    "dpm++2m-sde": partial(Multistep, estimates=2, eta=1.0),
    "unipc": partial(Multistep, estimates=2, corrector=True),
    "unipc-angle": partial(Multistep, estimates=2, corrector=True, variable="angle"),
}


def stepper(name: str, **options: object) -> Stepper:
    """The stepper called `name` with its published settings, changed by `options` (eta, variance, churn, ...).

    Raises `SpecError` for an unknown name or option.
    """
    if name not in STEPPERS:
        raise SpecError(unknown("stepper", name, STEPPERS))
    try:
        return STEPPERS[name](**options)
    except TypeError:
        raise SpecError(f"the stepper {name!r} does not take {', '.join(map(repr, options))}.") from None
