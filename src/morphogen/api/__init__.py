"""The functions that a user calls; every face (Python, command line, studio) calls these and nothing below.

A model is the path of its artifact. Data are a source string (`morphogen data inspect` explains them), which is
always prepared as the model's own `DataSpec` says, so that nothing has to be repeated.
"""

from morphogen.api.aligning import Alignment, alignment_curve, evaluate_alignment
from morphogen.api.attending import AttentionMaps, attention_maps
from morphogen.api.denoising import Chain, Variances, forward_chain, reverse_chain, variances
from morphogen.api.drawing import sample, walk
from morphogen.api.judging import compare, evaluate, evaluate_samples
from morphogen.api.latent_directions import Directions, directions
from morphogen.api.latent_editing import LatentEdits, edit_latent
from morphogen.api.latents import encode, interpolate, levels, manifold, reconstruct
from morphogen.api.models import check_family, describe_family, fingerprint, list_families, show, verify
from morphogen.api.prompts import Drawing, draw
from morphogen.api.records import Pictures, inspect, load_data, load_model
from morphogen.api.restoring import Restored, edit, restore, upscale
from morphogen.api.training import train

__all__ = [
    "Alignment",
    "AttentionMaps",
    "Chain",
    "Directions",
    "Drawing",
    "LatentEdits",
    "Pictures",
    "Restored",
    "Variances",
    "alignment_curve",
    "attention_maps",
    "check_family",
    "compare",
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
    "inspect",
    "interpolate",
    "levels",
    "list_families",
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
]
