"""Check what a deployment needs before anything is created: ``python -m infra.release.doctor [--env small]``.

Nothing is changed. Each line says ok or MISSING and what to do; the exit code is 1 if anything is missing.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra.aws import client, readable_aws_errors, region_of_environment, run_verb
from infra.images.engine import find_engine
from infra.images.local_images import architecture_of, local_images
from infra.release.capacity import on_demand_vcpus, spot_vcpus
from infra.release.terraform_cli import MINIMUM, Terraform, minimum_version
from infra.release.variables import read_variables, variables_file
from tasks.errors import ClicklabError

_ECS_ROLE = "AWSServiceRoleForECS"
_PROVIDER = "registry.terraform.io/hashicorp/aws"

Variables = Mapping[str, Any]


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    ok: bool
    text: str

    def __str__(self) -> str:
        return f"{'ok     ' if self.ok else 'MISSING'}  {self.text}"


def examine(variables: Variables) -> Iterator[Finding]:
    """Yield the findings; a check that fails to run is a finding too."""
    identity = _identity(variables)
    yield identity
    yield _region(variables)
    checks: list[Callable[[Variables], Iterator[Finding]]] = [_terraform, _images]
    if identity.ok:
        checks += [_service_role, _quotas, _zones, _bucket, _secrets]
    for check in checks:
        try:
            yield from check(variables)
        except ClicklabError as error:
            yield Finding(False, str(error))


def _identity(variables: Variables) -> Finding:
    try:
        with readable_aws_errors():
            found = client("sts", region=variables["region"]).get_caller_identity()
    except ClicklabError as error:
        return Finding(False, str(error))
    expected = variables.get("account_id")
    if expected and expected != found["Account"]:
        return Finding(
            False,
            f"account {found['Account']}: the variables file has {expected}; switch AWS_PROFILE",
        )
    fixed = (
        ""
        if expected
        else "; set account_id in the variables file, so that no other account is ever used"
    )
    return Finding(True, f"credentials of {found['Arn']} in account {found['Account']}{fixed}")


def _region(variables: Variables) -> Finding:
    asked, region = region_of_environment(), variables["region"]
    if asked and asked != region:
        return Finding(
            False,
            f"region: AWS_REGION is {asked}, the variables file has {region}; make them the same",
        )
    return Finding(True, f"region {region}")


def _terraform(_: Variables) -> Iterator[Finding]:
    found = Terraform().version()
    version = str(found["terraform_version"])
    is_new = tuple(map(int, version.split("-")[0].split(".")[:2])) >= MINIMUM
    fix = "" if is_new else f"; install {minimum_version()} or newer"
    yield Finding(is_new, f"terraform {version}{fix}")
    provider = found.get("provider_selections", {}).get(_PROVIDER)
    known = f"provider hashicorp/aws {provider}, locked" if provider else ""
    todo = "infra/terraform/.terraform.lock.hcl names no provider; restore it from the repository"
    yield Finding(bool(provider), known or todo)


def _images(variables: Variables) -> Iterator[Finding]:
    engine = find_engine()
    yield Finding(True, f"images can be built and pushed with {engine.name}")
    wanted = str(variables["architecture"])
    images = local_images(engine)
    if not images:
        yield Finding(False, "no image has been built here; run `make image`")
    for image in images:
        found = architecture_of(engine, image)
        fix = (
            f"; the task definitions need {wanted}: "
            f"python -m infra.images build --architecture {wanted}"
        )
        yield Finding(found == wanted, f"image {image}: {found}{'' if found == wanted else fix}")


def _service_role(variables: Variables) -> Iterator[Finding]:
    """ECS acts by a role of its own, which a new account lacks until its first cluster; the first service then fails."""
    iam = client("iam", region=str(variables["region"]))
    with readable_aws_errors():
        try:
            iam.get_role(RoleName=_ECS_ROLE)
        except iam.exceptions.NoSuchEntityException:
            todo = (
                "create it: aws iam create-service-linked-role --aws-service-name ecs.amazonaws.com"
            )
            yield Finding(False, f"role {_ECS_ROLE} does not exist; {todo}")
            return
    yield Finding(True, f"role {_ECS_ROLE}")


def _quotas(variables: Variables) -> Iterator[Finding]:
    region = str(variables["region"])
    n_endpoints = len(variables["interface_endpoints"])
    wanted = [
        ("fargate", "L-3032A538", "vCPUs on Fargate", on_demand_vcpus(variables), 0),
        ("fargate", "L-36FBB829", "vCPUs on Fargate Spot", spot_vcpus(), 0),
        ("vpc", "L-F678F1CE", "VPCs", 1, _n_vpcs(region)),
        ("vpc", "L-29B6F2EB", "interface endpoints per VPC", n_endpoints, 0),
    ]
    if variables["internet_access"]:  # its NAT gateway takes one
        wanted.append(("ec2", "L-0263D0A3", "Elastic IPs", 1, _n_addresses(region)))
    for service, code, name, needed, used in wanted:
        yield _quota(region, service, code, name, needed, used)


def _quota(region: str, service: str, code: str, name: str, needed: float, used: int) -> Finding:
    quotas = client("service-quotas", region=region)
    with readable_aws_errors():
        try:
            found = quotas.get_service_quota(ServiceCode=service, QuotaCode=code)
        except quotas.exceptions.NoSuchResourceException:
            found = quotas.get_aws_default_service_quota(ServiceCode=service, QuotaCode=code)
    limit = found["Quota"]["Value"]
    text = f"quota of {name}: {limit:g}, {used:g} in use, {needed:g} needed"
    ask = f"; request more: aws service-quotas request-service-quota-increase --service-code {service} --quota-code {code}"
    is_enough = limit - used >= needed
    return Finding(is_enough, text + ("" if is_enough else ask))


def _n_vpcs(region: str) -> int:
    with readable_aws_errors():
        return len(client("ec2", region=region).describe_vpcs()["Vpcs"])


def _n_addresses(region: str) -> int:
    with readable_aws_errors():
        return len(client("ec2", region=region).describe_addresses()["Addresses"])


def _zones(variables: Variables) -> Iterator[Finding]:
    region = str(variables["region"])
    with readable_aws_errors():
        found = client("ec2", region=region).describe_availability_zones()["AvailabilityZones"]
    there = {zone["ZoneName"] for zone in found if zone["State"] == "available"}
    for letter in variables["zones"]:
        name = f"{region}{letter}"
        todo = f" does not exist; there are {', '.join(sorted(there))}: change `zones`"
        yield Finding(name in there, f"zone {name}{'' if name in there else todo}")


def _bucket(variables: Variables) -> Iterator[Finding]:
    region = str(variables["region"])
    with readable_aws_errors():
        account = client("sts", region=region).get_caller_identity()["Account"]
    name = f"{variables['name']}-{variables['environment']}-{account}-{region}"
    status = _status_of(name, region)
    if status == 404:
        yield Finding(True, f"bucket name {name} is free")
    elif status == 200:
        yield Finding(
            True,
            f"bucket {name} belongs to this account; if no deployment made it, import or rename it",
        )
    else:
        yield Finding(
            False, f"bucket name {name} belongs to another account; change `name` or `environment`"
        )


def _status_of(bucket: str, region: str) -> int:
    from botocore.exceptions import ClientError

    with readable_aws_errors():
        try:
            client("s3", region=region).head_bucket(Bucket=bucket)
        except ClientError as error:
            return int(error.response["ResponseMetadata"]["HTTPStatusCode"])
    return 200


def _secrets(variables: Variables) -> Iterator[Finding]:
    region = str(variables["region"])
    if arn := variables.get("api_key_secret_arn"):
        secrets = client("secretsmanager", region=region)
        with readable_aws_errors():
            try:
                secrets.describe_secret(SecretId=arn)
                yield Finding(True, f"secret {arn}")
            except secrets.exceptions.ResourceNotFoundException:
                yield Finding(
                    False, f"secret {arn} does not exist; create it, or empty api_key_secret_arn"
                )
    else:
        yield Finding(True, "no API key is required (api_key_secret_arn is empty)")
    if arn := variables.get("certificate_arn"):
        with readable_aws_errors():
            found = client("acm", region=region).describe_certificate(CertificateArn=arn)
        status = found["Certificate"]["Status"]
        todo = "" if status == "ISSUED" else "; it must be ISSUED"
        yield Finding(not todo, f"certificate {arn}: {status}{todo}")


def main(words: Sequence[str] | None = None) -> int:
    """Print each finding; return 1 if anything is missing."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.release.doctor", description=str(__doc__).split(":")[0]
    )
    parser.add_argument("--env", default="small", help="small, production, or a .tfvars.json file")
    asked = parser.parse_args(words)
    return run_verb(lambda: _print_findings(asked.env))


def _print_findings(env: str) -> int:
    n_missing = 0
    for finding in examine(read_variables(variables_file(env))):
        n_missing += not finding.ok
        sys.stdout.write(f"{finding}\n")
        sys.stdout.flush()
    if n_missing:
        sys.stderr.write(f"error: {n_missing} missing; nothing was created or changed\n")
    return int(n_missing > 0)


if __name__ == "__main__":
    sys.exit(main())
