"""Terraform as the verbs call it: in its folder, without prompts, with failures in one line."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.errors import ClicklabError, ConfigError

FOLDER = Path("infra/terraform")
MINIMUM = (1, 11)  # as in versions.tf
_COLOR = re.compile(r"\x1b\[[0-9;]*m")
_CHANGES = 2  # exit code of `plan -detailed-exitcode`


class TerraformError(ClicklabError):
    """Terraform failed; its output is above."""


class Terraform:
    """Terraform in the folder of a root module.

    Raises
    ------
    ConfigError
        If the program is not installed; CLICKLAB_TERRAFORM names another.
    """

    def __init__(self, folder: Path = FOLDER):
        name = os.environ.get("CLICKLAB_TERRAFORM") or "terraform"
        found = shutil.which(name)
        if found is None:
            raise ConfigError(
                f"{name} was not found; install Terraform {minimum_version()} or newer"
            )
        self.program, self.folder = found, folder

    def init(self, workspace: str) -> None:
        """Install the locked providers and select the workspace of an environment."""
        backend = self.folder / "backend.hcl"
        words = [f"-backend-config={backend.name}"] if backend.is_file() else []
        self.run("init", "-input=false", *words, quiet=True)
        self.run("workspace", "select", "-or-create", workspace, quiet=True)

    def plan(self, out: Path, *words: str) -> bool:
        """Save a plan and show it; return whether it changes anything."""
        words = ("-input=false", "-detailed-exitcode", f"-out={out}", *words)
        return self.run("plan", *words, also_good=(_CHANGES,)) == _CHANGES

    def apply(self, *words: str) -> None:
        """Apply a saved plan, or the configuration with options."""
        self.run("apply", "-input=false", *words)

    def destroy(self, *words: str) -> None:
        """Destroy everything in the state."""
        self.run("destroy", "-input=false", "-auto-approve", *words)

    def outputs(self) -> dict[str, Any]:
        """Return the outputs in the form of `terraform output -json`."""
        return dict(json.loads(self._text("output", "-json") or "{}"))

    def addresses(self) -> list[str]:
        """Return the addresses in the state except data sources; none if there is no state yet."""
        lines = self._text("state", "list", may_fail=True).split()
        return [line for line in lines if not _is_data(line)]

    def version(self) -> Mapping[str, Any]:
        """Return ``terraform_version`` and ``provider_selections``."""
        return dict(json.loads(self._text("version", "-json")))

    def run(self, *words: str, quiet: bool = False, also_good: Sequence[int] = ()) -> int:
        """Run a command and return its exit code; its output is shown unless it is quiet and succeeds."""
        done = subprocess.run(
            [self.program, *words],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=quiet,
            text=True,
            check=False,
            env=os.environ | {"TF_IN_AUTOMATION": "1"},
        )
        if done.returncode not in (0, *also_good):
            raise TerraformError(
                f"`terraform {words[0]}` failed{_reason(done.stderr) if quiet else ', see above'}; "
                "fix that and run the same command again"
            )
        return done.returncode

    def _text(self, *words: str, may_fail: bool = False) -> str:
        done = subprocess.run(
            [self.program, *words],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode and may_fail and "No state file" in done.stderr:
            return ""
        if done.returncode:
            raise TerraformError(f"`terraform {' '.join(words)}` failed{_reason(done.stderr)}")
        return done.stdout


def minimum_version() -> str:
    """Return the oldest supported version as text."""
    return ".".join(map(str, MINIMUM))


def _is_data(address: str) -> bool:
    return _parts(address)[-3:-2] == ["data"]


def type_of(address: str) -> str:
    """Return the type of a resource.

    Examples
    --------
    >>> type_of('module.serving[0].aws_ecs_service.this["blue"]')
    'aws_ecs_service'
    """
    return _parts(address)[-2]


def _parts(address: str) -> list[str]:
    """Split an address at its dots, without keys, which may contain dots."""
    return ["", *re.sub(r"\[[^\]]*\]", "", address).split(".")]


def _reason(text: str | None) -> str:
    r"""Return the first line of Terraform's output that names an error, without ANSI colors.

    >>> _reason("Some warning\n\x1b[31m│\x1b[0m \x1b[1m\x1b[31mError: \x1b[0mno such file\x1b[0m")
    ' (Error: no such file)'
    """
    plain = _COLOR.sub("", text or "")
    lines = [" ".join(line.strip(" │╷╵").split()) for line in plain.splitlines()]
    errors = [line for line in lines if line.startswith("Error:")]
    found = next(iter(errors or [line for line in lines if line]), "")
    return f" ({found[:300]})" if found else ""
