"""From a variables file to a deployment: ``terraform init``, ``plan``, a question, ``apply``, outputs saved.

Each environment has a Terraform workspace of its own, so that deploying one never replaces another.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from infra.aws import account, outputs, outputs_path, region_of_environment
from infra.images.pushed import PUSHED, keep_released, pushed_tags
from infra.release.confirm import confirm
from infra.release.terraform_cli import Terraform
from infra.release.variables import read_variables, variables_file
from tasks.errors import ConfigError
from tasks.storage.files import write_atomic

_YES = "pass --yes"
Say = Callable[[str], None]


def deploy(name: str, say: Say, *, is_sure: bool = False, only_images: bool = False) -> None:
    """Create or change a deployment, and save its outputs.

    Parameters
    ----------
    name
        An environment's name or a ``.tfvars.json`` file.
    is_sure
        Do not ask.
    only_images
        Create only the bucket and the image repositories, so that images can be pushed before anything
        needs them.

    Raises
    ------
    ConfigError
        If the account or region is not the expected one, or a question is answered with no.
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
                confirm("apply this plan", answer="yes", otherwise=_YES)
            terraform.apply(str(plan))
        else:
            say("no changes: the deployment is up to date")
    finally:
        plan.unlink(missing_ok=True)
    values = _save_outputs(terraform, say)
    if not only_images:
        _keep_images(values)


def _keep_images(values: Mapping[str, Any]) -> None:
    """Keep what the task definitions name from expiring in its repository, however much is pushed after it."""
    for name, tag in pushed_tags().items():
        if repository := values.get(f"{name}_repository"):
            keep_released(f"{repository}:{tag}")


def show_plan(name: str, say: Say) -> None:
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
    say("`make deploy` would apply this" if changes else "no changes: the deployment is up to date")


def fetch_outputs(name: str, say: Say) -> None:
    """Save a deployment's outputs from its state, and print its addresses; ConfigError if there are none."""
    terraform = Terraform()
    terraform.init(read_variables(variables_file(name))["environment"])
    _save_outputs(terraform, say)


def _save_outputs(terraform: Terraform, say: Say) -> dict[str, Any]:
    raw = terraform.outputs()
    if not raw:
        raise ConfigError("Terraform has no outputs: nothing is deployed; run `make deploy`")
    write_atomic(outputs_path(), json.dumps(raw, indent=1) + "\n")
    say(f"outputs saved to {outputs_path()}, which the other verbs read")
    values = {key: entry["value"] for key, entry in raw.items()}
    for line in addresses(values):
        say(line)
    return values


def addresses(values: Mapping[str, Any]) -> list[str]:
    """Return a line for each address that a user needs; parts that are off are left out.

    Examples
    --------
    >>> addresses({"service_url": "http://lb.example", "tracking_uri": "", "bucket": "b"})
    ['  service        http://lb.example', '  bucket         s3://b']
    """
    bucket = values.get("bucket")
    found = {
        "service": values.get("service_url"),
        "MLflow": values.get("tracking_uri"),
        "bucket": bucket and f"s3://{bucket}",
        "model pointer": values.get("model_pointer"),
    }
    return [f"  {name:<15}{address}" for name, address in found.items() if address]


def _check_place(variables: Mapping[str, Any], is_sure: bool) -> None:
    """Refuse an account or region other than the file's; ask if only the last deployment was elsewhere."""
    region = str(variables["region"])
    wanted = region_of_environment()
    if wanted and wanted != region:
        raise ConfigError(
            f"AWS_REGION is {wanted}, the variables file has {region}; make them the same"
        )
    found = account()
    expected = str(variables.get("account_id") or "")
    if expected and expected != found:
        raise ConfigError(
            f"the credentials belong to account {found}, the variables file has {expected}; switch AWS_PROFILE"
        )
    try:
        last = outputs()
    except ConfigError:
        return
    before, now = (str(last["account_id"]), str(last["region"])), (found, region)
    if before != now and not is_sure:
        question = f"the last deployment from here was in {' '.join(before)}, this one is in {' '.join(now)}"
        confirm(question, answer=found, otherwise=_YES)


def _check_images(is_sure: bool) -> None:
    """Ask before services are created that would wait for images."""
    if pushed_tags() or is_sure:
        return
    confirm(
        f"no image has been pushed ({PUSHED} is missing), so no task can start",
        answer="yes",
        otherwise="run `make deploy ONLY=images` and `make push` first, or pass --yes",
    )
