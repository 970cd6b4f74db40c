"""The Bento's service. ``make serve`` answers on http://127.0.0.1:3000.

The model is the folder ``model`` beside this file, where packaging puts it; ``serving.yaml`` can name
other sources.
"""

import json
import time
from http import HTTPStatus
from typing import Any

import bentoml
from bentoml.exceptions import BentoMLException
from typing_extensions import TypedDict  # pydantic refuses Python 3.11's own

from bentos.ctr.http.connections import install
from bentos.ctr.http.middleware import CallsMiddleware
from bentos.ctr.http.side_app import SideApp
from bentos.ctr.metrics.group_folder import use_own_folder
from bentos.ctr.scoring.calls import RequestOptions
from bentos.ctr.scoring.request_reader import Refusal
from bentos.ctr.worker import Worker


def _base_document() -> dict[str, Any]:
    return Ctr.openapi_spec.asdict()  # type: ignore[attr-defined]  # the decorator makes it a Service


WORKER = Worker()


class Prediction(TypedDict):
    """The answer to one impression."""

    prediction: float
    model: str
    version: str
    variant: str
    n_missing: int
    request_id: str


class Predictions(TypedDict):
    """The answer to one context with many candidates, in their order."""

    predictions: list[float]
    model: str
    version: str
    variant: str
    n_missing: int
    request_id: str


class FastService(bentoml.Service):  # type: ignore[misc]  # untyped
    """A BentoML service whose two calls are answered before BentoML's own layers; see `CallsMiddleware`."""

    def to_asgi(self, is_main: bool = True) -> CallsMiddleware:
        """Return BentoML's app with the middleware around it, and limit the connections of the server to come."""
        use_own_folder()
        app = super().to_asgi(is_main=is_main)
        install(WORKER.limits)
        return CallsMiddleware(
            app,
            WORKER.calls,
            limits=WORKER.limits,
            api_key=WORKER.api_key,
            may_force=WORKER.may_force,
        )


@bentoml.asgi_app(
    SideApp(WORKER.health, WORKER.describe, _base_document, api_key=WORKER.api_key), path="/"
)
@bentoml.service(
    name="ctr",
    service_class=FastService,
    workers="cpu_count",
    http={"host": "127.0.0.1"},  # a container sets BENTOML_HOST=0.0.0.0
    traffic={"timeout": 10},
    logging={"access": {"enabled": False}},  # /metrics counts requests
)
class Ctr:
    """Click probabilities of ad impressions, from the model that passed the gates.

    The typed calls describe themselves to BentoML's clients and to the page at ``/``; over HTTP the
    middleware answers in their place, through the same :class:`bentos.ctr.scoring.calls.Calls`.
    """

    def __init__(self) -> None:
        WORKER.start()

    @bentoml.api
    async def predict(self, impression: dict[str, Any], /) -> Prediction:
        """Return the probability that an impression is clicked."""
        return _answer("/predict", impression)

    @bentoml.api
    async def rank(self, context: dict[str, Any], candidates: list[dict[str, Any]]) -> Predictions:
        """Return the probability of a click for each candidate, in their order."""
        return _answer("/rank", {"context": context, "candidates": candidates})

    @bentoml.on_startup
    async def keep_counting(self) -> None:
        """Update the metrics from within the event loop."""
        await WORKER.keep_counting()

    @bentoml.on_shutdown
    def stop(self) -> None:
        """Write queued exposures."""
        WORKER.stop()

    async def __is_ready__(self) -> bool:
        return WORKER.is_ready


def _answer(path: str, body: dict[str, Any]) -> Any:
    """Return what a call answers; a refusal becomes BentoML's exception with the same HTTP status."""
    call = WORKER.calls.by_path[path][1]
    try:
        return json.loads(call(json.dumps(body).encode(), RequestOptions(), time.perf_counter()))
    except Refusal as refusal:
        WORKER.calls.count_refusal(path.removeprefix("/"), refusal.status)
        raise BentoMLException(str(refusal), error_code=HTTPStatus(refusal.status)) from None
