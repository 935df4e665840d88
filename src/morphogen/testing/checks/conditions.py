"""Checks of conditional sampling: classes and words are obeyed, and hidden ones say nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from morphogen.core import capabilities
from morphogen.core.batch import RawCondition
from morphogen.core.data_spec import PAD
from morphogen.core.rng import Rng
from morphogen.data.tokenizer import Tokenizer
from morphogen.testing.subject import NotApplicable, Subject, as_float
from morphogen.testing.toy_data import caption_of


def check_conditions_are_obeyed(s: Subject) -> str:
    """Samples drawn for a class, by its number or in words, lie nearest to the records of that class."""
    model = s.needs(capabilities.Samples)
    if not model.conditional or not s.data.classes:
        raise NotApplicable("is not conditional")
    k, n = len(s.data.classes), 400
    label = torch.arange(n) % k
    asked = {"a class": RawCondition(label=label)}
    if s.data.text is not None:
        text = Tokenizer.of(s.data.text).ids([caption_of(i) for i in label.tolist()], s.data.text.longest)
        asked["words"] = RawCondition(text=text, text_mask=text != PAD)
    train = as_float(s.data.encode(s.train.stored)).flatten(1)
    said = []
    for what, cond in asked.items():
        x = as_float(model.sample(n, cond, Rng(1))).flatten(1)
        nearest = torch.cdist(x, train).argmin(1)
        share = float((cast(Tensor, s.train.labels)[nearest] == label).double().mean())
        assert share >= 0.9, f"only {share:.0%} of the samples drawn for {what} look like it"
        said.append(f"for {what} {share:.0%}")
    return f"{', '.join(said)} of samples lie nearest to a record of their class"


def check_no_condition_is_all_null(s: Subject) -> None:
    """Neither a class nor words, whatever stands where they are hidden."""
    model = s.needs(capabilities.Samples)
    null = RawCondition(label=torch.full((8,), -1))
    if s.data.text is not None:
        hidden = torch.ones(8, s.data.text.longest, dtype=torch.int64)
        null = replace(null, text=hidden, text_mask=torch.zeros_like(hidden, dtype=torch.bool))
    assert torch.equal(model.sample(8, None, Rng(2)), model.sample(8, null, Rng(2))), "None and an all-null differ"
