"""Target tracking and alarms, from what the proxy counts: what CloudWatch and Application Auto Scaling do on AWS.

Periods and cooldowns are shortened: a minute's metric is that of the last five seconds times twelve.
"""

import json
import math
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import boto3

WINDOW_S, OUT_S, IN_S = 5.0, 5.0, 10.0
SHORTENED = f"metrics of {WINDOW_S:.0f} s, cooldowns of {OUT_S:.0f} and {IN_S:.0f} s"
_IN_BELOW = 0.9  # of the target: AWS scales in less eagerly than out


def wanted_tasks(n_running: int, per_minute: float, target: float, limits: tuple[int, int]) -> int:
    """Return how many tasks target tracking wants.

    Parameters
    ----------
    n_running
        Tasks there are now.
    per_minute
        Requests a minute of all together.
    target
        Requests a minute that one task is to get.
    limits
        Fewest and most tasks.

    Examples
    --------
    >>> wanted_tasks(2, 500, 100, (2, 6))
    5
    >>> wanted_tasks(5, 430, 100, (2, 6)), wanted_tasks(5, 470, 100, (2, 6))
    (5, 5)
    >>> wanted_tasks(5, 0, 100, (2, 6))
    2
    """
    needed = math.ceil(per_minute / target)
    if n_running and per_minute / n_running > target:
        wanted = max(needed, n_running)
    elif n_running and per_minute / n_running < _IN_BELOW * target:
        wanted = min(math.ceil(per_minute / (_IN_BELOW * target)), n_running)
    else:
        wanted = n_running
    return min(max(wanted, limits[0]), limits[1])


class Scaler:
    """Applies the policies and sets the alarms that the emulator has, from the counts at the proxy's admin port."""

    def __init__(self, endpoint: str, region: str, file: Path):
        keys = {"aws_access_key_id": "operator", "aws_secret_access_key": "operator"}
        self._client = lambda name: boto3.client(
            name, region_name=region, endpoint_url=endpoint, **keys
        )
        self._file = file
        self._before: dict[str, dict[str, int]] = {}
        self._moved: dict[str, float] = {}

    def start(self) -> None:
        """Begin, in a thread of its own."""
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(WINDOW_S)
            try:
                groups = self._counts()
                if groups:
                    self._scale(groups)
                    self._ring(groups)
            except Exception as error:  # the emulator's deployment may be half made or half gone
                print(f"scaling: {error}", flush=True)  # noqa: T201  # into the emulator's log

    def _counts(self) -> dict[str, dict[str, int]]:
        """Return by target group what was counted since the last look."""
        if not self._file.is_file():
            return {}
        admin = json.loads(self._file.read_text())["admin"]
        with urllib.request.urlopen(admin, timeout=2) as answer:
            found = json.load(answer)["groups"]
        now = {
            arn: {"requests": one["requests"], "5xx": one["statuses"].get("5xx", 0)}
            for arn, one in found.items()
        }
        before, self._before = self._before, now
        return {
            arn: {name: count - before.get(arn, {}).get(name, 0) for name, count in one.items()}
            for arn, one in now.items()
        }

    def _scale(self, groups: dict[str, dict[str, int]]) -> None:
        scaling, ecs = self._client("application-autoscaling"), self._client("ecs")
        targets = scaling.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"]
        policies = scaling.describe_scaling_policies(ServiceNamespace="ecs")["ScalingPolicies"]
        for policy in policies:
            tracked = policy.get("TargetTrackingScalingPolicyConfiguration")
            target = next(
                (one for one in targets if one["ResourceId"] == policy["ResourceId"]), None
            )
            if not tracked or target is None or target["MaxCapacity"] == 0:
                continue
            label = tracked["PredefinedMetricSpecification"]["ResourceLabel"]
            counted = next(
                (one for arn, one in groups.items() if arn.endswith(_suffix(label))), None
            )
            _, cluster, name = policy["ResourceId"].split("/")
            service = ecs.describe_services(cluster=cluster, services=[name])["services"][0]
            now = service["desiredCount"]
            if counted is None or now == 0 or service["runningCount"] < now:
                continue
            per_minute = counted["requests"] * 60 / WINDOW_S
            limits = (target["MinCapacity"], target["MaxCapacity"])
            wanted = wanted_tasks(now, per_minute, tracked["TargetValue"], limits)
            if wanted == now or not self._may_move(name, OUT_S if wanted > now else IN_S):
                continue
            ecs.update_service(cluster=cluster, service=name, desiredCount=wanted)

    def _may_move(self, name: str, cooldown_s: float) -> bool:
        if time.monotonic() - self._moved.get(name, 0.0) < cooldown_s:
            return False
        self._moved[name] = time.monotonic()
        return True

    def _ring(self, groups: dict[str, dict[str, int]]) -> None:
        """Set the alarms on server errors of a target group; the others are not rehearsed."""
        watch: Any = self._client("cloudwatch")
        for alarm in watch.describe_alarms()["MetricAlarms"]:
            if alarm.get("MetricName") != "HTTPCode_Target_5XX_Count":
                continue
            group = {one["Name"]: one["Value"] for one in alarm["Dimensions"]}["TargetGroup"]
            n_errors = next((one["5xx"] for arn, one in groups.items() if arn.endswith(group)), 0)
            state = "ALARM" if n_errors > alarm["Threshold"] else "OK"
            if alarm["StateValue"] != state:
                reason = f"{n_errors} server errors"
                watch.set_alarm_state(
                    AlarmName=alarm["AlarmName"], StateValue=state, StateReason=reason
                )


def _suffix(label: str) -> str:
    """Return the target group's part of a metric's resource label."""
    return label[label.index("targetgroup/") :]
