"""Where the proxy sends a request: groups with weights, their targets, and which of those are ready."""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.rehearsal.http_client import Gone, Pool, Refused

_CHECK_S = 0.5
_HEALTHY, _UNHEALTHY = 2, 3


@dataclass
class Target:
    """One process behind the proxy."""

    host: str
    port: int
    pool: Pool
    in_flight: int = 0
    good: int = 0
    bad: int = 0
    is_ready: bool = False

    def note(self, is_well: bool) -> None:
        """Count an answer to a health check."""
        self.good, self.bad = (self.good + 1, 0) if is_well else (0, self.bad + 1)
        if self.good >= _HEALTHY:
            self.is_ready = True
        if self.bad >= _UNHEALTHY:
            self.is_ready = False

    def note_refusal(self) -> None:
        """Leave it out at once; an AWS load balancer would wait for its health checks."""
        self.good, self.is_ready = 0, False


@dataclass
class Group:
    """A target group: weight, targets, and what was counted."""

    weight: int = 0
    targets: dict[tuple[str, int], Target] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)

    def ready(self) -> list[Target]:
        """Return the targets that may get requests."""
        return [target for target in self.targets.values() if target.is_ready]


class Balancer:
    """The groups of one listener, and where a request goes."""

    def __init__(self, *, seed: int = 0):
        self.groups: dict[str, Group] = defaultdict(Group)
        self.no_target = 0
        self._draw = random.Random(seed)

    def choose(self) -> tuple[Group, Target] | None:
        """Return a group drawn by weight and its ready target with least in flight; None if none is ready.

        A group without a ready target gets nothing; an AWS load balancer would answer 503 for its share.
        """
        groups = [group for group in self.groups.values() if group.weight > 0]
        groups = [group for group in groups if group.ready()] or []
        if not groups:
            return None
        group = self._draw.choices(groups, [one.weight for one in groups])[0]
        return group, min(group.ready(), key=lambda target: target.in_flight)

    def follow(
        self, weights: Mapping[str, int], targets: Mapping[str, set[tuple[str, int]]]
    ) -> None:
        """Take over weights and targets; a target that left gets no more, what is in flight goes on."""
        for arn, group in self.groups.items():
            group.weight = weights.get(arn, 0)
        for arn, weight in weights.items():
            group = self.groups[arn]
            group.weight = weight
            for gone in set(group.targets) - targets[arn]:
                del group.targets[gone]
            for host, port in targets[arn] - set(group.targets):
                group.targets[host, port] = Target(host, port, Pool(host, port))

    def told(self) -> dict[str, Any]:
        """Return what was counted, by target group."""
        groups = {
            arn: {
                "weight": group.weight,
                "statuses": dict(group.statuses),
                "requests": group.statuses.total(),
                "targets": {
                    f"{one.host}:{one.port}": {"ready": one.is_ready, "in_flight": one.in_flight}
                    for one in group.targets.values()
                },
            }
            for arn, group in self.groups.items()
        }
        return {"groups": groups, "no_target": self.no_target}

    async def check(self) -> None:
        """Ask every target whether it is ready, again and again."""
        while True:
            targets = [one for group in self.groups.values() for one in group.targets.values()]
            await asyncio.gather(*(self._check(target) for target in targets))
            await asyncio.sleep(_CHECK_S)

    async def _check(self, target: Target) -> None:
        try:
            async with asyncio.timeout(2):
                status, _ = await target.pool.ask(b"GET", b"/readyz", b"", b"")
            target.note(status == 200)
        except (Gone, Refused, TimeoutError):
            target.note(False)
