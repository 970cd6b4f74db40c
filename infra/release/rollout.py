"""How a revision comes to serve: into the idle colour, a share of the traffic, all of it, or back.

Every verb looks first at what stands and does only what is missing, so each can be run again, after a
break too. What decides is the listener: the colour with the greater weight serves.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from infra.aws import client, need, readable_aws_errors
from infra.release.blue_green import Colour, look, scale, shift, short
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
    """A revision was taken back; what served before serves."""


@dataclass(frozen=True)
class Patience:
    """How long a colour may take to get ready, how long alarms are watched, and how often is looked; seconds."""

    ready_s: float = 600.0
    watch_s: float = 600.0
    poll_s: float = 5.0


class Rollout:
    """The moves over one deployment; ``say`` is told each."""

    def __init__(self, values: Values, say: Callable[[str], None], patience: Patience):
        need(values, *NEEDED)
        self._values, self._say, self._patience = values, say, patience

    def canary(self, revision: str, share: int) -> None:
        """Give `share` hundredths of the traffic to a revision, and watch its alarms.

        Raises
        ------
        RolledBackError
            If the revision does not get ready, or an alarm rings: what served before serves.
        """
        live, idle = self._sides()
        if live.revision == revision and idle.weight == 0:
            self._say(f"{live} serves everything already; there is nothing to try")
            return
        if idle.weight and idle.revision != revision:
            self._say(f"{idle} is taken back first")
            self._shift(live, idle, 0)
        self._prepare(live, idle, revision, self._values["service_tasks"]["min"])
        self._shift(live, idle, share)
        self._watch(live, idle)
        self._say(
            f"{idle.name} has {share} of 100 and no alarm rang; "
            "`make release` gives it all, `make abort` takes it back"
        )

    def release(self, revision: str, *, is_chosen: bool = False) -> None:
        """Give all of the traffic to a revision: the canary's if there is one, and stop the other colour.

        Raises
        ------
        InputError
            If a canary of another revision than the chosen one is out.
        RolledBackError
            As for a canary.
        """
        live, idle = self._sides()
        if idle.weight:
            if is_chosen and idle.revision != revision:
                raise InputError(
                    f"{idle} is out as canary, not {short(revision)}; "
                    "run `make abort` first, or leave IMAGE out"
                )
            revision = idle.revision
        if live.revision == revision and not idle.weight:
            self._say(f"{live} serves everything already")
        else:
            n_tasks = max(live.desired, self._values["service_tasks"]["min"])
            self._prepare(live, idle, revision, n_tasks)
            self._shift(live, idle, 100)
            self._watch(live, idle)
            live, idle = idle, live
        self._stop(idle)

    def abort(self) -> None:
        """Let the colour that served before have everything, and stop the other."""
        live, idle = self._sides()
        if live.desired and idle.desired and not idle.weight and live.since > idle.since:
            live, idle = idle, live  # a release broke off before the old colour was stopped
        if not idle.weight and not idle.desired:
            self._say(f"{live} serves everything; there is nothing to take back")
            return
        if not live.is_up:
            raise InputError(
                f"{live} does not answer, so nothing is given back to it; `make deploy` mends it"
            )
        self._put_back(live, idle)

    def _sides(self) -> tuple[Colour, Colour]:
        """Return the colour that serves and the other one."""
        live, idle = sorted(look(self._values).values(), key=lambda colour: -colour.weight)
        return live, idle

    def _prepare(self, live: Colour, idle: Colour, revision: str, n_tasks: int) -> None:
        """Put a revision into the idle colour, unless it is there, and wait until all its tasks answer."""
        n_tasks = max(n_tasks, idle.desired if idle.weight else 0)
        self._refuse_if_ringing(idle)
        if idle.revision != revision or not idle.desired:
            self._say(f"{idle.name}: {short(revision)} starts with {n_tasks} tasks")
            scale(self._values, idle.name, n_tasks, revision=revision)
        elif idle.desired < n_tasks:
            self._say(f"{idle.name}: {n_tasks} tasks instead of {idle.desired}")
            scale(self._values, idle.name, n_tasks)
        patience = time.monotonic() + self._patience.ready_s
        while True:
            now = look(self._values)[idle.name]
            if now.is_up and now.revision == revision and now.desired >= n_tasks:
                self._say(f"{now.name}: {now.healthy} tasks answer")
                return
            gone = "" if now.revision == revision else "ECS went back to the revision before"
            trouble = now.given_up.get(revision) or gone
            if trouble or time.monotonic() > patience:
                waited = (
                    f"{now.healthy} of {n_tasks} tasks answer after {self._patience.ready_s:.0f} s"
                )
                self._put_back(live, idle)
                raise RolledBackError(
                    f"{short(revision)} does not get ready ({trouble or waited}); {live.name} serves as before; "
                    f"see the log group {self._values.get('service_log_group', 'of the service')}"
                )
            time.sleep(self._patience.poll_s)

    def _shift(self, live: Colour, idle: Colour, share: int) -> None:
        shares = {live.name: 100 - share, idle.name: share}
        if {name: colour.weight for name, colour in look(self._values).items()} == shares:
            self._say(f"{idle.name} has {share} of 100 already")
            return
        shift(self._values, shares)
        self._say(f"{idle.name} now has {share} of 100, {live.name} {100 - share}")

    def _watch(self, live: Colour, idle: Colour) -> None:
        """Look at the alarms and the tasks of the colour under test for a while; go back if one is bad."""
        self._say(f"watching {idle.name} for {self._patience.watch_s:.0f} s")
        patience = time.monotonic() + self._patience.watch_s
        while True:
            bad = self._ringing(idle) or self._down(idle)
            if bad:
                self._put_back(live, idle)
                raise RolledBackError(f"{bad}: {idle.name} was taken back, {live} serves as before")
            if time.monotonic() > patience:
                return
            time.sleep(self._patience.poll_s)

    def _down(self, idle: Colour) -> str:
        now = look(self._values)[idle.name]
        return "" if now.healthy else f"no task of {idle.name} answers"

    def _ringing(self, colour: Colour) -> str:
        names = (self._values.get("rollback_alarms") or {}).get(colour.name) or []
        if not names:
            return ""
        with readable_aws_errors():
            found = client("cloudwatch").describe_alarms(AlarmNames=names)["MetricAlarms"]
        alarms = [alarm["AlarmName"] for alarm in found if alarm["StateValue"] == "ALARM"]
        return f"alarm {', '.join(sorted(alarms))} rings" if alarms else ""

    def _refuse_if_ringing(self, idle: Colour) -> None:
        if not idle.weight and (ringing := self._ringing(idle)):
            raise RolledBackError(
                f"{ringing} before {idle.name} got any traffic; wait until it is OK"
            )

    def _put_back(self, live: Colour, idle: Colour) -> None:
        self._shift(live, idle, 0)
        self._stop(idle)

    def _stop(self, colour: Colour) -> None:
        """Stop a colour that has no traffic; requests in flight end first, the target group sees to that."""
        if look(self._values)[colour.name].desired:
            scale(self._values, colour.name, 0)
            self._say(f"{colour.name} is stopped")
