"""The Bento's service. ``bentoml serve ctr:latest`` answers on http://127.0.0.1:3000.

The model is the folder ``model`` beside this file, which packaging puts there; ``serving.yaml`` says
otherwise where it comes from elsewhere.
"""

from typing import Any

import bentoml

from bentos.ctr.http.middleware import CallsMiddleware
from bentos.ctr.http.side_app import SideApp
from bentos.ctr.worker import Worker


def _base_document() -> dict[str, Any]:
    return Ctr.openapi_spec.asdict()  # type: ignore[attr-defined]  # the decorator makes it a Service


WORKER = Worker()


@bentoml.asgi_app(SideApp(WORKER.health, WORKER.describe, _base_document), path="/")
@bentoml.service(
    name="ctr",
    workers="cpu_count",
    http={"host": "127.0.0.1"},  # a container says BENTOML_HOST=0.0.0.0
    traffic={"timeout": 10},
    logging={"access": {"enabled": False}},  # /metrics counts requests
)
class Ctr:
    """Click probabilities of ad impressions, by the model that the gates let through."""

    def __init__(self) -> None:
        WORKER.start()

    @bentoml.on_startup
    async def keep_counting(self) -> None:
        """Count from within the event loop."""
        await WORKER.keep_counting()

    @bentoml.on_shutdown
    def stop(self) -> None:
        """Write what waits."""
        WORKER.stop()

    async def __is_ready__(self) -> bool:
        return WORKER.is_ready


class _WithDoor(type(Ctr)):  # type: ignore[misc]
    """A BentoML service whose ASGI app has our door in front of it; the rest is BentoML's."""

    __slots__ = ()  # the same memory layout, so that `Ctr` can become one

    def to_asgi(self, is_main: bool = True) -> CallsMiddleware:
        """Return BentoML's app behind the door."""
        behind = super().to_asgi(is_main=is_main)
        return CallsMiddleware(behind, WORKER.calls, limits=WORKER.limits, api_key=WORKER.api_key)


Ctr.__class__ = _WithDoor  # type: ignore[assignment]
