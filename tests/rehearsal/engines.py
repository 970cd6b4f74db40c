"""What a rehearsal's containers are: podman's, of the images that were built of this commit, or processes."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from infra.images.context import commit
from tasks.errors import ConfigError
from tests.rehearsal.podman import PodmanError, ask

ENGINES = ("podman", "processes")
_LIMITS = {"cpu", "memory"}
_BUILT = re.compile(r"localhost/clicklab-(pipeline|service|tracking):\S+")


class Engine(NamedTuple):
    """What was chosen.

    Attributes
    ----------
    built
        The local image of each kind; none: containers are processes.
    why
        The choice and its reason, in one line.
    """

    built: Mapping[str, str]
    why: str

    def tag(self, kind: str) -> str:
        """Return the tag in ECR of an image that the rehearsal lays its own files over."""
        name = self.built.get(kind, "")
        return f"{name.rpartition(':')[2]}-rehearsal" if name else "initial"


PROCESSES = Engine({}, "containers are processes of this machine")


def choose(asked: str, kinds: Sequence[str]) -> Engine:
    """Return what containers are to be.

    Parameters
    ----------
    asked
        One of ENGINES; empty: podman where it is and has the images of this commit, as no image is built here.
    kinds
        The images that are needed.

    Raises
    ------
    ConfigError
        If it is none of them, or podman is asked for and cannot be taken.
    """
    if asked not in ("", *ENGINES):
        raise ConfigError(f"ENGINE is {asked!r}; it can be {' or '.join(ENGINES)}")
    if asked == "processes":
        return PROCESSES._replace(why=f"{PROCESSES.why}, as asked for")
    try:
        built = _built(kinds, may_be_dirty=bool(asked))
    except (ConfigError, PodmanError) as error:
        if asked:
            raise ConfigError(f"ENGINE=podman: {error}") from None
        return PROCESSES._replace(why=f"{PROCESSES.why}: {error}")
    names = ", ".join(name.removeprefix("localhost/") for name in built.values())
    reason = "as asked for" if asked else "as they are here"
    return Engine(built, f"containers are podman's, of the built images {names}, {reason}")


def _built(kinds: Sequence[str], *, may_be_dirty: bool) -> dict[str, str]:
    """Return the newest image of each kind that has this commit's label."""
    known = json.loads(ask("info", "--format", "json"))["host"].get("cgroupControllers") or []
    if lacking := sorted(_LIMITS - set(known)):
        raise ConfigError(f"podman cannot limit {' and '.join(lacking)} here")
    now = commit(may_be_dirty=may_be_dirty)
    label = f"label=org.opencontainers.image.revision={now}"
    listed = ask("images", "--filter", label, "--format", "{{.Repository}}:{{.Tag}}")
    found: dict[str, str] = {}
    for name in listed.split():  # the newest first
        if match := _BUILT.fullmatch(name):
            found.setdefault(match[1], name)
    if missing := [kind for kind in kinds if kind not in found]:
        how = "make image DIRTY=1" if now.endswith("-dirty") else "make image"
        raise ConfigError(
            f"podman has no image of {' and '.join(missing)} at commit {now}; `{how}` builds them"
        )
    return {kind: found[kind] for kind in kinds}
