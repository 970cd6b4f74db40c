"""An account with what the pipeline needs, made directly: for scenarios that are not about Terraform.

Roles have the same duties and rights as in ``infra/terraform/modules/iam``; the outputs bear the same names.
"""

import json
from collections.abc import Mapping
from typing import Any

from tasks.storage.files import write_atomic
from tests.rehearsal.emulator import ACCOUNT, REGION, Emulator
from tests.rehearsal.machine import filled_in

NAME = "clicklab-rehearsal"
_ARN = f"{REGION}:{ACCOUNT}"
BUCKET = f"{NAME}-{ACCOUNT}"
PIPELINE_IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{NAME}/pipeline"


def create(emulator: Emulator, template: str, tracking_uri: str, tag: str) -> dict[str, Any]:
    """Create it all, tasks being of the image with this tag, and return the deployment's values.

    They are also written where the verbs look.
    """
    values: dict[str, Any] = {
        "region": REGION,
        "account_id": ACCOUNT,
        "bucket": BUCKET,
        "log_group": f"/{NAME}/pipeline",
        "tracking_uri": tracking_uri,
        "pipeline_container": "pipeline",
        "schedule_group": NAME,
        "schedule_name": f"{NAME}-pipeline",
        "model_pointer": f"s3://{BUCKET}/models/champion.json",
    }
    emulator.client("s3").create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    emulator.client("logs").create_log_group(logGroupName=values["log_group"])
    values |= _topic(emulator) | _network(emulator) | _roles(emulator, values)
    values["cluster"] = emulator.client("ecs").create_cluster(clusterName=NAME)["cluster"][
        "clusterArn"
    ]
    values["pipeline_task_definition"] = register(emulator, values, tag)
    values |= _machine(emulator, values, template)
    outputs = {name: {"value": value} for name, value in values.items()}
    write_atomic(emulator.folder / "outputs.json", json.dumps(outputs, indent=1))
    return values


def register(emulator: Emulator, values: Mapping[str, Any], tag: str) -> str:
    """Register a revision of the pipeline's task definition with another image; return its ARN."""
    environment = {
        "AWS_REGION": REGION,
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
        "image": f"{PIPELINE_IMAGE}:{tag}",
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


def _topic(emulator: Emulator) -> dict[str, Any]:
    return {"topic_arn": emulator.client("sns").create_topic(Name=f"{NAME}-notices")["TopicArn"]}


def _network(emulator: Emulator) -> dict[str, Any]:
    ec2 = emulator.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.42.0.0/16")["Vpc"]["VpcId"]
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.42.1.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName=NAME, Description=NAME, VpcId=vpc)["GroupId"]
    return {"pipeline_subnets": [subnet], "pipeline_security_groups": [group]}


def _machine(emulator: Emulator, values: dict[str, Any], template: str) -> dict[str, Any]:
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
    return {"state_machine_arn": machine}


def _roles(emulator: Emulator, values: Mapping[str, Any]) -> dict[str, Any]:
    iam = emulator.client("iam")
    found = {}
    for duty, (service, statements) in _duties(values).items():
        trust = {"Effect": "Allow", "Action": "sts:AssumeRole"}
        trust |= {"Principal": {"Service": f"{service}.amazonaws.com"}}  # type: ignore[dict-item]
        arn = iam.create_role(
            RoleName=f"{NAME}-{duty}", AssumeRolePolicyDocument=_document([trust])
        )["Role"]["Arn"]
        policy = _document(
            [
                {"Effect": "Allow", "Action": actions, "Resource": resources}
                for actions, resources in statements
            ]
        )
        iam.put_role_policy(RoleName=f"{NAME}-{duty}", PolicyName=duty, PolicyDocument=policy)
        found[duty] = arn
    return {"roles": found, "state_machine_role_arn": found["state-machine"]}


def _document(statements: list[dict[str, Any]]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def _duties(values: Mapping[str, Any]) -> dict[str, tuple[str, list[tuple[list[str], list[str]]]]]:
    bucket = f"arn:aws:s3:::{BUCKET}"
    machine = f"arn:aws:states:{_ARN}:stateMachine:{NAME}"
    group = f"arn:aws:logs:{_ARN}:log-group:{values['log_group']}:*"
    write = ["s3:GetObject", "s3:PutObject"]
    return {
        "pipeline-task": (
            "ecs-tasks",
            [
                ([*write, "s3:DeleteObject", "s3:AbortMultipartUpload"], [f"{bucket}/runs/*"]),
                (write, [f"{bucket}/models/*", f"{bucket}/ledger/*"]),
                (["s3:GetObject"], [f"{bucket}/data/*"]),
                (["s3:ListBucket"], [bucket]),
            ],
        ),
        "pipeline-execution": (
            "ecs-tasks",
            [
                (["ecr:GetAuthorizationToken"], ["*"]),
                (["logs:CreateLogStream", "logs:PutLogEvents"], [group]),
            ],
        ),
        "service-task": (
            "ecs-tasks",
            [(["s3:GetObject"], [f"{bucket}/models/*"]), (["s3:ListBucket"], [bucket])],
        ),
        "service-execution": (
            "ecs-tasks",
            [
                (["ecr:GetAuthorizationToken"], ["*"]),
                (
                    ["logs:CreateLogStream", "logs:PutLogEvents"],
                    [f"arn:aws:logs:{_ARN}:log-group:/{NAME}/service:*"],
                ),
            ],
        ),
        "state-machine": (
            "states",
            [
                (["ecs:RunTask"], [f"arn:aws:ecs:{_ARN}:task-definition/{NAME}-pipeline:*"]),
                (["ecs:DescribeTasks", "ecs:StopTask"], [f"arn:aws:ecs:{_ARN}:task/{NAME}/*"]),
                (["sns:Publish"], [f"arn:aws:sns:{_ARN}:{NAME}-notices"]),
                (["s3:GetObject"], [f"{bucket}/runs/*"]),
            ],
        ),
        "schedule": ("scheduler", [(["states:StartExecution"], [machine])]),
    }
