"""The reference hands-on's predictor, rebuilt from its description: FastAPI, one data frame per request.

As there, values, the full hour included, are hashed without their field names, and an SGDClassifier
with log loss predicts by ``predict_proba``. Runs in the peers' environment. Where there was a choice
it has the faster option: hasher and model are created once, the route is ``async`` (no thread pool),
values are converted to text before the frame is built (``astype(str)`` takes four times as long as
everything else), and the model is loaded from two arrays instead of a pickle.

``python -m bench.serving.apps.reference`` trains the model; ``create_app`` is for uvicorn.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.feature_extraction import FeatureHasher
from sklearn.linear_model import SGDClassifier

MODEL_VARIABLE = "BENCH_REFERENCE_MODEL"
N_ROWS = 50_000  # enough for nonzero weights; their quality does not matter here


def create_app() -> Any:
    """Return the FastAPI app with the model that BENCH_REFERENCE_MODEL names."""
    from fastapi import FastAPI
    from pydantic import create_model

    folder = Path(os.environ[MODEL_VARIABLE])
    kinds = json.loads((folder / "fields.json").read_text())
    types = {"int": int, "str": str}
    Impression = create_model("Impression", **{n: (types[kind], ...) for n, kind in kinds.items()})
    hasher, model = _load(folder)
    app = FastAPI()

    @app.post("/predict")
    async def predict(impression: Impression) -> dict[str, Any]:  # type: ignore[valid-type]
        values = {name: str(value) for name, value in impression.model_dump().items()}
        frame = pd.DataFrame([values], dtype=object)
        rows = hasher.transform(np.asanyarray(frame))
        return {"prediction": float(model.predict_proba(rows)[0, 1]), "model": "sgd"}

    return app


def _load(folder: Path) -> tuple[FeatureHasher, SGDClassifier]:
    with np.load(folder / "reference.npz", allow_pickle=False) as arrays:
        coef, intercept = arrays["coef"], arrays["intercept"]
    model = SGDClassifier(loss="log_loss")
    model.coef_, model.intercept_, model.classes_ = coef, intercept, np.array([0, 1])
    return FeatureHasher(n_features=coef.shape[1], input_type="string"), model


def main() -> None:
    """Train on the first rows of a CSV and write the arrays."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--bits", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="contains fields.json")
    options = parser.parse_args()
    names = list(json.loads((options.folder / "fields.json").read_text()))
    frame = pd.read_csv(options.csv, dtype=str, nrows=N_ROWS)
    hasher = FeatureHasher(n_features=2**options.bits, input_type="string")
    rows = hasher.transform(np.asanyarray(frame[names]))
    model = SGDClassifier(loss="log_loss", random_state=7).fit(rows, frame["click"].astype(int))
    arrays = {"coef": model.coef_, "intercept": model.intercept_}
    np.savez(options.folder / "reference.npz", **arrays)


if __name__ == "__main__":
    main()
