"""Refuses, inside the kernel of a notebook that is tried, writes elsewhere, connections, and too much memory.

Python reports each file that it opens and each connection before it is made (PEP 578). What other languages do inside
a library (Arrow writing Parquet) is not reported; for that, the files of the copy are compared afterwards.
"""

import os
import resource
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

_HERE = {"127.0.0.1", "::1", "localhost", "", "0.0.0.0", None}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_ON_PATHS = {  # where an event's arguments hold a path, and the open folder that it is relative to
    "os.remove": ((0, 1),),
    "os.rename": ((0, 2), (1, 3)),
    "os.mkdir": ((0, 2),),
    "os.rmdir": ((0, 1),),
    "os.link": ((0, 2), (1, 3)),
    "os.symlink": ((1, 2),),
}
_ALWAYS = ("/dev/", "/proc/self/")
_CACHES = {"__pycache__", ".ipynb_checkpoints"}


class RefusedInTrial(PermissionError):
    """A notebook that is tried did what a step may not."""


def install(allowed: Sequence[str], memory_gb: float) -> None:
    """Refuse from now on, in this process: writes outside `allowed`, connections to other machines, more memory.

    Parameters
    ----------
    allowed
        Files, and folders with all they hold, as absolute paths.
    memory_gb
        What this process may allocate. Only Linux enforces it.
    """
    limit_memory(memory_gb)
    sys.addaudithook(hook(allowed))


def limit_memory(memory_gb: float) -> None:
    """Refuse this process and those that it starts more memory. Only Linux enforces it."""
    limit = int(memory_gb * 2**30)
    with suppress(ValueError, OSError):  # macOS knows the limit and refuses to set it
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def hook(allowed: Sequence[str]) -> Callable[[str, tuple[Any, ...]], None]:
    """Return the function that Python calls with each event; it raises RefusedInTrial."""
    places = tuple(os.path.realpath(path) for path in allowed)

    def check(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            if _writes(args[1], args[2]):
                _check_path(args[0], places)
        elif event == "os.truncate":
            _check_path(args[0], places)
        elif event in _ON_PATHS:
            for path, folder in _ON_PATHS[event]:
                _check_entry(args[path], args[folder], places)
        elif event in ("socket.connect", "socket.getaddrinfo"):
            _check_host(args[0] if event == "socket.getaddrinfo" else args[1])

    return check


def _writes(mode: Any, flags: Any) -> bool:
    if isinstance(mode, str):
        return bool(set(mode) & set("wax+"))
    return isinstance(flags, int) and bool(flags & _WRITING)


def _check_path(path: Any, places: Sequence[str]) -> None:
    if isinstance(path, int) or path is None:  # an open file
        return
    _check_place(os.path.realpath(os.fsdecode(path)), places)


def _check_entry(path: Any, folder: int, places: Sequence[str]) -> None:
    """Check the place of an entry of a folder; if it is a link, that is removed or renamed, not what it leads to."""
    above, name = os.path.split(os.fsdecode(path).rstrip(os.sep))
    base = Path.cwd()
    if folder >= 0:
        try:
            base = Path(f"/proc/self/fd/{folder}").readlink()
        except OSError:  # no Linux: the comparison afterwards finds it
            return
    is_entry = name not in ("", ".", "..")
    place = Path(os.path.realpath(base / above)) / name
    _check_place(str(place) if is_entry else os.path.realpath(place), places)


def _check_place(place: str, places: Sequence[str]) -> None:
    if place.startswith(_ALWAYS) or _CACHES & {*Path(place).parts}:
        return
    if not any(_is_allowed(place, one) for one in places):
        inside = os.path.relpath(place)
        shown = place if inside.startswith("..") else inside
        raise RefusedInTrial(f"writes {shown}, which is none of its products")


def _is_allowed(place: str, one: str) -> bool:
    """Return whether a path is an allowed one, lies in it, leads to it, or is named after it, as files to be renamed are."""
    folder, name = os.path.split(place)
    beside = folder == str(Path(one).parent) and Path(one).name in name
    return (
        place == one
        or place.startswith(f"{one}{os.sep}")
        or one.startswith(f"{place}{os.sep}")
        or beside
    )


def _check_host(address: Any) -> None:
    host = address[0] if isinstance(address, tuple) and address else address
    if isinstance(address, str | bytes) and os.sep in os.fsdecode(address):
        return  # a socket of this machine
    host = host.decode() if isinstance(host, bytes) else host
    if host not in _HERE:
        raise RefusedInTrial(f"connects to {host} over the network")
