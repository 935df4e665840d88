"""Tables, texts, molecules and archives that are put together at random and damaged, and what is read from them."""

from __future__ import annotations

import csv
import gzip
import io
import random
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from fuzz_json import TEXTS, damage_bytes, damage_json
from fuzz_models import Good, packed_digits

from morphogen.cli.main import run

Made = tuple[list[list[str]], str]  # command lines, and the source to load

_HEADERS = (
    "age",
    "sex",
    "when",
    "income",
    "id",
    "target",
    "split",
    "",
    "age",
    "日本",
    "=1+1",
    "\ufeffx",
    'a"b',
    "a\nb",
)
_CELLS: dict[str, Callable[[random.Random], str]] = {
    "integers": lambda r: str(r.randrange(90)),
    "numbers": lambda r: f"{r.gauss(0, 30):.2f}",
    "decimal commas": lambda r: f"{r.gauss(0, 30):.2f}".replace(".", ","),
    "categories": lambda r: r.choice(("f", "m", "None", "other")),
    "many categories": lambda r: f"c{r.randrange(10_000)}",
    "dates": lambda r: f"20{r.randrange(10, 30)}-0{r.randrange(1, 10)}-{r.randrange(10, 29)}",
    "booleans": lambda r: r.choice(("true", "false")),
    "splits": lambda r: r.choice(("train", "train", "train", "test", "validation")),
    "nothing": lambda r: "",
    "one value": lambda r: "7",
    "infinite": lambda r: r.choice(("inf", "1", "2", "-inf", "1e308", "1e999")),
    "strange": lambda r: r.choice(TEXTS[:20])[:300],
}
_STRANGE = ("", "NA", "nan", "?", "1e400", "99999-99-99", "0000-00-00", "x" * 5000, "\x1b[2J", "a\nb", '"', "\ud800")
_OF_TABLES = (
    *("", "", "", ":target=age", ":target=nobody", ":category=age", ":number=sex", ":ordinal=age", ":drop=age+sex"),
    *(":datetime=when", ":group=sex", ":split=none", ":decimal=comma", ":n=5", ":missing=NA+?", ":x=1"),
)
_SCHEMA = (
    "columns:\n  age: {type: integer, range: [0, 120]}\n  sex: {type: category, values: [f, m]}\n"
    "rules:\n  - age >= 18\n  - age + income == income\n"
)
_SMILES = ("CCO", "c1ccccc1", "C[C@H](N)C(=O)O", "[Na+].[Cl-]", "C1CC", "xx", "", "[13CH4]", "C" * 900, "N#N", "C(C(C")
_OF_TEXTS = ("", "", "", ":tokens=characters", ":tokens=smiles", ":tokens=selfies", ":longest=8", ":skip_bad", ":x=1")


def table(work: Path, models: Mapping[str, Good], random_: random.Random, made: list[str]) -> Made:
    """A table whose columns, cells, types of file and schema are drawn, some of it damaged."""
    kinds = [random_.choice(sorted(_CELLS)) for _ in range(random_.choice((0, 1, 2, 4, 6, 9)))]
    names = [_HEADERS[i] if i < 4 or random_.random() < 0.3 else f"{kinds[i][:3]}{i}" for i in range(len(kinds))]
    rows = [
        [random_.choice(_STRANGE) if random_.random() < 0.01 else _CELLS[kind](random_) for kind in kinds]
        for _ in range(random_.choice((0, 1, 2, 30, 30, 200)))
    ]
    suffix = random_.choice((".csv", ".csv", ".csv", ".tsv", ".csv.gz", ".parquet"))
    made.append(f"{suffix}: {len(rows)} rows of {list(zip(names, kinds, strict=True))}")
    stored = models["integers"].path.parent / "rows.parquet"  # polars would start threads in the process that forks
    content = stored.read_bytes() if suffix == ".parquet" else _written(names, rows, suffix, random_)
    if random_.random() < 0.3:
        content, said = damage_bytes(content, random_)
        made.append(said)
    if suffix == ".csv.gz":
        content = gzip.compress(content)
        if random_.random() < 0.3:
            content, said = damage_bytes(content, random_)
            made.append(f"compressed, {said}")
    (work / f"data{suffix}").write_bytes(content)
    if random_.random() < 0.2:
        schema = _SCHEMA.encode()
        if random_.random() < 0.7:
            schema, said = damage_bytes(schema, random_)
            made.append(f"schema.yaml, {said}")
        (work / "schema.yaml").write_bytes(schema)
    source = f"data{suffix}" + random_.choice(_OF_TABLES)
    lines = [["data", "inspect", source, *(["--json"] if random_.random() < 0.5 else [])]]
    if random_.random() < 0.2:
        line = random_.choice(
            (["impute", str(models["table"].path), f"data{suffix}"], ["train", "vae", "--data", source])
        )
        if line[0] == "train":
            line += ["--steps", "1", "--batch-size", "4", "--compile", "off", "--precision", "fp32", "--dry-run"]
        lines.append(line)
    if random_.random() < 0.2:
        quick = "--steps 1 --batch-size 4 --compile off --precision fp32 --dry-run"
        lines.append(["train", "vae", "--data", source, *quick.split()])
    return lines, source


def _written(names: list[str], rows: list[list[str]], suffix: str, random_: random.Random) -> bytes:
    """A file of separated values, of a random dialect."""
    out = io.StringIO(newline="")
    delimiter = "\t" if suffix == ".tsv" else random_.choice((",", ",", ",", ";", "|"))
    how = random_.choice((csv.QUOTE_MINIMAL, csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    writer = csv.writer(out, delimiter=delimiter, quoting=how)
    writer.writerow(names)
    for row in rows:
        writer.writerow(row[: random_.randrange(len(row) + 1)] if row and random_.random() < 0.005 else row)
    return out.getvalue().encode(random_.choice(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16")), "surrogatepass")


def texts(work: Path, models: Mapping[str, Good], random_: random.Random, made: list[str]) -> Made:
    """Lines of text or molecules, right, wrong, or no text at all."""
    suffix = random_.choice((".smi", ".smi", ".txt", ".csv"))
    lines = [random_.choice(_SMILES) for _ in range(random_.choice((0, 1, 5, 40)))]
    if suffix == ".txt":
        lines = [random_.choice((*TEXTS[:20], "hello there", "all is well"))[:2000] for _ in lines]
    if suffix == ".csv":
        lines = ["smiles,qed", *(f"{line},{random_.choice(('0.5', '', 'nan', 'x', 'inf'))}" for line in lines)]
    content = random_.choice(("\n", "\n", "\r\n")).join(lines).encode("utf-8", "surrogatepass")
    said = "whole"
    if random_.random() < 0.4:
        content, said = damage_bytes(content, random_)
    made.append(f"{suffix}: {len(lines)} lines, {said}")
    (work / f"data{suffix}").write_bytes(content)
    source = f"data{suffix}" + random_.choice(_OF_TEXTS)
    return [["data", "inspect", source, *(["--json"] if random_.random() < 0.5 else [])]], source


def archive(work: Path, models: Mapping[str, Good], random_: random.Random, made: list[str]) -> Made:
    """An archive, damaged in its bytes or in a JSON text within, to be listed and unpacked."""
    name = random_.choice(("plain", "coded", "with-model"))
    content = (models["integers"].path.parent / f"{name}.mgz").read_bytes()
    start, end = content.find(b"{"), content.find(b"}", content.find(b"{")) + 1
    if start >= 0 and random_.random() < 0.3:
        text, said = damage_json(content[start:end], random_)
        content = content[:start] + text + content[end:]
    else:
        content, said = damage_bytes(content, random_)
    made.append(f"{name}: {said}")
    (work / "given.mgz").write_bytes(content)
    model = [] if name != "coded" else ["--model", str(models["integers"].path)]
    return [["archive", "given.mgz", "--json"], ["archive", "given.mgz", "--verify", *model]], ""


def unpacked(work: Path, models: Mapping[str, Good], out: Path) -> str:
    """Unpack the archive of `archive`; what is wrong with what came out, or nothing."""
    line = ["decompress", "given.mgz", "--out", str(out / "x.npz"), "--model", str(models["integers"].path)]
    run(line)
    if not (out / "x.npz").exists():
        return ""
    with np.load(out / "x.npz") as arrays:
        x = arrays["x"]
    right = {record.tobytes() for record in packed_digits()}
    wrong = sum(record.tobytes() not in right for record in x)
    return f"{wrong} of {len(x)} records have other pixels than were packed" if wrong else ""
