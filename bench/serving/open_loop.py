"""Load at a constant rate from one process: ``python -m bench.serving.open_loop``; imports nothing of this project.

Send times are fixed before the run and kept regardless of earlier responses (an open loop). Latency
counts from the scheduled time to the last byte of the response, so that a server (or this process)
that falls behind delays every request affected, not just one. ``select`` is used because its timeout
has microseconds where epoll and event loops have milliseconds; ``late`` reports how late requests
were sent although a connection was free.
"""

import argparse
import gc
import json
import re
import select
import socket
import time
from array import array
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

SPIN_S = 100e-6  # busy-wait before a request is due: the kernel may wake us this late
GRACE_S = 10.0  # for outstanding responses after the last request
SLICE_S = 1.0  # of the timeline
_PERCENTILES = {"p50_ms": 50.0, "p99_ms": 99.0, "p99_9_ms": 99.9, "max_ms": 100.0}
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)
_VERSION = re.compile(rb'"version": ?"([^"]*)"')


def request_bytes(path: str, port: int, body: bytes) -> bytes:
    """Return the bytes of an HTTP request."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Connection:
    """One kept-alive connection with no more than one request in flight."""

    def __init__(self, port: int):
        self._port = port
        self.number = -1  # of the request in flight, -1 if none
        self.open()

    def open(self) -> None:
        """Connect or reconnect."""
        self.socket = socket.create_connection(("127.0.0.1", self._port), timeout=GRACE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._got, self._end = b"", 0

    def fileno(self) -> int:
        """Return the descriptor, for `select`."""
        return self.socket.fileno()

    def read(self) -> tuple[int, bytes] | None:
        """Return status and response once complete, else None; ConnectionError if it cannot be completed."""
        part = self.socket.recv(1 << 20)
        if not part:
            raise ConnectionError("closed by the server")
        self._got += part
        if not self._end:
            head = self._got.find(b"\r\n\r\n")
            if head < 0:
                return None
            length = _LENGTH.search(self._got, 0, head)
            if length is None:
                raise ConnectionError("a response without a length")
            self._end = head + 4 + int(length[1])
        if len(self._got) < self._end:
            return None
        got, self._got, self._end = self._got, b"", 0
        return int(got[9:12]), got


class OpenLoop:
    """A run: `rate` requests per second for `seconds`, over `n_connections` connections."""

    def __init__(
        self,
        port: int,
        requests: Sequence[bytes],
        *,
        rate: float,
        seconds: float,
        n_connections: int,
    ):
        self._requests, self._rate = requests, rate
        self._n_all = max(1, round(rate * seconds))
        self._all = [Connection(port) for _ in range(n_connections)]
        self._free = deque(self._all)
        self.latency_s = array("d", [np.nan]) * self._n_all  # nan: failed
        self.late_s = array("d")
        self.outcomes: Counter[str] = Counter()
        self.versions: Counter[str] = Counter()

    def run(self) -> float:
        """Send all requests, wait for the responses, and return the seconds until the last one."""
        n_sent, begin = 0, time.perf_counter() + 0.01
        deadline = begin + self._n_all / self._rate + GRACE_S
        due, free_since = begin, begin
        while n_sent < self._n_all or len(self._free) < len(self._all):
            now = time.perf_counter()
            if now > deadline:
                break
            if n_sent < self._n_all and now >= due and self._free:
                self.late_s.append(now - max(due, free_since))
                self._send(self._free.popleft(), n_sent)
                n_sent += 1
                due = begin + n_sent / self._rate
                continue
            sends_next = n_sent < self._n_all and self._free
            wait = max(0.0, due - now - SPIN_S) if sends_next else 0.1
            readable = select.select(self._all, (), (), wait)[0]
            was_full = not self._free
            for connection in readable:
                self._receive(connection, begin)
            if was_full:
                free_since = time.perf_counter()
        wall_s = time.perf_counter() - begin
        self.outcomes["no response"] += self._n_all - sum(self.outcomes.values())
        for connection in self._all:
            connection.socket.close()
        return wall_s

    def _send(self, connection: Connection, number: int) -> None:
        connection.number = number
        try:
            connection.socket.sendall(self._requests[number % len(self._requests)])
        except OSError as error:
            self._fail(connection, error)

    def _receive(self, connection: Connection, begin: float) -> None:
        try:
            answer = connection.read()
        except OSError as error:
            self._fail(connection, error)
            return
        if answer is None:
            return
        status, body = answer
        self.outcomes[str(status)] += 1
        if status == 200:
            due = begin + connection.number / self._rate
            self.latency_s[connection.number] = time.perf_counter() - due
            if version := _VERSION.search(body):
                self.versions[version[1].decode()] += 1
        self._release(connection)

    def _fail(self, connection: Connection, error: OSError) -> None:
        """Reconnect; a request in flight has failed, an idle connection may be closed by the server."""
        connection.socket.close()
        if connection.number >= 0:
            self.outcomes[type(error).__name__] += 1
            self._release(connection)
        connection.open()

    def _release(self, connection: Connection) -> None:
        connection.number = -1
        self._free.append(connection)  # round robin, so that none is idle for long

    def found(self, wall_s: float) -> dict[str, Any]:
        """Return the results, JSON-ready."""
        latency_ms = np.array(self.latency_s) * 1e3
        good = latency_ms[~np.isnan(latency_ms)]
        late_ms = np.array(self.late_s) * 1e3
        return {
            "rate": self._rate,
            "n_requests": self._n_all,
            "n_failed": self._n_all - len(good),
            "outcomes": {name: n for name, n in self.outcomes.items() if n},
            "versions": dict(self.versions),
            "wall_s": wall_s,
            **percentiles(good),
            "late_p99_ms": float(np.percentile(late_ms, 99)),
            "timeline": self._timeline(latency_ms),
        }

    def _timeline(self, latency_ms: np.ndarray) -> list[dict[str, float]]:
        """Return the latencies of each second, by the time at which requests were due."""
        step = max(1, round(self._rate * SLICE_S))
        line = []
        for first in range(0, len(latency_ms), step):
            part = latency_ms[first : first + step]
            good = part[~np.isnan(part)]
            counts = {"second": first / self._rate, "n_failed": len(part) - len(good)}
            line.append(counts | percentiles(good))
        return line


def percentiles(latency_ms: np.ndarray) -> dict[str, float]:
    """Return p50, p99, p99.9 and the maximum; an empty dictionary without values."""
    if not len(latency_ms):
        return {}
    return {name: float(np.percentile(latency_ms, q)) for name, q in _PERCENTILES.items()}


def main() -> None:
    """Run as the arguments say and write the results as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.serving.open_loop", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="/predict")
    parser.add_argument("--bodies", type=Path, required=True, help="one per line, sent in turn")
    parser.add_argument("--rate", type=float, required=True, help="requests per second")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--result", type=Path, required=True)
    options = parser.parse_args()
    bodies = options.bodies.read_bytes().splitlines()
    requests = [request_bytes(options.path, options.port, body) for body in bodies]
    load = OpenLoop(
        options.port,
        requests,
        rate=options.rate,
        seconds=options.seconds,
        n_connections=options.connections,
    )
    gc.collect()
    gc.disable()  # our own pauses would count as latency
    options.result.write_text(json.dumps(load.found(load.run())))


if __name__ == "__main__":
    main()
