"""A grammar of command lines, read from typer's own description of the verbs, so that new verbs are in it.

    for line in command_lines(seed=0, places={"MODEL": [str(model)], ...}):
        run(line)

About a third of them are right, a third are nearly right (a flag misspelled, repeated, left out or without its value; a
number just outside its range), and a third are absurd (NaN, numbers of thousands of digits, control characters, names
that no file can have). Whatever is right is also small: a step or two, a few pictures.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from morphogen.cli.main import parser

PLACES: Mapping[str, Sequence[str]] = {  # what stands for a metavar; replaced by whoever has real ones
    "MODEL": ["model"],
    "IMAGE": ["picture.png"],
    "SOURCE": ["digits", "shapes:size=16,n=40,seed=1"],
    "OUT": ["out.png", "out.npz", "out/", "out.json", "out.html", "out.gif", "out.apng"],
    "FILE": ["file.png", "file.npz", "file.txt"],
    "PROMPT": ["a red circle", "a (small:1.5) blue square"],
}
WORDS: Mapping[str, Sequence[str]] = {  # values of options that are words, by the option's name
    "family": ["vae", "gan", "diffusion", "flow_matching"],
    "name": ["vae", "gan"],
    "stepper": ["ddim", "heun", "euler"],
    "precision": ["fp32", "bf16", "auto"],
    "label": ["0", "red"],
    "avoid": ["1"],
    "guidance_interval": ["0.2,0.8"],
    "direction": ["factor-1"],
    "strength": ["-1,0,1", "2"],
    "degradation": ["down2", "gray", "noise0.2"],
    "metrics": ["fd", "nll"],
    "only": ["test"],
    "split": ["test", "train"],
    "preset": ["classic"],
    "part": ["autoencoder=model"],
}
NEARLY = [
    "",
    " ",
    "0",
    "-1",
    "1.5",
    "two",
    "1e3",
    "9" * 30,
    "a,b",
    ",",
    "=",
    "a=",
    "=a",
    "a=b=c",
    "-",
    "--",
    "None",
    "(",
    ")",
]
ABSURD = [
    *("nan", "inf", "-inf", "1e400", "-1e300", str(10**15), str(2**70), str(10**30), "9" * 5000),
    *("\x1b]0;owned\x07", "a\x00b", "\u202egnp.exe", "\udce9", "中文", "x" * 300, "x" * 5000, "a/" * 2000),
    *("(" * 500, "(a:" * 500, "a:" * 2000, "=" * 500, "[" * 5000, "{" * 500, "~", "~nobody/x", "/", ".", ".."),
    *(
        "/dev/null",
        "/dev/zero",
        "/proc/self/mem",
        "*",
        "$(true)",
        "`true`",
        "%s%n",
        "{0}",
        "\\",
        "'",
        '"',
        "\n\n",
        "\t",
    ),
]
LONG = ("quickstart", "check")  # verbs that have no small work: their words are never right


@dataclass(frozen=True)
class Verb:
    """Its words, such as ("data", "inspect"), and typer's description of what it takes."""

    words: tuple[str, ...]
    parameters: tuple[Any, ...]


@functools.cache
def verbs() -> list[Verb]:
    """All of them."""

    def walk(command: Any, words: tuple[str, ...]) -> Iterator[Verb]:
        inner = getattr(command, "commands", None)
        if inner is None:
            yield Verb(words, tuple(command.params))
        for name, one in (inner or {}).items():
            yield from walk(one, (*words, name))

    return list(walk(parser(), ()))


def kind(parameter: Any) -> Any:
    """The Python type of its value."""
    return parameter.type_descriptor.annotation


def is_option(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "option")


def command_lines(seed: int, places: Mapping[str, Sequence[str]] | None = None) -> Iterator[list[str]]:
    """Command lines without end; those of one seed are always the same."""
    rng = random.Random(seed)
    known, places = verbs(), {**PLACES, **(places or {})}
    while True:
        verb = rng.choice(known)
        manner = rng.choice(("right", "nearly", "absurd"))
        line = [*verb.words, *(["--steps", "1"] if verb.words == ("train",) else [])]
        for parameter in verb.parameters:
            if parameter.required or rng.random() < 0.2:
                line += _given(verb, parameter, manner, rng, places)
        if verb.words == ("train",) and rng.random() < 0.5:
            line += _field(manner, rng)
        yield line if manner == "right" else _disturbed(line, rng)


def _given(
    verb: Verb, parameter: Any, manner: str, rng: random.Random, places: Mapping[str, Sequence[str]]
) -> list[str]:
    wrong = manner != "right" and rng.random() < 0.3
    if is_option(parameter) and kind(parameter) is bool:
        return [parameter.opts[0]] if not wrong else [f"{parameter.opts[0]}={rng.choice(NEARLY)}"]
    if wrong or verb.words[0] in LONG:
        value = rng.choice(ABSURD if manner == "absurd" else NEARLY)
    else:
        value = _right(parameter, rng, places)
    if not is_option(parameter):
        return [value]
    return [parameter.opts[0], value] if rng.random() < 0.7 else [f"{parameter.opts[0]}={value}"]


def _right(parameter: Any, rng: random.Random, places: Mapping[str, Sequence[str]]) -> str:
    if kind(parameter) is int:
        return str(max(int(parameter.min or 0), rng.randint(1, 3)))
    if kind(parameter) is float:
        return rng.choice(("0.5", "1", "2"))
    if parameter.name in WORDS:
        return rng.choice(WORDS[parameter.name])
    shown = str(parameter.metavar or "")
    place = (
        "OUT" if parameter.name in ("out", "sheet") else max((p for p in places if p in shown), key=len, default="FILE")
    )
    return rng.choice(places[place])


def _field(manner: str, rng: random.Random) -> list[str]:
    """A flag of the family's or the recipe's."""
    name = rng.choice(
        ("--batch-size", "--lr", "--hidden", "--latent-dim", "--widths", "--clip", "--warmup", "--device")
    )
    right = {"--batch-size": "8", "--lr": "1e-3", "--hidden": "16", "--latent-dim": "2", "--widths": "8,16"}
    if manner == "right":
        return [name, right.get(name, "1")] if name in right else []
    return [name, rng.choice(ABSURD if manner == "absurd" else NEARLY)]


def _disturbed(line: list[str], rng: random.Random) -> list[str]:
    """The line with one thing changed, or none."""
    at = rng.randrange(len(line))
    match rng.randrange(8):
        case 0:
            return line[:at] + line[at + 1 :]
        case 1:
            return [*line[:at], line[at], *line[at:]]
        case 2:
            return [*line, rng.choice(("--no-such-flag", "--", "-h", "--debug", "--version", rng.choice(ABSURD)))]
        case 3:
            return [*line[:at], line[at][:-1], *line[at + 1 :]]
        case 4:
            rest = line[1:]
            rng.shuffle(rest)
            return [line[0], *rest]
        case _:
            return line
