"""The grammar of a source: NAME_OR_PATH[:option[=value],option[=value],...].

`mnist:binary`, `shapes:size=32,n=5000,seed=1`, `photos/:size=64,resize=crop`, `points.npz`. A known
name wins over a path (`./mnist` means the folder); a path may itself contain colons: the longest
part in front of a colon that exists is the path.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from os.path import exists, expanduser

from morphogen.core.errors import UsageError
from morphogen.core.printable import shortened

LONGEST = 4096  # characters of a name or path and its options


@dataclass(frozen=True)
class Source:
    """A name or path, and its options as written; an option without a value is True."""

    name: str
    options: Mapping[str, str | bool] = field(default_factory=dict)


def parse(text: str, known: Collection[str]) -> Source:
    """Split a source into its name or path and its options. Raises `UsageError` for a malformed one."""
    text = expanduser(text.strip())
    if not text:
        raise UsageError("the source of the data is empty; give a name such as 'digits', a folder or a file.")
    if len(text) > LONGEST or "\0" in text:
        raise UsageError(f"a source of data has at most {LONGEST:,} characters and no NUL (got {shortened(text)!r}).")
    if text in known or exists(text):
        return Source(text)
    cuts = [i for i, character in enumerate(text) if character == ":"]
    for cut in reversed(cuts):
        if text[:cut] in known or exists(text[:cut]):
            return Source(text[:cut], _options(text[cut + 1 :], text))
    # Nothing of that name exists: whoever looks for it will say so.
    return Source(text[: cuts[0]], {}) if cuts else Source(text)


def _options(text: str, whole: str) -> dict[str, str | bool]:
    options: dict[str, str | bool] = {}
    for part in text.split(","):
        key, equals, value = (s.strip() for s in part.partition("="))
        if not key or (equals and not value):
            raise UsageError(f"source {whole!r}: {part!r} is no option; write option or option=value.")
        if key in options:
            raise UsageError(f"source {whole!r}: option {key!r} is given twice.")
        options[key] = value if equals else True
    return options
