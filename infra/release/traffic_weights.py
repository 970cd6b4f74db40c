"""The two colors of the service behind one listener: their state, and the two calls that change it.

A color is an ECS service with its own target group. The listener's weights say how much of the traffic each
gets; they are the only record of which color serves.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from infra.aws import client, readable_aws_errors
from tasks.errors import InputError

NAMES = ("blue", "green")
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Color:
    """The state of one color.

    Attributes
    ----------
    weight
        Its share of the traffic, in percent.
    revision
        ARN of its task definition.
    desired, running, healthy
        Number of tasks: wanted, running, and passing the load balancer's health check.
    settled
        Whether no task of an earlier revision is left.
    since
        When its latest deployment began.
    given_up
        By revision, why ECS gave up a deployment.
    """

    name: str
    weight: int
    revision: str
    desired: int
    running: int
    healthy: int
    settled: bool
    since: datetime
    given_up: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_up(self) -> bool:
        """Whether all wanted tasks are healthy and run the same revision."""
        return self.settled and self.running >= self.desired and self.healthy >= self.desired > 0

    def __str__(self) -> str:
        return f"{self.name} ({short(self.revision)}, {self.desired} tasks)"


def short(arn: str) -> str:
    """Return family and revision of a task definition's ARN."""
    return arn.rpartition("/")[2]


def read_colors(values: Values) -> dict[str, Color]:
    """Return the state of both colors; InputError if one is missing."""
    weights = _weights(values)
    with readable_aws_errors():
        found = client("ecs").describe_services(
            cluster=values["cluster"], services=[values[f"{name}_service"] for name in NAMES]
        )["services"]
    services = {service["serviceName"]: service for service in found}
    return {name: _color(values, name, services, weights) for name in NAMES}


def _color(
    values: Values, name: str, services: Mapping[str, Any], weights: Mapping[str, int]
) -> Color:
    service = services.get(values[f"{name}_service"])
    if service is None or service["status"] != "ACTIVE":
        raise InputError(
            f"the service {values[f'{name}_service']} does not exist; run `make deploy` again"
        )
    group = values[f"{name}_target_group_arn"]
    with readable_aws_errors():
        targets = client("elbv2").describe_target_health(TargetGroupArn=group)
    states = [one["TargetHealth"]["State"] for one in targets["TargetHealthDescriptions"]]
    deployments = service["deployments"]
    given_up = {
        one["taskDefinition"]: one.get("rolloutStateReason") or "its deployment failed"
        for one in deployments
        if one.get("rolloutState") == "FAILED"
    }
    return Color(
        name,
        weight=weights.get(group, 0),
        revision=service["taskDefinition"],
        desired=service["desiredCount"],
        running=service["runningCount"],
        healthy=states.count("healthy"),
        settled=len(deployments) == 1,
        since=max(one["createdAt"] for one in deployments),
        given_up=given_up,
    )


def _forward(values: Values) -> dict[str, Any]:
    with readable_aws_errors():
        listener = client("elbv2").describe_listeners(ListenerArns=[values["listener_arn"]])
    (action,) = listener["Listeners"][0]["DefaultActions"]
    forward = action.get("ForwardConfig")
    if not forward:
        raise InputError(
            "the listener does not forward by weight; run `make deploy` to restore that"
        )
    return dict(forward)


def _weights(values: Values) -> dict[str, int]:
    """Return the share of each target group in percent, whatever their sum."""
    groups = {
        group["TargetGroupArn"]: group.get("Weight", 1)
        for group in _forward(values)["TargetGroups"]
    }
    total = sum(groups.values()) or 1
    return {arn: round(100 * weight / total) for arn, weight in groups.items()}


def shift_traffic(values: Values, shares: Mapping[str, int]) -> None:
    """Set each color's share of the traffic, in percent."""
    forward = _forward(values)
    forward["TargetGroups"] = [
        {"TargetGroupArn": values[f"{name}_target_group_arn"], "Weight": share}
        for name, share in shares.items()
    ]
    with readable_aws_errors():
        client("elbv2").modify_listener(
            ListenerArn=values["listener_arn"],
            DefaultActions=[{"Type": "forward", "ForwardConfig": forward}],
        )


def scale(values: Values, name: str, n_tasks: int, *, revision: str = "") -> None:
    """Set a color's number of tasks, and its revision if one is given; 0 stops it.

    The minimum of autoscaling changes first, so that it does not scale the new tasks in.
    """
    limits = values["service_tasks"]
    service = values[f"{name}_service"]
    cluster = str(values["cluster"]).rpartition("/")[2]
    change: dict[str, Any] = {"desiredCount": n_tasks}
    if revision:
        change |= {"taskDefinition": revision, "forceNewDeployment": True}
    with readable_aws_errors():
        client("application-autoscaling").register_scalable_target(
            ServiceNamespace="ecs",
            ScalableDimension="ecs:service:DesiredCount",
            ResourceId=f"service/{cluster}/{service}",
            MinCapacity=min(n_tasks, limits["min"]),
            MaxCapacity=limits["max"],
        )
        client("ecs").update_service(cluster=values["cluster"], service=service, **change)
