"""Good things to damage: ten tiny models, trained for a few steps in seconds, and archives.

python tests/fuzz/fuzz_models.py DIR
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from morphogen.api import load_data
from morphogen.cli.main import run

_WORDS = ("red", "blue", "one", "two", "large", "small", "left", "right")
SHAPES = "shapes:size=16,n=120"
_TRAINED = {  # name -> the command line after `train`
    "vae": "vae --data digits --hidden 8 --latent-dim 2",
    "gan": "gan --data digits --backbone mlp --latent-dim 4 --hidden 8 --discriminator-hidden 8 --conditional",
    "autoregressive": "autoregressive --data digits --width 8 --inner 8 --blocks 1 --hidden 8 --stem 1,1 --near 3,3"
    " --reach 2,2",
    "diffusion": f"diffusion --data {SHAPES} --conditional --backbone mlp --hidden 16 --width 16 --depth 1",
    "autoencoder": f"autoencoder --data {SHAPES} --widths 8,8 --blocks 1 --latent-channels 2",
    "latent": f"diffusion --data {SHAPES} --backbone mlp --hidden 16",
    "table": "autoregressive --data breast_cancer --width 8 --hidden 8",
    "rows": "vae --data breast_cancer --hidden 8 --latent-dim 2",
    "texts": "autoregressive --data {root}/words.txt --token-width 16 --token-blocks 1",
    "read": f"vae --data {SHAPES} --conditional --backbone mlp --hidden 16 --latent-dim 2",
}
OF_RECORDS = ("table", "rows", "texts")  # no pictures
_QUICK = "--steps 3 --batch-size 16 --compile off --precision fp32 --device cpu"


@dataclass(frozen=True)
class Good:
    """A model directory that is in order, and the flags that make drawing from it quick; empty: it draws nothing."""

    path: Path
    draw: tuple[str, ...]


def make_models(root: Path) -> None:
    """Train the models into folders of `root`; each has an evaluation, too."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "words.txt").write_text("".join(f"{a} {b}\n" for a in _WORDS for b in _WORDS), encoding="utf-8")
    for name, line in _TRAINED.items():
        parts: list[str] = []
        line = line.format(root=root)
        if name == "latent":
            parts = ["--part", f"autoencoder={root / 'autoencoder'}"]
        elif name == "read":
            if importlib.util.find_spec("transformers") is None:
                continue
            parts = ["--part", f"text={_text_encoder(root / 'encoder')}"]
        _do(["train", *line.split(), *_QUICK.split(), *parts, "--out", str(root / name)])
        if name == "vae":
            _do(["evaluate", str(root / name), "--data", "digits", "--metrics", "nll", "--samples", "1", "--n", "20"])
    _make_archives(root)


def _make_archives(root: Path) -> None:
    """The integer form of a model, archives with and without it, and a table."""
    import polars as pl

    ages = [20 + i % 7 for i in range(40)]
    pl.DataFrame({"age": ages, "sex": ["f", "m", None, "f"] * 10}).write_parquet(root / "rows.parquet")
    integers, data = str(root / "integers"), str(root / "digits.npz")
    np.savez(data, x=packed_digits())
    _do(["quantize", str(root / "autoregressive"), "--data", "digits", "--n", "4", "--out", integers])
    for name, how in {"plain": [], "coded": [integers], "with-model": [integers, "--with-model"]}.items():
        _do(["compress", *how, "--data", data, "--out", str(root / f"{name}.mgz")])


def packed_digits() -> np.ndarray:
    """The records of the archives: 24 of the embedded digits."""
    return load_data("digits").train.stored.numpy()[:24]


def good_models(root: Path) -> Mapping[str, Good]:
    """What `make_models` has made in `root`, by name."""
    few = {"diffusion": ("--steps", "2"), "latent": ("--steps", "2"), "autoencoder": ()}
    found = {}
    for name in (*_TRAINED, "integers"):
        if (root / name / "manifest.json").is_file():
            draw = ("--n", "2", *few.get(name, ())) if name != "autoencoder" else ()
            found[name] = Good(root / name, draw)
    return found


def _do(line: list[str]) -> None:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = run([*line, "--debug"])
    if status:
        raise SystemExit(f"morphogen {' '.join(line)} ended with {status}:\n{said.getvalue()[-3000:]}")


def _text_encoder(root: Path) -> Path:
    """A directory as `save_pretrained` writes it: a small BERT with random weights, and its tokenizer."""
    import transformers
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    pieces = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    pieces.normalizer = normalizers.Lowercase()
    pieces.pre_tokenizer = pre_tokenizers.Whitespace()
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    captions = ["a small red circle", "a large blue square above a green cross", "two yellow triangles"] * 4
    pieces.train_from_iterator(captions, trainers.WordPieceTrainer(vocab_size=120, special_tokens=marks))
    pieces.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(mark, pieces.token_to_id(mark)) for mark in marks[2:]]
    )
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.BertConfig(vocab_size=pieces.get_vocab_size(), max_position_embeddings=24, **small)
    transformers.BertModel(config).save_pretrained(root)
    whole = transformers.PreTrainedTokenizerFast(tokenizer_object=pieces, pad_token="[PAD]", model_max_length=24)
    whole.save_pretrained(root)
    return root


if __name__ == "__main__":
    make_models(Path(sys.argv[1]))
