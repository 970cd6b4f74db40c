"""A deployment on an emulator: applied, inspected, planned again, destroyed."""

import json
import shutil
from fnmatch import fnmatch

import boto3
import pytest

from tests.infra.terraform.emulated import (
    OUTPUTS,
    Workspace,
    copy_of_root,
    emulator,
    provider_mirror,
)

FLAGS = (
    "-input=false",
    "-no-color",
    "-var-file=small.tfvars.json",
    "-var=github_repository=someone/clicklab",
)
PARALLEL = "-parallelism=30"  # most of the time is waiting
TAGS = {"Project": "clicklab", "Environment": "small", "ManagedBy": "terraform"}
# Actions without resource-level permissions.
NO_RESOURCE = (
    "ecr:GetAuthorizationToken",
    "logs:*LogDeliver*",
    "logs:*ResourcePolic*",
    "logs:DescribeLogGroups",
    "xray:*",
    "ssmmessages:*",
    "cloudwatch:DescribeAlarms",
    "ecs:DescribeTaskDefinition",
    "ecs:ListTaskDefinitions",
    "ecs:RegisterTaskDefinition",
    "elasticloadbalancing:Describe*",
)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    """The small environment, applied to an emulator."""
    provider_mirror()
    with emulator() as address:
        folder = copy_of_root(tmp_path_factory.mktemp("deployment") / "root")
        shutil.copy2(folder / "rehearsal" / "rehearsal_override.tf", folder)
        workspace = Workspace(folder, AWS_ENDPOINT_URL=address)
        workspace.address = address
        workspace.init()
        workspace.succeed("apply", "-auto-approve", PARALLEL, *FLAGS)
        yield workspace


@pytest.fixture(scope="module")
def resources(deployment):
    """The created resources, read once."""
    return deployment.resources()


def _client(deployment, service):
    return boto3.client(
        service,
        endpoint_url=deployment.address,
        region_name="eu-west-1",
        aws_access_key_id="rehearsal",
        aws_secret_access_key="rehearsal",
    )


@pytest.mark.nightly
class TestDeployment:
    """In the order of a deployment's life; only the last test changes it."""

    def test_a_second_plan_changes_nothing(self, deployment):
        """The state matches the configuration."""
        done = deployment.run("plan", "-detailed-exitcode", *FLAGS)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr

    def test_everything_taggable_is_tagged(self, resources):
        """Project, environment and manager, on every resource that supports tags."""
        taggable = [one for one in resources if "tags_all" in one["values"]]
        assert len(taggable) > 50
        bare = [
            one["address"]
            for one in taggable
            if not TAGS.items() <= (one["values"]["tags_all"] or {}).items()
        ]
        assert bare == []

    def test_no_policy_has_a_wildcard_where_a_resource_is_possible(self, resources):
        """Only for actions without resource-level permissions."""
        policies = [
            (one["address"], statement)
            for one in resources
            if one["type"] == "aws_iam_role_policy"
            for statement in _statements(one["values"]["policy"])
        ]
        assert len(policies) > 25
        assert [(place, found) for place, found in policies if "NotAction" in found] == []
        loose = [
            (place, action)
            for place, found in policies
            for action in _list(found["Action"])
            if "*" in _list(found["Resource"])
            and not any(fnmatch(action, known) for known in NO_RESOURCE)
        ]
        assert loose == []
        assert [
            place for place, found in policies if any("*" in a for a in _list(found["Action"]))
        ] == []

    def test_every_role_has_a_conditional_trust(self, resources):
        """Services for this account alone, GitHub for one repository alone."""
        roles = [one for one in resources if one["type"] == "aws_iam_role"]
        assert len(roles) == 11  # two of them GitHub's
        for role in roles:
            (statement,) = _statements(role["values"]["assume_role_policy"])
            condition = json.dumps(statement["Condition"])
            wanted = (
                "repo:someone/clicklab:" if "github" in role["address"] else "aws:SourceAccount"
            )
            assert wanted in condition
            assert "StringLike" not in condition

    def test_each_color_scales_on_the_requests_that_one_task_gets(self, resources):
        """Target tracking per target group, out quickly and in slowly, up to the service's maximum."""
        found = {kind: [] for kind in ("aws_appautoscaling_policy", "aws_appautoscaling_target")}
        for one in resources:
            found.get(one["type"], []).append(one["values"])
        policies, targets = found.values()
        assert len(policies) == len(targets) == 2
        for policy in policies:
            color = policy["resource_id"].rpartition("-")[2]
            (tracking,) = policy["target_tracking_scaling_policy_configuration"]
            (metric,) = tracking["predefined_metric_specification"]
            assert policy["policy_type"] == "TargetTrackingScaling"
            assert metric["predefined_metric_type"] == "ALBRequestCountPerTarget"
            assert f"-{color}/" in metric["resource_label"].partition("targetgroup/")[2]
            cooldowns = (tracking["scale_out_cooldown"], tracking["scale_in_cooldown"])
            assert (tracking["target_value"], *cooldowns) == (30000, 30, 300)
        limits = {one["resource_id"].rpartition("-")[2]: one for one in targets}
        assert (limits["blue"]["min_capacity"], limits["green"]["min_capacity"]) == (2, 0)
        assert {one["max_capacity"] for one in targets} == {6}

    def test_the_outputs_are_complete(self, deployment):
        """None is empty, and the state machine has the same values."""
        outputs = deployment.outputs()
        assert [name for name in OUTPUTS if outputs[name] in ("", [], {})] == []
        machine = _client(deployment, "stepfunctions").describe_state_machine(
            stateMachineArn=outputs["state_machine_arn"]
        )
        json.loads(machine["definition"])
        assert "${" not in machine["definition"]
        for name in ("cluster", "pipeline_task_definition", "topic_arn", "bucket"):
            assert outputs[name] in machine["definition"]

    def test_traffic_begins_with_blue_and_the_schedule_is_off(self, deployment):
        """All weight on blue, no task in green, nothing scheduled."""
        outputs = deployment.outputs()
        listener = _client(deployment, "elbv2").describe_listeners(
            ListenerArns=[outputs["listener_arn"]]
        )["Listeners"][0]
        weights = {
            group["TargetGroupArn"]: group["Weight"]
            for group in listener["DefaultActions"][0]["ForwardConfig"]["TargetGroups"]
        }
        assert weights[outputs["blue_target_group_arn"]] == 100
        assert weights[outputs["green_target_group_arn"]] == 0
        services = _client(deployment, "ecs").describe_services(
            cluster=outputs["cluster"], services=[outputs["blue_service"], outputs["green_service"]]
        )["services"]
        assert [service["desiredCount"] for service in services] == [2, 0]
        schedule = _client(deployment, "scheduler").get_schedule(
            Name=outputs["schedule_name"], GroupName=outputs["schedule_group"]
        )
        assert schedule["State"] == "DISABLED"

    def test_after_destroy_nothing_tagged_remains(self, deployment):
        """Keys, clusters and services are listed for a while; revisions are deregistered here."""
        deployment.succeed("destroy", "-auto-approve", "-refresh=false", PARALLEL, *FLAGS)
        assert deployment.resources() == []
        pages = _client(deployment, "resourcegroupstaggingapi").get_paginator("get_resources")
        found = [
            one["ResourceARN"]
            for page in pages.paginate(TagFilters=[{"Key": "Project", "Values": ["clicklab"]}])
            for one in page["ResourceTagMappingList"]
        ]
        for revision in (arn for arn in found if ":task-definition/" in arn):
            _client(deployment, "ecs").deregister_task_definition(taskDefinition=revision)
        assert [arn for arn in found if not _is_being_deleted(deployment, arn)] == []


def _statements(policy: str) -> list[dict]:
    return _list(json.loads(policy)["Statement"])


def _list(value):
    return value if isinstance(value, list) else [value]


def _is_being_deleted(deployment, arn: str) -> bool:
    """Return whether a resource is deleted but still listed, as AWS does for a while."""
    service, kind = arn.split(":")[2], arn.split(":")[5].split("/")[0]
    if service == "kms":
        key = _client(deployment, "kms").describe_key(KeyId=arn)
        return key["KeyMetadata"]["KeyState"] == "PendingDeletion"
    ecs = _client(deployment, "ecs")
    if (service, kind) == ("ecs", "task-definition"):
        found = ecs.describe_task_definition(taskDefinition=arn)
        return found["taskDefinition"]["status"] == "INACTIVE"
    if (service, kind) == ("ecs", "cluster"):
        return ecs.describe_clusters(clusters=[arn])["clusters"][0]["status"] == "INACTIVE"
    if (service, kind) == ("ecs", "service"):
        found = ecs.describe_services(cluster=arn.split("/")[1], services=[arn])["services"]
        return all(one["status"] == "INACTIVE" for one in found)
    return False
