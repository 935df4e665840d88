"""A watch over one process: what loading must never do is seen by Python's audit hooks, refused and recorded.

Watched are other processes, sockets, questions on standard input, pickles, code from files that are not installed, and
changes of files outside the folders that the caller names. A hook cannot be taken off again: watch only in a child that
ends soon.
"""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from types import CodeType
from typing import Any

_PROCESSES = {
    "subprocess.Popen",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.system",
    "os.fork",
    "os.forkpty",
    "pty.spawn",
}
_SOCKETS = {
    "socket.connect",
    "socket.bind",
    "socket.sendto",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "urllib.Request",
}
_OTHERS = {"builtins.input", "pickle.find_class", "webbrowser.open", "code.__new__"}
_CHANGES = {  # event -> which of its arguments are paths that it changes
    "os.rename": (0, 1),
    "os.remove": (0,),
    "os.rmdir": (0,),
    "os.mkdir": (0,),
    "os.link": (1,),
    "os.symlink": (1,),
    "os.truncate": (0,),
    "os.chmod": (0,),
    "os.chown": (0,),
    "os.utime": (0,),
    "shutil.rmtree": (0,),
    "shutil.move": (0, 1),
    "shutil.copyfile": (1,),
}
_SYSTEM = ("/lib", "/usr/lib", "/usr/local/lib")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Refused(PermissionError):
    """What the watch answers, so that the forbidden thing does not happen."""


class Watch:
    """Violations, one line each, from `begin` on."""

    def __init__(self, writable: Sequence[Path]) -> None:
        self.violations: list[str] = []
        self._writable = [os.path.realpath(folder) for folder in writable]
        source = Path(__file__).resolve().parents[2]
        roots = [sysconfig.get_path("stdlib"), sys.prefix, sys.base_prefix, source / "src", source / "tests/fuzz"]
        self._code = tuple(os.path.realpath(root) + os.sep for root in [*roots, *site.getsitepackages()])
        self._busy = False

    def begin(self) -> None:
        """Watch this process until it ends."""
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._busy:
            return
        self._busy = True  # what the check itself does, resolving a path, is not heard
        try:
            found = self._violation(event, arguments)
        finally:
            self._busy = False
        if found:
            self.violations.append(found)
            raise Refused(f"refused by the watch: {found}")

    def _violation(self, event: str, arguments: tuple[Any, ...]) -> str:
        if event in _PROCESSES or event in _SOCKETS or event in _OTHERS:
            return f"{event} {arguments!r:.300}"
        if event == "exec":
            code = arguments[0]
            name = code.co_filename if isinstance(code, CodeType) else ""
            if name.startswith("<") or not name or os.path.realpath(name).startswith(self._code):
                return ""
            return f"code of {name} was run"
        if event == "ctypes.dlopen":
            name = arguments[0]
            apart = isinstance(name, str) and os.sep in name and not os.path.realpath(name).startswith(self._code)
            return f"the library {name} was opened" if apart and not name.startswith(_SYSTEM) else ""
        if event == "open":
            path, mode, flags = arguments
            writes = flags & _WRITING if isinstance(flags, int) else any(c in str(mode) for c in "wax+")
            return f"opened for writing: {path!r}" if writes and self._outside(path) else ""
        for position in _CHANGES.get(event, ()):
            if self._outside(arguments[position]):
                return f"{event} {arguments!r:.300}"
        return ""

    def _outside(self, path: Any) -> bool:
        if isinstance(path, int) or path is None:
            return False
        real = os.path.join(
            os.path.realpath(os.path.dirname(os.fsdecode(path)) or "."), os.path.basename(os.fsdecode(path))
        )
        if real == os.devnull:
            return False
        return not any(real == root or real.startswith(root + os.sep) for root in self._writable)
