"""The parts that a model stands on: other models, and text encoders of others."""

from __future__ import annotations

from pathlib import Path

from morphogen import artifact
from morphogen.core.data_spec import DataSpec
from morphogen.core.family import Family
from morphogen.core.shipped import located
from morphogen.data import tokenizer
from morphogen.families.pretrained_text import PretrainedText, PretrainedTextSpec
from morphogen.nn.conditioning import pretrained_text
from morphogen.nn.conditioning.conditioner import READER


def part(name: str, path: Path | str) -> Family:
    """The model in an artifact; for the part "text" also the text encoder in a directory of `transformers`."""
    path = located(path)
    if name == READER and not (path / artifact.MANIFEST).is_file():
        return _text_encoder(path)
    return artifact.load(path, as_part=name == READER).family


def named(model: Path | str) -> dict[str, str]:
    """What a model was called, and which one it was."""
    path = located(model)
    listed = path / artifact.MANIFEST
    files = [listed] if listed.is_file() else sorted(path.rglob("*.safetensors"))
    return {"model": path.resolve().name, "sha256": " ".join(artifact.files.sha256(file) for file in files)}


def _text_encoder(path: Path | str) -> Family:
    found = pretrained_text.read(path)
    text = tokenizer.reading(found.tokenizer, found.longest)
    shift = tokenizer.Tokenizer.of(text).shift
    data = DataSpec(name=found.name, shape=(found.longest,), kind="sequence", levels=text.vocabulary, text=text)
    return PretrainedText(PretrainedTextSpec(config=dict(found.config), shift=shift), data, encoder=found.encoder)
