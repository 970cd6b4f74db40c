"""A plain typed BentoML endpoint with the same model: pydantic in, ``predict_row``, pydantic out.

Access log and tracing are off as in ours, and the call is ``async``, which is faster here than the
thread pool that BentoML runs other calls in.
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
    """The answer."""

    prediction: float
    model: str
    version: str


@bentoml.service(
    name="typed",
    workers=1,
    http={"host": "127.0.0.1"},
    tracing={"excluded_urls": "/predict"},
    logging={"access": {"enabled": False}},
)
class Typed:
    """Click probabilities of ad impressions."""

    def __init__(self) -> None:
        self.model = load_model(os.environ[MODEL_VARIABLE])

    @bentoml.api
    def predict(self, row: Impression, /) -> Prediction:  # type: ignore[valid-type]
        """Return the probability that an impression is clicked."""
        p_click = self.model.predict_row(row.model_dump())  # type: ignore[attr-defined]
        return Prediction(prediction=p_click, model=self.model.name, version=self.model.version)
