"""Typed BentoML endpoints with our model: pydantic in, ``predict_row``, pydantic out.

``Typed`` keeps every default. ``Tuned`` uses the available switches: an ``async`` call instead of the
thread pool, no access log, no tracing.
"""

import json
import os
from pathlib import Path
from typing import Any

import bentoml
from pydantic import BaseModel, create_model

from tasks.models.artifact import load_model

MODEL_VARIABLE, FIELDS_VARIABLE = "BENCH_TYPED_MODEL", "BENCH_TYPED_FIELDS"
_TYPES = {"int": int | None, "str": str | None}
_KINDS = json.loads(Path(os.environ[FIELDS_VARIABLE]).read_text())
_FIELDS: dict[str, Any] = {name: (_TYPES[kind], None) for name, kind in _KINDS.items()}
Impression = create_model("Impression", **_FIELDS)


class Prediction(BaseModel):
    """The response body."""

    prediction: float
    model: str
    version: str


class _Predictor:
    """A model that answers one impression."""

    def __init__(self) -> None:
        self.model = load_model(os.environ[MODEL_VARIABLE])

    def answer(self, row: Any) -> Prediction:
        p_click = self.model.predict_row(row.model_dump())
        return Prediction(prediction=p_click, model=self.model.name, version=self.model.version)


@bentoml.service(name="typed", workers=1, http={"host": "127.0.0.1"})
class Typed:
    """A service as in BentoML's documentation."""

    def __init__(self) -> None:
        self.predictor = _Predictor()

    @bentoml.api
    def predict(self, row: Impression, /) -> Prediction:  # type: ignore[valid-type]
        """Return the probability that an impression is clicked."""
        return self.predictor.answer(row)


@bentoml.service(
    name="tuned",
    workers=1,
    http={"host": "127.0.0.1"},
    tracing={"excluded_urls": "/predict"},
    logging={"access": {"enabled": False}},
)
class Tuned:
    """The same without access log, tracing and thread pool."""

    def __init__(self) -> None:
        self.predictor = _Predictor()

    @bentoml.api
    async def predict(self, row: Impression, /) -> Prediction:  # type: ignore[valid-type]
        """Return the probability that an impression is clicked."""
        return self.predictor.answer(row)
