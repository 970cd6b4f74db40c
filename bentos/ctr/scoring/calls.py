"""The two calls, bytes to bytes: decode, assign a variant, score, log the exposure, answer.

Nothing here waits or knows HTTP: the middleware calls it for live requests, admission for golden rows,
so both take the same path.
"""

import secrets
import time
from collections.abc import Callable
from itertools import count
from typing import Any, NamedTuple

import msgspec

from bentos.ctr.experiment.assignment import Assignment
from bentos.ctr.exposures import ExposureLog
from bentos.ctr.metrics.telemetry import Telemetry
from bentos.ctr.scoring.request_reader import Refusal
from bentos.ctr.scoring.serving_state import ServingState
from tasks.errors import ClicklabError

NOT_READY = "no model is loaded yet"
_NO_MODEL = "no model serves; the health check and the service's log say why"
_json = msgspec.json.Encoder().encode  # shortest digits that give the same number back


class RequestOptions(NamedTuple):
    """Options of a request, sent in its headers."""

    request_id: str | None = None  # the client's own; None: one is generated
    variant: str | None = None  # forced, for tests
    is_gzip: bool = False  # the body has to be decoded first


class Calls:
    """Answers ``/predict`` and ``/rank`` with the models that serve.

    Attributes
    ----------
    state
        The models and the experiment that serve now; None while there are none. A swap assigns a new
        state; a request uses the one it began with.
    why_not_ready
        The reason why there is no state, for the health check.

    Parameters
    ----------
    telemetry
        Where answers are counted.
    exposures
        The log of answers; None for none.
    """

    def __init__(self, telemetry: Telemetry | None = None, exposures: ExposureLog | None = None):
        self.state: ServingState | None = None
        self.why_not_ready = NOT_READY
        self.exposures = exposures
        self.telemetry = telemetry
        self._prefix = secrets.token_hex(6)  # of this worker's request ids
        self._numbers = count(1)
        self.by_path: dict[str, tuple[str, Callable[[bytes, RequestOptions, float], bytes]]] = {
            "/predict": ("predict", self.predict),
            "/rank": ("rank", self.rank),
        }

    def predict(self, body: bytes, options: RequestOptions, started: float) -> bytes:
        """Return the answer to one impression as JSON; `started` is when the request came in.

        Raises
        ------
        Refusal
            If the request gets no prediction: the status, and one line that names the field.
        """
        state = self._ready()
        row = state.champion.reader.read_impression(body)
        request_id = options.request_id or f"{self._prefix}{next(self._numbers):x}"
        assigned = _assign(state, row, options, request_id)
        name = assigned.variant.name
        loaded = state.of(name)
        try:
            score = loaded.scorer.score(row)
            n_missing = loaded.scorer.n_missing
            shadow = {
                other.name: score if other is loaded else other.scorer.score(row)
                for other in state.shadows
            }
        except ClicklabError as error:
            raise Refusal(422, str(error)) from None
        self._expose(state, "predict", assigned, request_id, options, row, score, shadow)
        answer = b'{"prediction": %b%b, "n_missing": %d, "request_id": "%b"}' % (
            _json(score),
            state.tail(name),
            n_missing,
            request_id.encode(),
        )
        if self.telemetry is not None:
            self.telemetry.answered("predict", name, time.perf_counter() - started, score, 1)
        return answer

    def rank(self, body: bytes, options: RequestOptions, started: float) -> bytes:
        """Return the predictions for one context with many candidates, in their order; see :meth:`predict`."""
        state = self._ready()
        context, candidates = state.champion.reader.read_ranking(body)
        request_id = options.request_id or f"{self._prefix}{next(self._numbers):x}"
        assigned = _assign(state, context, options, request_id)
        name = assigned.variant.name
        loaded = state.of(name)
        if not loaded.takes(len(candidates)):
            raise Refusal(
                422,
                f"candidates: model {loaded.model_name} scores at most {loaded.max_candidates} of them in time, found "
                f"{len(candidates)}; send fewer per request",
                field="candidates",
            )
        try:
            scores = loaded.scorer.score_candidates(context, candidates).tolist()
            n_missing = loaded.scorer.n_missing
            shadow = {
                other.name: scores
                if other is loaded
                else other.scorer.score_candidates(context, candidates).tolist()
                for other in state.shadows_for(len(candidates))
            }
        except ClicklabError as error:
            raise Refusal(422, str(error)) from None
        written = _json(scores)
        seen, p_click = (context, candidates), msgspec.Raw(written)
        self._expose(state, "rank", assigned, request_id, options, seen, p_click, shadow)
        answer = b'{"predictions": %b%b, "n_missing": %d, "request_id": "%b"}' % (
            written,
            state.tail(name),
            n_missing,
            request_id.encode(),
        )
        if self.telemetry is not None:
            seconds = time.perf_counter() - started
            self.telemetry.answered("rank", name, seconds, sum(scores), len(scores))
        return answer

    def count_refusal(self, call: str, status: int) -> None:
        """Count a request that got no prediction."""
        if self.telemetry is not None:
            self.telemetry.refused(call, status)

    def _ready(self) -> ServingState:
        if self.state is None:
            raise Refusal(503, _NO_MODEL)  # the reason names sources
        return self.state

    def _expose(
        self,
        state: ServingState,
        call: str,
        assigned: Assignment,
        request_id: str,
        options: RequestOptions,
        seen: Any,
        p_click: Any,
        shadow: dict[str, Any],
    ) -> None:
        """Put an answer in the exposure log, in the order of :class:`bentos.ctr.exposures.Exposure`."""
        if self.exposures is None:
            return
        name = assigned.variant.name
        who = (name, state.of(name).version, assigned.unit_hash, options.variant is not None)
        which = (state.experiment.digest, assigned.unit_field)
        self.exposures.put((request_id, time.time_ns(), call, *who, seen, p_click, shadow, *which))


def _assign(
    state: ServingState, row: dict[str, Any], options: RequestOptions, request_id: str
) -> Assignment:
    try:
        return state.experiment.assign(row, forced=options.variant, fallback=request_id)
    except ClicklabError as error:
        raise Refusal(400, str(error)) from None
