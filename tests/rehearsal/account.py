"""The pipeline's deployment created by API calls, for scenarios that need no Terraform; values are named as its outputs.

Its roles have a trust policy and no rights: the policies of ``infra/terraform/modules/iam`` are asserted in ``tests/infra``.
"""

import json
from collections.abc import Mapping
from typing import Any

from tasks.storage.files import write_atomic
from tests.rehearsal.emulator import ACCOUNT, REGION, Emulator
from tests.rehearsal.machine import filled_in

NAME = "clicklab-rehearsal"
BUCKET = f"{NAME}-{ACCOUNT}"
REPOSITORY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{NAME}/pipeline"
_ROLES = {
    "pipeline-task": "ecs-tasks",
    "pipeline-execution": "ecs-tasks",
    "state-machine": "states",
    "schedule": "scheduler",
}


def create(emulator: Emulator, template: str, tracking_uri: str, tag: str) -> dict[str, Any]:
    """Create it with this tag of the pipeline's image; return its values, which are also written for the verbs."""
    where = {"LocationConstraint": REGION}
    emulator.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=where)
    ec2 = emulator.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.42.0.0/16")["Vpc"]["VpcId"]
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.42.1.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName=NAME, Description=NAME, VpcId=vpc)["GroupId"]
    values: dict[str, Any] = {
        "region": REGION,
        "account_id": ACCOUNT,
        "bucket": BUCKET,
        "tracking_uri": tracking_uri,
        "pipeline_repository": REPOSITORY,
        "pipeline_container": "pipeline",
        "pipeline_subnets": [subnet],
        "pipeline_security_groups": [group],
        "schedule_group": NAME,
        "schedule_name": f"{NAME}-pipeline",
        "model_pointer": f"s3://{BUCKET}/models/champion.json",
        "log_group": f"/{NAME}/pipeline",
        "topic_arn": emulator.client("sns").create_topic(Name=f"{NAME}-notices")["TopicArn"],
        "roles": {name: _role(emulator, name, trusted) for name, trusted in _ROLES.items()},
    }
    emulator.client("logs").create_log_group(logGroupName=values["log_group"])
    cluster = emulator.client("ecs").create_cluster(clusterName=NAME)["cluster"]
    values["cluster"] = cluster["clusterArn"]
    values["pipeline_task_definition"] = register_pipeline(emulator, values, tag)
    values["state_machine_arn"] = _machine(emulator, values, template)
    outputs = {name: {"value": value} for name, value in values.items()}
    write_atomic(emulator.folder / "outputs.json", json.dumps(outputs, indent=1))
    return values


def register_pipeline(emulator: Emulator, values: Mapping[str, Any], tag: str) -> str:
    """Register a revision of the pipeline's task definition; return its ARN."""
    environment = {
        "CLICKLAB_ENV": "env.aws.yaml",
        "CLICKLAB_STORE": f"s3://{BUCKET}/runs",
        "MLFLOW_TRACKING_URI": values["tracking_uri"],
    }
    logs = {
        "awslogs-group": values["log_group"],
        "awslogs-region": REGION,
        "awslogs-stream-prefix": "task",
    }
    container = {
        "name": "pipeline",
        "image": f"{values['pipeline_repository']}:{tag}",
        "essential": True,
        "stopTimeout": 120,
        "readonlyRootFilesystem": True,
        "environment": [{"name": name, "value": value} for name, value in environment.items()],
        "logConfiguration": {"logDriver": "awslogs", "options": logs},
    }
    found = emulator.client("ecs").register_task_definition(
        family=f"{NAME}-pipeline",
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        cpu="1024",
        memory="2048",
        taskRoleArn=values["roles"]["pipeline-task"],
        executionRoleArn=values["roles"]["pipeline-execution"],
        containerDefinitions=[container],
    )
    return str(found["taskDefinition"]["taskDefinitionArn"])


def definition(values: Mapping[str, Any], template: str) -> str:
    """Return the state machine's definition for these values."""
    named = {
        "cluster": values["cluster"],
        "task_definition": values["pipeline_task_definition"],
        "subnets": values["pipeline_subnets"],
        "security_groups": values["pipeline_security_groups"],
        **{key: values[key] for key in ("topic_arn", "log_group", "region", "bucket")},
        "tracking_uri": values["tracking_uri"],
    }
    return filled_in(template, named)


def _role(emulator: Emulator, name: str, trusted: str) -> str:
    principal = {"Service": f"{trusted}.amazonaws.com"}
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal}
    document = {"Version": "2012-10-17", "Statement": [trust]}
    iam = emulator.client("iam")
    made = iam.create_role(RoleName=f"{NAME}-{name}", AssumeRolePolicyDocument=json.dumps(document))
    return str(made["Role"]["Arn"])


def _machine(emulator: Emulator, values: Mapping[str, Any], template: str) -> str:
    """Create the state machine and its schedule, which is off."""
    machine = emulator.client("stepfunctions").create_state_machine(
        name=NAME,
        definition=definition(values, template),
        roleArn=values["roles"]["state-machine"],
    )["stateMachineArn"]
    scheduler = emulator.client("scheduler")
    scheduler.create_schedule_group(Name=NAME)
    scheduler.create_schedule(
        Name=values["schedule_name"],
        GroupName=NAME,
        ScheduleExpression="rate(1 day)",
        State="DISABLED",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "Arn": machine,
            "RoleArn": values["roles"]["schedule"],
            "Input": json.dumps({"run": "", "data": "", "model": "", "attempts": 2}),
        },
    )
    return str(machine)
