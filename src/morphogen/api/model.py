"""`Model`: a model one holds, with the functions of the API as its methods."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn, final

from morphogen.api import (
    aligning,
    aligning_over_guidance,
    attending,
    auditing,
    chaining,
    completing,
    compressing,
    designing,
    detecting,
    directing,
    drawing,
    editing,
    encoding,
    evaluating,
    exporting,
    imputing,
    measuring_variances,
    quantizing,
    reconstructing,
    restoring,
    sampling,
    synthesizing,
    upscaling,
    walking,
)
from morphogen.api.description import Description, describe
from morphogen.api.opened import OpenModel, open_model
from morphogen.report.html import escape


@final
class Model(OpenModel):
    """A model in memory, verified once, with everything that can be done with it.

    `model.sample(16, seed=1)` is `mg.sample(model, 16, seed=1)`, and so for each method. `model.module` is the plain
    `torch.nn.Module`; called with a tensor, a denoiser gives E[x_0 | x_t] of x_t and t, a model that encodes its
    reconstruction of x, a GAN the records of latents z, and any other model log-likelihoods.

    Attributes:
        path: where it was read from
        module: the model itself, in evaluation mode and without gradients
        family: the name of its family
        data: what its records are
        device: where it computes
        stored: the content of its spec.json
        fingerprint: sha256 of all that its drawings depend on

    Example:
        >>> model = mg.load("runs/first")
        >>> model.family, model.data.shape
        ('vae', (1, 8, 8))
    """

    sample = sampling.sample
    synthesize = synthesizing.synthesize
    impute = imputing.impute
    walk = walking.walk
    draw = drawing.draw
    edit = editing.edit
    upscale = upscaling.upscale
    restore = restoring.restore
    reconstruct = reconstructing.reconstruct
    encode = encoding.encode
    interpolate = encoding.interpolate
    levels = reconstructing.levels
    manifold = encoding.manifold
    directions = directing.directions
    edit_latent = directing.edit_latent
    forward_chain = chaining.forward_chain
    reverse_chain = chaining.reverse_chain
    variances = measuring_variances.variances
    attention_maps = attending.attention_maps
    quantize = quantizing.quantize
    compress = compressing.compress
    design = designing.design
    complete = completing.complete
    detect = detecting.detect
    evaluate = evaluating.evaluate
    audit = auditing.audit
    evaluate_alignment = aligning.evaluate_alignment
    alignment_curve = aligning_over_guidance.alignment_curve
    export = exporting.export

    def describe(self) -> Description:
        """What it is, what it was trained on and how, and its evaluations; see `mg.describe`."""
        return describe(self.path)

    def __iter__(self) -> NoReturn:
        raise TypeError("a model is no loop over events: mg.train trains at once, mg.training is the loop.")

    def __repr__(self) -> str:
        return f"Model({str(self.path)!r}, {self.family!r}, {self.data.name!r}, on {self.device})"

    def _repr_html_(self) -> str:
        size = " x ".join(map(str, self.data.shape))
        return (
            f"<p><b>{escape(self.family)}</b> of {escape(self.data.name)} ({size}),"
            f" {sum(p.numel() for p in self.module.parameters()):,} parameters, at {escape(str(self.path))}</p>"
        )


def load(model: Path | str, device: str = "auto") -> Model:
    """Load a model, once, to be held and used.

    Args:
        model: the path of a model directory, or the name of a model of the package: "emoji" or "portraits".
        device: "cpu", "cuda", "cuda:N", or "auto": a GPU where there is one.

    Returns:
        The model, verified, in evaluation mode and without gradients. No code in the directory is executed.

    Raises:
        ArtifactError: the directory is missing, damaged, altered or of a newer format.

    Example:
        >>> model = mg.load("runs/first")
        >>> model.sample(4, seed=1).save("four.png")
        >>> mg.load("emoji").draw("a red heart", n=4).save("hearts.png")
    """
    held = open_model(model, device)
    return Model(held.path, held.module, held.stored, held.fingerprint)
