"""Golden rows: requests and the predictions that the pipeline made for them, packed beside the model.

``python -m bentos.ctr.in_process`` answers requests with the whole service in its own process, with every
layer that a live request passes but the socket; packaging compares the answers with the pipeline's.
"""

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tasks.errors import ContractError
from tasks.serving.receipt import GOLDEN, TOLERANCE

__all__ = ["GOLDEN", "TOLERANCE", "Golden", "answer", "read_golden"]


class Golden(NamedTuple):
    """Requests, and the predictions they must get."""

    rows: Sequence[Mapping[str, Any]]
    p_click: Sequence[float]


def read_golden(folder: Path) -> Golden:
    """Return the golden rows of a model folder; ContractError if they cannot be read or there are none."""
    path = folder / GOLDEN
    try:
        raw = json.loads(path.read_text())
        golden = Golden(raw["rows"], [float(p) for p in raw["p_click"]])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ContractError(f"{path}: no golden rows ({error}); package the model again") from None
    if not golden.rows or len(golden.rows) != len(golden.p_click):
        raise ContractError(
            f"{path}: {len(golden.rows)} golden rows and {len(golden.p_click)} predictions; at least one of each, "
            "and as many, are needed; run `evaluate` again"
        )
    return golden


async def answer(app: Any, requests: Sequence[tuple[str, Any]]) -> list[tuple[int, Any]]:
    """Return status and JSON of an ASGI app's answers to (path, JSON) posts, one after the other.

    The app is started and stopped as a server would do it.

    Raises
    ------
    RuntimeError
        If the app does not start.
    """
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    await told.put({"type": "lifespan.startup"})
    life = asyncio.create_task(app({"type": "lifespan", "state": {}}, told.get, heard.put))
    started = await heard.get()
    if started["type"] != "lifespan.startup.complete":
        raise RuntimeError(started.get("message") or "the app does not start")
    answers = [await _post(app, path, json.dumps(body).encode()) for path, body in requests]
    await told.put({"type": "lifespan.shutdown"})
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
