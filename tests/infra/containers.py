"""Built images, run for real: containers in the network of this machine, or a reason why there are none."""

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.request import urlopen

import pytest

from infra.images.__main__ import main as images
from infra.images.engine import find_engine, is_alive
from tasks.errors import ConfigError

DEFAULT_BASE = "docker.io/library/python:3.11-slim-bookworm"


@dataclass(frozen=True)
class Container:
    """A container that was started, by name."""

    program: str
    name: str

    def call(self, *words: str) -> str:
        """Run a command of the engine about this container and return what it printed, its log included."""
        command = [self.program, *words, self.name]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
        )
        return done.stdout

    def wait_for(self, url: str, *, patience_s: float = 120) -> float:
        """Return after how many seconds the address answers 200; fails if the container ends before."""
        begun = time.monotonic()
        while time.monotonic() < begun + patience_s:
            with suppress(OSError), urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return time.monotonic() - begun
            assert "true" in self.call("inspect", "--format", "{{.State.Running}}"), self.call(
                "logs"
            )
            time.sleep(0.2)
        raise AssertionError(f"{url} did not answer in {patience_s} s\n{self.call('logs')}")

    def run(self, *words: str) -> str:
        """Run a command in the container and return what it printed; its failure is the test's."""
        command = [self.program, "exec", self.name, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def stop(self) -> int:
        """Send SIGTERM and return the exit code: 137 if it did not end in 30 s, as many as ECS gives by default."""
        self.call("stop", "--time", "30")
        return int(self.call("inspect", "--format", "{{.State.ExitCode}}").split()[-1])

    def health_check(self) -> list[str]:
        """Return the command by which the image says how it is asked for its health."""
        shown = self.call("inspect", "--format", "{{json .Config.Healthcheck.Test}}")
        kind, *command = json.loads(shown.splitlines()[-1])
        assert kind == "CMD", "no shell in between"
        return command


def runner() -> str:
    """Return the program that runs what the engine built; skips the test where there is none."""
    try:
        engine = find_engine()
    except ConfigError as error:
        pytest.skip(str(error))
    program = "podman" if engine.name == "buildah" else engine.name  # they share their images
    if not is_alive(program):
        pytest.skip(
            f"{engine.name} builds images here, but {program}, which would run them, is not here"
        )
    return program


def base(program: str) -> str:
    """Return the base image that is here; skips the test where there is none, as nothing is pulled by a test."""
    name = os.environ.get("CLICKLAB_BASE", DEFAULT_BASE)
    words = [program, "image", "inspect", name]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip(
            f"the base image {name} is not here; pull it, or make one (infra/images/README.md)"
        )
    return name


def build(name: str, *words: str) -> tuple[str, str]:
    """Build an image of the files as they are; return the program that runs it, and its tag."""
    program = runner()
    tag = "test"
    asked = ["build", name, "--dirty", "--tag", tag, "--base", base(program), *words]
    assert images(asked) == 0
    return program, _local(f"clicklab-{name}:{tag}", program)


def containerize(tag: str) -> tuple[str, str]:
    """Let BentoML build its own image of a Bento; return the program that runs it, and the image's tag.

    CLICKLAB_CONTAINERIZE holds more options, such as those of docs/serving.md; without Docker there have to be some.
    """
    program, engine = runner(), find_engine().name
    more = os.environ.get("CLICKLAB_CONTAINERIZE", "")
    if engine != "docker" and not more:
        pytest.skip(
            f"{engine} needs a base with uv to follow BentoML's Dockerfile; CLICKLAB_CONTAINERIZE names it, "
            "as docs/serving.md does"
        )
    command = [sys.executable, "-W", "ignore", "-m", "bentoml", "containerize", tag]
    command += ["--backend", engine, "--image-tag", "clicklab-generated:test", *shlex.split(more)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return program, _local("clicklab-generated:test", program)


def _local(name: str, program: str) -> str:
    """Return how a program calls an image that was built here."""
    return f"localhost/{name}" if program == "podman" else name


@contextmanager
def running(
    built: tuple[str, str],
    command: Sequence[str] = (),
    *,
    environment: Mapping[str, str],
    memory_mb: int = 1024,
    read_only: bool = False,
) -> Iterator[Container]:
    """Start a container in this machine's network; it is removed at the end.

    Read-only, it can write to the image's volumes alone, as a task of ECS to those that are mounted.
    """
    program, image = built
    container = Container(program, f"clicklab-test-{os.getpid()}")
    words = [program, "run", "--detach", "--name", container.name, "--network", "host"]
    words += ["--memory", f"{memory_mb}m", "--cap-drop", "all"]
    words += _read_only(program) if read_only else []
    for key, value in environment.items():
        words += ["--env", f"{key}={value}"]
    started = subprocess.run([*words, image, *command], capture_output=True, text=True, check=False)
    try:
        assert started.returncode == 0, started.stderr
        yield container
    finally:
        command = [program, "rm", "--force", "--volumes", container.name]
        subprocess.run(command, capture_output=True, check=False)


def finished(
    built: tuple[str, str], command: Sequence[str], *, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a read-only container to its end and return how it ended, with what it printed."""
    program, image = built
    words = [program, "run", "--rm", "--network", "host", "--cap-drop", "all"]
    words += _read_only(program)
    for key, value in environment.items():
        words += ["--env", f"{key}={value}"]
    return subprocess.run([*words, image, *command], capture_output=True, text=True, check=False)


def _read_only(program: str) -> list[str]:
    """Return the options by which an image's volumes alone can be written to."""
    return ["--read-only", *(["--read-only-tmpfs=false"] if program == "podman" else [])]
