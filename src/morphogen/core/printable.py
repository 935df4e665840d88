"""Make foreign text safe to show in a terminal, a log, a card or a page.

Control characters can move the cursor, set the window's title or hide printed text. Direction marks can change the
order in which text is read. Halves of surrogate pairs cannot be encoded. Each of these is shown as its Python escape.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# C0 but for tab and line feed, DEL, C1; line and paragraph separators; marks of direction; surrogates
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""`text` with every unsafe character escaped: ESC as \x1b, a byte of a file name that is not UTF-8 as \xe9.

    Line feeds and tabs stay; `one_line` replaces them as well.
    """
    return UNSAFE.sub(_escape, text)


def one_line(text: str) -> str:
    r"""`printable` text with line feeds and tabs written as \n and \t."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def listed(names: Sequence[str], most: int = 20) -> str:
    """Write the first names of a list, each on one line, and the number of the others."""
    said = ", ".join(one_line(n) for n in names[:most])
    return said if len(names) <= most else f"{said} and {len(names) - most:,} more"


def shortened(text: str, longest: int = 80) -> str:
    """At most `longest` characters of `text`, so that messages have a bounded length."""
    return text if len(text) <= longest else text[: longest - 3] + "..."


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte that Python read as a surrogate (PEP 383)
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
