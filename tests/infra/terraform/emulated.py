"""Terraform in tests: a copy of the root, initialized without network."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.conftest import ROOT, free_port

TERRAFORM = ROOT / "infra" / "terraform"
# What Python reads of Terraform.
OUTPUTS = [
    "region",
    "account_id",
    "bucket",
    "cluster",
    "pipeline_task_definition",
    "pipeline_container",
    "pipeline_subnets",
    "pipeline_security_groups",
    "state_machine_arn",
    "state_machine_role_arn",
    "schedule_name",
    "schedule_group",
    "topic_arn",
    "log_group",
    "pipeline_repository",
    "service_repository",
    "tracking_repository",
    "service_name",
    "listener_arn",
    "blue_target_group_arn",
    "green_target_group_arn",
    "blue_service",
    "green_service",
    "service_url",
    "tracking_uri",
    "alarm_names",
    "model_pointer",
    "service_task_definition",
    "service_container",
    "service_tasks",
    "service_log_group",
    "rollback_alarms",
    "tags",
]
_MIRRORS = ("/opt/tf-plugins", "/usr/share/terraform/plugins", "~/.terraform.d/plugins")


def terraform_command() -> str:
    """Return the program; skips without it."""
    return shutil.which("terraform") or pytest.skip("terraform is not installed")


def find_mirror() -> Path | None:
    """Return the folder above `registry.terraform.io`, if this machine has the AWS provider."""
    folders = [os.environ.get("CLICKLAB_TERRAFORM_PLUGINS"), *_MIRRORS]
    for folder in filter(None, folders):
        mirror = Path(folder).expanduser()
        if (mirror / "registry.terraform.io" / "hashicorp" / "aws").is_dir():
            return mirror
    return None


def provider_mirror() -> Path:
    """Return the folder above `registry.terraform.io`; skips without it."""
    return find_mirror() or pytest.skip(
        "the AWS provider is not installed; CLICKLAB_TERRAFORM_PLUGINS names the folder above registry.terraform.io"
    )


class Workspace:
    """A copy of the root in which commands run."""

    def __init__(self, folder: Path, **environment: str):
        self.folder = folder
        own = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "TF_"))
        }
        quiet = {"TF_IN_AUTOMATION": "1", "TF_CLI_CONFIG_FILE": os.devnull}
        self._environment = own | quiet | environment

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command; return the completed process."""
        command = [terraform_command(), *words]
        return subprocess.run(
            command, cwd=self.folder, env=self._environment, capture_output=True, text=True
        )

    def succeed(self, *words: str) -> str:
        """Run a command that must succeed; return its output."""
        done = self.run(*words)
        assert done.returncode == 0, f"terraform {words[0]}:\n{done.stdout[-2000:]}\n{done.stderr}"
        return done.stdout

    def init(self) -> None:
        """Initialize from local files, with exactly the locked provider."""
        self.succeed(
            "init", "-input=false", f"-plugin-dir={provider_mirror()}", "-lockfile=readonly"
        )

    def resources(self) -> list[dict[str, Any]]:
        """Return every managed resource in the state."""
        state = json.loads(self.succeed("show", "-json"))
        root = state.get("values", {}).get("root_module", {})
        return [one for one in _walk(root) if one["mode"] == "managed"]

    def outputs(self) -> dict[str, Any]:
        """Return the outputs by name."""
        found = json.loads(self.succeed("output", "-json"))
        return {name: entry["value"] for name, entry in found.items()}


def _walk(module: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from module.get("resources", [])
    for child in module.get("child_modules", []):
        yield from _walk(child)


def copy_of_root(folder: Path) -> Path:
    """Copy the root, without local state and settings; return the copy."""
    ignore = shutil.ignore_patterns(".terraform", "*.tfstate*", "outputs.json", "*.auto.tfvars*")
    return Path(shutil.copytree(TERRAFORM, folder, ignore=ignore))


@contextmanager
def emulator() -> Iterator[str]:
    """Yield the address of an emulated AWS."""
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.infra.emulator", str(port)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for(f"{address}/moto-api/", server)
        yield address
    finally:
        server.terminate()
        server.wait(10)


def _wait_for(address: str, server: subprocess.Popen) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urlopen(address, timeout=5):
                return
        except (URLError, TimeoutError):
            time.sleep(0.2)
    raise AssertionError(f"the emulator does not answer at {address}")
