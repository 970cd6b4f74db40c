"""What Linux itself refuses a trial: to write outside of its folder, by whatever program or library, through a link too.

Landlock (Linux 5.13) lets a process give up rights for itself and all that it starts. Where it is missing, or cannot yet
refuse to shorten a file (before 6.2), nothing is refused here.
"""

import ctypes
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the system calls
_ASK_VERSION, _LEAST = 1, 3
_NO_NEW_PRIVILEGES = 38  # of prctl, which Landlock asks for
_OF_FILES = 1 << 1 | 1 << 14  # to write and to shorten one
_OF_FOLDERS = _OF_FILES | sum(1 << bit for bit in range(4, 14))  # to remove, make and move entries
_DEVICES = "/dev"  # null, terminals, shared memory


def confine(folders: Iterable[str | Path]) -> bool:
    """Refuse from now on, to this thread and all that it starts, writes outside of folders; return whether Linux does.

    Parameters
    ----------
    folders
        They exist, and all that they hold may be written. So may devices.
    """
    if sys.platform != "linux":
        return False
    if _call(_CREATE, None, 0, _ASK_VERSION) < _LEAST:
        return False
    rules = _call(_CREATE, struct.pack("=Q", _OF_FOLDERS), 8, 0)
    if rules < 0:
        return False
    try:
        for folder in (*folders, _DEVICES):
            opened = os.open(folder, os.O_PATH | os.O_CLOEXEC)
            try:
                _call(_ADD, rules, 1, struct.pack("=Qi", _OF_FOLDERS, opened), 0)
            finally:
                os.close(opened)
        ctypes.CDLL(None).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        return _call(_RESTRICT, rules, 0) == 0
    finally:
        os.close(rules)


def _call(number: int, *args: int | bytes | None) -> int:
    given = [ctypes.c_long(one) if isinstance(one, int) else one for one in args]
    system_call = ctypes.CDLL(None).syscall
    system_call.restype = ctypes.c_long
    return int(system_call(ctypes.c_long(number), *given))
