"""The time of each step of a request to our service, measured in one process."""

import asyncio
import json
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Any

from bench.process import ROOT
from bench.serving.scoring import in_turn_us
from bench.serving.workload import CANDIDATE_FIELDS, Workload
from tasks.errors import ClicklabError

_EXPERIMENT = ROOT / "bentos" / "ctr" / "experiment.yaml"


def time_steps(workload: Workload) -> dict[str, dict[str, float]]:
    """Return microseconds of processor time of each step of ``/predict`` and ``/rank``, the best of many passes.

    The HTTP server itself is not included: its cost is that of the empty route.
    """
    from prometheus_client import CollectorRegistry

    from bentos.ctr.metrics.telemetry import Telemetry
    from tasks.models.artifact import load_model

    impressions = workload.impressions.read_bytes().splitlines()
    rankings = workload.rankings.read_bytes().splitlines()
    bodies = {
        "/predict": impressions,
        "/rank": rankings,
        "/rank of ads never seen before": _with_new_ads(rankings),
    }
    folder = workload.models[0]
    state = serving_state(load_model(folder), str(folder))
    telemetry = Telemetry(registry=CollectorRegistry())
    return {
        name: _time_steps(state, telemetry, name.split()[0], sent) for name, sent in bodies.items()
    }


def _time_steps(state: Any, telemetry: Any, path: str, bodies: Sequence[bytes]) -> dict[str, float]:
    """Return microseconds of each step; one that cannot be timed alone is the difference with and without it."""
    from bentos.ctr.exposures import ExposureLog, ExposureSettings
    from bentos.ctr.scoring.calls import Calls

    silent = Calls(telemetry)
    silent.state = state
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        log = ExposureLog(ExposureSettings.from_mapping({"sink": folder, "queue_rows": 10**6}))
        logging = Calls(telemetry, log)
        logging.state = state

        def log_all() -> None:
            call_all(logging, path, bodies)
            while log.depth:
                time.sleep(0.01)

        try:
            alone = _steps(state, telemetry, path, bodies)
            calls = {
                "call": lambda: call_all(silent, path, bodies),
                "door": lambda: _through_door(silent, path, bodies),
                "log": log_all,
            }
            found = in_turn_us(alone | calls, len(bodies))
        finally:
            log.close()
    call, door, logged = found.pop("call"), found.pop("door"), found.pop("log")
    found["response and the rest"] = call - sum(found.values())
    return {
        **found,
        "door": door - call,
        "exposure log": logged - call,
        "all": door + logged - call,
    }


def _with_new_ads(rankings: Sequence[bytes]) -> list[bytes]:
    """Return the rankings with a unique creative in each candidate, more of them than are cached."""
    bodies, numbers = [json.loads(body) for body in rankings], count(10**6)
    for body in bodies:
        for candidate in body["candidates"]:
            candidate[CANDIDATE_FIELDS[0]] = next(numbers)
    return [json.dumps(body, separators=(",", ":")).encode() for body in bodies]


def call_all(calls: Any, path: str, bodies: Sequence[bytes]) -> None:
    """Answer all requests, bytes to bytes."""
    from bentos.ctr.scoring.calls import RequestOptions

    call, asked = calls.by_path[path][1], RequestOptions()
    for body in bodies:
        call(body, asked, time.perf_counter())


def serving_state(model: Any, source: str) -> Any:
    """Return the state of a service that answers with one model."""
    from bentos.ctr.experiment.declaration import load_experiment
    from bentos.ctr.scoring.request_reader import RequestReader
    from bentos.ctr.scoring.serving_state import CHAMPION, LoadedModel, ServingState
    from tasks.serving.live import LiveScorer

    loaded = LoadedModel(
        CHAMPION,
        scorer=LiveScorer(model),
        reader=RequestReader(model.contract),
        source=source,
        loaded_at=time.time(),
        trained_at=None,
        n_golden=0,
        max_abs_diff=0.0,
    )
    return ServingState({CHAMPION: loaded}, load_experiment(_EXPERIMENT, models=[CHAMPION]))


def _steps(
    state: Any, telemetry: Any, path: str, bodies: Sequence[bytes]
) -> dict[str, Callable[[], object]]:
    """Return functions that decode, assign, score and count all requests."""
    reader, scorer = state.champion.reader, state.champion.scorer
    if path == "/predict":
        read, score = reader.read_impression, scorer.score
        requests = units = [read(body) for body in bodies]
    else:
        read, score = reader.read_ranking, lambda request: scorer.score_candidates(*request)
        requests = [read(body) for body in bodies]
        units = [context for context, _ in requests]
    assign = partial(state.experiment.assign, forced=None, fallback="x")
    count_one = partial(telemetry.answered, "predict", "a", 1e-4, 0.1, 1)
    return {
        "decode": lambda: deque(map(read, bodies), maxlen=0),
        "assign": lambda: deque(map(assign, units), maxlen=0),
        "score": lambda: deque(map(score, requests), maxlen=0),
        "count": lambda: [count_one() for _ in bodies],
    }


def _through_door(calls: Any, path: str, bodies: Sequence[bytes]) -> None:
    """Answer all requests as ASGI messages."""
    from bentos.ctr.http.middleware import CallsMiddleware

    door = CallsMiddleware(None, calls)
    statuses: set[int] = set()

    async def send(message: Any) -> None:
        if "status" in message:
            statuses.add(message["status"])

    async def ask_all() -> None:
        for body in bodies:
            await door(_scope(path, len(body)), _receiving(body), send)

    asyncio.run(ask_all())
    if statuses != {200}:
        raise ClicklabError(f"bench: {path} answers {sorted(statuses)}; the service's log says why")


def _scope(path: str, n_bytes: int) -> dict[str, Any]:
    heads = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")]
    heads.append((b"content-length", b"%d" % n_bytes))
    return {"type": "http", "method": "POST", "path": path, "headers": heads}


def _receiving(body: bytes) -> Callable[[], Any]:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
