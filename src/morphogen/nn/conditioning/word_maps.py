"""Attention maps of words: the mean weights of all cross-attention during sampling.

(After Tang et al., "What the DAAM: interpreting stable diffusion using cross attention", 2023.) A call of
cross-attention gives each place a distribution over the learned key and the condition's tokens
(`nn/layers/attention.py`). Its mean over heads is resized to the picture and averaged over all calls: over layers, and
over the steps of sampling. The result is again a distribution at each pixel.

    map_l(p) = mean over calls and heads of weight(place of p, token l)

Guidance also evaluates the network under another condition; those calls do not count.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphogen.core.batch import Condition, RawCondition
from morphogen.core.errors import CapabilityError
from morphogen.nn.backbones.dit import DiT
from morphogen.nn.backbones.unet import UNet
from morphogen.nn.conditioning.conditioner import Conditioner
from morphogen.nn.layers.attention import CrossAttention


class WordMaps:
    """The running average, for pictures of `size`; networks pad these to a `multiple`."""

    def __init__(self, size: Sequence[int], multiple: int) -> None:
        self.size, self.calls = tuple(size), 0
        self._padded = tuple(side + -side % multiple for side in size)
        self._total: Tensor | None = None

    def add(self, weights: Tensor) -> None:
        """Add the weights (B, heads, N, 1 + L) of N places, row by row."""
        stride = math.sqrt(math.prod(self._padded) / weights.shape[2])
        grid = [round(side / stride) for side in self._padded]
        maps = weights.float().mean(1).mT.unflatten(-1, grid)  # (B, 1 + L, h, w)
        maps = F.interpolate(maps, self._padded, mode="bilinear")[..., : self.size[0], : self.size[1]]
        self._total, self.calls = maps if self._total is None else self._total + maps, self.calls + 1

    def mean(self) -> Tensor:
        """(B, L, *size) for the condition's tokens. The sum over L is 1 minus the share of the learned key, at each
        pixel.

        Raises `CapabilityError` if no layer has attended to them.
        """
        if self._total is None:
            raise _blind()
        return self._total[:, 1:] / self.calls


@contextmanager
def watched(networks: Mapping[str, nn.Module], cond: RawCondition, size: Sequence[int]) -> Iterator[WordMaps]:
    """Within the block, collect the maps of all cross-attention of `networks` to the tokens of this object `cond`.

    Raises `CapabilityError` for networks without cross-attention.
    """
    modules = [module for network in networks.values() for module in network.modules()]
    if not any(isinstance(module, CrossAttention) for module in modules):
        raise _blind()
    maps = WordMaps(size, next((m.multiple for m in modules if isinstance(m, UNet | DiT)), 1))
    asked: list[Tensor] = []

    def reads(_: nn.Module, given: tuple[Any, ...], condition: Condition) -> None:
        if given[0] is cond:
            asked[:] = [condition.tokens]

    def attends(module: nn.Module, given: tuple[Any, ...], _: Tensor) -> None:
        if asked and given[1] is asked[0]:
            assert isinstance(module, CrossAttention)
            with torch.no_grad():
                maps.add(module.weights(*given))

    hooks = [m.register_forward_hook(reads) for m in modules if isinstance(m, Conditioner)]
    hooks += [m.register_forward_hook(attends) for m in modules if isinstance(m, CrossAttention)]
    try:
        yield maps
    finally:
        for hook in hooks:
            hook.remove()


def _blind() -> CapabilityError:
    return CapabilityError(
        "in this model no place of the picture looks at single words: its network reads a prompt as one vector alone."
        " Word maps need cross-attention: a unet with --attention 1 or more, or a dit, trained on captions with"
        " --conditional."
    )
