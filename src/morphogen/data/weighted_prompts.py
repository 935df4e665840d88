r"""Prompts in which some words count more or less than others: `a (red:1.5) circle`.

`(words:w)` says that each token of these words counts w times. What that does to a model's sum over tokens and to its
attention is in `nn/conditioning/text.py`. w is at least 0:

    1   as if it were not written
    0   as if the words were not there
    2   as if each stood there twice

Other parentheses are what they are, and `\(`, `\)` and `\\` are a parenthesis and a backslash wherever they stand.
"""

from __future__ import annotations

import dataclasses
import math
import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

import torch

from morphogen.core.errors import UsageError
from morphogen.core.printable import shortened
from morphogen.data.tokenizer import Read, Tokenizer

_WEIGHTED = re.compile(r"\\.|\((?P<words>(?:\\.|[^\\()])*):(?P<weight>[^\\():]*)\)")
_NESTED = re.compile(r":\s*(?:\d+(?:\.\d*)?|\.\d+)\s*\)")  # unambiguous, so that it takes linear time
_ESCAPED = re.compile(r"\\([\\()])")
MAX_WEIGHT = 1000.0
LONGEST = 100_000  # characters of a prompt
Part = tuple[str, float]


def parts(prompt: str) -> list[Part]:
    """The words of `prompt` and how often they count, in order, without the marks; what counts 0 times is left out.

    Raises `UsageError` for a weight that is no number of at least 0, and for weights inside weights.
    """
    if len(prompt) > LONGEST:
        raise UsageError(f"a prompt has at most {LONGEST:,} characters (got {len(prompt):,}).")
    found: list[Part] = []
    start = 0  # of what comes after the last group
    for match in _WEIGHTED.finditer(prompt):
        if match["words"] is None:  # an escape, which only must not open a group
            continue
        found.append((_plain(prompt[start : match.start()]), 1.0))
        found.append((match["words"], _weight(match["weight"], match[0])))
        start = match.end()
    found.append((_plain(prompt[start:]), 1.0))
    return [(_ESCAPED.sub(r"\1", words), weight) for words, weight in found if words and weight]


def read(tokenizer: Tokenizer, prompts: Sequence[str], longest: int) -> Read:
    """As `Tokenizer.read`, with `weights` where there are any. A word that is half weighted counts as its beginning."""
    parsed = [parts(prompt) for prompt in prompts]
    texts = ["".join(words for words, _ in found) for found in parsed]
    plain = tokenizer.read(texts, longest)
    if all(weight == 1.0 for found in parsed for _, weight in found):
        return plain
    weights = torch.ones(plain.ids.shape)
    for row, text, found in zip(weights, texts, parsed, strict=True):
        begins = list(accumulate((len(words) for words, _ in found), initial=0))[:-1]
        for start, places in tokenizer.places(text, longest):
            row[places] = found[bisect_right(begins, start) - 1][1]
    return dataclasses.replace(plain, weights=weights)


def words(tokenizer: Tokenizer, prompt: str, longest: int) -> list[tuple[str, list[int]]]:
    """As `Tokenizer.words`, of what counts more than 0 times."""
    return tokenizer.words("".join(words for words, _ in parts(prompt)), longest)


def _plain(text: str) -> str:
    if _NESTED.search(text):
        raise UsageError(
            rf"{shortened(text.strip())!r} closes a weight that no words begin: weights do not nest, and \( and"
            r" \) are plain parentheses."
        )
    return text


def _weight(text: str, group: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0.0 <= weight <= MAX_WEIGHT:
        raise UsageError(
            rf"{shortened(group)} gives some words a weight, which is a number from 0 to {MAX_WEIGHT:g}, such as 1.3"
            rf" (got {shortened(text.strip())!r}); for what is not wanted at all there is a negative prompt, and"
            r" \( and \) are plain parentheses."
        )
    return weight
