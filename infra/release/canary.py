"""How a revision goes live: into the idle color, a share of the traffic, all of it, or back.

Each verb reads the current state first and does only what is missing, so it can be repeated, also after an
interruption. The color with the greater weight at the listener is the live one.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from infra.aws import client, need, readable_aws_errors
from infra.release.traffic_weights import Color, read_colors, scale, shift_traffic, short
from tasks.errors import GateError, InputError

NEEDED = (
    "cluster",
    "listener_arn",
    "blue_service",
    "green_service",
    "blue_target_group_arn",
    "green_target_group_arn",
    "service_tasks",
    "service_task_definition",
)
Values = Mapping[str, Any]


class RolledBackError(GateError):
    """A revision was rolled back; the previous one serves."""


@dataclass(frozen=True)
class Timing:
    """Seconds until a color must be ready, during which alarms are watched, and between two polls."""

    ready_s: float = 600.0
    watch_s: float = 600.0
    poll_s: float = 5.0


class Rollout:
    """The verbs of one deployment; each step is reported to ``say``."""

    def __init__(self, values: Values, say: Callable[[str], None], timing: Timing):
        need(values, *NEEDED)
        self._values, self._say, self._timing = values, say, timing

    def canary(self, revision: str, share: int) -> None:
        """Give `share` percent of the traffic to a revision, and watch its alarms.

        Raises
        ------
        RolledBackError
            If the revision does not become healthy, or an alarm fires; the live color serves as before.
        """
        live, idle = self._sides()
        if live.revision == revision and idle.weight == 0:
            self._say(f"{live} already serves all traffic; there is nothing to try")
            return
        if idle.weight and idle.revision != revision:
            self._say(f"{idle} is rolled back first")
            self._shift(live, idle, 0)
        self._prepare(live, idle, revision, self._values["service_tasks"]["min"])
        self._shift(live, idle, share)
        self._watch(live, idle)
        self._say(
            f"{idle.name} has {share}% of the traffic and no alarm fired; "
            "`make release` gives it all, `make abort` rolls it back"
        )

    def release(self, revision: str, *, is_chosen: bool = False) -> None:
        """Give all traffic to a revision, the canary's if there is one, and stop the other color.

        Raises
        ------
        InputError
            If the canary is another revision than the chosen one.
        RolledBackError
            As for `canary`.
        """
        live, idle = self._sides()
        if idle.weight:
            if is_chosen and idle.revision != revision:
                raise InputError(
                    f"{idle} is the canary, not {short(revision)}; "
                    "run `make abort` first, or leave IMAGE out"
                )
            revision = idle.revision
        if live.revision == revision and not idle.weight:
            self._say(f"{live} already serves all traffic")
        else:
            n_tasks = max(live.desired, self._values["service_tasks"]["min"])
            self._prepare(live, idle, revision, n_tasks)
            self._shift(live, idle, 100)
            self._watch(live, idle)
            live, idle = idle, live
        self._stop(idle)

    def abort(self) -> None:
        """Give all traffic back to the color that served before, and stop the other."""
        live, idle = self._sides()
        if live.desired and idle.desired and not idle.weight and live.since > idle.since:
            live, idle = idle, live  # a release was interrupted before the old color was stopped
        if not idle.weight and not idle.desired:
            self._say(f"{live} serves all traffic; there is nothing to roll back")
            return
        if not live.is_up:
            raise InputError(
                f"{live} is not healthy, so it gets no traffic; `make deploy` repairs it"
            )
        self._roll_back(live, idle)

    def _sides(self) -> tuple[Color, Color]:
        """Return the live color and the other one."""
        live, idle = sorted(read_colors(self._values).values(), key=lambda color: -color.weight)
        return live, idle

    def _prepare(self, live: Color, idle: Color, revision: str, n_tasks: int) -> None:
        """Start a revision in the idle color unless it is running there, and wait until all its tasks are healthy."""
        n_tasks = max(n_tasks, idle.desired if idle.weight else 0)
        self._refuse_during_alarm(idle)
        if idle.revision != revision or not idle.desired:
            self._say(f"{idle.name}: {short(revision)} starts with {n_tasks} tasks")
            scale(self._values, idle.name, n_tasks, revision=revision)
        elif idle.desired < n_tasks:
            self._say(f"{idle.name}: {n_tasks} tasks instead of {idle.desired}")
            scale(self._values, idle.name, n_tasks)
        deadline = time.monotonic() + self._timing.ready_s
        while True:
            now = read_colors(self._values)[idle.name]
            if now.is_up and now.revision == revision and now.desired >= n_tasks:
                self._say(f"{now.name}: {now.healthy} tasks are healthy")
                return
            gone = "" if now.revision == revision else "ECS went back to the previous revision"
            reason = now.given_up.get(revision) or gone
            if reason or time.monotonic() > deadline:
                waited = f"{now.healthy} of {n_tasks} tasks are healthy after {self._timing.ready_s:.0f} s"
                self._roll_back(live, idle)
                raise RolledBackError(
                    f"{short(revision)} does not become healthy ({reason or waited}); {live.name} serves as before; "
                    f"see the log group {self._values.get('service_log_group', 'of the service')}"
                )
            time.sleep(self._timing.poll_s)

    def _shift(self, live: Color, idle: Color, share: int) -> None:
        shares = {live.name: 100 - share, idle.name: share}
        if {name: color.weight for name, color in read_colors(self._values).items()} == shares:
            self._say(f"{idle.name} already has {share}% of the traffic")
            return
        shift_traffic(self._values, shares)
        self._say(f"{idle.name} now has {share}% of the traffic, {live.name} {100 - share}%")

    def _watch(self, live: Color, idle: Color) -> None:
        """Watch the alarms and the tasks of the color under test; roll it back on the first problem."""
        self._say(f"watching {idle.name} for {self._timing.watch_s:.0f} s")
        deadline = time.monotonic() + self._timing.watch_s
        while True:
            problem = self._alarms(idle) or self._outage(idle)
            if problem:
                self._roll_back(live, idle)
                raise RolledBackError(
                    f"{problem}: {idle.name} was rolled back, {live} serves as before"
                )
            if time.monotonic() > deadline:
                return
            time.sleep(self._timing.poll_s)

    def _outage(self, idle: Color) -> str:
        now = read_colors(self._values)[idle.name]
        return "" if now.healthy else f"no task of {idle.name} is healthy"

    def _alarms(self, color: Color) -> str:
        names = (self._values.get("rollback_alarms") or {}).get(color.name) or []
        if not names:
            return ""
        with readable_aws_errors():
            found = client("cloudwatch").describe_alarms(AlarmNames=names)["MetricAlarms"]
        alarms = [alarm["AlarmName"] for alarm in found if alarm["StateValue"] == "ALARM"]
        return f"alarm {', '.join(sorted(alarms))} fires" if alarms else ""

    def _refuse_during_alarm(self, idle: Color) -> None:
        if not idle.weight and (alarms := self._alarms(idle)):
            raise RolledBackError(
                f"{alarms} before {idle.name} got any traffic; wait until it is OK"
            )

    def _roll_back(self, live: Color, idle: Color) -> None:
        self._shift(live, idle, 0)
        self._stop(idle)

    def _stop(self, color: Color) -> None:
        """Stop a color that has no traffic; its target group drains requests in flight first."""
        if read_colors(self._values)[color.name].desired:
            scale(self._values, color.name, 0)
            self._say(f"{color.name} is stopped")
