"""The program that builds and pushes images: docker, podman or buildah, whichever works on this machine."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.errors import ClicklabError, ConfigError

_ALIVE: Mapping[str, Sequence[str]] = {
    "docker": ("version", "--format", "{{.Server.Version}}"),  # fails without a daemon
    "podman": ("info", "--format", "{{.Host.Arch}}"),
    "buildah": ("--version",),
}
_PLATFORMS = {"X86_64": "linux/amd64", "ARM64": "linux/arm64"}
_FLAGS = "CLICKLAB_BUILD_FLAGS"


class EngineError(ClicklabError):
    """The engine failed; its output is above."""


@dataclass(frozen=True)
class Engine:
    """One of the programs."""

    name: str

    def build(
        self,
        context: Path,
        dockerfile: str,
        tag: str,
        arguments: Mapping[str, str],
        architecture: str,
    ) -> None:
        """Build an image, with the additional flags of CLICKLAB_BUILD_FLAGS."""
        words = ["build", "--file", dockerfile, "--tag", tag]
        words += ["--platform", _PLATFORMS[architecture]]
        if self.name != "docker":
            words += ["--format", "docker"]  # the OCI format has no health checks
        for key, value in arguments.items():
            words += ["--build-arg", f"{key}={value}"]
        self._run(*words, *shlex.split(os.environ.get(_FLAGS, "")), ".", folder=context)

    def push(self, tag: str) -> None:
        """Push an image to the registry in its tag."""
        self._run("push", tag)

    def rename(self, tag: str, other: str) -> None:
        """Give an image a second tag; ConfigError if it has not been built."""
        done = subprocess.run([self.name, "tag", tag, other], capture_output=True, check=False)
        if done.returncode:
            raise ConfigError(f"there is no local image {tag}; run `make image` first")

    def login(self, registry: str, user: str, password: str) -> None:
        """Log in to a registry; the password is passed on stdin, so that no process list shows it."""
        command = [self.name, "login", "--username", user, "--password-stdin", registry]
        done = subprocess.run(command, input=password, capture_output=True, text=True, check=False)
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:]
            raise EngineError(f"{self.name} cannot log in to {registry}: {''.join(last)}")

    def _run(self, *words: str, folder: Path | None = None) -> None:
        done = subprocess.run([self.name, *words], cwd=folder, check=False)
        if done.returncode:
            raise EngineError(f"`{self.name} {words[0]}` failed, see above")


def find_engine() -> Engine:
    """Return the first engine that works, or the one that CLICKLAB_ENGINE names.

    Raises
    ------
    ConfigError
        If none works.
    """
    asked = os.environ.get("CLICKLAB_ENGINE")
    if asked and asked not in _ALIVE:
        raise ConfigError(f"CLICKLAB_ENGINE is {asked!r}; it must be one of {', '.join(_ALIVE)}")
    for name in [asked] if asked else _ALIVE:
        if is_alive(name):
            return Engine(name)
    missing = asked or "docker, podman or buildah"
    raise ConfigError(f"no image can be built: {missing} is not installed or not running")


def is_alive(name: str) -> bool:
    """Return whether a program is installed and works."""
    if shutil.which(name) is None:
        return False
    done = subprocess.run([name, *_ALIVE[name]], capture_output=True, check=False)
    return done.returncode == 0
