"""What the functions of the API give: frozen, with a picture in a notebook, and saved by `save`."""

from morphogen.api.results.alignments import Alignment, AlignmentPoint
from morphogen.api.results.archives import Archive, Decompressed, Quantized
from morphogen.api.results.attention import AttentionMaps
from morphogen.api.results.audits import Audit
from morphogen.api.results.chains import Chain, Variances
from morphogen.api.results.designs import Design, DesignedMolecule
from morphogen.api.results.detections import Detections
from morphogen.api.results.directions import Directions
from morphogen.api.results.evaluations import Comparison, Evaluation
from morphogen.api.results.exports import Exported
from morphogen.api.results.latents import LatentEdits, Latents
from morphogen.api.results.pictures import Pictures, Reconstructions
from morphogen.api.results.restored import Restored
from morphogen.api.results.tables import Imputed, SyntheticTable

__all__ = [
    "Alignment",
    "AlignmentPoint",
    "Archive",
    "AttentionMaps",
    "Audit",
    "Chain",
    "Comparison",
    "Decompressed",
    "Design",
    "DesignedMolecule",
    "Detections",
    "Directions",
    "Evaluation",
    "Exported",
    "Imputed",
    "LatentEdits",
    "Latents",
    "Pictures",
    "Quantized",
    "Reconstructions",
    "Restored",
    "SyntheticTable",
    "Variances",
]
