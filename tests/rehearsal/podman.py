"""Containers of built images, run by podman in this machine's network with a task's size as their limits.

Every container and layer bears the rehearsal's mark as a label, so that it is found and removed should the rehearsal
be killed. Nothing is pulled.
"""

import os
import secrets
import subprocess
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tasks.errors import ClicklabError
from tests.rehearsal.processes import MARK, Processes

PROGRAM = "podman"
LAYERS = "localhost/clicklab-rehearsal"
_LABEL = "clicklab.rehearsal"
_AGAIN_S = 0.5


class PodmanError(ClicklabError):
    """Podman did not do what it was asked for."""


class Container(Processes):
    """A container of a local image, with the ways of the processes that stand for it elsewhere.

    Its process here is podman's client, which passes on what the container writes and ends with its exit code. It can be
    made only where a guard holds (:func:`tests.rehearsal.guard.guarded`).

    Parameters
    ----------
    command
        Empty: the image's own.
    cpu
        In ECS's units, 1024 a processor.
    volumes
        As podman writes them, ``here:there``; those of the image are made anew, with what it has there.
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
        say: Callable[[str], None],
        volumes: Collection[str] = (),
        read_only: bool = False,
    ):
        self._name = f"clicklab-{secrets.token_hex(6)}"
        mark = os.environ[MARK]
        self._folder = Path(mark, "podman", self._name)
        self._folder.mkdir(parents=True)
        told = {**environment, MARK: mark}
        words = run_words(
            self._name,
            cpu=cpu,
            memory_mb=memory_mb,
            variables=told,
            volumes=volumes,
            read_only=read_only,
        )
        here = {**os.environ, **told}
        super().__init__([*words, image, *command], self._folder, here, memory_mb=None, say=say)

    def wait(self) -> int:
        """Return the exit code when the container has ended; it is removed."""
        code = super().wait()
        with suppress(PodmanError):
            told = ask("inspect", "--format", "{{.State.OOMKilled}}", self._name)
            # by some versions the file that says so is written here, and not found where it is looked for
            self.memory_killed = told == "true" or (self._folder / "oom").exists()
            ask("rm", "--force", "--volumes", self._name)
        return code

    def stop(self, grace_s: float) -> None:
        """Send SIGTERM to process 1, and SIGKILL to all when the time is over."""
        threading.Thread(target=self._insist, args=(f"{grace_s:.0f}",), daemon=True).start()

    def kill(self) -> None:
        """End all at once."""
        with suppress(PodmanError):
            ask("kill", self._name)

    def _insist(self, grace_s: str) -> None:
        """Tell it until it has ended: a container that is being made cannot be stopped yet."""
        while self.is_running:
            with suppress(PodmanError):
                ask("stop", "--time", grace_s, self._name)
            with suppress(subprocess.TimeoutExpired):
                self._first.wait(_AGAIN_S)


def run_words(
    name: str,
    *,
    cpu: int,
    memory_mb: int,
    variables: Collection[str],
    volumes: Collection[str],
    read_only: bool,
) -> list[str]:
    """Return the command that runs a container, up to its image.

    Variables are named alone, as podman takes their values from its own environment: lists of processes show no keys.
    """
    words = [PROGRAM, "run", "--name", name, "--label", f"{_LABEL}={os.environ[MARK]}"]
    words += ["--pull", "never", "--network", "host", "--no-healthcheck", "--log-driver", "none"]
    words += ["--cpus", f"{cpu / 1024:g}"]
    words += ["--memory", f"{memory_mb}m", "--memory-swap", f"{memory_mb}m"]
    if read_only:
        words += ["--read-only", "--read-only-tmpfs=false"]
    for variable in sorted(variables):
        words += ["--env", variable]
    for volume in volumes:
        words += ["--volume", volume]
    return words


def layer(below: str, folder: Path, place: str) -> str:
    """Return the name of a new image: a folder's files at a place, over another image.

    Raises
    ------
    PodmanError
        If there is no such image, or it cannot be made.
    """
    name, recipe = f"{LAYERS}:{secrets.token_hex(6)}", folder.with_name(f"{folder.name}.Dockerfile")
    recipe.write_text(f"FROM {below}\nCOPY . {place}/\n")
    label = f"{_LABEL}={os.environ[MARK]}"
    words = ["--quiet", "--format", "docker", "--layers=false", "--label", label, "--tag", name]
    ask("build", *words, "--file", str(recipe), str(folder))
    return name


def remove_all(mark: str) -> None:
    """Remove every container and layer that bears a mark."""
    label = ["--filter", f"label={_LABEL}={mark}"]
    for look, remove in (
        (["ps", "--all", "--quiet"], ["rm", "--force", "--volumes", "--time", "0"]),
        (["images", "--quiet"], ["rmi", "--force"]),
    ):
        with suppress(PodmanError):
            found = set(ask(*look, *label).split())
            if found:
                ask(*remove, *found)


def ask(*words: str) -> str:
    """Return what podman prints.

    Raises
    ------
    PodmanError
        With its last line, if it fails or is not here.
    """
    try:
        done = subprocess.run([PROGRAM, *words], capture_output=True, text=True, check=False)
    except OSError as error:
        raise PodmanError(
            f"{PROGRAM} is not here or cannot be started ({error.strerror})"
        ) from None
    if done.returncode:
        last = "".join(done.stderr.strip().splitlines()[-1:])
        raise PodmanError(f"`podman {words[0]}` failed: {last}")
    return done.stdout.strip()
