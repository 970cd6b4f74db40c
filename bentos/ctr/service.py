"""The Bento's service. ``bentoml serve ctr:latest`` answers on http://127.0.0.1:3000.

The model is the folder ``model`` beside this file, which packaging puts there; CLICKLAB_MODEL_DIR
names another one.
"""

import gc
import os
from pathlib import Path
from typing import Any

import bentoml

from bentos.ctr.app import CtrApp


def model_folder() -> Path:
    """Return where the model lies."""
    return Path(os.environ.get("CLICKLAB_MODEL_DIR") or Path(__file__).with_name("model"))


def _base_document() -> dict[str, Any]:
    return Ctr.openapi_spec.asdict()  # type: ignore[attr-defined]  # the decorator makes it a Service


APP = CtrApp(_base_document)


@bentoml.asgi_app(APP, path="/")
@bentoml.service(
    name="ctr",
    workers=1,
    http={"host": "127.0.0.1"},  # a container says BENTOML_HOST=0.0.0.0
    traffic={"timeout": 2},  # each request leaves a timer behind for this long
    tracing={"excluded_urls": "/predict"},  # a span nobody collects costs ten times the scoring
    logging={"access": {"enabled": False}},  # costs more than scoring; /metrics counts requests
)
class Ctr:
    """Click probabilities of ad impressions, by the model that the gates let through."""

    def __init__(self) -> None:
        APP.load(model_folder())
        _spare_the_collector()

    async def __is_ready__(self) -> bool:
        return APP.is_ready


def _spare_the_collector() -> None:
    """Keep full collections off the request path: with Python's defaults they are the slowest percent.

    What is loaded by now stays, so it is no longer looked through; requests leave few cycles behind.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
