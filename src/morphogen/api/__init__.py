"""The functions that a user calls; every face (Python, command line, studio) calls these and nothing below.

A model is held (`load`, `train`) or the path of its directory. Data are a source string, arrays or a loaded `Dataset`,
which is always prepared as the model's own `DataSpec` says, so that nothing has to be repeated.
"""

from morphogen.api.aligning import evaluate_alignment
from morphogen.api.aligning_over_guidance import alignment_curve
from morphogen.api.attending import attention_maps
from morphogen.api.auditing import audit
from morphogen.api.catalogue import check_family, describe_family, list_families
from morphogen.api.chaining import forward_chain, reverse_chain
from morphogen.api.comparing import compare
from morphogen.api.completing import complete
from morphogen.api.compressing import compress
from morphogen.api.data import inspect_data, load_data
from morphogen.api.decompressing import decompress, decompressing, describe_archive
from morphogen.api.description import Description, describe
from morphogen.api.designing import design
from morphogen.api.detecting import detect
from morphogen.api.directing import directions, edit_latent
from morphogen.api.drawing import draw
from morphogen.api.editing import edit
from morphogen.api.encoding import encode, interpolate, manifold
from morphogen.api.evaluating import evaluate
from morphogen.api.exporting import export
from morphogen.api.fitting import train
from morphogen.api.following import Following, follow
from morphogen.api.imputing import impute
from morphogen.api.judging import evaluate_samples
from morphogen.api.judging_molecules import evaluate_molecules
from morphogen.api.looping import training
from morphogen.api.measuring_variances import variances
from morphogen.api.model import Model, load
from morphogen.api.planning import plan
from morphogen.api.quantizing import quantize
from morphogen.api.reconstructing import levels, reconstruct
from morphogen.api.restoring import restore
from morphogen.api.results import (
    Alignment,
    AlignmentPoint,
    Archive,
    AttentionMaps,
    Audit,
    Chain,
    Comparison,
    Decompressed,
    Design,
    DesignedMolecule,
    Detections,
    Directions,
    Evaluation,
    Exported,
    Imputed,
    LatentEdits,
    Latents,
    Pictures,
    Quantized,
    Reconstructions,
    Restored,
    SyntheticTable,
    Variances,
)
from morphogen.api.sampling import sample
from morphogen.api.suggesting import Suggestion, suggest
from morphogen.api.synthesizing import synthesize
from morphogen.api.upscaling import upscale
from morphogen.api.verification import Verification, fingerprint, verify
from morphogen.api.walking import walk
from morphogen.core.errors import (
    ArtifactError,
    CapabilityError,
    DataError,
    MorphogenError,
    MorphogenWarning,
    NonFiniteError,
    SpecError,
    UsageError,
)
from morphogen.core.privacy import PrivacyGuarantee
from morphogen.core.registry import register
from morphogen.data import Dataset, Inspection
from morphogen.evaluation import Result
from morphogen.evaluation.compare import Difference
from morphogen.trainer import Event
from morphogen.trainer.plan import Plan

__all__ = [
    "Alignment",
    "AlignmentPoint",
    "Archive",
    "ArtifactError",
    "AttentionMaps",
    "Audit",
    "CapabilityError",
    "Chain",
    "Comparison",
    "DataError",
    "Dataset",
    "Decompressed",
    "Description",
    "Design",
    "DesignedMolecule",
    "Detections",
    "Difference",
    "Directions",
    "Evaluation",
    "Event",
    "Exported",
    "Following",
    "Imputed",
    "Inspection",
    "LatentEdits",
    "Latents",
    "Model",
    "MorphogenError",
    "MorphogenWarning",
    "NonFiniteError",
    "Pictures",
    "Plan",
    "PrivacyGuarantee",
    "Quantized",
    "Reconstructions",
    "Restored",
    "Result",
    "SpecError",
    "Suggestion",
    "SyntheticTable",
    "UsageError",
    "Variances",
    "Verification",
    "alignment_curve",
    "attention_maps",
    "audit",
    "check_family",
    "compare",
    "complete",
    "compress",
    "decompress",
    "decompressing",
    "describe",
    "describe_archive",
    "describe_family",
    "design",
    "detect",
    "directions",
    "draw",
    "edit",
    "edit_latent",
    "encode",
    "evaluate",
    "evaluate_alignment",
    "evaluate_molecules",
    "evaluate_samples",
    "export",
    "fingerprint",
    "follow",
    "forward_chain",
    "impute",
    "inspect_data",
    "interpolate",
    "levels",
    "list_families",
    "load",
    "load_data",
    "manifold",
    "plan",
    "quantize",
    "reconstruct",
    "register",
    "restore",
    "reverse_chain",
    "sample",
    "suggest",
    "synthesize",
    "train",
    "training",
    "upscale",
    "variances",
    "verify",
    "walk",
]
