"""Damage to JSON documents: other types, numbers and names at random places, and text that only looks like JSON."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

_RAW = "@raw:"  # a string that stands for text which `json.dumps` cannot write

NUMBERS: tuple[Any, ...] = (
    0,
    -1,
    1,
    2,
    3,
    255,
    256,
    65536,
    2**31 - 1,
    2**31,
    2**32,
    2**63 - 1,
    2**63,
    2**64,
    -(2**63),
    10**30,
    0.5,
    -0.0,
    1e-308,
    1e308,
    -1e308,
    float("nan"),
    float("inf"),
    float("-inf"),
    _RAW + "9" * 5000,
    _RAW + "1e999",
)
TEXTS: tuple[str, ...] = (
    "",
    " ",
    "none",
    "auto",
    "0",
    "-1",
    "1e5",
    "nan",
    "x" * 100_000,
    "ä" * 3000,
    "日本語 العربية 🙂",
    "\ud800",
    "\udc80\udcff",
    "\x00",
    "\x1b[2J\x1b]0;title\x07",
    "\x9b31m",
    "a\nb\tc\rd",
    "\u202egnp.exe",
    "\u2028",
    "{0.__class__}",
    "%s%n",
    "__import__('os').system('true')",
    "[bold red]x[/]",
    "<script>alert(1)</script>",
    "../../../../etc/passwd",
    "/etc/passwd",
    "/dev/zero",
    "~/.bashrc",
    "file:///etc/passwd",
    "http://127.0.0.1:9/model",
    "somebody/repository",
    "somebody/repository--module.Class",
    "digits",
    "os:system",
    "a" * 300 + "/b",
)
OTHERS: tuple[Any, ...] = (
    None,
    True,
    False,
    [],
    {},
    [[]],
    [None],
    {"": None},
    [0] * 5000,
    list(range(3)),
    ["x"] * 3000,
    {str(i): i for i in range(2000)},
    _RAW + "[" * 150 + "]" * 150,
    _RAW + "[" * 5000 + "]" * 5000,
    _RAW + "[" * 200_000 + "]" * 200_000,
    _RAW + '{"a":' * 3000 + "1" + "}" * 3000,
    _RAW + "[" * 1000,
)
_KEYS = (
    "",
    "x",
    "__class__",
    "self",
    "format",
    "family",
    "spec",
    "auto_map",
    "trust_remote_code",
    "\ud800",
    "\x1b[31m",
)


def strange(random_: random.Random) -> Any:
    """A value that is rarely what is meant."""
    return random_.choice(random_.choice((NUMBERS, TEXTS, OTHERS)))


def damage_json(text: bytes, random_: random.Random, words: tuple[str, ...] = ()) -> tuple[bytes, str]:
    """A document changed at one random place, and what was done. `words` are strings that mean something elsewhere.

    What is no JSON has its bytes damaged instead.
    """
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        return damage_bytes(text, random_)
    if random_.random() < 0.08:
        return _damage_text(text, random_)
    document = {"": copy.deepcopy(whole)}
    container, key, where = _place(document, random_)
    done = _change(container, key, random_, words)
    return _written(document.get(""), random_), f"{where}: {done}"


def damage_bytes(data: bytes, random_: random.Random) -> tuple[bytes, str]:
    """Bytes with a few of them flipped, cut, repeated, blanked or added."""
    changed = bytearray(data)
    n = len(changed)
    at = random_.randrange(n) if n else 0
    length = random_.choice((1, 2, 4, 16, 64))
    kind = random_.choice(("flip", "flips", "cut", "drop", "repeat", "blank", "insert", "append", "empty"))
    if kind == "flip" and n:
        changed[at] ^= 1 << random_.randrange(8)
    elif kind == "flips":
        for _ in range(min(n, length)):
            changed[random_.randrange(n)] = random_.randrange(256)
    elif kind == "cut":
        del changed[at:]
    elif kind == "drop":
        del changed[at : at + length]
    elif kind == "repeat":
        changed[at:at] = changed[at : at + length]
    elif kind == "blank":
        changed[at : at + length] = bytes([random_.choice((0, 255))]) * len(changed[at : at + length])
    elif kind == "insert":
        changed[at:at] = random_.randbytes(length)
    elif kind == "append":
        changed += random_.randbytes(length)
    else:
        changed.clear()
    return bytes(changed), f"bytes: {kind} at {at}, {length} long, of {n}"


def _place(document: dict[str, Any], random_: random.Random) -> tuple[Any, Any, str]:
    """A random place: every level is left with equal chance, so that long lists do not take all."""
    container: Any = document
    key: Any = ""
    said = "$"
    while isinstance(container[key], dict | list) and container[key] and random_.random() < 0.8:
        container = container[key]
        key = random_.choice(list(container)) if isinstance(container, dict) else random_.randrange(len(container))
        said += f".{key}"
    return container, key, said


def _change(container: Any, key: Any, random_: random.Random, words: tuple[str, ...]) -> str:
    old = container[key]
    kind = random_.choice(("strange", "strange", "near", "near", "remove", "add", "rename", "wrap", "longer", "word"))
    if kind == "near" and isinstance(old, int | float) and not isinstance(old, bool):
        container[key] = random_.choice((old + 1, old - 1, -old, old * 2, old * 1000, old / 3, float(old), str(old)))
    elif kind == "near" and isinstance(old, bool):
        container[key] = not old
    elif kind == "remove":
        del container[key]
    elif kind == "add" and isinstance(old, dict):
        old[random_.choice((*_KEYS, *words))] = strange(random_)
    elif kind == "add" and isinstance(old, list):
        old.insert(random_.randrange(len(old) + 1), strange(random_))
    elif kind == "rename" and isinstance(container, dict):
        container[random_.choice((*_KEYS, str(key) + "x", str(key).upper()))] = container.pop(key)
    elif kind == "wrap":
        container[key] = random_.choice(([old], {"a": old}, str(old)))
    elif kind == "longer" and isinstance(old, list | str):
        container[key] = old * random_.choice((2, 50, 1000)) if len(old) < 1000 else old * 2
    elif kind == "word" and words:
        container[key] = random_.choice(words)
    else:
        kind = "strange"
        container[key] = strange(random_)
    there = container if isinstance(container, dict) else dict(enumerate(container))
    return f"{kind} {old!r:.80} -> {there.get(key, 'gone')!r:.80}"


def _damage_text(text: bytes, random_: random.Random) -> tuple[bytes, str]:
    kind = random_.choice(
        ("bytes", "bytes", "mark", "utf-16", "latin", "twice", "double key", "comment", "empty", "null", "number")
    )
    first = text.find(b"{") + 1
    return {
        "bytes": lambda: damage_bytes(text, random_)[0],
        "mark": lambda: b"\xef\xbb\xbf" + text,
        "utf-16": lambda: text.decode("utf-8", "replace").encode("utf-16"),
        "latin": lambda: text[:first] + b'"\xe9\xff": 1,' + text[first:],
        "twice": lambda: text + text,
        "double key": lambda: text[:first] + b'"format": 1, "format": 2, "family": "gan",' + text[first:],
        "comment": lambda: b"// a comment\n" + text,
        "empty": lambda: b"",
        "null": lambda: b"null",
        "number": lambda: b"7",
    }[kind](), f"text: {kind}"


def _written(value: Any, random_: random.Random) -> bytes:
    """JSON with what the standard does not allow written all the same."""
    ascii_ = random_.random() < 0.5
    text = json.dumps(value, indent=random_.choice((None, 2)), ensure_ascii=ascii_)
    for raw in _raws(value):
        text = text.replace(json.dumps(raw, ensure_ascii=ascii_), raw.removeprefix(_RAW))
    return text.encode("utf-8", "surrogatepass")


def _raws(value: Any) -> set[str]:
    found, waiting = set(), [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, str) and item.startswith(_RAW):
            found.add(item)
    return found
