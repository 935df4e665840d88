"""Two folders change places in one step, so that nobody ever finds neither: RENAME_EXCHANGE of Linux's renameat2."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path

_HERE = -100  # AT_FDCWD: paths are relative to the working folder
_EXCHANGE = 2  # RENAME_EXCHANGE
_LACKING = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM}  # what systems say that do not have it


def exchanged(a: Path, b: Path) -> bool:
    """Exchange `a` and `b`, which both exist on one file system.

    Returns False, and does nothing, where the system or the file system cannot. Raises `OSError` where it fails.
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
