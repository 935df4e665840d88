"""The memory that is left. Readers refuse a file that claims more, before they allocate anything."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

UNKNOWN = 8 << 30  # assumed if the system does not say
_GROUP = Path("/sys/fs/cgroup")


def available_bytes() -> int:
    """The bytes that this process can still allocate: the free memory, within the limits of its group and its own."""
    return max(0, min(_limits(), default=UNKNOWN))


def in_words(n: int) -> str:
    """Write a number of bytes with three digits and a binary unit."""
    size, units = float(n), ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
    while size >= 1024.0 and len(units) > 1:
        size, units = size / 1024.0, units[1:]
    return f"{size:.3g} {units[0]}" if size < 1000 else f"{size:,.0f} {units[0]}"


def _limits() -> Iterator[int]:
    free = _field("/proc/meminfo", "MemAvailable:")
    if free is not None:
        yield free << 10
    elif hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    most, used = _number(_GROUP / "memory.max"), _number(_GROUP / "memory.current")
    if most is not None and used is not None:
        reclaimable = _field(str(_GROUP / "memory.stat"), "inactive_file") or 0
        yield most - used + reclaimable
    try:
        import resource
    except ImportError:  # not on Windows
        return
    own = resource.getrlimit(resource.RLIMIT_AS)[0]
    size = _field("/proc/self/status", "VmSize:")
    if own != resource.RLIM_INFINITY:
        yield own - ((size or 0) << 10)


def _field(path: str, name: str) -> int | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as lines:
            return next((int(line.split()[1]) for line in lines if line.startswith(name)), None)
    except (OSError, ValueError, IndexError):
        return None


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # "max": no limit
        return None
