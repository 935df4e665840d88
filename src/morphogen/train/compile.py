"""`torch.compile` where it pays: in training measured once, recorded in the checkpoint, never measured again.

Compiled kernels round differently from eager ones, so a resumed run takes the choice that it began with.

For drawing, weights are constants: they are laid out once as the kernels want them, and whatever is made of them alone,
such as their rounding to bf16, is made once.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch.utils._triton import has_triton

from morphogen.core.errors import MorphogenError, UsageError
from morphogen.core.family import Family
from morphogen.train.distributed import World
from morphogen.train.recipe import Recipe

WORTH_S = 300.0  # compiling takes 10 to 50 seconds on a CPU, so shorter runs do without
_FASTER = 0.95  # a gain below five percent is noise
_TRIALS = 5


def wrap(family: Family) -> None:
    """Compile each network of `family`; shapes are constant in training, so they are compiled in."""
    for name, network in family.networks().items():
        # The call is compiled and not the module: `bool` of a compiled module wants a length and fails.
        family.wrap(name, torch.compile(network.__call__, dynamic=False))


def wrap_for_drawing(family: Family, device: torch.device, able: Sequence[str]) -> None:
    """Compile the networks that a draw calls again and again, as constants: of a model that is not trained any more.

    Raises `UsageError` where there are none, naming the families `able`, and without a compiler.
    """
    if not family.asked_often:
        raise UsageError(
            f"compiling pays where a draw calls a network again and again, and a {family.name!r} model does not: leave"
            f" it out; families where it does: {', '.join(able)}."
        )
    if not compiler(device):
        raise UsageError(
            "compiling needs a C++ compiler (g++ or clang++), and on a GPU triton: install it, or leave it out."
        )
    for name in family.asked_often:
        compiled = torch.compile(family.networks()[name].__call__, dynamic=False, options={"freezing": True})
        family.wrap(name, compiled)


def unwrap(family: Family) -> None:
    """Back to eager networks."""
    for name in family.networks():
        family.wrap(name, None)


def choose(
    family: Family, recipe: Recipe, world: World, steps: int | None, trial: Callable[[], None]
) -> tuple[bool, list[str]]:
    """Whether to compile, and what there is to warn of; leaves the networks wrapped accordingly.

    `steps` is the length of the run if it is known; `trial` computes the gradients of one step and moves nothing.
    """
    if recipe.compile == "off" or world.sharded or not family.networks():
        warning = "compile=on is left out: sharded networks are not compiled."
        return False, [warning] if recipe.compile == "on" and world.sharded else []
    if recipe.compile == "auto" and not (compiler(world.device) and _long(recipe, world, steps, trial)):
        return False, []
    eager_s = _time(trial, world) if recipe.compile == "auto" else float("inf")
    try:
        wrap(family)
        trial()
    except MorphogenError:
        raise
    except Exception as error:  # compilers fail in many ways, and eager execution always remains
        unwrap(family)
        return False, [f"torch.compile failed, so training goes on without it ({_first_line(error)})."]
    if recipe.compile == "auto" and _time(trial, world) > _FASTER * eager_s:
        unwrap(family)
        return False, []
    return True, []


def _long(recipe: Recipe, world: World, steps: int | None, trial: Callable[[], None]) -> bool:
    if steps is None or (recipe.budget or WORTH_S) < WORTH_S:
        return (recipe.budget or 0.0) >= WORTH_S
    if steps < 100:
        return False
    trial()
    return steps * _time(trial, world, 1) >= WORTH_S


def _time(trial: Callable[[], None], world: World, trials: int = _TRIALS) -> float:
    """Median seconds of a trial; the same number in every process."""
    times = []
    for _ in range(trials):
        start = time.perf_counter()
        trial()
        if world.device.type == "cuda":
            torch.cuda.synchronize(world.device)
        times.append(time.perf_counter() - start)
    return world.largest([statistics.median(times)])[0]


def compiler(device: torch.device) -> bool:
    """Whether there is one for this device."""
    if device.type == "cuda":
        return bool(has_triton())
    return any(shutil.which(name) for name in ("g++", "clang++", "c++"))


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
