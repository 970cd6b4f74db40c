"""Rounds of load on all servers in turn, and the results of each run."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.serving.load import Call, pace, saturate
from bench.serving.servers import Server

ALWAYS_PACED = ("ours", "floor")  # in every round; the others in the first one only
WARM_UP_S = 2.0
FLUSH_S = 2.5  # the service updates its counters once per second


@dataclass(frozen=True)
class Plan:
    """Number, length and rate of the runs.

    Attributes
    ----------
    n_rounds
        Times that all measurements are repeated.
    saturated_s, paced_s
        Length of a run at full load, and of one at a constant rate.
    n_connections
        Open connections at full load.
    rate
        Requests per second at the constant rate.
    """

    n_rounds: int
    saturated_s: float
    paced_s: float
    n_connections: int
    rate: float


@dataclass
class Record:
    """The runs of one contestant; those with the prefix ``rank_`` call ``/rank``."""

    saturated: list[dict[str, Any]] = field(default_factory=list)
    paced: list[dict[str, Any]] = field(default_factory=list)
    rank_saturated: list[dict[str, Any]] = field(default_factory=list)
    rank_paced: list[dict[str, Any]] = field(default_factory=list)
    pss_bytes: int = 0
    n_dropped: int | None = None  # exposures at the constant rate; None: no such metric
    n_dropped_saturated: int | None = None

    def median(self, kind: str, name: str) -> float:
        """Return the median of a measure over the runs of one kind; NaN if there is none."""
        found = [run[name] for run in getattr(self, kind) if name in run]
        return float(np.median(found)) if found else float("nan")


def run_rounds(
    servers: Mapping[str, Server],
    predict: Call,
    rank: Call,
    plan: Plan,
    set_status: Callable[[str], None],
) -> dict[str, Record]:
    """Return a record of each server: all are warmed up, then loaded in turn, once per round."""
    records = {key: Record() for key in servers}
    for key, server in servers.items():
        set_status(f"warming up {key}")
        saturate(server.port, predict, seconds=WARM_UP_S, n_connections=plan.n_connections)
        if key == "ours":
            saturate(server.port, rank, seconds=WARM_UP_S, n_connections=plan.n_connections)
    for number in range(1, plan.n_rounds + 1):
        where = f"round {number} of {plan.n_rounds}"
        for key, server in servers.items():
            set_status(f"{where}: {key}, full load")
            _saturate(server, records[key], key, predict, rank, plan)
        time.sleep(FLUSH_S)
        for key, server in servers.items():
            if number == 1 or key in ALWAYS_PACED:
                set_status(f"{where}: {key}, {plan.rate:g} requests/s")
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
        found = pace(server.port, call, rate=plan.rate, seconds=plan.paced_s)
        return {name: value for name, value in found.items() if name != "timeline"}

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
    """Return the results of a run, with the server's processor time per request."""
    before = server.cpu_s()
    found = run()
    return found | {"cpu_us": (server.cpu_s() - before) / found["n_requests"] * 1e6}


def n_dropped(server: Server) -> int | None:
    """Return how many exposures our server dropped, None if its metrics do not say."""
    found = server.metrics().get("ctr_exposures_dropped_total")
    return None if found is None else int(found)
