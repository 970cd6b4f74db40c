"""Take a deployment down: show what will go, have its name typed back, destroy, and prove that nothing is left."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.aws import client, outputs_path, readable_aws_errors
from infra.release.confirm import ask
from infra.release.deploy import read_variables, variables_file
from infra.release.leftovers import list_tagged, remove_revisions
from infra.release.terraform_cli import Terraform, type_of
from tasks.errors import ClicklabError, ConfigError

DATA = ("aws_s3_bucket", "aws_db_instance")
_PROTECTED = (*DATA, "aws_ecr_repository", "aws_lb")
_ALLOWED = "deletion_protection=false and force_destroy=true"
_UNPROTECTED = ("-var=deletion_protection=false", "-var=force_destroy=true")
_COUNTED = 100_000

Say = Callable[[str], None]
Values = Mapping[str, Any]


class LeftoverError(ClicklabError):
    """Something that carries the deployment's tags is still there."""


def take_down(
    values: Values,
    say: Say,
    *,
    yes: str = "",
    with_data: bool = False,
    patience_s: float = 600.0,
    poll_s: float = 10.0,
) -> None:
    """Destroy a deployment and prove it.

    Parameters
    ----------
    yes
        The deployment's name; empty: it is asked for.
    with_data
        Bucket with all versions and database may go too; otherwise that is asked for.
    patience_s
        How long what AWS deletes slowly may still show up.

    Raises
    ------
    ConfigError
        If a question is answered with no; nothing has been changed then.
    LeftoverError
        If something tagged remains.
    """
    name = str(values["service_name"])
    path = variables_file(str(values["environment"]))
    terraform = Terraform()
    terraform.init(str(values["environment"]))
    addresses = terraform.addresses()
    is_protected = bool(read_variables(path)["deletion_protection"])
    _show(values, addresses, say, is_protected=is_protected)
    if addresses:
        _confirm(name, addresses, yes=yes, with_data=with_data)
        _stop_runs(values, say)
        _lift_protection(terraform, path, addresses, say)
        terraform.destroy(f"-var-file={path}", *_UNPROTECTED)
    _prove(values, terraform, say, patience_s, poll_s)
    outputs_path().unlink(missing_ok=True)


def _lift_protection(terraform: Terraform, path: Path, addresses: Sequence[str], say: Say) -> None:
    """Apply the variables that allow deletion to what they are about alone; nothing else changes before it goes."""
    protected = [one for one in addresses if type_of(one) in _PROTECTED]
    if protected:
        say(f"applying {_ALLOWED} to {len(protected)} resources, which refuse to be deleted ...")
        targets = [f"-target={address}" for address in protected]
        terraform.apply("-auto-approve", f"-var-file={path}", *_UNPROTECTED, *targets)


def _show(values: Values, addresses: Sequence[str], say: Say, *, is_protected: bool) -> None:
    counts = Counter(map(type_of, addresses))
    for kind, count in sorted(counts.items()):
        say(f"  {count:>3} {kind}")
    say(f"{len(addresses)} resources of {values['service_name']} in {values['region']} will go")
    if "aws_s3_bucket" in counts and values.get("bucket"):
        say(
            f"  data: s3://{values['bucket']} with {_versions(str(values['bucket']))} objects and versions"
        )
    if "aws_db_instance" in counts:
        say("  data: the database behind MLflow, without a last snapshot")
    if is_protected:
        say(f"  protected from deletion: once confirmed, {_ALLOWED} are applied first")


def _versions(bucket: str) -> str:
    """Return how many objects a bucket holds, all versions counted."""
    count = 0
    s3 = client("s3")
    with readable_aws_errors():
        try:
            for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
                count += len(page.get("Versions", ())) + len(page.get("DeleteMarkers", ()))
                if count >= _COUNTED:
                    return f"more than {_COUNTED:,}"
        except s3.exceptions.NoSuchBucket:
            return "no"
    return f"{count:,}"


def _confirm(name: str, addresses: Sequence[str], *, yes: str, with_data: bool) -> None:
    if yes and yes != name:
        raise ConfigError(f"--yes {yes}, but the deployment is called {name}; nothing was changed")
    if not yes:
        ask("this cannot be undone", answer=name, otherwise=f"pass --yes {name}")
    has_data = any(type_of(address) in DATA for address in addresses)
    if has_data and not with_data:
        ask("bucket and database go too", answer="with data", otherwise="pass --with-data")


def _stop_runs(values: Values, say: Say) -> None:
    """Stop what runs: a cluster with tasks is not deleted."""
    arn = values.get("state_machine_arn")
    if not arn:
        return
    machine = client("stepfunctions")
    with readable_aws_errors():
        try:
            found = machine.list_executions(stateMachineArn=arn, statusFilter="RUNNING")
        except machine.exceptions.StateMachineDoesNotExist:
            return
        for execution in found["executions"]:
            say(f"stopping run {execution['name']}")
            machine.stop_execution(executionArn=execution["executionArn"], cause="taken down")


def _prove(
    values: Values, terraform: Terraform, say: Say, patience_s: float, poll_s: float
) -> None:
    """Return once neither Terraform's state nor the account's tags hold anything; LeftoverError otherwise."""
    if kept := terraform.addresses():
        raise LeftoverError(
            f"Terraform still holds {', '.join(kept[:5])}; run the same command again"
        )
    patience = time.monotonic() + patience_s
    tags: Mapping[str, str] = values["tags"]
    while True:
        remove_revisions(tags, say)
        left, leaving = list_tagged(tags)
        if not left:
            break
        if time.monotonic() > patience:
            shown = ", ".join(left[:5]) + (f" and {len(left) - 5} more" if len(left) > 5 else "")
            raise LeftoverError(
                f"{len(left)} tagged resources are left: {shown}; delete them by hand, "
                "or wait and run the same command again"
            )
        say(f"{len(left)} tagged resources still show up; looking again ...")
        time.sleep(poll_s)
    for line in leaving:
        say(f"  {line}")
    text = ", ".join(f"{key}={value}" for key, value in tags.items())
    say(f"proved: Terraform's state is empty, and nothing in {values['region']} carries {text}")
