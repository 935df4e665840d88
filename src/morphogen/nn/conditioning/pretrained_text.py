"""Text encoders of others, from a local directory of `transformers`, frozen.

Read are encoders (BERT, MPNet, ... as sentence-embedding models use them), the text side of two-sided models (CLIP,
SigLIP), the encoder of sequence-to-sequence models (T5), and decoders (GPT), each token of which knows what comes
before. Weights are safetensors, and no code in the directory is run, nor anything fetched.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, final

import torch
from torch import Tensor, nn

from morphogen.core.errors import ArtifactError, UsageError

_TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")  # any of these files
LONGEST = 512  # tokens, at most
_STATED = 100_000  # a tokenizer that states no length states a huge one


@dataclass(frozen=True)
class Reader:
    """What a directory holds: the encoder's configuration and weights, its tokenizer, the most tokens that it reads."""

    name: str
    config: Mapping[str, Any]
    encoder: PretrainedText
    tokenizer: str
    longest: int


@final
class PretrainedText(nn.Module):
    """ids (B, L) int64, mask (B, L) bool, true on words, which come first -> vectors (B, L, dim) float32.

    What the vectors are where the mask is false means nothing.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = _text_side(model).eval()
        config: Any = self.model.config
        self.padding = int(getattr(config, "pad_token_id", None) or 0)
        self.vocabulary = int(config.vocab_size)
        with torch.no_grad():
            one = torch.ones(1, 1, dtype=torch.int64)
            self.dim = self(one, one.bool()).shape[-1]

    @torch.compiler.disable  # the models of others are not ours to compile
    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        ids = torch.where(mask, ids, self.padding)
        with torch.no_grad():
            out = self.model(input_ids=ids, attention_mask=mask.to(torch.int64))
        return cast(Tensor, out["last_hidden_state"]).float()

    def train(self, mode: bool = True) -> PretrainedText:
        """Does nothing: it is frozen, its dropout included."""
        return self


def read(path: Path | str) -> Reader:
    """The text encoder that `save_pretrained` wrote to the directory `path`, or a sentence-embedding model's.

    Raises `UsageError` for what is no such directory or reads no text, and `ArtifactError` for what cannot be read.
    """
    root = _inner(Path(path))
    needed = (["config.json"], ["*.safetensors"], _TOKENIZERS)
    if not all(any(any(root.glob(name)) for name in names) for names in needed):
        raise UsageError(
            f"{path}: expected a directory of transformers with config.json, *.safetensors and a tokenizer, as"
            " `save_pretrained` writes them; give such a one, from this machine."
        )
    auto = _transformers(f"{path} is read by")
    try:
        with _quiet(auto):
            model, found = auto.AutoModel.from_pretrained(
                root,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                dtype=torch.float32,
                output_loading_info=True,
            )
            tokenizer = auto.AutoTokenizer.from_pretrained(root, local_files_only=True, trust_remote_code=False)
            backend = tokenizer.backend_tokenizer
    except Exception as error:  # the library raises many kinds
        reason = str(error).strip().partition("\n")[0]
        raise ArtifactError(f"{path}: the text encoder or its tokenizer could not be read ({reason}).") from None
    config = model.config.to_dict()
    side = _text_side(model)
    # A pooling layer, which is not used, may be missing, and what belongs to the other side.
    kept = {name for name in side.state_dict() if not name.startswith("pooler.")}
    absent = sorted(name for name in found["missing_keys"] if any(name.endswith(own) for own in kept))
    if absent:
        raise ArtifactError(f"{path}: the weights lack {absent[0]!r} and {len(absent) - 1} more.")
    if backend.get_vocab_size() > side.config.vocab_size:
        raise ArtifactError(
            f"{path}: the tokenizer has {backend.get_vocab_size()} tokens, and the encoder knows"
            f" {side.config.vocab_size}: they do not belong together."
        )
    positions = getattr(side.config, "max_position_embeddings", None) or LONGEST
    stated = tokenizer.model_max_length if tokenizer.model_max_length < _STATED else LONGEST
    longest = min(int(positions), LONGEST, stated)  # some have places that they cannot use
    return Reader(Path(path).resolve().name, config, PretrainedText(model), backend.to_str(), longest)


def built(config: Mapping[str, Any]) -> PretrainedText:
    """The encoder of this configuration, with weights that are yet to be loaded."""
    auto = _transformers("a model with a pretrained text encoder needs")
    kind = dict(config)
    model_type = kind.pop("model_type", None)
    if not isinstance(model_type, str):
        raise ArtifactError("the text encoder's configuration has no model_type.")
    try:
        return PretrainedText(auto.AutoModel.from_config(auto.AutoConfig.for_model(model_type, **kind)))
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"the text encoder {model_type!r} cannot be built by transformers ({error}).") from None


def _text_side(model: Any) -> Any:
    """What of it reads text."""
    if hasattr(model, "text_model"):
        return model.text_model
    if getattr(model.config, "is_encoder_decoder", False):
        return model.get_encoder()
    if getattr(model, "main_input_name", "input_ids") != "input_ids":
        raise UsageError(f"a {model.config.model_type!r} model reads no text: give a text encoder.")
    return model


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Without its bars and reports: what matters of them is raised."""
    log = transformers.utils.logging
    level, bar = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bar:
            log.enable_progress_bar()


def _inner(path: Path) -> Path:
    """Where the encoder of a sentence-embedding model lies: beside or below its list of modules."""
    listed = path / "modules.json"
    if not listed.is_file():
        return path
    try:
        first = json.loads(listed.read_text(encoding="utf-8"))[0]["path"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ArtifactError(f"{listed}: expected a list of modules, got something unreadable ({error}).") from None
    return path / first


def _transformers(need: str) -> Any:
    if importlib.util.find_spec("transformers") is None:
        raise UsageError(f"{need} the package transformers: pip install 'morphogen[pretrained]'.")
    return importlib.import_module("transformers")
