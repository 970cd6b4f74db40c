"""From a file of variables to a deployment: ``terraform init``, ``plan``, a question, ``apply``, outputs written down.

Each environment has a Terraform workspace of its own, so that deploying one never replaces another.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from infra.aws import account, outputs, outputs_path, region_of_environment
from infra.release.confirm import ask
from infra.release.terraform_cli import FOLDER, Terraform
from infra.release.tfvars import read_defaults, read_tfvars
from tasks.errors import ConfigError
from tasks.storage.files import write_atomic

IMAGES = "images.auto.tfvars.json"
_YES = "pass --yes"


def variables_file(name: str, folder: Path = FOLDER) -> Path:
    """Return the file that an environment's name, or a path, stands for; ConfigError if there is none."""
    path = Path(name) if name.endswith(".tfvars") else folder / f"{name}.tfvars"
    if not path.is_file():
        known = ", ".join(sorted(found.stem for found in folder.glob("*.tfvars")))
        raise ConfigError(f"{path} is not there; there are {known or 'none'}")
    return path.resolve()


def read_variables(path: Path) -> dict[str, Any]:
    """Return the variables of a file over the defaults; ConfigError if it names no environment."""
    values = {**read_defaults(FOLDER / "variables.tf"), **read_tfvars(path)}
    if not values.get("environment"):
        raise ConfigError(f'{path.name} sets no environment; add for example environment = "small"')
    return values


def deploy(
    name: str, say: Callable[[str], None], *, is_sure: bool = False, only_images: bool = False
) -> None:
    """Create or change a deployment, and write its outputs down.

    Parameters
    ----------
    name
        An environment's name or a ``.tfvars`` file.
    is_sure
        Ask nothing.
    only_images
        Make the bucket and the images' repositories alone, so that images can be pushed before anything
        needs them.

    Raises
    ------
    ConfigError
        If this is another account or region than it should be, or the answer to a question is no.
    TerraformError
        If Terraform fails.
    """
    path = variables_file(name)
    variables = read_variables(path)
    terraform = Terraform()
    _check_place(variables, is_sure)
    if not only_images:
        _check_images(is_sure)
    terraform.init(variables["environment"])
    say(f"planning {variables['name']}-{variables['environment']} in {variables['region']} ...")
    plan = (terraform.folder / "deploy.tfplan").resolve()
    targets = ["-target=module.storage"] if only_images else []
    try:
        if terraform.plan(plan, f"-var-file={path}", *targets):
            if not is_sure:
                ask("apply this plan", answer="yes", otherwise=_YES)
            terraform.apply(str(plan))
        else:
            say("nothing differs from what is deployed")
    finally:
        plan.unlink(missing_ok=True)
    _write_outputs(terraform, say)


def show_plan(name: str, say: Callable[[str], None]) -> None:
    """Show what a deployment would change, and change nothing; raises as :func:`deploy`."""
    path = variables_file(name)
    variables = read_variables(path)
    terraform = Terraform()
    _check_place(variables, True)
    terraform.init(variables["environment"])
    plan = (terraform.folder / "shown.tfplan").resolve()
    try:
        changes = terraform.plan(plan, f"-var-file={path}")
    finally:
        plan.unlink(missing_ok=True)
    say("`make deploy` would change this" if changes else "nothing differs from what is deployed")


def fetch_outputs(name: str, say: Callable[[str], None]) -> None:
    """Write down where a deployment is, from its state; ConfigError if there is none."""
    terraform = Terraform()
    terraform.init(read_variables(variables_file(name))["environment"])
    _write_outputs(terraform, say)


def _write_outputs(terraform: Terraform, say: Callable[[str], None]) -> None:
    raw = terraform.outputs()
    if not raw:
        raise ConfigError("Terraform has no outputs; nothing was deployed")
    write_atomic(outputs_path(), json.dumps(raw, indent=1) + "\n")
    say(f"{outputs_path()} tells the other verbs where the deployment is")


def _check_place(variables: Mapping[str, Any], is_sure: bool) -> None:
    """Refuse another account or region than the file's; ask where only the last deployment was elsewhere."""
    region = str(variables["region"])
    asked = region_of_environment()
    if asked and asked != region:
        raise ConfigError(
            f"AWS_REGION is {asked}, the file of variables says {region}; make them one"
        )
    found = account()
    expected = str(variables.get("account_id") or "")
    if expected and expected != found:
        raise ConfigError(
            f"the credentials are of account {found}, the file of variables says {expected}; switch AWS_PROFILE"
        )
    try:
        last = outputs()
    except ConfigError:
        return
    before, now = (str(last["account_id"]), str(last["region"])), (found, region)
    if before != now and not is_sure:
        question = f"the last deployment from here was in {' '.join(before)}, this one is in {' '.join(now)}"
        ask(question, answer=found, otherwise=_YES)


def _check_images(is_sure: bool) -> None:
    """Ask before services are made that would wait for images."""
    if (FOLDER / IMAGES).is_file() or is_sure:
        return
    question = f"no image was pushed yet ({FOLDER / IMAGES} is missing), so no task can start"
    ask(
        question,
        answer="yes",
        otherwise="run `make deploy ONLY=images` and `make push` first, or pass --yes",
    )
