"""Predictions at a steady rate, and the load balancer that takes them: it follows the listener's weights and sets alarms.

It is a part of this process: each request goes to a target group drawn by weight and there to any target.
"""

import json
import random
import threading
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from typing import Any

from infra.aws import client
from infra.release.traffic_weights import NAMES, read_colors

SIMULATED = (
    "the load balancer (drawn by the listener's weights); CloudWatch's evaluation of its alarms"
)
_N_CLIENTS = 32
_FOLLOW_S, _TIMEOUT_S = 0.5, 20.0
_HEADERS = {"Content-Type": "application/json"}


class Traffic:
    """Predictions of one row, `rate` per second, as a context; the listener is read twice a second.

    Attributes
    ----------
    statuses
        Number of answers by status; ``none``: no answer.
    """

    def __init__(self, values: Mapping[str, Any], row: Mapping[str, Any], rate: float):
        self.statuses: Counter[str] = Counter()
        self._values, self._body, self._rate = values, json.dumps(row).encode(), rate
        self._ports: dict[str, list[int]] = {}
        self._weights: dict[str, int] = {}
        self._n_errors: Counter[str] = Counter()
        self._stopping, self._pool = threading.Event(), ThreadPoolExecutor(_N_CLIENTS)
        self._threads = [threading.Thread(target=run) for run in (self._follow, self._send_all)]

    def __enter__(self) -> "Traffic":
        self._read_listener()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._pool.shutdown()
        for color in NAMES:
            _set_alarm(self._values, color, 0)

    @property
    def n_failed(self) -> int:
        """Requests with another answer than 200, or none."""
        return self.statuses.total() - self.statuses["200"]

    def _send_all(self) -> None:
        while not self._stopping.wait(1 / self._rate):
            self._pool.submit(self._send)

    def _send(self) -> None:
        weights = {name: self._weights[name] for name, ports in self._ports.items() if ports}
        if not sum(weights.values()):
            self.statuses["none"] += 1
            return
        (color,) = random.choices(list(weights), list(weights.values()))
        port = random.choice(self._ports[color])
        connection = HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
        try:
            connection.request("POST", "/predict", self._body, _HEADERS)
            status = connection.getresponse().status
            self.statuses[str(status)] += 1
            self._n_errors[color] += status >= 500
        except (OSError, HTTPException):
            self.statuses["none"] += 1
        finally:
            connection.close()

    def _follow(self) -> None:
        while not self._stopping.wait(_FOLLOW_S):
            self._read_listener()
            for color, n_errors in list(self._n_errors.items()):
                _set_alarm(self._values, color, n_errors)

    def _read_listener(self) -> None:
        self._ports = {name: _ports(self._values, name) for name in NAMES}
        self._weights = {name: one.weight for name, one in read_colors(self._values).items()}


def _ports(values: Mapping[str, Any], color: str) -> list[int]:
    found = client("elbv2").describe_target_health(
        TargetGroupArn=values[f"{color}_target_group_arn"]
    )
    return [int(one["Target"]["Port"]) for one in found["TargetHealthDescriptions"]]


def _set_alarm(values: Mapping[str, Any], color: str, n_errors: int) -> None:
    """Compare a number of server errors with the threshold of the alarm on them."""
    watch = client("cloudwatch")
    found = watch.describe_alarms(AlarmNames=values["rollback_alarms"][color])
    for alarm in found["MetricAlarms"]:
        if alarm.get("MetricName") == "HTTPCode_Target_5XX_Count":
            watch.set_alarm_state(
                AlarmName=alarm["AlarmName"],
                StateValue="ALARM" if n_errors > alarm["Threshold"] else "OK",
                StateReason=f"{n_errors} server errors",
            )
