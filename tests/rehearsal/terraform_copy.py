"""The Terraform of this repository, copied and applied to the emulator."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.release.terraform_cli import Terraform
from infra.state_machine.__main__ import OUT, render
from infra.state_machine.dag import order, read_needs
from infra.state_machine.plan import make_plan
from infra.state_machine.sizes import read_sizes
from tasks.storage.files import write_atomic
from tests.infra.terraform.emulated import copy_of_root, find_mirror

WAIT_S = 1
SHORTENED = f"waits between attempts are {WAIT_S} s"
_PARALLEL = "-parallelism=30"


def plan(env: Mapping[str, Any], time_limits_s: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Return the state machine's plan with shorter waits; `time_limits_s` by task replace those of `env`."""
    tasks = order(read_needs(dict(env)))
    found = make_plan(tasks, read_sizes(env, [task.name for task in tasks]))
    found["defaults"]["wait_s"] = WAIT_S
    for container in (one for level in found["levels"] for one in level):
        limit = (time_limits_s or {}).get(container["name"])
        container["time_limit_s"] = limit or container["time_limit_s"]
    return found


class TerraformCopy(Terraform):
    """The root in a new folder, with the rehearsal's provider, plan and variables; quiet unless it fails."""

    def __init__(self, folder: Path, plan: Mapping[str, Any], variables: Sequence[str]):
        copy_of_root(folder)
        for path in (folder / "rehearsal").glob("*_override.tf"):
            shutil.copy2(path, folder)
        write_atomic(folder / OUT.name, render(plan))
        super().__init__(folder)
        self._variables = ["-var-file=small.tfvars.json", "-var=environment=rehearsal", *variables]

    def run(self, *words: str, quiet: bool = True, also_good: Sequence[int] = ()) -> int:
        return super().run(*words, quiet=True, also_good=also_good)

    def apply_all(self) -> dict[str, Any]:
        """Apply it and return its outputs; the provider is downloaded unless this machine has it."""
        mirror = find_mirror()
        self.run("init", "-input=false", *([f"-plugin-dir={mirror}"] if mirror else []))
        self.apply("-auto-approve", _PARALLEL, *self._variables)
        return self.outputs()

    def has_drift(self) -> bool:
        """Return whether a second plan would change anything."""
        return self.plan(self.folder.resolve() / "drift.tfplan", *self._variables)

    def destroy_all(self) -> None:
        """Destroy it."""
        self.destroy(_PARALLEL, *self._variables)
