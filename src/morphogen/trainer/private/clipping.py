"""The sum over units of their clipped gradients: quickly where all layers are known, else unit by unit.

    sum_u min(1, C / |g_u|) g_u,     g_u = the gradient of the mean loss of unit u's rows

`Watch` sees what each layer reads and gives while a family computes the losses of a batch. One backward pass to the
outputs of the layers, without those of weights, then tells the gradient of every record (`layers.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from morphogen.core.tapping import Copies, watching
from morphogen.theory.privacy import clip_factors
from morphogen.trainer.private import layers
from morphogen.trainer.private.layers import Gradients, Whole


class Unreadable(Exception):
    """The gradients of single records cannot be told apart in this network."""


class Watch:
    """What the layers of a model read and give, for the parameters that are trained."""

    def __init__(self, model: nn.Module, parameters: Sequence[nn.Parameter]) -> None:
        self._wanted = {id(p) for p in parameters}
        self._calls: list[tuple[nn.Module, Tensor, Tensor]] = []
        self._copies: Copies = []
        self._layers: list[nn.Module] = []
        owners: dict[int, nn.Module] = {}
        for module in model.modules():
            own = [p for p in module.parameters(recurse=False) if id(p) in self._wanted]
            if not own:
                continue
            if any(id(p) in owners for p in own):
                raise Unreadable(f"two layers share the parameters of a {type(module).__name__}")
            owners |= {id(p): module for p in own}
            if layers.known(module):
                self._layers.append(module)
        self._names = {id(p): name for name, p in model.named_parameters()}

    @contextmanager
    def open(self) -> Iterator[None]:
        """Watch what happens in the block."""
        with ExitStack() as stack:
            for layer in self._layers:
                handle = layer.register_forward_hook(self._seen)
                stack.callback(handle.remove)
            copies = stack.enter_context(watching())
            yield
            self._copies += copies

    def _seen(self, layer: nn.Module, read: tuple[Any, ...], given: Tensor) -> None:
        if isinstance(given, Tensor) and given.requires_grad:
            self._calls.append((layer, read[0].detach(), given))

    def gradients(self, losses: Tensor, parameters: Sequence[nn.Parameter]) -> list[tuple[nn.Module | None, Gradients]]:
        """The gradients of each record, layer by layer; None stands for parameters outside of layers.

        Raises `Unreadable` where a layer has read something else than the records of the batch in their order.
        """
        n, calls, copies = len(losses), self._calls, self._copies
        self._calls, self._copies = [], []
        given = [out for _, _, out in calls] + [copy for _, copy in copies]
        if any(len(t) != n for t in given):
            raise Unreadable("a layer reads another number of rows than there are records")
        found = torch.autograd.grad(losses.sum(), given, allow_unused=True) if given else ()
        asked = {id(p) for p in parameters}
        by_layer: dict[nn.Module, list[layers.Call]] = {}
        for (layer, read, _), g in zip(calls, found, strict=False):
            if g is not None and any(id(p) in asked for p in layer.parameters(recurse=False)):
                by_layer.setdefault(layer, []).append((read, g))
        result: list[tuple[nn.Module | None, Gradients]] = [
            (layer, layers.gradients(layer, seen)) for layer, seen in by_layer.items()
        ]
        loose: dict[str, Tensor] = {}
        for (p, _), g in zip(copies, found[len(calls) :], strict=True):
            if g is not None and id(p) in asked:
                name = self._names[id(p)]
                loose[name] = loose[name] + g if name in loose else g
        if loose:
            result.append((None, Whole(loose)))
        return result


def clipped_sums(
    model: nn.Module, found: Sequence[tuple[nn.Module | None, Gradients]], clip: float, units: Tensor | None, n: int
) -> tuple[dict[int, Tensor], Tensor]:
    """The sums of clipped gradients by the id of their parameter, and the norms (U,) before.

    units  (n,) int64 which unit each row belongs to, 0 .. U - 1, each with a row; None: each row is a unit
    """
    named = dict(model.named_parameters())
    if units is None:
        norms = torch.stack([g.squares() for _, g in found]).sum(0).clamp_min(0.0).sqrt() if found else torch.zeros(n)
        weights = clip_factors(norms, clip)
        sums: dict[int, Tensor] = {}
        for layer, gradients in found:
            for name, total in _finite(gradients, weights).items():
                p = named[name] if layer is None else getattr(layer, name)
                sums[id(p)] = total
        return sums, norms
    count = int(units.max()) + 1
    rows = torch.bincount(units, minlength=count).to(torch.float32)
    each: dict[int, Tensor] = {}
    for layer, gradients in found:
        for name, g in gradients.each().items():
            p = named[name] if layer is None else getattr(layer, name)
            total = g.new_zeros(count, *p.shape).index_add_(0, units, g.reshape(n, *p.shape))
            each[id(p)] = total / rows.to(g).view(-1, *[1] * p.ndim)
    return sum_of_units(each, clip)


def sum_of_units(each: Mapping[int, Tensor], clip: float) -> tuple[dict[int, Tensor], Tensor]:
    """The clipped sums of the gradients (U, *shape) of units, by parameter, and their norms (U,)."""
    norms = torch.stack([g.reshape(len(g), -1).square().sum(1) for g in each.values()]).sum(0).sqrt()
    weights = clip_factors(norms, clip)
    return {i: torch.einsum("u,u...->...", weights, torch.nan_to_num(g, 0, 0, 0)) for i, g in each.items()}, norms


def _finite(gradients: Gradients, weights: Tensor) -> Mapping[str, Tensor]:
    """The weighted sums; records whose gradient is not finite, and so has the weight 0, are left out of them."""
    if bool((weights > 0).all()):
        return gradients.sums(weights)
    kept = weights > 0
    return {name: torch.einsum("b,b...->...", weights[kept], g[kept]) for name, g in gradients.each().items()}
