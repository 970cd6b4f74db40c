"""Scoring alone, in process: the cost of the model without server, decoder and log."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.serving.workload import CANDIDATE_FIELDS, N_CANDIDATES, Row, rankings

REPEATS, N_PASSES = 5, 25


def time_scoring(folder: Path, rows: Sequence[Row]) -> dict[str, float]:
    """Return microseconds of processor time per impression, scored in several ways, the best of many passes.

    ``score_us`` repeats the requests of the bench, as the service receives them;
    ``score_new_us`` scores each row for the first time, with a scorer that has seen none of them.
    """
    from tasks.models.artifact import load_model
    from tasks.serving.live import LiveScorer

    model = load_model(folder)
    live = LiveScorer(model)
    plain = [dict(row) for row in rows]
    bodies = rankings(rows)
    pairs = [(body["context"], body["candidates"]) for body in bodies]
    return {
        "score_us": each_us(live.score, plain),
        "score_new_us": min(_first_time(LiveScorer(model), plain) for _ in range(REPEATS)),
        "predict_row_us": each_us(model.predict_row, plain),
        "score_candidates_us": each_us(lambda pair: live.score_candidates(*pair), pairs),
        "n_candidates": N_CANDIDATES,
        "n_candidate_fields": len(CANDIDATE_FIELDS),
    }


def each_us(work: Callable[[Any], object], items: Sequence[Any]) -> float:
    """Return microseconds of processor time per item, all threads, in the best of many passes over all items."""
    return in_turn_us({"work": lambda: deque(map(work, items), maxlen=0)}, len(items))["work"]


def in_turn_us(works: Mapping[str, Callable[[], object]], n_items: int) -> dict[str, float]:
    """Return the same for several functions, each of which passes over all items.

    They take turns, so that a slow phase of the machine affects all of them.
    """
    best = dict.fromkeys(works, float("inf"))
    for work in works.values():
        work()
    for _ in range(N_PASSES):
        for name, work in works.items():
            since = time.process_time()
            work()
            best[name] = min(best[name], time.process_time() - since)
    return {name: seconds / n_items * 1e6 for name, seconds in best.items()}


def _first_time(live: Any, rows: Sequence[Row]) -> float:
    since = time.process_time()
    for row in rows:
        live.score(row)
    return (time.process_time() - since) / len(rows) * 1e6
