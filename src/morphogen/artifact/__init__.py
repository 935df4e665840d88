"""`Artifact`: a trained model as a directory, the only thing that crosses a process boundary.

    spec.json            family, Spec, DataSpec, version, run recipe, provenance
    weights.safetensors  the weights that serve (the moving average where there is one)
    tokenizer.json       how captions become numbers, if the model's data have captions
    parts/NAME/          models that this one stands on, artifacts themselves
    log.jsonl            the training log
    evaluation/*.json    results, added later by `write_evaluation`
    card.md              all of it in words
    manifest.json        size and sha256 of each file above, written last

`checkpoint/` and `samples/` of a training run lie beside these and are no part of the artifact.
Nothing in it can execute code. A directory is replaced as a whole or not at all.
"""

from morphogen.artifact import files
from morphogen.artifact.files import FORMAT, MANIFEST, replacing, verify
from morphogen.artifact.store import Artifact, load, read_evaluations, save, write_evaluation

__all__ = [
    "FORMAT",
    "MANIFEST",
    "Artifact",
    "files",
    "load",
    "read_evaluations",
    "replacing",
    "save",
    "verify",
    "write_evaluation",
]
