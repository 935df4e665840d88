r"""Low-rank adapters (Hu et al., "LoRA: low-rank adaptation of large language models", 2022), by the library `peft`.

The weight W of a layer is frozen. A product of two narrow trainable matrices is added to it:

    W' = W + (alpha / r) B A,    A (r, in), B (out, r), B = 0 at first.

For a convolution, A has the kernel size of W, and B has the kernel size 1 x 1. `merged` adds the products to W, and
gives the weights of the original network.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from torch import Tensor, nn

from morphogen.core.errors import UsageError
from morphogen.nn.layers.attention import CrossAttention, SelfAttention

Layers = Literal["all", "attention"]
_MARK = "lora_"  # in the names of adapter weights, and in no others


def adapted(network: nn.Module, rank: int, alpha: int, layers: Layers) -> nn.Module:
    """Add adapters to the linear layers and convolutions of `network`, in place: to all of them, or to those of
    attention.

    The existing weights are frozen, and the adapters are trainable; they do not change the output at first. The parts
    of a family get no adapters. Raises `UsageError` if there is no such layer, or the library is missing.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise UsageError("adapters need the library peft: pip install 'morphogen[adaptation]'.") from None
    names = [name for name, module in network.named_modules() if _fits(module) and _chosen(name, network, layers)]
    if not names:
        raise UsageError(f"there is no layer to adapt among {layers!r}: this network has none; take layers 'all'.")
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules="|".join(map(re.escape, names)))
    return inject_adapter_in_model(config, network)


def is_adapter(name: str) -> bool:
    """Whether a weight of that name is an adapter's."""
    return _MARK in name


def adapters(network: nn.Module) -> dict[str, nn.Parameter]:
    """The trainable adapter weights by name."""
    return {name: p for name, p in network.named_parameters() if is_adapter(name)}


def merged(network: nn.Module) -> dict[str, Tensor]:
    """The state of the original network, with W' instead of W."""
    state = {name: value for name, value in network.state_dict().items() if not is_adapter(name)}
    for name, change in changes(network).items():
        state[f"{name}.base_layer.weight"] = state[f"{name}.base_layer.weight"] + change
    return {name.replace(".base_layer.", "."): value for name, value in state.items()}


def changes(network: nn.Module) -> dict[str, Tensor]:
    """W' - W of each adapted layer, by its name."""
    layers: list[tuple[str, Any]] = [(n, m) for n, m in network.named_modules() if hasattr(m, "get_delta_weight")]
    return {name: layer.get_delta_weight("default").detach() for name, layer in layers}


def _fits(module: nn.Module) -> bool:
    return type(module) is nn.Linear or (type(module) is nn.Conv2d and module.groups == 1)


def _chosen(name: str, network: nn.Module, layers: Layers) -> bool:
    if name.startswith("parts."):
        return False
    above = network.get_submodule(name.rpartition(".")[0])
    return layers == "all" or isinstance(above, SelfAttention | CrossAttention)
