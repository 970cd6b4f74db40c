"""A service in two colors behind a listener, in the emulator; its tasks are simulated here."""

from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from moto.ecs.models import EC2ContainerServiceBackend

from tests.infra.cloud import ACCOUNT, REGION, aws

FAMILY = "clicklab-small-service"
REPOSITORY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/clicklab-small/service"


class Stage:
    """The resources that Terraform creates: blue serves revision 1 with two tasks, green has none."""

    def __init__(self):
        self.broken: set[str] = set()
        self.calls: list[dict[str, Any]] = []
        ec2, elb, ecs = aws("ec2"), aws("elbv2"), aws("ecs")
        vpc = ec2.create_vpc(CidrBlock="10.42.0.0/16")["Vpc"]["VpcId"]
        subnets = [
            ec2.create_subnet(
                VpcId=vpc, CidrBlock=f"10.42.{i}.0/24", AvailabilityZone=f"{REGION}{zone}"
            )["Subnet"]["SubnetId"]
            for i, zone in enumerate("ab")
        ]
        balancer = elb.create_load_balancer(
            Name="clicklab-small", Subnets=subnets, Type="application"
        )
        self.groups = {
            name: elb.create_target_group(
                Name=f"clicklab-small-{name}",
                Protocol="HTTP",
                Port=3000,
                VpcId=vpc,
                TargetType="ip",
            )["TargetGroups"][0]["TargetGroupArn"]
            for name in ("blue", "green")
        }
        self.listener = elb.create_listener(
            LoadBalancerArn=balancer["LoadBalancers"][0]["LoadBalancerArn"],
            Protocol="HTTP",
            Port=80,
            DefaultActions=[
                {"Type": "forward", "ForwardConfig": {"TargetGroups": self._weights(100, 0)}}
            ],
        )["Listeners"][0]["ListenerArn"]
        cluster = ecs.create_cluster(clusterName="clicklab-small")["cluster"]["clusterArn"]
        self.first = self.revision("one")
        for name in ("blue", "green"):
            ecs.create_service(
                cluster=cluster,
                serviceName=f"clicklab-small-{name}",
                taskDefinition=self.first,
                desiredCount=0,
            )
            for kind in ("5xx", "p99"):
                self._alarm(f"clicklab-small-{name}-{kind}")
        self.values = {
            "account_id": ACCOUNT,
            "region": REGION,
            "cluster": cluster,
            "listener_arn": self.listener,
            "service_tasks": {"min": 2, "max": 6},
            "service_task_definition": self.first,
            "service_repository": REPOSITORY,
            "service_log_group": "/clicklab-small/service",
            "rollback_alarms": {
                name: [f"clicklab-small-{name}-{kind}" for kind in ("5xx", "p99")]
                for name in ("blue", "green")
            },
        }
        for name in ("blue", "green"):
            self.values[f"{name}_service"] = f"clicklab-small-{name}"
            self.values[f"{name}_target_group_arn"] = self.groups[name]

    def _weights(self, blue: int, green: int) -> list[dict[str, Any]]:
        weights = {"blue": blue, "green": green}
        return [
            {"TargetGroupArn": self.groups[name], "Weight": weight}
            for name, weight in weights.items()
        ]

    def revision(self, tag: str) -> str:
        """Register a revision with an image of that tag; return its ARN."""
        made = aws("ecs").register_task_definition(
            family=FAMILY,
            cpu="512",
            memory="1024",
            networkMode="awsvpc",
            requiresCompatibilities=["FARGATE"],
            containerDefinitions=[
                {
                    "name": "service",
                    "image": f"{REPOSITORY}:{tag}",
                    "memory": 512,
                    "essential": True,
                }
            ],
        )
        return made["taskDefinition"]["taskDefinitionArn"]

    def _alarm(self, name: str) -> None:
        aws("cloudwatch").put_metric_alarm(
            AlarmName=name,
            Namespace="AWS/ApplicationELB",
            MetricName="x",
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1.0,
            ComparisonOperator="GreaterThanThreshold",
        )
        self.set_alarm(name, "OK")

    def set_alarm(self, name: str, state: str = "ALARM") -> None:
        """Set the state of an alarm."""
        aws("cloudwatch").set_alarm_state(AlarmName=name, StateValue=state, StateReason="test")

    def weights(self) -> tuple[int, int]:
        """Return blue's and green's weight."""
        found = aws("elbv2").describe_listeners(ListenerArns=[self.listener])["Listeners"][0]
        groups = found["DefaultActions"][0]["ForwardConfig"]["TargetGroups"]
        by_arn = {group["TargetGroupArn"]: group["Weight"] for group in groups}
        return by_arn[self.groups["blue"]], by_arn[self.groups["green"]]

    def desired(self) -> tuple[int, int]:
        """Return the wanted number of tasks of blue and green."""
        found = aws("ecs").describe_services(
            cluster="clicklab-small", services=["clicklab-small-blue", "clicklab-small-green"]
        )["services"]
        by_name = {service["serviceName"]: service["desiredCount"] for service in found}
        return by_name["clicklab-small-blue"], by_name["clicklab-small-green"]

    def follow(self, service: Any) -> None:
        """Register a target per wanted task of a service, unless its image is broken."""
        elb, group = aws("elbv2"), self.groups[service.name.rpartition("-")[2]]
        now = elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        old = [{"Id": one["Target"]["Id"], "Port": 3000} for one in now]
        if old:
            elb.deregister_targets(TargetGroupArn=group, Targets=old)
        if service.task_definition in self.broken:
            return
        new = [{"Id": f"10.42.0.{10 + i}", "Port": 3000} for i in range(service.desired_count)]
        if new:
            elb.register_targets(TargetGroupArn=group, Targets=new)


@contextmanager
def stage():
    """Yield a stage whose services start and stop tasks on request."""
    made = Stage()
    update = EC2ContainerServiceBackend.update_service

    def update_service(self: Any, service_properties: dict[str, Any]) -> Any:
        made.calls.append(dict(service_properties))
        service = update(self, service_properties)
        made.follow(service)
        return service

    with patch.object(EC2ContainerServiceBackend, "update_service", update_service):
        aws("ecs").update_service(
            cluster="clicklab-small", service="clicklab-small-blue", desiredCount=2
        )
        made.calls.clear()
        yield made
