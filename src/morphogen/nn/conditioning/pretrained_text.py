"""Frozen pretrained text encoders from a local directory of `transformers`.

`encoder_config.py` lists the supported types: encoders (BERT, MPNet, ... as in sentence-embedding models), the text
side of two-sided models (CLIP, SigLIP), the encoder of sequence-to-sequence models (T5), and decoders (GPT) with causal
attention. Weights are safetensors. No code in the directory runs, and nothing is fetched.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, final

import torch
from torch import Tensor, nn

from morphogen.core.errors import ArtifactError, MorphogenError, UsageError
from morphogen.core.printable import one_line
from morphogen.core.reading import open_regular, read_json
from morphogen.core.tensor_header import read_header
from morphogen.core.uncompiled import uncompiled
from morphogen.nn.conditioning.encoder_config import configured, fields, library, offline, refuse_code

_TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")  # a directory needs one of these files
LONGEST = 512  # the most tokens
_MAX_JSON_BYTES = 64 << 20
_MAX_LAYERS = 512
_STATED = 100_000  # a tokenizer without a length states a huge number


@dataclass(frozen=True)
class Reader:
    """The content of a directory: configuration, weights, tokenizer, and the most tokens that the encoder reads."""

    name: str
    config: Mapping[str, Any]
    encoder: PretrainedText
    tokenizer: str
    longest: int


@final
class PretrainedText(nn.Module):
    """ids (B, L) int64, mask (B, L) bool, true on words, which come first -> vectors (B, L, dim) float32.

    Vectors at places where the mask is false have no meaning.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = _text_side(model).eval()
        config: Any = self.model.config
        self.padding = int(getattr(config, "pad_token_id", None) or 0)
        self.vocabulary = int(config.vocab_size)
        self.dim = int(config.hidden_size)

    @uncompiled  # do not compile foreign models
    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        ids = torch.where(mask, ids, self.padding)
        try:
            with torch.no_grad():
                out = self.model(input_ids=ids, attention_mask=mask.to(torch.int64))
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            reason = one_line(str(error).strip().partition("\n")[0])[:200]
            raise ArtifactError(
                f"the text encoder cannot read by its configuration ({reason}): take a model whose encoder can."
            ) from error
        return cast(Tensor, out["last_hidden_state"]).float()

    def train(self, mode: bool = True) -> PretrainedText:
        """Do nothing: the encoder is frozen, and its dropout is off."""
        return self


def read(path: Path | str) -> Reader:
    """Read the text encoder in a directory from `save_pretrained`, or that of a sentence-embedding model.

    Raises `UsageError` if `path` is no such directory or the model reads no text, and `ArtifactError` if it cannot be
    read.
    """
    root = _inner(Path(path))
    needed = (["config.json"], ["*.safetensors"], _TOKENIZERS)
    if not all(any(any(root.glob(name)) for name in names) for names in needed):
        raise UsageError(
            f"{path}: expected a directory of transformers with config.json, *.safetensors and a tokenizer, as"
            " `save_pretrained` writes them; give such a one, from this machine."
        )
    auto = library(f"{path} is read by")
    for name in ("config.json", "tokenizer_config.json"):
        refuse_code(_json(root / name))
    if (root / "adapter_config.json").exists():
        raise UsageError(f"{path}: it holds adapters for another model: give the whole model.")
    try:
        with offline(), _quiet(auto):
            kind, config = configured(_json(root / "config.json"))
            _check_size(root, kind, config)
            model, found = kind.from_pretrained(
                root,
                config=config,
                local_files_only=True,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
            tokenizer = auto.AutoTokenizer.from_pretrained(root, local_files_only=True, trust_remote_code=False)
            backend = tokenizer.backend_tokenizer
    except MorphogenError as error:
        raise type(error)(f"{path}: {error}") from None
    except BaseException as error:  # the libraries raise many kinds of errors, and panics that are no Exception
        if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
            raise
        reason = one_line(str(error).strip().partition("\n")[0])
        raise ArtifactError(f"{path}: the text encoder or its tokenizer could not be read ({reason}).") from None
    side = _text_side(model)
    # The unused pooling layer may be missing, and the weights of the other side.
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
    longest = min(int(positions), LONGEST, stated)  # some have unusable positions
    kept_config = {"model_type": config.model_type, **fields(type(config), config.to_dict())}
    return Reader(Path(path).resolve().name, kept_config, PretrainedText(model), backend.to_str(), longest)


def built(config: Mapping[str, Any]) -> PretrainedText:
    """The encoder of this configuration, before its weights are loaded. Raises `ArtifactError`."""
    try:
        with offline():
            kind, made = configured(config)
            return PretrainedText(kind(made))
    except MorphogenError:
        raise
    except Exception as error:  # the library raises if sizes do not fit
        reason = one_line(str(error).strip().partition("\n")[0])[:200]
        raise ArtifactError(f"no text encoder can be built of this configuration by transformers ({reason}).") from None


def _json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a directory; empty if there is no such file. Raises `ArtifactError`."""
    if not path.exists():
        return {}
    try:
        found = read_json(path, _MAX_JSON_BYTES)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path}: expected JSON, got something unreadable ({one_line(str(error))}).") from None
    if not isinstance(found, dict):
        raise ArtifactError(f"{path}: expected a JSON object, got a {type(found).__name__}.")
    return found


def _check_size(root: Path, kind: Any, config: Any) -> None:
    """Raise `ArtifactError` if the configuration needs far more numbers than the weights have, before allocating."""
    try:
        held = 0
        for file in root.glob("*.safetensors"):
            with open_regular(file) as opened:
                held += sum(math.prod(tensor.shape) for tensor in read_header(opened).tensors.values())
    except (OSError, ValueError) as error:
        raise ArtifactError(f"its weights cannot be read ({one_line(str(error))}).") from None
    if int(getattr(config, "num_hidden_layers", 0) or 0) > _MAX_LAYERS:
        raise ArtifactError(f"its configuration asks for {config.num_hidden_layers:,} layers.")
    with torch.device("meta"):
        asked = sum(p.numel() for p in kind(config).parameters())
    if asked > 2 * held + (1 << 20):  # some weights are shared
        raise ArtifactError(f"its configuration asks for {asked:,} weights, and there are {held:,}.")


def _text_side(model: Any) -> Any:
    """The part of the model that reads text."""
    if hasattr(model, "text_model"):
        return model.text_model
    if getattr(model.config, "is_encoder_decoder", False):
        return model.get_encoder()
    return model


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Within the block, `transformers` shows no progress bars and reports; errors are still raised."""
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
    """The directory of the encoder of a sentence-embedding model: `path` itself or a folder in it."""
    listed = path / "modules.json"
    if not listed.is_file():
        return path
    try:
        first = read_json(listed, _MAX_JSON_BYTES)[0]["path"]
        if not isinstance(first, str) or not (path / first).resolve().is_relative_to(path.resolve()):
            raise ValueError("a path within the directory is missing")
    except (OSError, ValueError, LookupError, TypeError) as error:
        reason = one_line(str(error))
        raise ArtifactError(f"{listed}: expected a list of modules, got something unreadable ({reason}).") from None
    return path / first
