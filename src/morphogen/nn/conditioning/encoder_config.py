"""The supported text encoders of `transformers`, and the trusted fields of their configurations.

A configuration is an untrusted file. Besides plain sizes, `transformers` finds in it names of code to import
(`auto_map`), of kernels to fetch (`attn_implementation`), and of other models to load. So only plain values of fields
that the configuration class of a known type has itself are passed on. A name of code is an error.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from morphogen.core.errors import ArtifactError, UsageError
from morphogen.core.printable import one_line

CLASSES = {
    "albert": "AlbertModel",
    "bert": "BertModel",
    "camembert": "CamembertModel",
    "clip": "CLIPTextModel",
    "clip_text_model": "CLIPTextModel",
    "deberta": "DebertaModel",
    "deberta-v2": "DebertaV2Model",
    "distilbert": "DistilBertModel",
    "electra": "ElectraModel",
    "ernie": "ErnieModel",
    "gemma": "GemmaModel",
    "gemma2": "Gemma2Model",
    "gpt2": "GPT2Model",
    "gpt_neo": "GPTNeoModel",
    "gpt_neox": "GPTNeoXModel",
    "llama": "LlamaModel",
    "mistral": "MistralModel",
    "modernbert": "ModernBertModel",
    "mpnet": "MPNetModel",
    "mt5": "MT5EncoderModel",
    "nomic_bert": "NomicBertModel",
    "opt": "OPTModel",
    "phi": "PhiModel",
    "qwen2": "Qwen2Model",
    "qwen3": "Qwen3Model",
    "roberta": "RobertaModel",
    "siglip": "SiglipTextModel",
    "siglip_text_model": "SiglipTextModel",
    "siglip2": "Siglip2TextModel",
    "siglip2_text_model": "Siglip2TextModel",
    "t5": "T5EncoderModel",
    "umt5": "UMT5EncoderModel",
    "xlm-roberta": "XLMRobertaModel",
}
_CODE = ("auto_map", "quantization_config", "backbone", "backbone_config", "custom_pipelines", "trust_remote_code")
_PLAIN_ATTENTION = (None, "eager", "sdpa")
_OF_ALL = {  # fields of every configuration that do not concern the network
    "architectures", "dtype", "id2label", "is_encoder_decoder", "label2id", "output_attentions", "output_hidden_states",
    "problem_type", "return_dict", "torch_dtype", "transformers_version",
}  # fmt: skip
_NESTED = ("rope_parameters", "rope_scaling")
_NAME = re.compile(r"[\w.+-]{0,64}")
_MAX = 1 << 31
_MAX_LISTED = 512


def configured(config: Mapping[str, Any]) -> tuple[Any, Any]:
    """The class of the model and its configuration, from the content of a config.json.

    Raises `ArtifactError` if it names code, and `UsageError` for other types and without `transformers`.
    """
    refuse_code(config)
    model_type = config.get("model_type")
    if not isinstance(model_type, str):
        raise ArtifactError("the text encoder's configuration has no model_type.")
    if model_type not in CLASSES:
        raise UsageError(
            f"a {one_line(model_type[:64])!r} model reads no text, or is not known to do so without code of its own:"
            f" known are {', '.join(CLASSES)}."
        )
    kind = getattr(library("a model with a pretrained text encoder needs"), CLASSES[model_type], None)
    if kind is None:
        raise ArtifactError(f"this version of transformers has no {CLASSES[model_type]}: install a newer one.")
    text = config.get("text_config")
    said_of_text = text if isinstance(text, dict) else config
    return kind, kind.config_class(**fields(kind.config_class, said_of_text))


def fields(kind: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """The plain values in `config` of the fields that the configuration class `kind` has itself."""
    known = set(inspect.signature(kind.__init__).parameters) - _OF_ALL - {"self", "kwargs"}
    known = {name for name in known if "attn_implementation" not in name and "experts_impl" not in name}
    return {name: value for name, value in config.items() if name in known and _plain(value, nested=name in _NESTED)}


@contextmanager
def offline() -> Iterator[None]:
    """Within the block, libraries cannot use the network."""
    before = os.environ.get("HF_HUB_OFFLINE")
    os.environ["HF_HUB_OFFLINE"] = "1"
    constants: Any = sys.modules.get("huggingface_hub.constants") or _constants()
    flag = getattr(constants, "HF_HUB_OFFLINE", None)
    if constants is not None:
        constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        if constants is not None:
            constants.HF_HUB_OFFLINE = flag
        if before is None:
            del os.environ["HF_HUB_OFFLINE"]
        else:
            os.environ["HF_HUB_OFFLINE"] = before


def library(need: str) -> Any:
    """The package `transformers`. Raises `UsageError` that begins with `need` if it is not installed."""
    if importlib.util.find_spec("transformers") is None:
        raise UsageError(f"{need} the package transformers: pip install 'morphogen[pretrained]'.")
    return importlib.import_module("transformers")


def _constants() -> Any:
    return importlib.import_module("huggingface_hub.constants") if importlib.util.find_spec("huggingface_hub") else None


def refuse_code(config: Mapping[str, Any]) -> None:
    """Raise `ArtifactError` if a configuration names code to import or to fetch, or another model to load."""
    waiting: list[Any] = [config]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            for name, value in item.items():
                asks = name in _CODE and value not in (None, False, {}, "")
                if asks or (str(name).endswith("attn_implementation") and value not in _PLAIN_ATTENTION):
                    raise ArtifactError(
                        f"the text encoder's configuration asks for code or another model by {one_line(str(name))!r},"
                        " which is never run nor fetched: take a text encoder that needs none."
                    )
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


def _plain(value: Any, nested: bool = False) -> bool:
    if value is None or isinstance(value, bool):
        return True
    if isinstance(value, int | float):
        return math.isfinite(value) and abs(value) < _MAX
    if isinstance(value, str):
        return _NAME.fullmatch(value) is not None
    if isinstance(value, list | tuple):
        return len(value) <= _MAX_LISTED and all(_plain(item) for item in _flat(value))
    if isinstance(value, dict) and nested:
        return len(value) <= _MAX_LISTED and all(_plain(k) and _plain(v, True) for k, v in value.items())
    return False


def _flat(values: Any) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from _flat(value)
        else:
            yield value
