"""A load balancer that follows the listener's weights, sets the alarms on server errors, and load for it.

A request goes to a target group drawn by weight and there to any task that answers. Nothing is sent twice: a task that
dies under a request makes it a 502; one that takes no connection is skipped.
"""

import json
import random
import threading
from collections import Counter, defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from infra.release.traffic_weights import NAMES, read_colors
from tests.rehearsal.emulator import Emulator

SIMULATED = "the load balancer (a local proxy)"
_N_CLIENTS = 32
_FOLLOW_S, _ALARM_S, _TIMEOUT_S = 0.5, 5.0, 10.0
_HEADERS = {"Content-Type": "application/json"}


class LoadBalancer:
    """The proxy, as a context; its listener is read twice a second.

    Attributes
    ----------
    port
        Where it listens.
    statuses
        By target group, how many answers had each status; ``lost`` where a task died under a request.
    """

    def __init__(self, emulator: Emulator, values: Mapping[str, Any]):
        self._emulator, self._values = emulator, values
        self._weights: dict[str, int] = {}
        self._stopping = threading.Event()
        self._n_errors: Counter[str] = Counter()
        self.statuses: dict[str, Counter[str]] = defaultdict(Counter)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.port = int(self._server.server_port)

    def __enter__(self) -> "LoadBalancer":
        for target in (self._server.serve_forever, self._follow, self._set_alarms):
            threading.Thread(target=target, daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stopping.set()
        self._server.shutdown()

    def ports(self, group: str) -> list[int]:
        """Return the ports of a target group's tasks that answer."""
        return list(self._emulator.services.ports[group])

    def forward(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Send a request on; return status and body of the answer."""
        skipped: set[int] = set()
        while found := self._choose(skipped):
            group, port = found
            connection = HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
            try:
                connection.connect()
            except OSError:
                skipped.add(port)
                continue
            try:
                connection.request("POST", path, body, _HEADERS)
                answer = connection.getresponse()
                status, text = answer.status, answer.read()
                self.statuses[group][str(status)] += 1
                self._n_errors[group] += status >= 500
                return status, text
            except (OSError, HTTPException):
                self.statuses[group]["lost"] += 1
                return 502, b"{}"
            finally:
                connection.close()
        return 503, b"{}"

    def _choose(self, skipped: set[int]) -> tuple[str, int] | None:
        ports = {group: set(self.ports(group)) - skipped for group in self._weights}
        groups = [group for group, weight in self._weights.items() if weight and ports[group]]
        if not groups:
            return None
        group = random.choices(groups, [self._weights[one] for one in groups])[0]
        return group, random.choice(list(ports[group]))

    def _follow(self) -> None:
        while not self._stopping.wait(_FOLLOW_S):
            with suppress(Exception):  # the deployment may be half destroyed
                self._weights = {
                    self._values[f"{name}_target_group_arn"]: color.weight
                    for name, color in read_colors(self._values).items()
                }

    def _set_alarms(self) -> None:
        """Compare the server errors of the last seconds with the thresholds of the alarms on them."""
        while not self._stopping.wait(_ALARM_S):
            n_errors, self._n_errors = self._n_errors, Counter()
            for color in NAMES:
                self._set_alarm(color, n_errors[self._values[f"{color}_target_group_arn"]])

    def _set_alarm(self, color: str, n_errors: int) -> None:
        watch = self._emulator.client("cloudwatch")
        names = self._values["rollback_alarms"][color]
        for alarm in watch.describe_alarms(AlarmNames=names)["MetricAlarms"]:
            if alarm.get("MetricName") == "HTTPCode_Target_5XX_Count":
                watch.set_alarm_state(
                    AlarmName=alarm["AlarmName"],
                    StateValue="ALARM" if n_errors > alarm["Threshold"] else "OK",
                    StateReason=f"{n_errors} server errors",
                )


def _handler(balancer: LoadBalancer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, text = balancer.forward(self.path, body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


class Load:
    """Predictions at a steady rate per second, each answer counted by status; as a context."""

    def __init__(self, port: int, row: Mapping[str, Any], rate: float):
        self._port, self._body, self._rate = port, json.dumps(row).encode(), rate
        self._stopping, self._pool = threading.Event(), ThreadPoolExecutor(_N_CLIENTS)
        self.statuses: Counter[str] = Counter()

    def __enter__(self) -> "Load":
        self._sender = threading.Thread(target=self._send_all, daemon=True)
        self._sender.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stopping.set()
        self._sender.join()
        self._pool.shutdown()

    @property
    def n_failed(self) -> int:
        """Requests with another answer than 200, or none."""
        return self.statuses.total() - self.statuses["200"]

    def _send_all(self) -> None:
        while not self._stopping.wait(1 / self._rate):
            self._pool.submit(self._send)

    def _send(self) -> None:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=2 * _TIMEOUT_S)
        try:
            connection.request("POST", "/predict", self._body, _HEADERS)
            status = str(connection.getresponse().status)
        except (OSError, HTTPException):
            status = "none"
        finally:
            connection.close()
        self.statuses[status] += 1
