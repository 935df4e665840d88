"""What counts as a finding: the columns of the table, and the judge that all three fuzzers share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fuzz_child import MAX_MB, Outcome

KINDS = (
    "code run, or a file changed",
    "network or another process",
    "traceback",
    "fault in morphogen",
    "longer than 20 s",
    "more than 2 GB",
    "altered content accepted",
    "wrong in silence",
    "unsafe text",
)
_UNSAFE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True)
class Finding:
    """Something that must not come: of which kind, what was seen; the item says how to make it again."""

    kind: str
    seen: str


@dataclass
class Item:
    """One try: its number and seed, what was done to make it, and what it gave."""

    number: int
    seed: int
    made: list[str] = field(default_factory=list)
    statuses: Any = None
    findings: list[Finding] = field(default_factory=list)
    printed: str = ""
    cpu_s: float = 0.0
    memory_mb: float = 0.0

    def find(self, kind: str, seen: str) -> None:
        """Add a finding."""
        assert kind in KINDS, kind
        self.findings.append(Finding(kind, seen))


def judge(item: Item, outcome: Outcome, statuses: Sequence[int]) -> None:
    """Findings that need no knowledge of what was run."""
    item.printed, item.cpu_s, item.memory_mb = outcome.printed, outcome.cpu_s, outcome.memory_mb
    for violation in outcome.violations:
        outside = violation.startswith(
            ("socket", "subprocess", "os.exec", "os.posix", "os.spawn", "os.system", "os.fork")
        )
        item.find(KINDS[1] if outside or violation.startswith(("pty", "urllib", "webbrowser")) else KINDS[0], violation)
    text = outcome.printed
    if outcome.end == "too long":
        item.find("longer than 20 s", f"{outcome.cpu_s:.1f} s of processor time")
    elif outcome.end != "done":
        item.find("traceback", f"the child ended by {outcome.end}: {_last(text)}")
    elif "Traceback (most recent call last)" in text:
        item.find("traceback", _last(text))
    if "fault in morphogen" in text:
        item.find("fault in morphogen", text[text.index("this is a fault") :].partition("\n")[0][:500])
    if outcome.memory_mb > MAX_MB:
        item.find("more than 2 GB", f"{outcome.memory_mb:,.0f} MB")
    if any(status not in (0, 1, 2) for status in statuses):
        item.find("traceback", f"exit status {statuses}")
    if found := _UNSAFE.search(text.replace("\r", "")):
        around = text[max(0, found.start() - 60) : found.start() + 60]
        item.find("unsafe text", f"{found[0]!r} in {around!r}")


def _last(text: str) -> str:
    return " / ".join(line.strip() for line in text.strip().splitlines()[-3:])[-600:]
