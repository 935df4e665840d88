"""The functions that a user calls; every face (Python, command line, studio) calls these and nothing below.

A model is held (`load`, `train`) or the path of its directory. Data are a source string, arrays or a loaded `Dataset`,
which is always prepared as the model's own `DataSpec` says, so that nothing has to be repeated.
"""

from morphogen.api.catalogue import check_family, describe_family, list_families
from morphogen.api.data import inspect_data, load_data
from morphogen.api.editing import edit, restore, upscale
from morphogen.api.explaining import attention_maps, forward_chain, reverse_chain, variances
from morphogen.api.fitting import train, training
from morphogen.api.judging import alignment_curve, compare, evaluate, evaluate_alignment, evaluate_samples
from morphogen.api.latents import directions, edit_latent, encode, interpolate, levels, manifold, reconstruct
from morphogen.api.model import Description, Model, Verification, describe, fingerprint, load, verify
from morphogen.api.results import (
    Alignment,
    AlignmentPoint,
    AttentionMaps,
    Chain,
    Comparison,
    Directions,
    Evaluation,
    LatentEdits,
    Latents,
    Pictures,
    Reconstructions,
    Restored,
    Variances,
)
from morphogen.api.sampling import draw, sample, walk
from morphogen.core.registry import register
from morphogen.data import Dataset, Inspection
from morphogen.evaluation import Result
from morphogen.evaluation.compare import Difference
from morphogen.trainer import Event

__all__ = [
    "Alignment",
    "AlignmentPoint",
    "AttentionMaps",
    "Chain",
    "Comparison",
    "Dataset",
    "Description",
    "Difference",
    "Directions",
    "Evaluation",
    "Event",
    "Inspection",
    "LatentEdits",
    "Latents",
    "Model",
    "Pictures",
    "Reconstructions",
    "Restored",
    "Result",
    "Variances",
    "Verification",
    "alignment_curve",
    "attention_maps",
    "check_family",
    "compare",
    "describe",
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
    "forward_chain",
    "inspect_data",
    "interpolate",
    "levels",
    "list_families",
    "load",
    "load_data",
    "manifold",
    "reconstruct",
    "register",
    "restore",
    "reverse_chain",
    "sample",
    "train",
    "training",
    "upscale",
    "variances",
    "verify",
    "walk",
]
