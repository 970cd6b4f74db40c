"""Containers of the built images by podman, with a task's size as their limits; nothing is pulled.

Every container and layer carries the rehearsal's mark as a label, by which it is removed should the rehearsal be killed.
"""

import json
import os
import re
import secrets
import subprocess
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from infra.images.context import commit
from tasks.errors import ClicklabError, ConfigError
from tests.rehearsal.processes import MARK, Processes

PROGRAM = "podman"
_LABEL = "clicklab.rehearsal"
_BUILT = re.compile(r"localhost/clicklab-(pipeline|service|tracking):\S+")
_RETRY_S = 0.5


class PodmanError(ClicklabError):
    """A podman command failed."""


class Engine(NamedTuple):
    """What containers are: podman's, of the local image of each kind, or processes if there are none; and why."""

    built: Mapping[str, str] = {}
    why: str = "containers are processes of this machine"

    @property
    def tag(self) -> str:
        """The tag that task definitions name."""
        name = self.built.get("pipeline", "")
        return f"{name.rpartition(':')[2]}-rehearsal" if name else "initial"


def choose_engine(requested: str, kinds: Sequence[str]) -> Engine:
    """Return podman where it is installed and has this commit's images of these kinds, else processes.

    Raises
    ------
    ConfigError
        If `requested` is neither empty, "podman" nor "processes", or podman is requested and cannot be used.
    """
    if requested not in ("", "podman", "processes"):
        raise ConfigError(f"ENGINE is {requested!r}; it can be podman or processes")
    processes = Engine().why
    if requested == "processes":
        return Engine(why=f"{processes}, as requested")
    try:
        built = _built_images(kinds, may_be_dirty=bool(requested))
    except (ConfigError, PodmanError) as error:
        if requested:
            raise ConfigError(f"ENGINE=podman: {error}") from None
        return Engine(why=f"{processes}: {error}")
    names = ", ".join(name.removeprefix("localhost/") for name in built.values())
    return Engine(built, f"containers are podman's, of the built images {names}")


def _built_images(kinds: Sequence[str], *, may_be_dirty: bool) -> dict[str, str]:
    """Return the newest image of each kind that carries this commit's label."""
    known = json.loads(ask("info", "--format", "json"))["host"].get("cgroupControllers") or []
    if lacking := sorted({"cpu", "memory"} - set(known)):
        raise ConfigError(f"podman cannot limit {' and '.join(lacking)} here")
    now = commit(may_be_dirty=may_be_dirty)
    label = f"label=org.opencontainers.image.revision={now}"
    found: dict[str, str] = {}
    for name in ask("images", "--filter", label, "--format", "{{.Repository}}:{{.Tag}}").split():
        if match := _BUILT.fullmatch(name):  # the newest comes first
            found.setdefault(match[1], name)
    if missing := [kind for kind in kinds if kind not in found]:
        how = "make image DIRTY=1" if now.endswith("-dirty") else "make image"
        raise ConfigError(
            f"podman has no image of {' and '.join(missing)} at commit {now}; `{how}` builds them"
        )
    return {kind: found[kind] for kind in kinds}


class Container(Processes):
    """A container of a local image, with the interface of the processes that replace it elsewhere.

    Its process here is podman's client, which forwards the output and ends with the container's exit code. It can be
    started only inside :func:`tests.rehearsal.guard.guarded`.

    Parameters
    ----------
    command
        Empty: the image's own.
    cpu
        In ECS's units, 1024 per processor.
    volumes
        As podman writes them, ``here:there``.
    read_only
        Whether it can write to volumes only.
    """

    def __init__(
        self,
        image: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        cpu: int,
        memory_mb: int,
        on_line: Callable[[str], None],
        volumes: Collection[str] = (),
        read_only: bool = False,
    ):
        self._name = f"clicklab-{secrets.token_hex(6)}"
        mark = os.environ[MARK]
        self._folder = Path(mark, "podman", self._name)
        self._folder.mkdir(parents=True)
        variables = {**environment, MARK: mark}
        words = [PROGRAM, "run", "--name", self._name, "--label", f"{_LABEL}={mark}"]
        words += ["--pull", "never", "--network", "host", "--no-healthcheck", "--log-driver=none"]
        words += ["--cpus", f"{cpu / 1024:g}"]
        words += ["--memory", f"{memory_mb}m", "--memory-swap", f"{memory_mb}m"]
        words += ["--read-only", "--read-only-tmpfs=false"] if read_only else []
        for name in sorted(variables):  # podman reads the values: process lists show no keys
            words += ["--env", name]
        for volume in volumes:
            words += ["--volume", volume]
        words += [image, *command]
        client = os.environ | variables
        super().__init__(words, self._folder, client, memory_mb=None, on_line=on_line)

    def wait(self) -> int:
        """Return the exit code once the container has ended; it is removed."""
        code = super().wait()
        with suppress(PodmanError):
            state = ask("inspect", "--format", "{{.State.OOMKilled}}", self._name)
            # some versions of podman write the file `oom` here instead of setting the state
            self.memory_killed = state == "true" or (self._folder / "oom").exists()
            ask("rm", "--force", "--volumes", self._name)
        return code

    def stop(self, grace_s: float) -> None:
        """Send SIGTERM to process 1, and SIGKILL to all after the grace period."""
        threading.Thread(target=self._stop, args=(f"{grace_s:.0f}",), daemon=True).start()

    def kill(self) -> None:
        """Kill all at once."""
        with suppress(PodmanError):
            ask("kill", self._name)

    def _stop(self, grace_s: str) -> None:
        """Ask until it has ended: a container that is still being created cannot be stopped."""
        while self.is_running:
            with suppress(PodmanError):
                ask("stop", "--time", grace_s, self._name)
            with suppress(subprocess.TimeoutExpired):
                self._main.wait(_RETRY_S)


def add_layer(below: str, folder: Path, place: str) -> str:
    """Return the name of a new image: a folder's files at a place, over another image; PodmanError if it fails."""
    name, recipe = (
        f"localhost/clicklab-rehearsal:{secrets.token_hex(6)}",
        Path(f"{folder}.Dockerfile"),
    )
    recipe.write_text(f"FROM {below}\nCOPY . {place}/\n")
    label = ["--label", f"{_LABEL}={os.environ[MARK]}", "--tag", name, "--file", str(recipe)]
    ask("build", "--quiet", "--format", "docker", "--layers=false", *label, str(folder))
    return name


def remove_all(mark: str) -> None:
    """Remove every container and layer that carries a mark."""
    label = ["--filter", f"label={_LABEL}={mark}"]
    for listing, removal in (
        (["ps", "--all", "--quiet"], ["rm", "--force", "--volumes", "--time", "0"]),
        (["images", "--quiet"], ["rmi", "--force"]),
    ):
        with suppress(PodmanError):
            if found := set(ask(*listing, *label).split()):
                ask(*removal, *found)


def ask(*words: str) -> str:
    """Return what podman prints; PodmanError with its last line if it fails or is not installed."""
    try:
        done = subprocess.run([PROGRAM, *words], capture_output=True, text=True, check=False)
    except OSError as error:
        raise PodmanError(f"{PROGRAM} cannot be started ({error.strerror})") from None
    if done.returncode:
        last = "".join(done.stderr.strip().splitlines()[-1:])
        raise PodmanError(f"`podman {words[0]}` failed: {last}")
    return done.stdout.strip()
