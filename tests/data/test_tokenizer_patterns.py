"""Patterns of tokenizers: those that are in use pass, those that take for ever do not."""

import json

import pytest

from morphogen.core.errors import DataError
from morphogen.data.tokenizer import Tokenizer
from morphogen.data.tokenizer_patterns import check_patterns

KNOWN = [
    r"[\w'-]+|[^\w\s'-]",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    r" {2,}",
]
ENDLESS = [r"(a+)+b", r"(?:\w*)*x", r"((a+)b?)+c", r"(a|b+){2,}", r"(.)\1", r"(?<x>a)\k<x>", "a" * 5000, r"(?:a+){500}"]


@pytest.mark.parametrize("pattern", KNOWN)
def test_patterns_in_use_pass(pattern: str) -> None:
    check_patterns(json.dumps({"pre_tokenizer": [{"pattern": {"Regex": pattern}}]}))


@pytest.mark.parametrize("pattern", ENDLESS)
def test_patterns_that_repeat_repetitions_are_refused(pattern: str) -> None:
    with pytest.raises(DataError, match="for ever"):
        check_patterns(json.dumps({"normalizer": {"pattern": {"Regex": pattern}}}))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", "[" * 9999, '{"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}']
)
def test_what_is_no_tokenizer_is_an_error_in_words(text: str) -> None:
    with pytest.raises(DataError, match="tokenizer"):
        Tokenizer(text)
