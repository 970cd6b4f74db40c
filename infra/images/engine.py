"""The program that builds and pushes images: docker, podman or buildah, whichever works here."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.errors import ClicklabError, ConfigError

_ALIVE: Mapping[str, Sequence[str]] = {
    "docker": ("version", "--format", "{{.Server.Version}}"),  # the client alone builds nothing
    "podman": ("info", "--format", "{{.Host.Arch}}"),
    "buildah": ("--version",),
}
_PLATFORMS = {"X86_64": "linux/amd64", "ARM64": "linux/arm64"}
_FLAGS = "CLICKLAB_BUILD_FLAGS"


class EngineError(ClicklabError):
    """The engine failed; what it said stands above."""


@dataclass(frozen=True)
class Engine:
    """One of the programs, by name."""

    name: str

    def build(
        self,
        context: Path,
        dockerfile: str,
        tag: str,
        arguments: Mapping[str, str],
        architecture: str,
    ) -> None:
        """Build an image; flags of CLICKLAB_BUILD_FLAGS go with it."""
        words = ["build", "--file", dockerfile, "--tag", tag]
        words += ["--platform", _PLATFORMS[architecture]]
        if self.name != "docker":
            words += ["--format", "docker"]  # the other format has no health checks
        for key, value in arguments.items():
            words += ["--build-arg", f"{key}={value}"]
        self._run(*words, *shlex.split(os.environ.get(_FLAGS, "")), ".", folder=context)

    def push(self, tag: str) -> None:
        """Push an image to the registry that its tag names."""
        self._run("push", tag)

    def rename(self, tag: str, other: str) -> None:
        """Give an image another tag too; ConfigError if it was not built."""
        done = subprocess.run([self.name, "tag", tag, other], capture_output=True, check=False)
        if done.returncode:
            raise ConfigError(f"there is no image {tag} here; run `make image` first")

    def login(self, registry: str, user: str, password: str) -> None:
        """Log in to a registry; the password goes in by a pipe, so that no list of processes shows it."""
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
    """Return the first engine that works; CLICKLAB_ENGINE names one.

    Raises
    ------
    ConfigError
        If there is none.
    """
    asked = os.environ.get("CLICKLAB_ENGINE")
    if asked and asked not in _ALIVE:
        raise ConfigError(f"CLICKLAB_ENGINE is {asked!r}; it can be {', '.join(_ALIVE)}")
    for name in [asked] if asked else _ALIVE:
        if is_alive(name):
            return Engine(name)
    found = asked or "docker, podman or buildah"
    raise ConfigError(f"no image can be built: {found} is not here or does not answer; start one")


def is_alive(name: str) -> bool:
    """Return whether a program is there and answers."""
    if shutil.which(name) is None:
        return False
    done = subprocess.run([name, *_ALIVE[name]], capture_output=True, check=False)
    return done.returncode == 0
