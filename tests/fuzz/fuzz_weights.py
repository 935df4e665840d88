"""Damage to safetensors files: the length of the header, what it says of each tensor, and the values."""

from __future__ import annotations

import json
import random
import struct
from typing import Any

import numpy as np
from fuzz_json import damage_bytes, damage_json, strange

_TYPES = (
    "F64",
    "F32",
    "F16",
    "BF16",
    "I64",
    "I32",
    "I16",
    "I8",
    "U8",
    "BOOL",
    "F8_E4M3",
    "F8_E5M2",
    "C64",
    "F4",
    "X",
    "",
)
_VALUES = (float("nan"), float("inf"), float("-inf"), 1e30, -1e38, 0.0, 1e-45)


def damage_weights(data: bytes, random_: random.Random) -> tuple[bytes, str]:
    """A safetensors file changed in one way, and what was done."""
    kind = random_.choice(
        (
            "bytes",
            "length",
            "header",
            "json",
            "json",
            "tensor",
            "tensor",
            "tensor",
            "tensor",
            "values",
            "values",
            "order",
        )
    )
    if kind == "bytes" or len(data) < 8:
        return damage_bytes(data, random_)
    if kind == "length":
        length = random_.choice((0, 1, 7, len(data), 2**31, 2**40, 2**63, 2**64 - 1, 100_000_000))
        return struct.pack("<Q", length) + data[8:], f"header length {length}"
    n = struct.unpack("<Q", data[:8])[0]
    head, body = data[8 : 8 + n], data[8 + n :]
    if kind == "header":
        head, done = damage_bytes(head, random_)
    elif kind == "json":
        head, done = damage_json(head, random_, _TYPES)
    else:
        try:
            table = json.loads(head)
            names = [name for name in table if name != "__metadata__"]
            name = random_.choice(names)
        except (ValueError, IndexError, TypeError):
            return damage_bytes(data, random_)
        if kind == "values":
            body, done = _values(table, name, body, random_)
        else:
            done = (
                _tensor(table, names, name, len(body), random_) if kind == "tensor" else _order(table, names, random_)
            )
        head = json.dumps(table).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(head)) + head + body, f"header: {done}"


def _tensor(table: dict[str, Any], names: list[str], name: str, size: int, random_: random.Random) -> str:
    """Change what the header says of one tensor."""
    entry = table[name]
    kind = random_.choice(("dtype", "shape", "offsets", "overlap", "remove", "add", "rename", "metadata", "reshape"))
    if kind == "dtype":
        entry["dtype"] = random_.choice(_TYPES)
    elif kind == "shape":
        entry["shape"] = random_.choice(
            ([], [0], [2**31], [2**63, 2], [-1], [2**32, 2**32], entry["shape"] * 40, "x", None)
        )
    elif kind == "reshape":
        entry["shape"] = entry["shape"][::-1] if random_.random() < 0.5 else [1, *entry["shape"]]
    elif kind == "offsets":
        low, high = entry["data_offsets"]
        entry["data_offsets"] = random_.choice(
            ([high, low], [low, high + 4], [low + 1, high], [0, size], [low, 2**63], [-4, high], [low], "x", [low, low])
        )
    elif kind == "overlap":
        entry["data_offsets"] = table[random_.choice(names)]["data_offsets"]
    elif kind == "remove":
        del table[name]
    elif kind == "add":
        table[random_.choice(("x", "", "\x1b[2J", "parts.x", "y" * 5000))] = {
            "dtype": "F32",
            "shape": [0],
            "data_offsets": [size, size],
        }
    elif kind == "rename":
        table[random_.choice((name + "x", "", "\u202e", random_.choice(names)))] = table.pop(name)
    else:
        table["__metadata__"] = random_.choice(({"a": "b"}, {"a": 1}, strange(random_)))
        if isinstance(table["__metadata__"], str) and table["__metadata__"].startswith("@raw:"):
            table["__metadata__"] = {"x": "y" * 100_000}
    return f"{name}: {kind}"


def _order(table: dict[str, Any], names: list[str], random_: random.Random) -> str:
    """Exchange the entries of two tensors."""
    one, two = random_.choice(names), random_.choice(names)
    table[one], table[two] = table[two], table[one]
    return f"{one} and {two} exchanged"


def _values(table: dict[str, Any], name: str, body: bytes, random_: random.Random) -> tuple[bytes, str]:
    """Put a number that breaks arithmetic in a tensor: in one place or in all."""
    low, high = table[name]["data_offsets"]
    if table[name]["dtype"] != "F32" or high <= low:
        return damage_bytes(body, random_)
    values = np.frombuffer(body[low:high], dtype=np.float32).copy()
    value = random_.choice(_VALUES)
    if random_.random() < 0.5:
        values[:] = value
    else:
        values[random_.randrange(len(values))] = value
    return body[:low] + values.tobytes() + body[high:], f"{name} holds {value}"
