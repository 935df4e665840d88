r"""The gradient of each record for the parameters of one layer, from what the layer read and what came back to it.

A linear layer y_t = W a_t + b that is applied at places t gives record b, with the gradients g_t of its loss for y_t,

    dL/dW = sum_t g_t a_t^T,   |dL/dW|^2 = sum_(t, s) (a_t . a_s)(g_t . g_s).

The second form needs no matrix for each record (Goodfellow, 2015; Li et al., 2022, "ghost clipping"); it is taken where
it is cheaper. A convolution is a linear layer whose a_t are the patches of its input, and an embedding one whose a_t
are one-hot. The sum over records with weights c_b is that of the layer with g_t replaced by c_b g_t (Bu et al., 2023).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Call = tuple[Tensor, Tensor]  # what a layer read, and the gradient of what it gave; records are in front


class Gradients(ABC):
    """The gradients (B, *shape) of B records for some parameters, by name."""

    @abstractmethod
    def squares(self) -> Tensor:
        """(B,) the squared norms."""

    @abstractmethod
    def sums(self, weights: Tensor) -> Mapping[str, Tensor]:
        """The sums over records with weights (B,)."""

    @abstractmethod
    def each(self) -> Mapping[str, Tensor]:
        """The gradients themselves."""


class Whole(Gradients):
    """Gradients that are kept one by one."""

    def __init__(self, gradients: Mapping[str, Tensor]) -> None:
        self._gradients = gradients

    def squares(self) -> Tensor:
        return torch.stack([g.flatten(1).square().sum(1) for g in self._gradients.values()]).sum(0)

    def sums(self, weights: Tensor) -> Mapping[str, Tensor]:
        return {name: torch.einsum("b,b...->...", weights, g) for name, g in self._gradients.items()}

    def each(self) -> Mapping[str, Tensor]:
        return self._gradients


class Products(Gradients):
    """The gradients of a linear map, a (B, T, n) and g (B, T, m): weight (m, n) and perhaps bias (m,)."""

    def __init__(self, a: Tensor, g: Tensor, shape: torch.Size, bias: bool) -> None:
        self._a, self._g, self._shape, self._bias = a, g, shape, bias
        places, n, m = a.shape[1], a.shape[2], g.shape[2]
        self._ghost = places * (n + m) < n * m  # else the matrices cost less
        self._matrices: Tensor | None = None

    def squares(self) -> Tensor:
        if self._a.shape[1] == 1:
            found = self._a[:, 0].square().sum(1) * self._g[:, 0].square().sum(1)
        elif self._ghost:
            found = ((self._a @ self._a.mT) * (self._g @ self._g.mT)).sum((1, 2))
        else:
            found = self._whole().flatten(1).square().sum(1)
        return found + self._g.sum(1).square().sum(1) if self._bias else found

    def sums(self, weights: Tensor) -> Mapping[str, Tensor]:
        if self._matrices is not None:
            weight = torch.einsum("b,bmn->mn", weights, self._matrices)
        else:
            weight = (self._g * weights[:, None, None]).flatten(0, 1).T @ self._a.flatten(0, 1)
        found = {"weight": weight.view(self._shape)}
        return found | ({"bias": torch.einsum("b,btm->m", weights, self._g)} if self._bias else {})

    def each(self) -> Mapping[str, Tensor]:
        found = {"weight": self._whole().reshape(len(self._a), *self._shape)}
        return found | ({"bias": self._g.sum(1)} if self._bias else {})

    def _whole(self) -> Tensor:
        if self._matrices is None:
            self._matrices = self._g.mT @ self._a
        return self._matrices


def known(layer: nn.Module) -> bool:
    """Whether the gradients of this layer's records can be told apart."""
    if isinstance(layer, nn.Conv2d):
        plain = layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
        return plain and type(layer).forward is nn.Conv2d.forward
    if isinstance(layer, nn.Linear):
        return type(layer).forward is nn.Linear.forward
    if isinstance(layer, nn.Embedding):
        return type(layer).forward is nn.Embedding.forward and layer.max_norm is None and not layer.scale_grad_by_freq
    return isinstance(layer, nn.GroupNorm | nn.LayerNorm)


def gradients(layer: nn.Module, calls: Sequence[Call]) -> Gradients:
    """The gradients of a layer that was called so often, each time with the same records."""
    if isinstance(layer, nn.Linear):
        rows = [(_places(a), _places(g)) for a, g in calls]
        return Products(*_joined(rows), layer.weight.shape, layer.bias is not None)
    if isinstance(layer, nn.Conv2d):
        rows = [(_patches(layer, a), g.flatten(2).mT) for a, g in calls]
        return Products(*_joined(rows), layer.weight.shape, layer.bias is not None)
    if isinstance(layer, nn.Embedding):
        return _Rows(layer, [(a.reshape(len(a), -1), g.reshape(len(g), -1, g.shape[-1])) for a, g in calls])
    assert isinstance(layer, nn.GroupNorm | nn.LayerNorm)
    return Whole(_of_norm(layer, calls))


class _Rows(Gradients):
    """The gradients of an embedding, places (B, T) and g (B, T, D)."""

    def __init__(self, layer: nn.Embedding, calls: Sequence[Call]) -> None:
        self._index = torch.cat([a for a, _ in calls], 1)
        self._g = torch.cat([g for _, g in calls], 1)
        if layer.padding_idx is not None:
            self._g = self._g * (self._index != layer.padding_idx)[..., None]
        self._shape = layer.weight.shape

    def squares(self) -> Tensor:
        same = self._index[:, :, None] == self._index[:, None, :]
        return ((self._g @ self._g.mT) * same).sum((1, 2))

    def sums(self, weights: Tensor) -> Mapping[str, Tensor]:
        weighted = (self._g * weights[:, None, None]).flatten(0, 1)
        return {"weight": weighted.new_zeros(self._shape).index_add_(0, self._index.flatten(), weighted)}

    def each(self) -> Mapping[str, Tensor]:
        found = self._g.new_zeros(len(self._g), *self._shape)
        index = self._index[..., None].expand_as(self._g)
        return {"weight": found.scatter_add_(1, index, self._g)}


def _of_norm(layer: nn.GroupNorm | nn.LayerNorm, calls: Sequence[Call]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for a, g in calls:
        if isinstance(layer, nn.GroupNorm):
            normal = F.group_norm(a, layer.num_groups, eps=layer.eps)
            parts = {"weight": (g * normal).flatten(2).sum(2), "bias": g.flatten(2).sum(2)}
        else:
            normal = F.layer_norm(a, layer.normalized_shape, eps=layer.eps)
            places = tuple(range(1, g.ndim - len(layer.normalized_shape)))
            parts = {"weight": g * normal, "bias": g}
            parts = {name: v.sum(places) if places else v for name, v in parts.items()}
        for name, value in parts.items():
            if getattr(layer, name) is not None:
                found[name] = found[name] + value if name in found else value
    return found


def _places(x: Tensor) -> Tensor:
    """(B, ..., n) -> (B, T, n)."""
    return x.reshape(len(x), -1, x.shape[-1])


def _patches(layer: nn.Conv2d, a: Tensor) -> Tensor:
    """(B, T, n) the patches that a convolution reads, in the order of its weights."""
    if layer.kernel_size == (1, 1) and layer.stride == (1, 1) and layer.padding == (0, 0):
        return a.flatten(2).mT
    options = {"dilation": layer.dilation, "padding": layer.padding, "stride": layer.stride}
    return F.unfold(a, layer.kernel_size, **options).mT  # type: ignore[arg-type]


def _joined(rows: Sequence[Call]) -> Call:
    if len(rows) == 1:
        return rows[0]
    return torch.cat([a for a, _ in rows], 1), torch.cat([g for _, g in rows], 1)
