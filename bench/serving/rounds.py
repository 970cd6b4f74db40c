"""Rounds of load on all servers in turn, and what each run found."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.serving.load import Call, pace, saturate
from bench.serving.servers import Server

ALWAYS_PACED = ("ours", "floor")  # in every round; the others in the first one only
WARM_UP_S = 2.0
FLUSH_S = 2.5  # the service brings its counters up to date once a second


@dataclass(frozen=True)
class Plan:
    """How long, how often and how hard.

    Attributes
    ----------
    n_rounds
        Of all measurements.
    saturated_s, paced_s
        Length of a run with as many requests as possible, and of one at a constant rate.
    n_connections
        Of the former.
    rate
        Requests per second of the latter.
    """

    n_rounds: int
    saturated_s: float
    paced_s: float
    n_connections: int
    rate: float


@dataclass
class Record:
    """The runs of one contestant; ``rank_`` are those on ``/rank``."""

    saturated: list[dict[str, Any]] = field(default_factory=list)
    paced: list[dict[str, Any]] = field(default_factory=list)
    rank_saturated: list[dict[str, Any]] = field(default_factory=list)
    rank_paced: list[dict[str, Any]] = field(default_factory=list)
    pss_bytes: int = 0
    n_dropped: int | None = None  # exposures at the constant rate; None: the server does not say
    n_dropped_saturated: int | None = None

    def median(self, kind: str, name: str) -> float:
        """Return the median of a measure over the runs of a kind; nan if there is none."""
        found = [run[name] for run in getattr(self, kind) if name in run]
        return float(np.median(found)) if found else float("nan")


def hold(
    servers: Mapping[str, Server],
    predict: Call,
    rank: Call,
    plan: Plan,
    tell: Callable[[str], None],
) -> dict[str, Record]:
    """Return a record of each server: warmed up, then all in turn, once a round."""
    records = {key: Record() for key in servers}
    for key, server in servers.items():
        tell(f"warming up {key}")
        saturate(server.port, predict, seconds=WARM_UP_S, n_connections=plan.n_connections)
        if key == "ours":
            saturate(server.port, rank, seconds=WARM_UP_S, n_connections=plan.n_connections)
    for number in range(1, plan.n_rounds + 1):
        where = f"round {number} of {plan.n_rounds}"
        for key, server in servers.items():
            tell(f"{where}: {key}, as many requests as it can")
            _saturate(server, records[key], key, predict, rank, plan)
        time.sleep(FLUSH_S)
        for key, server in servers.items():
            if number == 1 or key in ALWAYS_PACED:
                tell(f"{where}: {key}, {plan.rate:g} requests/s")
                _pace(server, records[key], key, predict, rank, plan)
    for key, server in servers.items():
        records[key].pss_bytes = server.memory().pss_bytes
    return records


def _saturate(
    server: Server, record: Record, key: str, predict: Call, rank: Call, plan: Plan
) -> None:
    def run(call: Call) -> dict[str, Any]:
        return saturate(
            server.port, call, seconds=plan.saturated_s, n_connections=plan.n_connections
        )

    record.saturated.append(_with_cpu(server, lambda: run(predict)))
    if key == "ours":
        record.rank_saturated.append(_with_cpu(server, lambda: run(rank)))


def _pace(server: Server, record: Record, key: str, predict: Call, rank: Call, plan: Plan) -> None:
    def run(call: Call) -> dict[str, Any]:
        return pace(server.port, call, rate=plan.rate, seconds=plan.paced_s)

    before = n_dropped(server) if key == "ours" else None
    record.paced.append(_with_cpu(server, lambda: run(predict)))
    if key == "ours":
        record.rank_paced.append(_with_cpu(server, lambda: run(rank)))
        time.sleep(FLUSH_S)
        after = n_dropped(server)
        if before is not None and after is not None:
            record.n_dropped = (record.n_dropped or 0) + after - before
            record.n_dropped_saturated = after - record.n_dropped


def _with_cpu(server: Server, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what a run found, and the processor time that the server used for a request."""
    before = server.cpu_s()
    found = run()
    return found | {"cpu_us": (server.cpu_s() - before) / found["n_requests"] * 1e6}


def n_dropped(server: Server) -> int | None:
    """Return how many exposures a server of ours gave up, None if its metrics do not say."""
    found = server.metrics().get("ctr_exposures_dropped_total")
    return None if found is None else int(found)
