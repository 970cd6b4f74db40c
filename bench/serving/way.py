"""The way of a request through ours, step by step in one process: where the time goes."""

import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from bench.process import ROOT
from bench.serving.material import CANDIDATE_FIELDS, Material
from bench.serving.scoring import each_us
from tasks.errors import ClicklabError

_EXPERIMENT = ROOT / "bentos" / "ctr" / "experiment.yaml"


def time_way(material: Material) -> dict[str, dict[str, float]]:
    """Return microseconds of processor time of each step of ``/predict`` and ``/rank``, the best of five repeats.

    The server itself is not in it: an empty route's processor time is that.
    """
    from prometheus_client import CollectorRegistry

    from bentos.ctr.calls import Calls
    from bentos.ctr.telemetry import Telemetry

    impressions = material.impressions.read_bytes().splitlines()
    rankings = material.rankings.read_bytes().splitlines()
    bodies = {
        "/predict": impressions,
        "/rank": rankings,
        "/rank of ads never seen before": _with_new_ads(rankings),
    }
    lineup = _lineup(material.models[0])
    telemetry = Telemetry(registry=CollectorRegistry())
    silent = Calls(telemetry)
    silent.lineup = lineup
    ways: dict[str, Any] = {
        "/predict": ("read_impression", _score),
        "/rank": ("read_ranking", _score_candidates),
    }
    found = {}
    for name, sent in bodies.items():
        path = name.split()[0]
        found[name] = steps = _steps(lineup, sent, *ways[path])
        steps["count"] = each_us(lambda _: telemetry.answered("predict", "a", 1e-4, 0.1, 1), sent)
        call = each_us(lambda body, path=path: _call(silent, path, body), sent)
        steps["answer, and the rest"] = call - sum(steps.values())
        steps["door"] = _through_door(silent, path, sent) - call
        steps["exposure log"] = _logged(lineup, telemetry, path, sent) - call
        steps["all"] = sum(steps.values())
    return found


def _with_new_ads(rankings: Sequence[bytes]) -> list[bytes]:
    """Return the rankings with a creative of its own in each candidate, more of them than are remembered."""
    bodies, numbers = [json.loads(body) for body in rankings], count(10**6)
    for body in bodies:
        for candidate in body["candidates"]:
            candidate[CANDIDATE_FIELDS[0]] = next(numbers)
    return [json.dumps(body, separators=(",", ":")).encode() for body in bodies]


def _call(calls: Any, path: str, body: bytes) -> bytes:
    """Return the answer of a call, bytes to bytes."""
    from bentos.ctr.calls import Asked

    answer: bytes = calls.by_path[path][1](body, Asked(), time.perf_counter())
    return answer


def _logged(lineup: Any, telemetry: Any, path: str, bodies: Sequence[bytes]) -> float:
    """Return microseconds of a call with the exposure log, its thread's until all is written."""
    from bentos.ctr.calls import Calls
    from bentos.ctr.exposures import ExposureLog, ExposureSettings

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        log = ExposureLog(ExposureSettings.from_mapping({"sink": folder, "queue_rows": 10**6}))
        calls = Calls(telemetry, log)
        calls.lineup = lineup

        def answer_all(_: object) -> None:
            for body in bodies:
                _call(calls, path, body)
            while log.depth:
                time.sleep(0.01)

        try:
            return each_us(answer_all, [None]) / len(bodies)
        finally:
            log.close()


def _lineup(folder: Path) -> Any:
    from bentos.ctr.experiment import load_experiment
    from bentos.ctr.impressions import RequestReader
    from bentos.ctr.lineup import CHAMPION, Lineup, Loaded
    from tasks.models.artifact import load_model
    from tasks.models.live import LiveScorer

    model = load_model(folder)
    loaded = Loaded(
        CHAMPION,
        scorer=LiveScorer(model),
        reader=RequestReader(model.contract),
        source=str(folder),
        loaded_at=time.time(),
        trained_at=None,
        n_golden=0,
        max_abs_diff=0.0,
    )
    return Lineup({CHAMPION: loaded}, load_experiment(_EXPERIMENT, models=[CHAMPION]))


def _steps(
    lineup: Any, bodies: Sequence[bytes], reading: str, score: Callable[[Any, Any], object]
) -> dict[str, float]:
    """Return microseconds of decoding, assigning and scoring."""
    read = getattr(lineup.champion.reader, reading)
    scorer = lineup.champion.scorer
    requests = [read(body) for body in bodies]
    units = [request[0] if isinstance(request, tuple) else request for request in requests]
    return {
        "decode": each_us(read, bodies),
        "assign": each_us(
            lambda row: lineup.experiment.assign(row, forced=None, fallback="x"), units
        ),
        "score": each_us(lambda request: score(scorer, request), requests),
    }


def _score(scorer: Any, row: Any) -> object:
    return scorer.score(row)


def _score_candidates(scorer: Any, request: Any) -> object:
    return scorer.score_candidates(*request)


def _through_door(calls: Any, path: str, bodies: Sequence[bytes]) -> float:
    """Return microseconds of a request as the server hands it over: ASGI messages in and out."""
    from bentos.ctr.door import FrontDoor

    door = FrontDoor(None, calls)
    statuses: set[int] = set()

    async def send(message: Any) -> None:
        if "status" in message:
            statuses.add(message["status"])

    async def ask_all() -> None:
        for body in bodies:
            await door(_scope(path, len(body)), _receiving(body), send)

    whole = each_us(lambda _: asyncio.run(ask_all()), [None]) / len(bodies)
    if statuses != {200}:
        raise ClicklabError(f"bench: {path} answers {sorted(statuses)}; the service's log says why")
    return whole


def _scope(path: str, n_bytes: int) -> dict[str, Any]:
    heads = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")]
    heads.append((b"content-length", b"%d" % n_bytes))
    return {"type": "http", "method": "POST", "path": path, "headers": heads}


def _receiving(body: bytes) -> Callable[[], Any]:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
