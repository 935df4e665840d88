"""Compute in bf16 by autocast, if the hardware multiplies in it. Weights and optimizer stay in float32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

Precision = Literal["fp32", "bf16"]


def resolve(wanted: Literal["auto", "fp32", "bf16"], device: torch.device) -> Precision:
    """The precision to train in on `device`."""
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp32"
    cpu = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16" if device.type == "cpu" and cpu else "fp32"


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """A context for computing losses; it can be entered many times."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
