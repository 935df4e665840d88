"""morphogen: train generative models on your own data, use them, and answer for them.

    import morphogen as mg

    for event in mg.train("vae", "digits", "runs/digits", recipe={"steps": 500}):
        print(event.step, event.terms)
    pictures = mg.sample("runs/digits", n=16, seed=1)

Names are imported when they are first used, so `import morphogen` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from morphogen.api import alignment_curve as alignment_curve
    from morphogen.api import attention_maps as attention_maps
    from morphogen.api import check_family as check_family
    from morphogen.api import compare as compare
    from morphogen.api import describe_family as describe_family
    from morphogen.api import directions as directions
    from morphogen.api import draw as draw
    from morphogen.api import edit as edit
    from morphogen.api import edit_latent as edit_latent
    from morphogen.api import encode as encode
    from morphogen.api import evaluate as evaluate
    from morphogen.api import evaluate_alignment as evaluate_alignment
    from morphogen.api import evaluate_samples as evaluate_samples
    from morphogen.api import fingerprint as fingerprint
    from morphogen.api import forward_chain as forward_chain
    from morphogen.api import inspect as inspect
    from morphogen.api import interpolate as interpolate
    from morphogen.api import levels as levels
    from morphogen.api import list_families as list_families
    from morphogen.api import load_data as load_data
    from morphogen.api import load_model as load_model
    from morphogen.api import manifold as manifold
    from morphogen.api import reconstruct as reconstruct
    from morphogen.api import restore as restore
    from morphogen.api import reverse_chain as reverse_chain
    from morphogen.api import sample as sample
    from morphogen.api import show as show
    from morphogen.api import train as train
    from morphogen.api import upscale as upscale
    from morphogen.api import variances as variances
    from morphogen.api import verify as verify
    from morphogen.api import walk as walk
    from morphogen.core.errors import ArtifactError as ArtifactError
    from morphogen.core.errors import CapabilityError as CapabilityError
    from morphogen.core.errors import DataError as DataError
    from morphogen.core.errors import MorphogenError as MorphogenError
    from morphogen.core.errors import NonFiniteError as NonFiniteError
    from morphogen.core.errors import SpecError as SpecError
    from morphogen.core.errors import UsageError as UsageError

_FUNCTIONS = (
    "alignment_curve",
    "attention_maps",
    "check_family",
    "compare",
    "directions",
    "draw",
    "edit",
    "edit_latent",
    "encode",
    "evaluate",
    "evaluate_alignment",
    "evaluate_samples",
    "describe_family",
    "list_families",
    "fingerprint",
    "forward_chain",
    "inspect",
    "interpolate",
    "levels",
    "load_data",
    "load_model",
    "manifold",
    "reconstruct",
    "restore",
    "reverse_chain",
    "sample",
    "show",
    "train",
    "upscale",
    "variances",
    "verify",
    "walk",
)
_ERRORS = (
    "ArtifactError",
    "CapabilityError",
    "DataError",
    "MorphogenError",
    "NonFiniteError",
    "SpecError",
    "UsageError",
)
__all__ = ["__version__", *_FUNCTIONS, *_ERRORS]
__version__ = _version("morphogen")


def __getattr__(name: str) -> Any:
    if name in _FUNCTIONS:
        return getattr(import_module("morphogen.api"), name)
    if name in _ERRORS:
        return getattr(import_module("morphogen.core.errors"), name)
    if not name.startswith("_"):
        from morphogen.core.errors import unknown

        raise AttributeError(unknown("name in morphogen", name, __all__))
    raise AttributeError(f"module 'morphogen' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
