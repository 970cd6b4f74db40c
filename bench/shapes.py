"""How far from the truth the default models are, for each shape of the simulated truth: ``python -m bench.shapes``."""

import argparse
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rich.console import Console

from bench.process import ROOT
from tasks.evaluation.metrics import log_loss
from tasks.hashing.feature_set import FeatureSet
from tasks.hashing.features.past_counts import contract_for
from tasks.hashing.store import write_features
from tasks.ingest import ingest_log
from tasks.knobs.blends import is_blend
from tasks.logs.log import Log
from tasks.logs.split import Split, split_log
from tasks.models import make_learner
from tasks.models.estimators.scoring import logits_of
from tasks.models.predict import predict_stream
from tasks.models.scoring import sigmoid
from tasks.schema import load_schema
from tasks.simulation.shapes import SHAPES
from tasks.training.blending import blend_weights
from tasks.training.epochs import Training
from tasks.training.fit import learn_anew, validate
from tasks.training.sampling import tokens_per_row
from tasks.training.search import search

RESULT = ROOT / "bench" / "results" / "shapes.json"
_BITS = 20


def main() -> None:
    """Train every model of ``env.yaml`` on every shape, print the table, and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[7])
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument(
        "--env", type=Path, default=ROOT / "env.yaml", help="whose models; blends too"
    )
    parser.add_argument("--no-save", action="store_true")
    arguments = parser.parse_args()
    models = yaml.safe_load(arguments.env.read_text())["models"]
    found: list[dict[str, Any]] = []
    for shape in arguments.shapes:
        for seed in arguments.seeds:
            with tempfile.TemporaryDirectory(prefix="clicklab-shapes-") as folder:
                found += judge(shape, models, n_rows=arguments.rows, seed=seed, folder=Path(folder))
    Console().print(table_of(found), markup=False, soft_wrap=True)
    if not arguments.no_save:
        RESULT.write_text(json.dumps({"rows": arguments.rows, "found": found}, indent=1) + "\n")


def judge(
    shape: str, models: Mapping[str, Mapping[str, Any]], *, n_rows: int, seed: int, folder: Path
) -> list[dict[str, Any]]:
    """Return log loss (nats), distance to the truth and calibration ratio of each model on the log's test rows.

    The first is ``base rate``, the click rate of the other rows; models are trained as the task ``train`` does.
    """
    schema = load_schema("avazu")
    source = f"sim://avazu?rows={n_rows}&seed={seed}&truth={shape}"
    ingest_log(source, folder / "log", schema=schema)
    log = Log.open(folder / "log")
    split = split_log(log)
    contract = contract_for(log, schema, split, bits=_BITS)
    parts = {}
    for name in ("train", "valid", "test"):
        write_features(log, getattr(split, name), contract, folder / name)
        parts[name] = FeatureSet(folder / name)
    y_true, p_true = _column(log, split, "label"), _column(log, split, "truth")
    before = _column(log, split, "label", start=0, stop=split.test[0]).mean()
    guesses = {"base rate": np.full(len(y_true), before)}
    guesses |= predictions(models, parts, seed=seed, storage=f"sqlite:///{folder}/optuna.db")
    return [
        {"shape": shape, "seed": seed, "model": name, "log_loss": log_loss(y_true, p_click), "distance": distance(p_true, p_click),
         "calibration": float(p_click.mean() / y_true.mean())}
        for name, p_click in guesses.items()
    ]  # fmt: skip


def predictions(
    models: Mapping[str, Mapping[str, Any]],
    parts: Mapping[str, FeatureSet],
    *,
    seed: int,
    storage: str,
) -> dict[str, np.ndarray]:
    """Return the click probabilities of the test rows by model; a blend's parts come before it."""
    found: dict[str, np.ndarray] = {}
    of_valid: dict[str, np.ndarray] = {}
    y_valid = np.concatenate([batch.label for batch in parts["valid"].batches()]).astype(float)
    for name, model in models.items():
        if is_blend(model):
            logits = np.stack([logits_of(of_valid[part]) for part in model["of"]])
            weights = blend_weights(logits, y_valid, parts["valid"].weights())
            of_test = np.stack([logits_of(found[part]) for part in model["of"]])
            of_valid[name], found[name] = sigmoid(weights @ logits), sigmoid(weights @ of_test)
            continue
        of_valid[name], learner = _trained(model, parts, seed=seed, storage=storage)
        found[name] = predict_stream(learner, parts["test"])[1]
    return found


def _trained(
    model: Mapping[str, Any], parts: Mapping[str, FeatureSet], *, seed: int, storage: str
) -> tuple[np.ndarray, Any]:
    """Return what a learner predicts for the validation rows, and the learner as the pipeline trains it: searched, early stopping, then anew with those rows."""
    if "storage" in model.get("search", {}):
        model = {**model, "search": {**model["search"], "storage": storage}}
    train, valid = parts["train"], parts["valid"]
    options = {"max_epochs": 8, "patience": 1}
    found = search(model, train, valid, seed=seed, final=options)
    learner = make_learner(
        model,
        train.contract.n_features,
        random_state=seed,
        n_tokens=tokens_per_row(train),
        **found.params,
    )
    with Training(learner, train, valid, **options, seed=seed) as run:
        for epoch in run.epochs():
            for rows in epoch.batches():
                run.learner.partial_fit_codes(*rows)
            epoch.finish(*validate(run.learner, run.valid))
    return predict_stream(learner, valid)[1], learn_anew(run, train, valid)


def _column(
    log: Log, split: Split, role: str, *, start: int | None = None, stop: int | None = None
) -> np.ndarray:
    """Return a column of a span of rows, by default the test rows, as float64."""
    name = getattr(load_schema("avazu"), role)
    first, last = (split.test[0] if start is None else start), (split.test[1] if stop is None else stop)  # fmt: skip
    batches = log.batches(columns=[name], start=first, stop=last)
    return np.concatenate([batch.column(name).to_numpy(zero_copy_only=False) for batch in batches]).astype(float)  # fmt: skip


def distance(p_true: np.ndarray, p_click: np.ndarray) -> float:
    """Return how far the expected log loss is above that of the truth, in nats: 0 is the truth, without chance of clicks.

    Examples
    --------
    >>> distance(np.array([0.5]), np.array([0.5]))
    0.0
    """
    p = np.clip(p_click, 1e-12, 1 - 1e-12)
    apart = p_true * np.log(p_true / p) + (1 - p_true) * np.log((1 - p_true) / (1 - p))
    return float(apart.mean())


def table_of(found: list[dict[str, Any]]) -> str:
    """Return a Markdown table: a row per shape, a column per model, the mean distance of the seeds."""
    models = list(dict.fromkeys(one["model"] for one in found))
    lines = ["| shape | " + " | ".join(models) + " |", "| --- |" + " ---: |" * len(models)]
    for shape in dict.fromkeys(one["shape"] for one in found):
        cells = []
        for model in models:
            these = [one for one in found if (one["shape"], one["model"]) == (shape, model)]
            apart, loss = (np.mean([one[key] for one in these]) for key in ("distance", "log_loss"))
            cells.append(f"{apart:.4f} ({loss:.4f})")
        lines.append(f"| {shape} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
