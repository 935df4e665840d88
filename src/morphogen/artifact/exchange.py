"""Exchange two folders in one step, by RENAME_EXCHANGE of Linux's renameat2. Readers always find one of them."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path

_HERE = -100  # AT_FDCWD: paths are relative to the working folder
_EXCHANGE = 2  # RENAME_EXCHANGE
_LACKING = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM}  # errors of systems that lack it


def exchanged(a: Path, b: Path) -> bool:
    """Exchange `a` and `b`, which both exist on one file system.

    Returns False, and does nothing, if the system or the file system cannot do it. Raises `OSError` if it fails.
    """
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if sys.platform == "linux" else None
    if rename is None:
        return False
    if rename(_HERE, os.fsencode(a), _HERE, os.fsencode(b), _EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _LACKING:
        return False
    raise OSError(code, os.strerror(code), str(a))
