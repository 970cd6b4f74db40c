"""Destroying: shown, confirmed by name, done, and verified; by a stub, and nightly by Terraform on an emulator."""

import os
import shutil

import boto3
import pytest
from botocore.exceptions import ClientError

from infra.release import __main__ as release
from infra.release.leftovers import list_tagged
from infra.release.teardown import LeftoverError, take_down
from infra.release.terraform_cli import type_of
from tasks.errors import ConfigError
from tests.infra.cloud import ACCOUNT, REGION, account, aws, write_outputs
from tests.infra.terraform.emulated import copy_of_root, emulator, provider_mirror
from tests.infra.terraform_stub import TerraformStub

pytestmark = pytest.mark.slow
TAGS = {"Project": "clicklab", "Environment": "small", "ManagedBy": "terraform"}
VALUES = {
    "account_id": ACCOUNT,
    "region": REGION,
    "service_name": "clicklab-small",
    "environment": "small",
    "bucket": "clicklab-small",
    "tags": TAGS,
}
HELD = (
    "data.aws_caller_identity.this",
    'module.iam.data.aws_iam_policy_document.trust["ecs.tasks"]',
    "module.storage.aws_s3_bucket.this",
    "module.tracking[0].aws_db_instance.this",
    'module.serving[0].aws_ecs_service.this["blue"]',
    'module.serving[0].aws_ecs_service.this["green"]',
)


@pytest.fixture
def terraform(tmp_path, monkeypatch):
    """The stub, an account, and a deployment's outputs."""
    with account():
        stub = TerraformStub(tmp_path / "stub")
        stub.holds(*HELD)
        monkeypatch.setenv("CLICKLAB_TERRAFORM", str(stub.program))
        path = write_outputs(tmp_path / "outputs.json", VALUES)
        monkeypatch.setenv("CLICKLAB_OUTPUTS", str(path))
        s3 = aws("s3")
        s3.create_bucket(
            Bucket="clicklab-small", CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        s3.put_bucket_versioning(
            Bucket="clicklab-small", VersioningConfiguration={"Status": "Enabled"}
        )
        for _ in range(2):
            s3.put_object(Bucket="clicklab-small", Key="models/champion.json", Body=b"{}")
        yield stub


def test_everything_is_destroyed_after_both_confirmations(terraform, tmp_path, capsys):
    """Counted by type, data named with its size; verified; the outputs are deleted last."""
    assert release.main(["down", "--yes", "clicklab-small", "--with-data"]) == 0
    out = capsys.readouterr().out
    assert "  2 aws_ecs_service" in out
    assert "4 resources of clicklab-small in eu-west-1 will be destroyed" in out
    assert "s3://clicklab-small with 2 object versions" in out
    assert "verified: Terraform's state is empty, and nothing in eu-west-1 carries" in out
    assert len(terraform.calls("destroy")) == 1
    assert not (tmp_path / "outputs.json").exists()


def test_protection_is_lifted_from_protected_resources_alone(terraform):
    """Other pending changes of the variables are not applied."""
    release.main(["down", "--yes", "clicklab-small", "--with-data"])
    (apply,) = terraform.calls("apply")
    targets = [word for word in apply if word.startswith("-target=")]
    assert targets == [
        "-target=module.storage.aws_s3_bucket.this",
        "-target=module.tracking[0].aws_db_instance.this",
    ]
    assert "-var=deletion_protection=false" in apply


@pytest.mark.parametrize(("environment", "is_protected"), [("small", False), ("production", True)])
def test_protection_is_reported_before_the_question(terraform, environment, is_protected):
    """As set in the environment's variables file; until both confirmations nothing is applied."""
    said = []
    with pytest.raises(ConfigError, match="bucket and database will be destroyed too"):
        take_down(VALUES | {"environment": environment}, said.append, yes="clicklab-small")
    line = "  protected from deletion: once confirmed, deletion_protection=false and force_destroy=true are applied first"
    assert (line in said) == is_protected
    assert terraform.calls("apply") == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "pass --yes clicklab-small"),
        (["--yes", "clicklab-production"], "the deployment is named clicklab-small"),
        (
            ["--yes", "clicklab-small"],
            "bucket and database will be destroyed too: there is no terminal",
        ),
    ],
)
def test_without_both_confirmations_nothing_is_destroyed(terraform, capsys, tmp_path, words, line):
    """No name, the wrong name, or data not confirmed."""
    assert release.main(["down", *words]) == 3
    assert line in capsys.readouterr().err
    assert terraform.calls("destroy") == terraform.calls("apply") == []
    assert (tmp_path / "outputs.json").exists()


def test_a_deployment_without_data_needs_one_confirmation(terraform):
    """Bucket and database may be off or already deleted."""
    terraform.holds("module.network.aws_vpc.this")
    assert release.main(["down", "--yes", "clicklab-small"]) == 0


def test_resources_left_in_the_state_are_an_error(terraform, capsys):
    """An incomplete destroy is not a success."""
    terraform.answer(kept=["module.network.aws_vpc.this"])
    assert release.main(["down", "--yes", "clicklab-small", "--with-data"]) == 1
    assert "Terraform's state still has module.network.aws_vpc.this" in capsys.readouterr().err


def test_resources_that_still_carry_the_tags_are_an_error(terraform, tmp_path):
    """Named by ARN; the outputs stay for another attempt."""
    tags = [{"Key": key, "Value": value} for key, value in TAGS.items()]
    aws("s3").put_bucket_tagging(Bucket="clicklab-small", Tagging={"TagSet": tags})
    said = []
    with pytest.raises(
        LeftoverError, match=r"1 tagged resources remain: arn:aws:s3:::clicklab-small"
    ):
        take_down(
            VALUES, said.append, yes="clicklab-small", with_data=True, patience_s=0, poll_s=0.01
        )
    assert (tmp_path / "outputs.json").exists()


def test_down_again_only_verifies(terraform, tmp_path, capsys):
    """An empty state needs no confirmation."""
    terraform.holds()
    assert release.main(["down"]) == 0
    assert terraform.calls("destroy") == []
    assert "verified" in capsys.readouterr().out


def test_revisions_that_terraform_keeps_are_deleted(terraform):
    """They carry the tags as well."""
    ecs = aws("ecs")
    tags = [{"key": key, "value": value} for key, value in TAGS.items()]
    for _ in range(2):
        ecs.register_task_definition(
            family="clicklab-small-service",
            containerDefinitions=[{"name": "service", "image": "i", "memory": 128}],
            tags=tags,
        )
    said = []
    take_down(VALUES, said.append, yes="clicklab-small", with_data=True, patience_s=1, poll_s=0.01)
    assert "2 task definition revisions deleted" in said
    assert (
        ecs.list_task_definitions(familyPrefix="clicklab-small-service")["taskDefinitionArns"] == []
    )


def test_a_key_scheduled_for_deletion_is_not_a_leftover(terraform):
    """KMS keeps a key for days; the date is reported."""
    tags = [{"TagKey": key, "TagValue": value} for key, value in TAGS.items()]
    key = aws("kms").create_key(Tags=tags)["KeyMetadata"]
    assert list_tagged(TAGS) == ([key["Arn"]], [])
    aws("kms").schedule_key_deletion(KeyId=key["KeyId"], PendingWindowInDays=7)
    left, deleted_later = list_tagged(TAGS)
    assert left == []
    assert "will be deleted by AWS on" in deleted_later[0]


def test_running_executions_are_stopped_first(terraform, monkeypatch):
    """A cluster with tasks cannot be deleted."""
    role = aws("iam").create_role(RoleName="machine", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    wait = '{"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 60, "End": true}}}'
    machine = aws("stepfunctions").create_state_machine(name="m", definition=wait, roleArn=role)
    arn = machine["stateMachineArn"]
    aws("stepfunctions").start_execution(stateMachineArn=arn, name="run")
    said = []
    take_down(
        VALUES | {"state_machine_arn": arn}, said.append, yes="clicklab-small", with_data=True
    )
    assert "stopping run run" in said
    found = aws("stepfunctions").list_executions(stateMachineArn=arn, statusFilter="RUNNING")
    assert found["executions"] == []


def test_types_are_read_from_addresses():
    """Keys may contain dots."""
    assert type_of('module.a["x.y"].aws_lb_target_group.this["b.c"]') == "aws_lb_target_group"


# ---- with Terraform


@pytest.fixture
def production(tmp_path, monkeypatch):
    """The environment of production.tfvars.json, deployed by `deploy`."""
    folder = copy_of_root(tmp_path / "infra" / "terraform")
    shutil.copy2(folder / "rehearsal" / "rehearsal_override.tf", folder)
    with emulator() as address:
        for name in [name for name in os.environ if name.startswith(("AWS_", "TF_"))]:
            monkeypatch.delenv(name)
        for name, value in {
            "AWS_ENDPOINT_URL": address,
            "AWS_ACCESS_KEY_ID": "rehearsal",
            "AWS_SECRET_ACCESS_KEY": "rehearsal",
            "AWS_REGION": "eu-west-1",
            "CLICKLAB_OUTPUTS": str(tmp_path / "outputs.json"),
            "TF_CLI_CONFIG_FILE": os.devnull,
            "TF_CLI_ARGS_init": f"-plugin-dir={provider_mirror()} -lockfile=readonly",
            "TF_CLI_ARGS_apply": "-parallelism=30 -no-color",
            "TF_CLI_ARGS_destroy": "-parallelism=30 -no-color",
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        assert release.main(["deploy", "--env", "production", "--yes"]) == 0
        yield tmp_path


@pytest.mark.nightly
def test_production_is_destroyed_completely_but_only_after_both_confirmations(production, capfd):
    """Its database refuses; the name alone changes nothing; with the data confirmed, protection is lifted first."""
    rds = boto3.client("rds", region_name="eu-west-1")
    (database,) = rds.describe_db_instances()["DBInstances"]
    with pytest.raises(ClientError, match="protection"):
        rds.delete_db_instance(DBInstanceIdentifier=database["DBInstanceIdentifier"])
    capfd.readouterr()

    assert release.main(["down", "--yes", "clicklab-production"]) == 3
    captured = capfd.readouterr()
    assert "protected from deletion: once confirmed, deletion_protection=false" in captured.out
    assert (
        "bucket and database will be destroyed too: there is no terminal to ask at; pass --with-data"
        in captured.err
    )
    assert rds.describe_db_instances()["DBInstances"][0]["DeletionProtection"]

    assert release.main(["down", "--yes", "clicklab-production", "--with-data"]) == 0
    printed = capfd.readouterr().out
    assert "applying deletion_protection=false and force_destroy=true to" in printed
    assert printed.index("applying deletion_protection") < printed.index("Destroy complete!")
    assert "verified: Terraform's state is empty" in printed
    assert rds.describe_db_instances()["DBInstances"] == []
    assert not (production / "outputs.json").exists()
