"""Command lines, right and wrong, in a folder that holds models, pictures and arrays.

The lines come from the grammar of tests/cli/command_lines.py, which reads typer's own description of the verbs. The
folder is made again as soon as a line has changed it.
"""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from command_lines import command_lines
from fuzz_artifacts import snapshot
from fuzz_child import MAX_CPU_S, run_in_child
from fuzz_findings import Item, judge
from fuzz_models import Good
from PIL import Image

from morphogen import api
from morphogen.cli.flags import flag
from morphogen.cli.main import run
from morphogen.core import registry

_LONG = (
    "train",
    "quickstart",
    "check",
    "evaluate",
    "evaluate-samples",
    "evaluate-molecules",
    "alignment",
    "directions",
    "suggest",
    "design",
    "audit",
    "export",
)  # honest work,
_MAX_LONG_S = 2  # of which the beginning is enough
_OUTS = [
    "out.png",
    "out.npz",
    "out/",
    "out.json",
    "out.html",
    "out.gif",
    "out.apng",
    "new/out.png",
    "models/vae",
    "two",
]
_SOURCES = ["digits", "shapes:size=16,n=40", "photos", "photos:size=8,resize=crop", "arrays.npz", "photos:skip_bad"]
_SOURCES += ["breast_cancer", "rows.csv", "rows.csv:target=sex", "words.txt", "molecules.smi"]
_FAMILIES = tuple(registry.names())
_FIELDS_OF_DATA = ("size", "n", "seed", "validation", "resize", "channels", "binary", "context", "classes", "test")


def try_command(number: int, seed: int, models: Mapping[str, Good], scratch: Path) -> Item:
    """Run command line `number` of this seed in a folder below `scratch`, and say what was found."""
    item = Item(number, seed)
    root = _folder(models, scratch)
    work = root / "work"
    places: dict[str, Sequence[str]] = {
        "MODEL": [*(f"models/{name}" for name in models)] * 3 + ["models", "photos", "empty", "text.txt", "nothing"],
        "IMAGE": ["drawn.png", "photo.jpg", "photos/a/0.png", "broken.png"],
        "SOURCE": _SOURCES,
        "OUT": _OUTS,
        "FILE": ["drawn.png", "samples.npz", "text.txt", "mask.png", "drawn", "rows.csv", "molecules.smi"],
        "FILE.mgz": ["coded.mgz", "plain.mgz", "text.txt"],
        "FILE.csv": ["rows.csv", "text.txt"],
        "SAMPLES": ["samples.npz", "drawn", "photos/a", "arrays.npz"],
        "DIR": ["two", "models/vae", "out"],
        "CONDITIONS": ["mean radius>20", "target=0", "x=1", "mean radius>20,mean radius<10"],
        "COLUMN": ["target", "mean radius", "x"],
        "SMILES": ["CCO", "xx"],
        "PROMPT": ["a red circle", "a (small:1.5) blue square", "two"],
    }
    random_ = random.Random(f"commands/{seed}/{number}")
    if random_.random() < 0.15:
        line = _training(models, random_)
    else:
        line = next(command_lines(seed=seed * 1_000_003 + number, places=places))
    if line[:1] == ["upscale"]:  # by default it takes minutes, of honest work
        line = ["photo.jpg" if word == "drawn.png" else word for word in line]
        for name, value in (("--scale", "2"), ("--n", "2"), ("--steps", "4")):
            line += [] if any(word.startswith(name) for word in line) else [name, value]
    item.made.append(repr(line))
    before = snapshot(root)

    def work_there() -> list[int]:
        os.chdir(work)
        return [run(line)]

    most = _MAX_LONG_S if line[:1] and line[0] in _LONG else MAX_CPU_S
    outcome = run_in_child(work_there, [root, Path(os.environ["MORPHOGEN_CACHE"])], scratch, most)
    item.statuses = outcome.result if outcome.result is not None else outcome.end
    judge(item, outcome, outcome.result or [])
    honest = [f for f in item.findings if not _asked_for(f.kind, f.seen, line)]
    item.findings[:] = honest
    after = snapshot(root)
    if before != after:
        if outcome.end == "done":
            _look_at_changes(item, before.keys() ^ after.keys(), work)
        (root / "CHANGED").touch()
    return item


def _training(models: Mapping[str, Good], random_: random.Random) -> list[str]:
    """A short training with strange values of the fields of its family, of its recipe or of its data."""
    family = random_.choice(_FAMILIES)
    known = api.describe_family(family)
    data = random_.choice(
        ("digits", "shapes:size=16,n=40", "photos", "arrays.npz", "digits:binary", "rows.csv", "words.txt")
    )
    if random_.random() < 0.15:
        data += (":" if ":" not in data else ",") + random_.choice(_FIELDS_OF_DATA) + "=" + _value(random_)
    line = ["train", family, "--data", data, "--out", "new", "--device", "cpu", "--compile", "off"]
    given = {"--steps": "1", "--batch-size": "8"}
    if family in ("distilled", "lora"):
        line += ["--part", f"{'teacher' if family == 'distilled' else 'base'}=models/diffusion"]
    for _ in range(random_.choice((1, 1, 1, 2, 3))):
        field = random_.choice(known["options"] + known["recipe"])
        words = re.findall(r"'([\w-]+)'", str(field["type"]))
        value = random_.choice(words) if words and random_.random() < 0.7 else _value(random_)
        given[flag(field["name"])] = value
    for name, value in given.items():
        line += [f"{name}={value}"]
    return line


def _value(random_: random.Random) -> str:
    """A number that is small, out of place or absurd, a list of such, or a word."""
    numbers = ("0", "1", "2", "3", "5", "0.5", "-1", "1e-9", "1e308", "nan", "inf", "true", "none")
    large = ("7", "33", "1000000", str(2**31 - 1), str(2**31), str(2**63), str(10**30))
    kind = random_.random()
    if kind < 0.6:
        return random_.choice((*numbers, *large))
    if kind < 0.9:
        return ",".join(
            random_.choice((*numbers[:6], *large[:2], "1")) for _ in range(random_.choice((1, 2, 3, 4, 60)))
        )
    return random_.choice(("auto", "", "x", "mlp", "unet", '{"a":1}', "\x1b[31m", "9" * 5000, "日本", "1," * 3000))


def _asked_for(kind: str, seen: str, line: Sequence[str]) -> bool:
    """Whether the line itself asked for it: work that takes long, or a path outside."""
    if kind == "longer than 20 s":
        return any(word in _LONG for word in line[:1])
    if kind == "traceback" and "--debug" in line:
        return "the child ended" not in seen
    if "--compile" in line and "torchinductor" in seen:  # PyTorch's own cache of compiled code
        return True
    paths = [word.rpartition("=")[2] for word in line]
    return kind == "code run, or a file changed" and any(path.startswith(("/", "~")) for path in paths)


def _look_at_changes(item: Item, changed: object, work: Path) -> None:
    """What a line leaves is whole: no temporary files, and arrays that are finite."""
    assert isinstance(changed, set)
    for path in map(Path, sorted(changed)):
        if path.exists() and (".part" in path.name or ".tmp" in path.name or path.name.endswith(".new")):
            item.find("wrong in silence", f"left behind: {path.name}")
        if path.suffix == ".npz" and path.is_file() and path.stat().st_size < 10**8:
            with np.load(path) as arrays:
                for name in arrays.files:
                    if arrays[name].dtype.kind != "f":
                        continue
                    infinite = name.endswith("log_snr")  # at both ends
                    if not (~np.isnan(arrays[name]) if infinite else np.isfinite(arrays[name])).all():
                        item.find("wrong in silence", f"{path.name} holds {name} with values that are not finite")


def _folder(models: Mapping[str, Good], scratch: Path) -> Path:
    """A folder to run lines in, as it was made at first."""
    template, root = scratch / "template", scratch / "item"
    if not (template / "work").is_dir():
        _make(template, models)
    if not (root / "work").is_dir() or (root / "CHANGED").exists():
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(template, root)
    return root


def _make(root: Path, models: Mapping[str, Good]) -> None:
    work = root / "work"
    (work / "empty").mkdir(parents=True)
    (root / "home").mkdir()
    for name, good in models.items():
        ignored = ("samples",) if name == "vae" else ("samples", "checkpoint")
        shutil.copytree(good.path, work / "models" / name, ignore=shutil.ignore_patterns(*ignored))
    random = np.random.default_rng(0)
    for folder in ("photos/a", "photos/b", "drawn"):
        (work / folder).mkdir(parents=True)
        for i in range(6):
            pixels = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(work / folder / f"{i}.png")
    Image.fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(work / "photo.jpg")
    mask = np.zeros((16, 16), dtype=np.uint8)
    mask[4:9, 4:9] = 255
    Image.fromarray(mask).save(work / "mask.png")
    (work / "broken.png").write_bytes((work / "mask.png").read_bytes()[:50])
    (work / "text.txt").write_text("a red circle\na blue square\n", encoding="utf-8")
    (work / "rows.csv").write_text("age,sex,when\n" + "".join(_rows()), encoding="utf-8")
    (work / "molecules.smi").write_text("CCO\nc1ccccc1\nCCN\nxx\n" * 5, encoding="utf-8")
    for name in ("words.txt", "coded.mgz", "plain.mgz"):
        shutil.copy(models["integers"].path.parent / name, work)
    np.savez(work / "arrays.npz", x=random.integers(0, 256, (20, 16, 16, 3), dtype=np.uint8), y=np.arange(20) % 2)
    np.savez(work / "samples.npz", x=random.integers(0, 256, (20, 8, 8), dtype=np.uint8))
    os.chdir(work)
    if run(["sample", "models/vae", "--n", "4", "--out", "drawn.png"]):
        raise SystemExit("the good model draws nothing")


def _rows() -> Iterator[str]:
    """Lines of a table, with missing cells."""
    for i in range(40):
        yield f"{20 + i % 7},{('f', 'm', '')[i % 3]},2020-01-{i % 28 + 1:02}\n"
