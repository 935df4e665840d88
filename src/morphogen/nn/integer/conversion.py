"""From a trained network to its integer form: each layer becomes one of integer weights, and the rest stays as it is.

Sums, ReLU, copies and reshapes of numbers on the grid are exact in float64. So only what multiplies by weights, and
what is no polynomial, has to be replaced.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from morphogen.core.errors import ArtifactError, CapabilityError
from morphogen.nn.backbones.causal import CausalConv, CausalNet
from morphogen.nn.backbones.symbols import Log1p as RealLog1p
from morphogen.nn.backbones.transform_coding import Transform
from morphogen.nn.integer.causal import IntegerCausalConv
from morphogen.nn.integer.grid import LARGEST, TERMS, UNIT
from morphogen.nn.integer.layers import GridRounding, IntegerConv2d, IntegerEmbedding, IntegerLinear, IntegerRows
from morphogen.nn.integer.smooth import IntegerActivation, Smooth
from morphogen.nn.integer.tables import Log1p
from morphogen.nn.layers.grid_point import GridPoint

BITS = 16  # of a weight
ACTIVATIONS: dict[type[nn.Module], str] = {nn.SiLU: "silu", nn.GELU: "gelu", nn.Tanh: "tanh"}  # ReLU is exact


def to_integers(
    module: nn.Module, bits: int = BITS, *, largest_count: int = 0, smooth: Smooth | None = None
) -> nn.Module:
    """The integer form of a network, in its place; returns what replaces `module` itself.

    smooth          the tables of activations
    largest_count   the counts that log(1 + n) is tabulated for go from 0 to this

    Raises `CapabilityError` for a layer that has no integer form.
    """
    if isinstance(module, nn.Linear):
        return IntegerLinear.of(module, bits)
    if isinstance(module, CausalConv):
        return IntegerCausalConv.of(module, bits)
    if isinstance(module, nn.Conv2d):
        return IntegerConv2d.of(module, bits)
    if isinstance(module, nn.Embedding):
        return IntegerEmbedding.of(module)
    if isinstance(module, Transform):
        return IntegerConv2d.of_matrix(module.matrix(), bits)
    if isinstance(module, GridPoint):
        return GridRounding()
    if type(module) in ACTIVATIONS and smooth is not None:
        return IntegerActivation(ACTIVATIONS[type(module)], smooth)
    if isinstance(module, RealLog1p):
        return Log1p(largest_count)
    if isinstance(module, nn.ParameterList):  # vectors of places, which are added
        return _Steps(_steps(parameter) for parameter in module)
    for name, child in list(module.named_children()):
        setattr(module, name, to_integers(child, bits, largest_count=largest_count, smooth=smooth))
    for name, parameter in list(module.named_parameters(recurse=False)):
        if not isinstance(module, CausalNet):
            kind = type(module).__name__
            raise CapabilityError(f"a layer {kind} has no integer form: train a model without it, then quantize that.")
        delattr(module, name)
        module.register_buffer(name, _steps(parameter))
    return module


def _steps(parameter: Tensor) -> Tensor:
    return (parameter.detach().double() / UNIT).round().clamp(-LARGEST, LARGEST).to(torch.int32)


class _Steps(nn.Module):
    """A list of tensors in steps of the grid, by their numbers as in `nn.ParameterList`."""

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        super().__init__()
        for i, tensor in enumerate(tensors):
            self.register_buffer(str(i), tensor)

    def __getitem__(self, i: int) -> Tensor:
        return self.get_buffer(str(i))


def integer_layers(module: nn.Module) -> Iterator[tuple[str, IntegerRows]]:
    """Every layer that sums, by name."""
    for name, child in module.named_modules():
        if isinstance(child, IntegerRows):
            yield name.removesuffix(".rows"), child


def prove(module: nn.Module) -> dict[str, int]:
    """For each layer the largest sum that can occur in it. Raises `ArtifactError` unless all are below 2^53."""
    for name, child in module.named_modules():
        if isinstance(child, IntegerEmbedding | _Steps | CausalNet):
            for values in child.buffers(recurse=False):
                if bool((values.abs() > LARGEST).any()):
                    raise ArtifactError(f"{name} holds numbers beyond the grid of an integer model.")
    found = {name: layer.prove(name) for name, layer in integer_layers(module)}
    if len(found) > TERMS:
        raise ArtifactError(f"integer models have at most {TERMS} layers, and this one {len(found)}.")
    return found
