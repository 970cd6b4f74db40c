"""The pinned requirements of the service, from the lock file: the rest stays out of the Bento."""

import re
from collections.abc import Sequence

from tasks.errors import InputError

SERVING = (
    "bentoml",
    "boto3",
    "httptools",
    "msgspec",
    "numba",
    "numpy",
    "prometheus-client",
    "pyarrow",
    "pyyaml",
    "uvloop",
)  # what the service imports, or uvicorn uses if present


def serving_requirements(lock: str, roots: Sequence[str] = SERVING) -> list[str]:
    """Return the pinned requirements that `roots` need, directly or indirectly, sorted.

    Reads the ``# via`` comments that uv writes below each requirement, so nothing has to be installed.

    Raises
    ------
    InputError
        If a root is not in the lock.
    """
    pins: dict[str, list[str]] = {}
    parents: dict[str, set[str]] = {}
    name = ""
    for line in lock.splitlines():
        pin = re.match(r"([a-z0-9][a-z0-9._-]*)(?:\[[^\]]*\])?==[^\\]*", line)
        note = re.match(r"    # (?:via| ) *([a-z0-9][a-z0-9._-]*)?", line)
        if pin:
            name = pin[1]
            pins.setdefault(name, []).append(pin[0].strip())
            parents.setdefault(name, set())
        elif note and note[1]:
            parents[name].add(note[1])
    lost = [root for root in roots if root not in pins]
    if lost:
        raise InputError(
            f"requirements.lock does not pin {lost[0]!r}, which the service needs; run `make lock`"
        )
    needed = set(roots)
    while more := {child for child, above in parents.items() if above & needed} - needed:
        needed |= more
    return sorted(line for child in needed for line in pins[child])
