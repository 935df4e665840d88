"""`Artifact`: a trained model as a directory, the only thing that crosses a process boundary.

    spec.json            family, Spec, DataSpec, version, run recipe, provenance
    weights.safetensors  the weights that serve (the moving average where there is one)
    tokenizer.json       how captions become numbers, if the model's data have captions
    sequence.json        how texts become tokens, if they are the model's records
    parts/NAME/          models that this one stands on, artifacts themselves
    log.jsonl            the training log
    evaluation/*.json    results, added later by `write_evaluation`
    audit/*.json         results of audits, added later by `write_audit`
    card.md              all of it in words
    manifest.json        size and sha256 of each file above, written last

`checkpoint/` and `samples/` of a training run lie beside these and are no part of the artifact.

Nothing in it can execute code: whatever is read is checked by a schema, no network is built before its shapes are known
to be those of the weights, and no memory taken. Readers write nothing and need no lock (`snapshot.py`); one writer at a
time (`locks.py`) replaces the directory as a whole (`folders.py`), or some files and the manifest (`manifest.py`).
"""

from morphogen.artifact import files, manifest
from morphogen.artifact.evaluations import read_audits, read_evaluations, write_audit, write_evaluation
from morphogen.artifact.files import replacing
from morphogen.artifact.schemas import FORMAT
from morphogen.artifact.snapshot import MANIFEST
from morphogen.artifact.store import Artifact, Description, describe, load, save
from morphogen.artifact.verification import verified, verify

__all__ = [
    "FORMAT",
    "MANIFEST",
    "Artifact",
    "Description",
    "describe",
    "files",
    "load",
    "manifest",
    "read_audits",
    "read_evaluations",
    "replacing",
    "save",
    "verified",
    "verify",
    "write_audit",
    "write_evaluation",
]
