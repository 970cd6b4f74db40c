"""The two colours behind the listener: what stands there, and the few moves by which that changes.

A colour is an ECS service with a target group of its own. The listener's weights say how much of the traffic
each gets; everything else follows from them, so nothing is written down elsewhere.
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
class Colour:
    """One colour as it stands.

    Attributes
    ----------
    weight
        Its share of the traffic, in hundredths.
    revision
        ARN of the task definition that it runs.
    desired, running, healthy
        Tasks that it should have, has, and that the load balancer sends requests to.
    settled
        Whether no tasks of an earlier revision are left.
    since
        When its revision was put in.
    given_up
        By revision, what ECS says of deployments that it gave up.
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
        """Whether all tasks that it should have answer, with one revision."""
        return self.settled and self.running >= self.desired and self.healthy >= self.desired > 0

    def __str__(self) -> str:
        return f"{self.name} ({short(self.revision)}, {self.desired} tasks)"


def short(arn: str) -> str:
    """Return family and revision of a task definition's ARN."""
    return arn.rpartition("/")[2]


def look(values: Values) -> dict[str, Colour]:
    """Return both colours as they stand; InputError if one is missing."""
    weights = _weights(values)
    with readable_aws_errors():
        found = client("ecs").describe_services(
            cluster=values["cluster"], services=[values[f"{name}_service"] for name in NAMES]
        )["services"]
    services = {service["serviceName"]: service for service in found}
    return {name: _colour(values, name, services, weights) for name in NAMES}


def _colour(
    values: Values, name: str, services: Mapping[str, Any], weights: Mapping[str, int]
) -> Colour:
    service = services.get(values[f"{name}_service"])
    if service is None or service["status"] != "ACTIVE":
        raise InputError(
            f"the service {values[f'{name}_service']} is not there; run `make deploy` again"
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
    return Colour(
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
            "the listener does not forward by weights; run `make deploy`, which makes it so"
        )
    return dict(forward)


def _weights(values: Values) -> dict[str, int]:
    """Return the share of each target group, in hundredths whatever the weights add up to."""
    groups = {
        group["TargetGroupArn"]: group.get("Weight", 1)
        for group in _forward(values)["TargetGroups"]
    }
    total = sum(groups.values()) or 1
    return {arn: round(100 * weight / total) for arn, weight in groups.items()}


def shift(values: Values, shares: Mapping[str, int]) -> None:
    """Give each colour its share of the traffic."""
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
    """Let a colour have so many tasks at least, of this revision if one is said; 0 stops it.

    The floor of the autoscaling moves first, so that it does not take away what is about to be needed.
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
