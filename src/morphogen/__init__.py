"""morphogen: train generative models on your own data, use them, and answer for them.

    import morphogen as mg

    model = mg.train("vae", "digits", "runs/digits", latent_dim=8, steps=500)
    model.sample(16, seed=1).save("samples.png")
    model = mg.load("runs/digits")

The names are those of `morphogen.api`, imported when one is first used, so `import morphogen` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from morphogen.api import *  # noqa: F403

    __version__: str
else:

    def __getattr__(name: str) -> object:
        from importlib import import_module
        from importlib.util import find_spec

        if name == "__version__":
            from importlib.metadata import version
    from morphogen.api import Alignment as Alignment
    from morphogen.api import AlignmentPoint as AlignmentPoint
    from morphogen.api import Archive as Archive
    from morphogen.api import AttentionMaps as AttentionMaps
    from morphogen.api import Chain as Chain
    from morphogen.api import Comparison as Comparison
    from morphogen.api import Dataset as Dataset
    from morphogen.api import Decompressed as Decompressed
    from morphogen.api import Description as Description
    from morphogen.api import Difference as Difference
    from morphogen.api import Directions as Directions
    from morphogen.api import Evaluation as Evaluation
    from morphogen.api import Event as Event
    from morphogen.api import Following as Following
    from morphogen.api import Inspection as Inspection
    from morphogen.api import LatentEdits as LatentEdits
    from morphogen.api import Latents as Latents
    from morphogen.api import Model as Model
    from morphogen.api import Pictures as Pictures
    from morphogen.api import Plan as Plan
    from morphogen.api import Quantized as Quantized
    from morphogen.api import Reconstructions as Reconstructions
    from morphogen.api import Restored as Restored
    from morphogen.api import Result as Result
    from morphogen.api import Suggestion as Suggestion
    from morphogen.api import Variances as Variances
    from morphogen.api import Verification as Verification
    from morphogen.api import alignment_curve as alignment_curve
    from morphogen.api import attention_maps as attention_maps
    from morphogen.api import check_family as check_family
    from morphogen.api import compare as compare
    from morphogen.api import compress as compress
    from morphogen.api import decompress as decompress
    from morphogen.api import describe as describe
    from morphogen.api import describe_archive as describe_archive
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
    from morphogen.api import follow as follow
    from morphogen.api import forward_chain as forward_chain
    from morphogen.api import inspect_data as inspect_data
    from morphogen.api import interpolate as interpolate
    from morphogen.api import levels as levels
    from morphogen.api import list_families as list_families
    from morphogen.api import load as load
    from morphogen.api import load_data as load_data
    from morphogen.api import manifold as manifold
    from morphogen.api import plan as plan
    from morphogen.api import quantize as quantize
    from morphogen.api import reconstruct as reconstruct
    from morphogen.api import register as register
    from morphogen.api import restore as restore
    from morphogen.api import reverse_chain as reverse_chain
    from morphogen.api import sample as sample
    from morphogen.api import suggest as suggest
    from morphogen.api import train as train
    from morphogen.api import training as training
    from morphogen.api import upscale as upscale
    from morphogen.api import variances as variances
    from morphogen.api import verify as verify
    from morphogen.api import walk as walk
    from morphogen.core.errors import ArtifactError as ArtifactError
    from morphogen.core.errors import CapabilityError as CapabilityError
    from morphogen.core.errors import DataError as DataError
    from morphogen.core.errors import MorphogenError as MorphogenError
    from morphogen.core.errors import MorphogenWarning as MorphogenWarning
    from morphogen.core.errors import NonFiniteError as NonFiniteError
    from morphogen.core.errors import SpecError as SpecError
    from morphogen.core.errors import UsageError as UsageError
_API = (
    "Alignment",
    "AlignmentPoint",
    "Archive",
    "AttentionMaps",
    "Chain",
    "Comparison",
    "Dataset",
    "Decompressed",
    "Description",
    "Difference",
    "Directions",
    "Evaluation",
    "Event",
    "Following",
    "Inspection",
    "LatentEdits",
    "Latents",
    "Model",
    "Pictures",
    "Quantized",
    "Plan",
    "Reconstructions",
    "Restored",
    "Result",
    "Suggestion",
    "Variances",
    "Verification",
    "alignment_curve",
    "attention_maps",
    "check_family",
    "compare",
    "compress",
    "decompress",
    "describe",
    "describe_archive",
    "describe_family",
    "directions",
    "draw",
    "edit",
    "edit_latent",
    "encode",
    "evaluate",
    "evaluate_alignment",
    "evaluate_samples",
    "fingerprint",
    "follow",
    "forward_chain",
    "inspect_data",
    "interpolate",
    "levels",
    "list_families",
    "load",
    "load_data",
    "manifold",
    "quantize",
    "plan",
    "reconstruct",
    "register",
    "restore",
    "reverse_chain",
    "sample",
    "suggest",
    "train",
    "training",
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
    "MorphogenWarning",
    "NonFiniteError",
    "SpecError",
    "UsageError",
)
__all__ = ["__version__", *_API, *_ERRORS]

            return version("morphogen")
        if name != "__all__" and (name.startswith("_") or find_spec(f"{__name__}.{name}")):
            # a room, which `from morphogen import ROOM` goes on to load
            raise AttributeError(f"module 'morphogen' has no attribute {name!r}")
        if isinstance(error := getattr(import_module("morphogen.core.errors"), name, None), type):
            return globals().setdefault(name, error)  # without the rest, which is heavy
        api = import_module("morphogen.api")
        if name == "__all__":
            return ["__version__", *api.__all__]
        if name in api.__all__:
            return globals().setdefault(name, getattr(api, name))
        deprecated = import_module("morphogen.api.deprecated")
        if name in deprecated.INSTEAD:
            from warnings import warn

            warn(f"morphogen.{name} is now morphogen.{deprecated.INSTEAD[name]}.", DeprecationWarning, stacklevel=2)
            return getattr(deprecated, name)
        from morphogen.core.errors import unknown

        raise AttributeError(unknown("name in morphogen", name, api.__all__))

    def __dir__() -> list[str]:
        return sorted(__getattr__("__all__"))
