"""The whole service in one process, without a socket.

``python -m bentos.ctr.in_process`` answers requests through every layer that a live request passes but
the socket; packaging compares the answers with the pipeline's.
"""

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any


async def answer(app: Any, requests: Sequence[tuple[str, Any]]) -> list[tuple[int, Any]]:
    """Return status and JSON of an ASGI app's answers to (path, JSON) posts, one after the other.

    The app is started and stopped as a server would do it.

    Raises
    ------
    RuntimeError
        If the app does not start.
    """
    to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    await to_app.put({"type": "lifespan.startup"})
    life = asyncio.create_task(app({"type": "lifespan", "state": {}}, to_app.get, from_app.put))
    started = await from_app.get()
    if started["type"] != "lifespan.startup.complete":
        raise RuntimeError(started.get("message") or "the app does not start")
    answers = [await _post(app, path, json.dumps(body).encode()) for path, body in requests]
    await to_app.put({"type": "lifespan.shutdown"})
    await life
    return answers


async def _post(app: Any, path: str, body: bytes) -> tuple[int, Any]:
    sent: list[dict[str, Any]] = []
    waiting = [{"type": "http.request", "body": body}]

    async def receive() -> dict[str, Any]:
        return waiting.pop() if waiting else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = {
        "host": "in-process",
        "content-type": "application/json",
        "content-length": len(body),
    }
    await app(_scope(path, headers), receive, send)
    text = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], json.loads(text)


def _scope(path: str, headers: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), str(value).encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "state": {},
    }


def main() -> int:
    """Answer the requests on standard input, a JSON list of [path, body], with the Bento's service."""
    from bentos.ctr.service import Ctr

    requests = json.load(sys.stdin)
    app = Ctr.to_asgi(is_main=True)  # type: ignore[attr-defined]
    answers = asyncio.run(answer(app, requests))
    sys.stdout.write(json.dumps(answers) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
