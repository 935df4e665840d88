"""Use `torch.compile` if it is faster. Training measures this once and records it in the checkpoint.

Compiled kernels round differently from eager ones, so a resumed run keeps its first choice.

For sampling, weights are constants. The compiler lays them out once as the kernels need them, and computes once what
depends on them alone, such as their rounding to bf16.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable
from typing import Any, final

import torch
from torch import nn
from torch.utils._triton import has_triton

from morphogen.core import registry
from morphogen.core.errors import MorphogenError, UsageError
from morphogen.core.family import Family
from morphogen.trainer.distributed import World
from morphogen.trainer.interrupt import Skipped, skippable
from morphogen.trainer.recipe import Recipe

WORTH_S = 1200.0  # compiling takes 10 to 200 seconds on a busy CPU, so shorter runs do without
_SHARE = 0.1  # of the run that compiling may take
_FASTER = 0.95  # a gain below five percent is noise
_TRIALS = 5


def wrap(family: Family) -> None:
    """Compile each network of `family`; shapes are constant in training, so they are compiled in."""
    for name, network in family.networks().items():
        # The call is compiled and not the module: `bool` of a compiled module wants a length and fails.
        family.wrap(name, torch.compile(network.__call__, dynamic=False))


@final
class Constant:
    """A network compiled with constant weights. If the compiler fails, it runs eagerly and keeps the reason."""

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self._network = network
        self._compiled = torch.compile(network.__call__, dynamic=False)
        self.warning = None if compiler(device) else _without("there is no C++ compiler (g++ or clang++)")

    def __call__(self, *given: Any, **named: Any) -> Any:
        if self.warning is None:
            from torch._inductor import config as inductor  # seconds, which only compiling needs

            try:
                with inductor.patch(freezing=True):  # the tracer reads it, at the first call of a shape
                    return self._compiled(*given, **named)
            except MorphogenError:
                raise
            except Exception as error:  # compilers fail in many ways, and eager execution always remains
                self.warning = _without(_first_line(error))
        return self._network(*given, **named)


def wrap_for_drawing(family: Family) -> list[Constant]:
    """Compile the networks that each sampling step calls, also those of the parts, with constant weights.

    Returns the compiled networks; after sampling, each tells whether it was compiled. Raises `UsageError` if the family
    has no such networks.
    """
    if not family.compiled_networks:
        able = [name for name in registry.names() if registry.family(name).compiled_networks]
        raise UsageError(
            f"drawing with a {family.name!r} model is not compiled: leave it out; families whose is: {', '.join(able)}."
        )
    device, wrapped = family.device, []
    for one in (family, *(part for part in family.parts.values() if isinstance(part, Family))):
        for name in one.compiled_networks:
            wrapped.append(Constant(one.networks()[name], device))
            one.wrap(name, wrapped[-1])
    return wrapped


def unwrap(family: Family) -> None:
    """Return to eager networks."""
    for name in family.networks():
        family.wrap(name, None)


def choose(
    family: Family, recipe: Recipe, world: World, steps: int | None, trial: Callable[[], None]
) -> tuple[bool, list[str]]:
    """Decide whether to compile. Returns the decision and warnings, and wraps the networks accordingly.

    `steps` is the length of the run if it is known. `trial` computes the gradients of one step and updates nothing.
    """
    if recipe.compile == "off" or world.sharded or not family.networks():
        warning = "compile=on is left out: sharded networks are not compiled."
        return False, [warning] if recipe.compile == "on" and world.sharded else []
    if recipe.compile == "auto" and not (compiler(world.device) and _long(recipe, world, steps, trial)):
        return False, []
    eager_s = _time(trial, world) if recipe.compile == "auto" else float("inf")
    most_s = None if recipe.compile == "on" else _SHARE * (recipe.budget or (steps or 0) * eager_s)
    failed = ""
    try:
        with skippable(most_s):
            wrap(family)
            trial()
    except MorphogenError:
        raise
    except Skipped:
        torch.compiler.reset()
        failed = "it was skipped by Ctrl-C, or would have taken more than a tenth of the time"
    except Exception as error:  # compilers fail in many ways, and eager execution always remains
        failed = _first_line(error)
    if world.largest([float(bool(failed))])[0]:
        unwrap(family)
        return False, [_without(failed or "another process failed")]
    if recipe.compile == "auto" and _time(trial, world) > _FASTER * eager_s:
        unwrap(family)
        return False, []
    return True, []


def may_compile(recipe: Recipe, world: World, expected_s: float | None) -> bool:
    """Whether `choose` will try to compile a run that is expected to take so long; None: that is not known."""
    if recipe.compile != "auto" or world.sharded:
        return recipe.compile == "on" and not world.sharded
    return compiler(world.device) and expected_s is not None and expected_s >= WORTH_S


def _long(recipe: Recipe, world: World, steps: int | None, trial: Callable[[], None]) -> bool:
    if steps is None or (recipe.budget or WORTH_S) < WORTH_S:
        return (recipe.budget or 0.0) >= WORTH_S
    if steps < 100:
        return False
    trial()
    return steps * _time(trial, world, 1) >= WORTH_S


def _time(trial: Callable[[], None], world: World, trials: int = _TRIALS) -> float:
    """The median seconds of a trial; every process gets the same number."""
    times = []
    for _ in range(trials):
        start = time.perf_counter()
        trial()
        if world.device.type == "cuda":
            torch.cuda.synchronize(world.device)
        times.append(time.perf_counter() - start)
    return world.largest([statistics.median(times)])[0]


def compiler(device: torch.device) -> bool:
    """Whether there is a compiler for this device."""
    if device.type == "cuda":
        return bool(has_triton())
    return any(shutil.which(name) for name in ("g++", "clang++", "c++"))


def _without(why: str) -> str:
    return f"torch.compile failed, so it goes on without ({why})."


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
