"""The serving part of an account made directly: load balancer, two colours, target tracking, alarms."""

from typing import Any

from tests.rehearsal.account import NAME
from tests.rehearsal.emulator import ACCOUNT, REGION, Emulator

SERVICE_IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{NAME}/service"
PER_TASK = (
    1200  # requests a minute and task that scaling aims at: little, so that one machine can scale
)
LIMITS = {"min": 1, "max": 3}
_PORT = 3000
COLOURS = ("blue", "green")


def create(emulator: Emulator, values: dict[str, Any], tag: str) -> None:
    """Create it and add its values, named as Terraform's outputs; blue serves the image of this tag."""
    balancing = emulator.client("elbv2")
    ec2 = emulator.client("ec2")
    vpc = ec2.describe_subnets(SubnetIds=values["pipeline_subnets"])["Subnets"][0]["VpcId"]
    other = ec2.create_subnet(VpcId=vpc, CidrBlock="10.42.2.0/24", AvailabilityZone=f"{REGION}b")
    subnets = [*values["pipeline_subnets"], other["Subnet"]["SubnetId"]]
    balancer = balancing.create_load_balancer(Name=NAME, Subnets=subnets, Scheme="internal")
    balancer = balancer["LoadBalancers"][0]["LoadBalancerArn"]
    groups = {
        colour: balancing.create_target_group(
            Name=f"{NAME}-{colour}",
            Port=_PORT,
            Protocol="HTTP",
            TargetType="ip",
            VpcId=vpc,
            HealthCheckPath="/readyz",
        )["TargetGroups"][0]["TargetGroupArn"]
        for colour in COLOURS
    }
    weights = [
        {"TargetGroupArn": groups["blue"], "Weight": 100},
        {"TargetGroupArn": groups["green"], "Weight": 0},
    ]
    listener = balancing.create_listener(
        LoadBalancerArn=balancer,
        Port=80,
        Protocol="HTTP",
        DefaultActions=[{"Type": "forward", "ForwardConfig": {"TargetGroups": weights}}],
    )["Listeners"][0]["ListenerArn"]
    emulator.client("logs").create_log_group(logGroupName=f"/{NAME}/service")
    values |= {
        "listener_arn": listener,
        "service_log_group": f"/{NAME}/service",
        "service_container": "service",
        "service_tasks": LIMITS,
        "rollback_alarms": {colour: [f"{NAME}-{colour}-5xx"] for colour in COLOURS},
    }
    values["service_task_definition"] = register(emulator, values, tag)
    for colour in COLOURS:
        values[f"{colour}_service"] = f"{NAME}-{colour}"
        values[f"{colour}_target_group_arn"] = groups[colour]
        _colour(emulator, values, colour, balancer)


def register(emulator: Emulator, values: dict[str, Any], tag: str) -> str:
    """Register a revision of the service's task definition; return its ARN."""
    logs = {
        "awslogs-group": values["service_log_group"],
        "awslogs-region": REGION,
        "awslogs-stream-prefix": "service",
    }
    environment = {"AWS_REGION": REGION, "CLICKLAB_MODEL_POINTER": values["model_pointer"]}
    container = {
        "name": "service",
        "image": f"{SERVICE_IMAGE}:{tag}",
        "essential": True,
        "stopTimeout": 60,
        "readonlyRootFilesystem": True,
        "portMappings": [{"containerPort": _PORT, "protocol": "tcp"}],
        "environment": [{"name": name, "value": value} for name, value in environment.items()],
        "logConfiguration": {"logDriver": "awslogs", "options": logs},
    }
    found = emulator.client("ecs").register_task_definition(
        family=f"{NAME}-service",
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        cpu="1024",
        memory="2048",
        taskRoleArn=values["roles"]["service-task"],
        executionRoleArn=values["roles"]["service-execution"],
        containerDefinitions=[container],
    )
    return str(found["taskDefinition"]["taskDefinitionArn"])


def _colour(emulator: Emulator, values: dict[str, Any], colour: str, balancer: str) -> None:
    name, group = values[f"{colour}_service"], values[f"{colour}_target_group_arn"]
    n_tasks = LIMITS["min"] if colour == "blue" else 0
    network = {
        "subnets": values["pipeline_subnets"],
        "securityGroups": values["pipeline_security_groups"],
    }
    emulator.client("ecs").create_service(
        cluster=values["cluster"],
        serviceName=name,
        taskDefinition=values["service_task_definition"],
        desiredCount=n_tasks,
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": network},
        loadBalancers=[
            {"targetGroupArn": group, "containerName": "service", "containerPort": _PORT}
        ],
    )
    where = {
        "ServiceNamespace": "ecs",
        "ScalableDimension": "ecs:service:DesiredCount",
        "ResourceId": f"service/{NAME}/{name}",
    }
    scaling = emulator.client("application-autoscaling")
    scaling.register_scalable_target(**where, MinCapacity=n_tasks, MaxCapacity=LIMITS["max"])
    suffixes = [balancer.split("loadbalancer/")[1], group[group.index("targetgroup/") :]]
    metric = {
        "PredefinedMetricType": "ALBRequestCountPerTarget",
        "ResourceLabel": "/".join(suffixes),
    }
    scaling.put_scaling_policy(
        **where,
        PolicyName="requests-per-task",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": PER_TASK,
            "PredefinedMetricSpecification": metric,
        },
    )
    emulator.client("cloudwatch").put_metric_alarm(
        AlarmName=f"{NAME}-{colour}-5xx",
        Namespace="AWS/ApplicationELB",
        MetricName="HTTPCode_Target_5XX_Count",
        Statistic="Sum",
        Dimensions=[{"Name": "TargetGroup", "Value": suffixes[1]}],
        Threshold=10,
        ComparisonOperator="GreaterThanThreshold",
        EvaluationPeriods=2,
        Period=60,
    )
