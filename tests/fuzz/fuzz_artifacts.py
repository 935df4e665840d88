"""Damaged model directories, and what looking at them and drawing from them may do.

A directory is damaged in one to three ways; in more than half of them the hashes are made to fit again, as somebody who
means harm would do. Then `show`, `verify` and a drawing verb look at it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_child import run_in_child
from fuzz_findings import Item, judge
from fuzz_json import damage_bytes, damage_json, strange
from fuzz_models import SHAPES, Good
from fuzz_tree import damage_tree, files_of
from fuzz_weights import damage_weights

from morphogen.cli.main import run

_UNTOUCHED = 0.01  # of the items are in order, and must be found so
_SEALED = 0.6
_MAX_HASHED = 64 << 20
_HOSTILE: Mapping[str, tuple[Any, ...]] = {  # what a text encoder's configuration must not reach the library with
    "auto_map": (
        {"AutoModel": "evil.Evil"},
        {"AutoModel": "somebody/repository--evil.Evil", "AutoConfig": "evil.Config"},
    ),
    "attn_implementation": ("somebody/kernels", "flash_attention_2", "eager"),
    "_attn_implementation": ("somebody/kernels", "sdpa", "paged|x"),
    "_attn_implementation_internal": ("somebody/kernels",),
    "experts_implementation": ("somebody/kernels",),
    "quantization_config": (
        {"quant_method": "gptq", "bits": 4},
        {"quant_method": "bitsandbytes", "load_in_8bit": True},
        1,
    ),
    "model_type": (
        *("instructblip", "rag", "encoder-decoder", "timm_wrapper", "timm_backbone", "bert", "t5", "gpt2", "clip", "x"),
        *(
            "vision-encoder-decoder",
            "mt5",
            "roberta",
            "distilbert",
            "clip_text_model",
            "auto",
            "",
            "detr",
            "maskformer",
        ),
    ),
    "_name_or_path": ("somebody/repository", "/etc/passwd"),
    "trust_remote_code": (True,),
    "dtype": ("float16", "bfloat16", "complex64", "x", "float64"),
    "torch_dtype": ("float16", "x"),
    "use_kernels": (True,),
    "text_config": ({"model_type": "bert"}, {"model_type": "rag"}),
    "architectures": (["Evil"], ["BertForMaskedLM"], "x"),
    "vocab_size": (0, -1, 10**9, 2**31),
    "hidden_size": (0, -1, 10**6, 10**9, 17),
    "num_hidden_layers": (0, -1, 10**6, 10**9),
    "num_attention_heads": (0, -2, 3, 10**6),
    "intermediate_size": (0, 10**9),
    "max_position_embeddings": (0, 1, 10**10),
    "hidden_act": ("x", "gelu", "", None, "os.system"),
    "pad_token_id": (-1, 10**6, None, "x", 1.5),
    "type_vocab_size": (0, 10**10),
    "layer_norm_eps": ("x", 1e308, 0),
}
_TOKENIZER = (  # what a tokenizer may hold, and patterns that take exponential time where they are matched by trial
    *(
        "Split",
        "Regex",
        "String",
        "Replace",
        "BPE",
        "WordPiece",
        "WordLevel",
        "Unigram",
        "ByteLevel",
        "Metaspace",
        "Strip",
    ),
    *("Sequence", "Whitespace", "Precompiled", "Prepend", "TemplateProcessing", "Removed", "Isolated", "Contiguous"),
    *(
        "(a+)+$",
        "(a|a)*b",
        "(.*)*x",
        "(?=(a+))a*b",
        "(?<=a{1000})",
        "(",
        "[",
        "\\p{L}{1,60000}",
        "(?i)" * 500,
        "\ud800",
    ),
)


def try_artifact(number: int, seed: int, models: Mapping[str, Good], scratch: Path) -> Item:
    """Make damaged directory `number` of this seed below `scratch`, look at it, and say what was found."""
    random_ = random.Random(f"artifact/{seed}/{number}")
    item = Item(number, seed)
    good = models[random_.choice(sorted(models))]
    work = scratch / "item"
    shutil.rmtree(work, ignore_errors=True)
    out, model = work / "out", work / "m" / "model"
    out.mkdir(parents=True)
    shutil.copytree(good.path, model, ignore=shutil.ignore_patterns("checkpoint", "samples"))
    damaged = random_.random() >= _UNTOUCHED
    sealed = random_.random() < _SEALED
    item.made.append(f"model {good.path.name}, {'sealed' if sealed else 'not sealed'}")
    others = [other.path for other in models.values()]
    for _ in range(random_.choice((1, 1, 1, 2, 3)) if damaged else 0):
        try:
            item.made.append(_damage(model, others, random_))
        except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
            item.made.append(f"what is damaged already was left as it is: {error!r:.200}")
    if sealed:
        seal(model, good.path, random_)
    altered = damaged and _altered(model, good.path)

    lines = _lines(good, model, out, random_)
    before = snapshot(work / "m")
    outcome = run_in_child(lambda: [run(line) for line in lines], [out, _cache()], scratch)
    statuses = outcome.result or []
    item.statuses = statuses
    judge(item, outcome, statuses)
    if changed := sorted(before.items() ^ snapshot(work / "m").items()):
        item.find("code run, or a file changed", f"verbs that look changed {changed[0]}")
    if len(statuses) == len(lines):
        _, verified, drawn = statuses
        if not damaged and any(statuses):
            item.find("wrong in silence", f"a model in order was refused: {statuses}")
        if altered and (verified == 0 or drawn == 0):
            item.find("altered content accepted", f"show, verify, draw: {statuses}")
        if drawn == 0:
            _check_drawn(item, out / "x.npz")
    return item


def snapshot(root: Path) -> dict[str, tuple[int, ...]]:
    """What each entry below is, to see later what was changed."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = os.path.join(folder, name)
            about = os.lstat(path)
            written = 0 if os.path.isdir(path) else about.st_mtime_ns
            found[path] = (about.st_mode, about.st_size if written else 0, written, about.st_ino)
    return found


def seal(root: Path, good: Path, random_: random.Random) -> None:
    """Make all hashes of a damaged directory fit again: those of its parts first, then its own."""
    folders = [path.parent for path in root.rglob("manifest.json") if _regular(path)]
    for folder in sorted(folders, key=lambda f: (-len(f.parts), str(f))):
        inner = folder.relative_to(root)
        spec = folder / "spec.json"
        for changed in [folder / "tokenizer.json", *sorted((folder / "parts").glob("*/manifest.json"))]:
            was = good / inner / changed.relative_to(folder)
            if was.is_file() and _regular(changed) and _regular(spec):
                data = spec.read_bytes().replace(_sha256(was).encode(), _sha256(changed).encode())
                spec.write_bytes(data)
        with contextlib.suppress(ValueError, AttributeError, TypeError, LookupError, OSError, RecursionError):
            manifest = json.loads((folder / "manifest.json").read_bytes())
            listed = manifest["files"]
            for name in [n for n in listed if not (folder / n).is_file() and random_.random() < 0.5]:
                del listed[name]
            add = random_.random() < 0.8
            for file in files_of(folder):
                name = file.relative_to(folder).as_posix()
                if name != "manifest.json" and (name in listed or add):
                    listed[name] = {"bytes": file.stat().st_size, "sha256": _sha256(file)}
            (folder / "manifest.json").write_bytes(json.dumps(manifest).encode("utf-8", "surrogatepass"))


def _damage(model: Path, others: Sequence[Path], random_: random.Random) -> str:
    """Damage the directory in one way; says what was done."""
    there = [file for file in files_of(model) if file.stat().st_size <= _MAX_HASHED]
    encoders = [file for file in there if file.name == "spec.json" and b'"pretrained_text"' in file.read_bytes()]
    if encoders and random_.random() < 0.4:
        return _hostile(encoders[0], random_)
    if random_.random() < 0.2 or not there:
        return damage_tree(model, others, random_)
    kinds = ("spec.json", "spec.json", "spec.json", "weights.safetensors", "weights.safetensors", "tokenizer.json")
    wanted = random_.choice((*kinds, "manifest.json", "evaluation", "log.jsonl", "card.md", "any", "new evaluation"))
    if wanted == "new evaluation":
        return _evaluation(model, random_)
    some = [f for f in there if wanted in (f.name, f.parent.name)] or there
    file = random_.choice(some)
    data = file.read_bytes()
    if file.suffix == ".safetensors":
        changed, done = damage_weights(data, random_)
    elif file.suffix == ".json":
        changed, done = damage_json(data, random_, _TOKENIZER if file.name == "tokenizer.json" else _words(others))
    else:
        changed, done = damage_bytes(data, random_)
    file.write_bytes(changed)
    return f"{file.relative_to(model)}: {done}"


def _hostile(spec: Path, random_: random.Random) -> str:
    """Put fields that can run code or take memory into a stored text encoder's configuration."""
    try:
        content = json.loads(spec.read_bytes())
    except (ValueError, RecursionError):  # an earlier change made it so
        return "the description is no JSON any more"
    if not isinstance(content, dict):
        return "the description is no object any more"
    config = content.get("spec", {}).get("config") if isinstance(content.get("spec"), dict) else None
    if not isinstance(config, dict):
        return "no configuration to damage"
    done = []
    for key in random_.sample(sorted(_HOSTILE), random_.choice((1, 1, 2, 3))):
        config[key] = random_.choice(_HOSTILE[key])
        done.append(f"{key}={config[key]!r}")
    if random_.random() < 0.1:
        content["spec"]["shift"] = strange(random_)
    spec.write_text(json.dumps(content))
    (spec.parent / "evil.py").write_text("raise SystemExit('code ran')\n")
    return f"encoder: {', '.join(done)}"


def _evaluation(model: Path, random_: random.Random) -> str:
    """Add an evaluation that is whole or strange."""
    result = {"metric": "nll", "value": 1.0, "interval": [0.5, 1.5], "protocol": "x", "n": 5, "seed": 0}
    entry = {"name": "x", "written": "2026-01-01", "result": result}
    data, done = damage_json(json.dumps(entry).encode(), random_)
    (model / "evaluation").mkdir(exist_ok=True)
    if (model / "evaluation").is_dir():
        (model / "evaluation" / "x-0123456789ab.json").write_bytes(data)
    return f"new evaluation: {done}"


_known_words: dict[tuple[Path, ...], tuple[str, ...]] = {}


def _words(models: Sequence[Path]) -> tuple[str, ...]:
    """Short strings of all specifications: names of families, networks, likelihoods and so on."""
    key = tuple(models)
    if key not in _known_words:
        waiting: list[Any] = [json.loads((model / "spec.json").read_bytes()) for model in models]
        found = set()
        while waiting:
            value = waiting.pop()
            if isinstance(value, dict):
                found |= set(value)
                waiting += value.values()
            elif isinstance(value, list):
                waiting += value
            elif isinstance(value, str) and len(value) < 40:
                found.add(value)
        choices = {"conv", "unet", "dit", "mlp", "bernoulli", "categorical", "gaussian_learned", "sequence", "columns"}
        _known_words[key] = tuple(
            sorted(found | choices | {"binary", "discrete", "lora", "distilled", "vq_vae", "flow_matching"})
        )
    return _known_words[key]


def _lines(good: Good, model: Path, out: Path, random_: random.Random) -> list[list[str]]:
    name = str(model)
    show = ["show", name, "--json"] if random_.random() < 0.5 else ["show", name]
    draws = bool(good.draw)
    draw = ["sample", name, *good.draw] if draws else ["reconstruct", name, "--data", SHAPES, "--n", "2"]
    if good.path.name in ("diffusion", "read") and random_.random() < 0.5:  # they are told in words what to draw
        draw += ["--text", random_.choice(("a red circle", "a" * 2000 + "!", "red " * 300, "日本 🙂"))]
    return [show, ["verify", name], [*draw, "--out", str(out / "x.npz")]]


def _altered(model: Path, good: Path) -> bool:
    """Whether a listed file has other content while the manifest is the one that was written with the model."""
    if (
        not _regular(model / "manifest.json")
        or (model / "manifest.json").read_bytes() != (good / "manifest.json").read_bytes()
    ):
        return False
    for name in json.loads((good / "manifest.json").read_bytes())["files"]:
        old, new = good / name, model / name
        if not new.is_file() or new.stat().st_size != old.stat().st_size or new.read_bytes() != old.read_bytes():
            return True
    return False


def _check_drawn(item: Item, file: Path) -> None:
    """Whatever was drawn is two records of finite numbers."""
    with np.load(file) as arrays:
        for name in {"x", "reconstruction"} & set(arrays.files):
            x = arrays[name]
            if len(x) != 2 or x.size == 0 or not np.isfinite(x).all():
                item.find("wrong in silence", f"drew {name} of shape {x.shape}, finite: {np.isfinite(x).all()}")


def _regular(file: Path) -> bool:
    """Whether it is an ordinary file that is worth reading."""
    return file.is_file() and not file.is_symlink() and file.stat().st_size <= _MAX_HASHED


def _sha256(file: Path) -> str:
    if file.stat().st_size > _MAX_HASHED:
        return "0" * 64
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _cache() -> Path:
    return Path(os.environ["MORPHOGEN_CACHE"])
