"""Decides whether a model may serve: its files are complete, its contract is valid and reads the requests
being served, and it reproduces its golden rows through the calls that answer live requests.

This runs in a thread beside the event loop, so work that holds the interpreter lock is done in small steps.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from bentos.ctr.experiment.assignment import Experiment, Variant
from bentos.ctr.scoring.calls import Calls, RequestOptions
from bentos.ctr.scoring.request_reader import Refusal, RequestReader
from bentos.ctr.scoring.serving_state import LoadedModel, ServingState
from bentos.ctr.settings import Limits
from tasks.errors import ClicklabError, ContractError
from tasks.hashing.contract import HashContract
from tasks.models.artifact import ScoringModel, load_model
from tasks.models.golden import GOLDEN, TOLERANCE, read_golden
from tasks.models.hashed_pair_scoring import MAX_TOKENS
from tasks.schema import Schema
from tasks.serving.live import LiveScorer

KINDS = ("unreadable", "contract", "schema", "golden_missing", "golden_differs", "slow", "error")
_TIMES = 5  # measurements of which the shortest counts: others may have shared the processor
_STEP = 16  # golden rows sent as the candidates of one ranking
_log = logging.getLogger("clicklab.service")


class RefusedError(ClicklabError):
    """A model that may not serve; `kind` is one of KINDS, for a metric."""

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind


def admit(
    folder: Path,
    *,
    name: str,
    source: str,
    limits: Limits,
    served: HashContract | None = None,
) -> LoadedModel:
    """Return the model of a folder, ready to serve.

    Parameters
    ----------
    folder
        Holds model and golden rows; may be removed afterwards.
    name, source
        The model's name in ``serving.yaml``, and its source.
    limits
        Upper limits of a request.
    served
        The contract of the requests being served, if there is one.

    Raises
    ------
    RefusedError
        If it may not serve.
    """
    try:
        return _admit(folder, name, source, limits, served)
    except RefusedError as error:
        kind, reason = error.kind, str(error)
    except ContractError as error:
        kind, reason = "contract", str(error)
    except ClicklabError as error:
        kind, reason = "unreadable", str(error)
    except Exception as error:  # a damaged file may raise anything; serving must continue
        _log.exception("a model from %s cannot be loaded", source)
        kind, reason = "error", f"{type(error).__name__}: {error}"
    # the folder may be a temporary copy, whose name means nothing to the reader
    raise RefusedError(kind, reason.replace(str(folder), source))


def _admit(
    folder: Path, name: str, source: str, limits: Limits, served: HashContract | None
) -> LoadedModel:
    model = load_model(folder)
    check_same_requests(served, model.contract)
    if not (folder / GOLDEN).is_file():
        raise RefusedError(
            "golden_missing",
            f"model {model.name} {model.version} comes without {GOLDEN}: nothing shows that this service "
            "predicts what the pipeline did; promote or publish it again",
        )
    try:
        golden = read_golden(folder)
    except ContractError as error:
        raise RefusedError("golden_missing", str(error)) from None
    worst = check_golden(model, golden.rows, golden.p_click, limits)
    max_candidates = affordable(model, golden.rows, limits)
    return LoadedModel(
        name=name,
        scorer=LiveScorer(model),
        reader=RequestReader(model.contract, max_candidates=limits.candidates),
        source=source,
        loaded_at=time.time(),
        trained_at=_trained_at(folder),
        n_golden=len(golden.rows),
        max_abs_diff=worst,
        max_candidates=max_candidates if max_candidates < limits.candidates else None,
    )


def check_same_requests(served: HashContract | None, contract: HashContract) -> None:
    """Raise RefusedError unless a contract reads the requests being served; bits and crosses may differ."""
    if served is None:
        return
    ours, theirs = _requests(served), _requests(contract)
    for what in ours:
        if ours[what] != theirs[what]:
            raise RefusedError(
                "schema",
                f"the model is for other requests: {what} {_differing(theirs[what], ours[what])}, this service answers "
                f"those of schema {ours['schema']!r}; to serve others, build another Bento",
            )


def _requests(contract: HashContract) -> dict[str, Any]:
    return {
        "schema": contract.schema["name"],
        "fields": frozenset(contract.fields),
        "time column": contract.time_column,
        "time format": contract.time.format,
        "time zone": contract.time.zone,
    }


def _differing(theirs: Any, ours: Any) -> str:
    if isinstance(theirs, frozenset):
        more, less = sorted(theirs - ours)[:3], sorted(ours - theirs)[:3]
        return " ".join([*(f"+{name}" for name in more), *(f"-{name}" for name in less)])
    return repr(theirs)


def check_golden(
    model: ScoringModel,
    rows: Sequence[Any],
    p_click: Sequence[float],
    limits: Limits,
) -> float:
    """Return the largest difference of a golden row, requested through both calls as a client would.

    The model gets a separate scorer and reader for this, so that no golden row is counted as traffic.

    Raises
    ------
    RefusedError
        If a row gets no prediction, or one that is off by more than ``TOLERANCE``.
    """
    worst = 0.0
    for number, found in enumerate(_answers(model, rows, limits)):
        expected = p_click[number % len(rows)]
        diff = abs(found - expected)
        if not diff <= TOLERANCE:
            raise RefusedError(
                "golden_differs",
                f"golden row {number % len(rows)}: model {model.name} {model.version} predicts {found!r} here, "
                f"{expected!r} in the pipeline; they may differ by {TOLERANCE:g}. Train, evaluate and "
                "serve with one version of `tasks`",
            )
        worst = max(worst, diff)
    return worst


def affordable(model: ScoringModel, rows: Sequence[Any], limits: Limits) -> int:
    """Return how many candidates the model scores within ``limits.scoring_ms``, at most ``limits.candidates``.

    Each measurement computes the features anew, as for values never seen before.

    Raises
    ------
    RefusedError
        If it takes longer than that for a single row.
    """
    scorer = LiveScorer(model)
    one_ms = _shortest_ms(scorer, lambda: scorer.score(rows[0]))
    if one_ms > limits.scoring_ms:
        raise RefusedError(
            "slow",
            f"model {model.name} {model.version} takes {one_ms:.0f} ms per row here, more than limits.scoring_ms "
            f"({limits.scoring_ms:g}); make it smaller, or raise the limit",
        )
    few = [rows[number % len(rows)] for number in range(_STEP)]
    few_ms = _shortest_ms(scorer, lambda: scorer.score_candidates({}, few))
    each_ms = max(few_ms - one_ms, 0.0) / (_STEP - 1)
    if each_ms * limits.candidates <= limits.scoring_ms - one_ms:
        return limits.candidates
    return max(1, int((limits.scoring_ms - one_ms) / each_ms))


def _shortest_ms(scorer: LiveScorer, work: Callable[[], object]) -> float:
    times = []
    for _ in range(_TIMES):
        scorer.forget_features()
        time.sleep(0)  # requests first
        since = time.perf_counter()
        work()
        times.append(time.perf_counter() - since)
    return 1e3 * min(times)


def _answers(model: ScoringModel, rows: Sequence[Any], limits: Limits) -> Iterator[float]:
    """Yield the prediction of each row from `predict`, then of each from `rank`."""
    calls = Calls()
    calls.state = _trial(model, limits)
    try:
        for number, row in enumerate(rows):
            yield _request(calls.predict, row, number)["prediction"]
        step = min(_STEP, limits.candidates)
        for begin in range(0, len(rows), step):
            body = {"context": {}, "candidates": rows[begin : begin + step]}
            yield from _request(calls.rank, body, begin)["predictions"]
    finally:
        calls.state = (
            None  # `calls` refers to itself: the model would stay until a garbage collection
        )


def _request(call: Any, body: Any, number: int) -> dict[str, Any]:
    time.sleep(0)  # requests first
    try:
        answer: dict[str, Any] = json.loads(call(json.dumps(body).encode(), RequestOptions(), 0.0))
    except Refusal as refusal:
        raise RefusedError(
            "golden_differs", f"golden row {number} gets no prediction: {refusal}"
        ) from None
    return answer


def _trial(model: ScoringModel, limits: Limits) -> ServingState:
    loaded = LoadedModel(
        name="golden",
        scorer=LiveScorer(model),
        reader=RequestReader(model.contract, max_candidates=limits.candidates),
        source="",
        loaded_at=0.0,
        trained_at=None,
        n_golden=0,
        max_abs_diff=0.0,
    )
    return ServingState(
        {"golden": loaded}, Experiment("golden", "golden", (), [Variant("golden", 1.0, "golden")])
    )


def _trained_at(folder: Path) -> float | None:
    """Return when the model was trained, None if unreadable: it is for display only."""
    try:
        text = json.loads((folder / "model.json").read_text())["created_utc"]
        return datetime.fromisoformat(text).timestamp()
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def warm_kernels(contract: HashContract, limits: Limits) -> None:
    """Compile or load the kernels of the kinds that have some, so that no later swap does so beside requests."""
    schema = Schema.from_dict(contract.schema)
    small = replace(contract, bits=4)
    weights = np.zeros(small.n_features, dtype=np.float32)
    latent = np.zeros((small.n_features, 1), dtype=np.float32)
    kinds = {"ftrl": {"weights": weights}, "fm": {"weights": weights, "latent": latent}}
    if small.n_tokens <= MAX_TOKENS:
        kinds["ftrl_pairs"] = {"weights": weights, "pair_weights": np.zeros(2, dtype=np.float32)}
    for kind, arrays in kinds.items():
        model = ScoringModel(arrays, 0.0, small, name=kind, kind=kind, params={})
        rows = [schema.example_row(), {schema.field_names[0]: None}]
        check_golden(model, rows, [0.5, 0.5], limits)
