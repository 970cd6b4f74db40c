"""Golden rows: requests and the predictions that the pipeline made for them, packed beside the model.

``python -m bentos.ctr.parity FOLDER`` sends the rows of a packaged model through the app, as a live
request would go, and prints what it found as one line of JSON; packaging refuses to go on otherwise.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tasks.errors import ContractError

GOLDEN = "golden.json"
TOLERANCE = 1e-6


class Golden(NamedTuple):
    """Requests, and the predictions they must get."""

    rows: Sequence[Mapping[str, Any]]
    p_click: Sequence[float]


class Parity(NamedTuple):
    """How many rows were compared and how far the worst was off."""

    n_rows: int
    max_abs_diff: float


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


def check_parity(app: Any, golden: Golden) -> Parity:
    """Return the largest difference between the app's answers and the pipeline's predictions.

    Raises
    ------
    ContractError
        If a row gets no answer, or one that is off by more than ``TOLERANCE``.
    """
    worst = 0.0
    for number, (row, expected) in enumerate(zip(golden.rows, golden.p_click, strict=True)):
        status, body = ask(app, "/predict", json.dumps(row).encode())
        answer = json.loads(body)
        if status != 200:
            raise ContractError(
                f"golden row {number} gets no prediction from the service: {answer['error']}"
            )
        diff = abs(answer["prediction"] - expected)
        if not diff <= TOLERANCE:
            raise ContractError(
                f"golden row {number}: the service predicts {answer['prediction']!r}, the pipeline {expected!r}; "
                f"they may differ by {TOLERANCE:g}. Train, evaluate and package with one version of `tasks`"
            )
        worst = max(worst, diff)
    return Parity(len(golden.rows), worst)


def ask(app: Any, path: str, body: bytes = b"", *, method: str = "POST") -> tuple[int, bytes]:
    """Return status and body of an ASGI app's answer, without a server or an event loop.

    For calls that wait for nothing but the request itself, such as ``/predict``.
    """
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": []}
    try:
        app(scope, receive, send).send(None)
    except StopIteration:
        return sent[0]["status"], sent[1]["body"]
    raise RuntimeError(f"{path} waits for an event loop")


def main() -> int:
    """Print what the app says of its health with the model of a folder; 1 unless it is ready and at parity."""
    from bentos.ctr.app import CtrApp

    app = CtrApp()
    app.load(Path(sys.argv[1]))
    sys.stdout.write(json.dumps(app.health) + "\n")
    return 0 if app.health.get("parity") == "ok" else 1


if __name__ == "__main__":
    sys.exit(main())
