"""One thing that can go, and how."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class Removable(NamedTuple):
    """Something that nothing uses.

    Attributes
    ----------
    kind, name
        What it is, and which.
    n_bytes
        What removing it frees.
    remove
        Removes it, unless it has come into use since; returns whether it did.
    """

    kind: str
    name: str
    n_bytes: int
    remove: Callable[[], bool]


def n_bytes_below(place: Path) -> int:
    """Return the bytes of a file, or of all files below a folder; links count as none."""
    if not place.is_dir():
        return place.lstat().st_size
    return sum(
        (Path(folder) / name).lstat().st_size
        for folder, _, names in os.walk(place)
        for name in names
    )


def is_older(time_s: float, days: float) -> bool:
    """Return whether a moment, seconds since 1970, is at least so many days past."""
    return time.time() - time_s >= days * 86400
