"""Formulas of the pages as MathML, which browsers draw themselves: no script, no font from elsewhere."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
FUNCTION = re.compile(r"\\(log|max|exp|min)(?=\s*[A-Za-z\\])")  # a thin space between a function and its argument


def on_page_content(content: str, **_: Any) -> str:
    return FORMULA.sub(_mathml, content)


def _mathml(found: re.Match[str]) -> str:
    latex = FUNCTION.sub(r"\\\1\\,", html.unescape(found[2]).strip())
    if found[1] == "span":
        return convert(latex)
    return f'<div class="formula">{convert(latex, display="block")}</div>'
