"""Load for the service: predictions at a steady rate, each answer counted."""

import asyncio
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.rehearsal.http_client import Gone, Pool, Refused


@dataclass
class Load:
    """Requests a second to an address, until stopped; as a context.

    Attributes
    ----------
    rate
        May be changed meanwhile.
    statuses
        Answers by status; ``gone`` where there was none.
    """

    port: int
    row: dict[str, Any]
    rate: float
    statuses: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    _stopping: bool = False

    def __enter__(self) -> "Load":
        self._thread = threading.Thread(target=lambda: asyncio.run(self._send_all()), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stopping = True
        self._thread.join(timeout=15)

    @property
    def failed(self) -> int:
        """Requests that were answered with anything but 200, or not at all."""
        return self.statuses.total() - self.statuses["200"]

    async def _send_all(self) -> None:
        pool, body = Pool("127.0.0.1", self.port), json.dumps(self.row).encode()
        due, tasks = time.monotonic(), set()
        while not self._stopping:
            task = asyncio.ensure_future(self._send(pool, body))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            due = max(due + 1 / self.rate, time.monotonic() - 0.5)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        if tasks:
            await asyncio.wait(tasks, timeout=10)

    async def _send(self, pool: Pool, body: bytes) -> None:
        self.in_flight += 1
        try:
            status, _ = await pool.ask(b"POST", b"/predict", b"application/json", body)
            self.statuses[str(status)] += 1
        except (Gone, Refused):
            self.statuses["gone"] += 1
        finally:
            self.in_flight -= 1
