"""What a model would take to train, before any of it is made."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import torch
from torch import nn

from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import UsageError
from morphogen.core.family import Family
from morphogen.core.memory import available_bytes, in_words
from morphogen.core.registrations import TooMany, at_most
from morphogen.core.rng import Rng
from morphogen.core.spec import Spec

MAX_LAYERS = 20_000  # and tensors in them: networks of hundreds of layers have some thousands
COPIES = 4  # weights, their gradients, and two moments of the optimizer, in float32


def check_size(kind: type[Family], spec: Spec, data: DataSpec, parts: Mapping[str, nn.Module]) -> None:
    """Raise `UsageError` where a model of this Spec does not fit into memory.

    It is built on torch's "meta" device, whose tensors have shapes and no content. A family that cannot be is not
    measured. Also raises it for more layers than could be made in some seconds.
    """
    try:
        with warnings.catch_warnings(), torch.device("meta"), Rng(0).forked(), at_most(MAX_LAYERS):
            warnings.simplefilter("ignore")
            model = kind(spec, data, parts)
    except (TooMany, MemoryError):
        raise UsageError(
            f"a model of these sizes has more than {MAX_LAYERS:,} layers and weight tensors: make it smaller."
        ) from None
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if "overflow" in str(error).lower():
            raise UsageError("a model of these sizes has more weights than can be counted: make it smaller.") from None
        return  # the real one says what is wrong
    needed, free = COPIES * 4 * sum(p.numel() for p in model.parameters()), available_bytes()
    if needed > free:
        raise UsageError(
            f"a model of these sizes takes {in_words(needed)} of memory to train, and there are {in_words(free)}: make"
            " it smaller."
        )
