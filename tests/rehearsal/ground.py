"""The real Terraform root applied to an emulator, in a copy beside it."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from infra.release.terraform_cli import FOLDER, Terraform
from tasks.errors import ConfigError
from tasks.storage.files import write_atomic
from tests.rehearsal import serving_account
from tests.rehearsal.emulator import Emulator

_MIRRORS = ("/opt/tf-plugins", "/usr/share/terraform/plugins", "~/.terraform.d/plugins")
_LEFT_OUT = shutil.ignore_patterns(
    ".terraform", "terraform.tfstate*", "outputs.json", "*.auto.tfvars.json"
)
_PARALLEL = "-parallelism=30"


class Ground:
    """A copy of the root, and the emulator that it is applied to; `tag` is the pipeline image's.

    Raises
    ------
    ConfigError
        If there is no Terraform.
    """

    def __init__(self, emulator: Emulator, repository: Path, folder: Path, template: str, tag: str):
        shutil.copytree(repository / FOLDER, folder, ignore=_LEFT_OUT)
        for path in (folder / "rehearsal").glob("*_override.tf"):
            shutil.copy2(path, folder)
        write_atomic(folder / "state_machine.json.tftpl", template)
        self._emulator = emulator
        self._terraform = _Quiet(folder)
        limits, per_task = serving_account.LIMITS, serving_account.PER_TASK
        self._words = [
            "-var-file=small.tfvars.json",
            "-var=environment=rehearsal",
            f"-var=images={{pipeline={json.dumps(tag)}}}",
            f"-var=service_tasks={{min={limits['min']},max={limits['max']}}}",
            f"-var=requests_per_task={per_task}",
            "-var=service_size={cpu=1024,memory_mb=2048}",
        ]

    def apply(self) -> dict[str, Any]:
        """Apply it and return its outputs, which are also written where the verbs look."""
        with self._place():
            self._terraform.run("init", "-input=false", *_mirror(), quiet=True)
            self._terraform.apply("-auto-approve", _PARALLEL, *self._words)
            found = self._terraform.outputs()
        write_atomic(self._emulator.folder / "outputs.json", json.dumps(found))
        return {name: one["value"] for name, one in found.items()}

    def n_resources(self) -> int:
        """Return how many resources there are."""
        with self._place():
            return len(self._terraform.addresses())

    def has_drift(self, plan: Path) -> bool:
        """Return whether a second plan would change anything."""
        with self._place():
            return self._terraform.plan(plan.resolve(), *self._words)

    def destroy(self) -> None:
        """Destroy all of it."""
        with self._place():
            self._terraform.destroy(_PARALLEL, *self._words)

    @contextmanager
    def _place(self) -> Iterator[None]:
        with patch.dict(os.environ, self._emulator.variables()):
            yield


class _Quiet(Terraform):
    """Terraform whose output is shown only where it fails."""

    def run(self, *words: str, quiet: bool = True, also_good: Any = ()) -> int:
        return super().run(*words, quiet=True, also_good=also_good)


def _mirror() -> list[str]:
    """Return where the provider lies on this machine; nothing: it is fetched from the registry."""
    places = [os.environ.get("CLICKLAB_TERRAFORM_PLUGINS"), *_MIRRORS]
    for place in filter(None, places):
        folder = Path(place).expanduser()
        if (folder / "registry.terraform.io/hashicorp/aws").is_dir():
            return [f"-plugin-dir={folder}"]
    return []


def with_image(emulator: Emulator, revision: str, tag: str) -> str:
    """Register a copy of a task definition's revision with another tag of its image; return its ARN."""
    ecs = emulator.client("ecs")
    found = ecs.describe_task_definition(taskDefinition=revision)["taskDefinition"]
    if not found["containerDefinitions"]:
        raise ConfigError(f"{revision} has no container")
    container = found["containerDefinitions"][0]
    container["image"] = f"{container['image'].rpartition(':')[0]}:{tag}"
    kept = (
        "family",
        "networkMode",
        "requiresCompatibilities",
        "cpu",
        "memory",
        "taskRoleArn",
        "executionRoleArn",
        "volumes",
    )
    new = ecs.register_task_definition(
        containerDefinitions=[container], **{name: found[name] for name in kept}
    )
    return str(new["taskDefinition"]["taskDefinitionArn"])
