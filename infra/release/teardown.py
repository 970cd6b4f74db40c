"""Destroy a deployment: show what it contains, ask for its name, destroy it, and verify that nothing is left."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.aws import client, outputs_path, readable_aws_errors
from infra.release.confirm import confirm
from infra.release.leftovers import list_tagged, remove_revisions
from infra.release.terraform_cli import Terraform, type_of
from infra.release.variables import read_variables, variables_file
from tasks.errors import ClicklabError, ConfigError

DATA = ("aws_s3_bucket", "aws_db_instance")
_PROTECTED = (*DATA, "aws_ecr_repository", "aws_lb")
_ALLOWED = "deletion_protection=false and force_destroy=true"
_UNPROTECTED = ("-var=deletion_protection=false", "-var=force_destroy=true")
_MAX_COUNTED = 100_000

Say = Callable[[str], None]
Values = Mapping[str, Any]


class LeftoverError(ClicklabError):
    """Something that carries the deployment's tags still exists."""


def take_down(
    values: Values,
    say: Say,
    *,
    yes: str = "",
    with_data: bool = False,
    patience_s: float = 600.0,
    poll_s: float = 10.0,
) -> None:
    """Destroy a deployment and verify that nothing is left.

    Parameters
    ----------
    yes
        The deployment's name; empty: ask for it.
    with_data
        Also delete the bucket with all versions and the database; otherwise ask.
    patience_s
        How long to wait for resources that AWS deletes slowly.

    Raises
    ------
    ConfigError
        If a question is answered with no; nothing has been changed.
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
    _verify(values, terraform, say, patience_s, poll_s)
    outputs_path().unlink(missing_ok=True)


def _lift_protection(terraform: Terraform, path: Path, addresses: Sequence[str], say: Say) -> None:
    """Apply the variables that allow deletion to the protected resources alone; nothing else changes."""
    protected = [one for one in addresses if type_of(one) in _PROTECTED]
    if protected:
        say(f"applying {_ALLOWED} to {len(protected)} protected resources ...")
        targets = [f"-target={address}" for address in protected]
        terraform.apply("-auto-approve", f"-var-file={path}", *_UNPROTECTED, *targets)


def _show(values: Values, addresses: Sequence[str], say: Say, *, is_protected: bool) -> None:
    counts = Counter(map(type_of, addresses))
    for kind, count in sorted(counts.items()):
        say(f"  {count:>3} {kind}")
    say(
        f"{len(addresses)} resources of {values['service_name']} in {values['region']} will be destroyed"
    )
    if "aws_s3_bucket" in counts and values.get("bucket"):
        say(
            f"  data: s3://{values['bucket']} with {_versions(str(values['bucket']))} object versions"
        )
    if "aws_db_instance" in counts:
        say("  data: the database behind MLflow, without a final snapshot")
    if is_protected:
        say(f"  protected from deletion: once confirmed, {_ALLOWED} are applied first")


def _versions(bucket: str) -> str:
    """Return the number of object versions in a bucket."""
    count = 0
    s3 = client("s3")
    with readable_aws_errors():
        try:
            for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
                count += len(page.get("Versions", ())) + len(page.get("DeleteMarkers", ()))
                if count >= _MAX_COUNTED:
                    return f"more than {_MAX_COUNTED:,}"
        except s3.exceptions.NoSuchBucket:
            return "no"
    return f"{count:,}"


def _confirm(name: str, addresses: Sequence[str], *, yes: str, with_data: bool) -> None:
    if yes and yes != name:
        raise ConfigError(f"--yes {yes}, but the deployment is named {name}; nothing was changed")
    if not yes:
        confirm("this cannot be undone", answer=name, otherwise=f"pass --yes {name}")
    has_data = any(type_of(address) in DATA for address in addresses)
    if has_data and not with_data:
        confirm(
            "bucket and database will be destroyed too",
            answer="with data",
            otherwise="pass --with-data",
        )


def _stop_runs(values: Values, say: Say) -> None:
    """Stop running executions: a cluster with tasks cannot be deleted."""
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
            machine.stop_execution(
                executionArn=execution["executionArn"], cause="deployment destroyed"
            )


def _verify(
    values: Values, terraform: Terraform, say: Say, patience_s: float, poll_s: float
) -> None:
    """Return once neither the state nor the account's tags list anything; LeftoverError otherwise."""
    if kept := terraform.addresses():
        raise LeftoverError(
            f"Terraform's state still has {', '.join(kept[:5])}; run the same command again"
        )
    deadline = time.monotonic() + patience_s
    tags: Mapping[str, str] = values["tags"]
    while True:
        remove_revisions(tags, say)
        left, deleted_later = list_tagged(tags)
        if not left:
            break
        if time.monotonic() > deadline:
            shown = ", ".join(left[:5]) + (f" and {len(left) - 5} more" if len(left) > 5 else "")
            raise LeftoverError(
                f"{len(left)} tagged resources remain: {shown}; delete them by hand, "
                "or wait and run the same command again"
            )
        say(f"{len(left)} tagged resources are still listed; checking again ...")
        time.sleep(poll_s)
    for line in deleted_later:
        say(f"  {line}")
    text = ", ".join(f"{key}={value}" for key, value in tags.items())
    say(f"verified: Terraform's state is empty, and nothing in {values['region']} carries {text}")
