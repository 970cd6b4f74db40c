"""What a container writes, sent to CloudWatch Logs by its execution role, a batch at a time."""

import threading
import time
from typing import Any

_EVERY_S = 0.5
_BATCH = 1_000


class LogStream:
    """One stream; lines are sent from a thread of its own until it is closed."""

    def __init__(self, client: Any, group: str, name: str):
        self._client, self._where = client, {"logGroupName": group, "logStreamName": name}
        client.create_log_stream(**self._where)
        self._waiting: list[dict[str, Any]] = []
        self._lock, self._closing = threading.Lock(), threading.Event()
        self._sender = threading.Thread(target=self._send_all, daemon=True)
        self._sender.start()

    def say(self, line: str) -> None:
        """Add a line; empty ones are left out, as CloudWatch refuses them."""
        if line.strip():
            with self._lock:
                self._waiting.append({"timestamp": int(time.time() * 1000), "message": line})

    def close(self) -> None:
        """Send what is left."""
        self._closing.set()
        self._sender.join(timeout=5)

    def _send_all(self) -> None:
        while not self._closing.wait(_EVERY_S):
            self._send()
        self._send()

    def _send(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for start in range(0, len(waiting), _BATCH):
            events = waiting[start : start + _BATCH]
            self._client.put_log_events(logEvents=events, **self._where)
