"""All models on the same test rows: metrics, intervals, slices, verdicts, and rows to prove parity by."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tasks.errors import ContractError
from tasks.evaluation import metrics
from tasks.evaluation.bootstrap import bootstrap_difference
from tasks.evaluation.gates import Gates, Verdict, judge
from tasks.evaluation.slices import slice_labels, slice_table
from tasks.hashing.encode import encode_batch
from tasks.hashing.feature_set import FeatureSet
from tasks.logs.log import Log
from tasks.logs.split import Split
from tasks.models.artifact import ScoringModel, load_model
from tasks.models.predict import predict_stream
from tasks.registry import mlflow_store
from tasks.schema import Schema
from tasks.storage.workspace import resolve

CHAMPION = "champion"


@dataclass(frozen=True)
class TestRows:
    """The test part: where its rows lie in the log, their labels and, if known, their true probabilities."""

    __test__ = False

    log: Log
    span: tuple[int, int]
    train_span: tuple[int, int]
    note: str
    y_true: np.ndarray
    p_true: np.ndarray | None

    @property
    def n_rows(self) -> int:
        """Number of test rows."""
        return len(self.y_true)


@dataclass(frozen=True)
class Scored:
    """A model and its predictions for the test rows; ``result`` is what its training task wrote."""

    model: ScoringModel
    p_click: np.ndarray
    result: Mapping[str, Any]


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` found; ``ranking`` begins with the lowest log loss and leaves out the champion."""

    table: pd.DataFrame
    intervals: pd.DataFrame
    slices: pd.DataFrame
    verdicts: list[Verdict]
    ranking: list[str]
    truth_log_loss: float | None


def collect(
    upstream: Mapping[str, Any], schema: Schema, tracking: Mapping[str, str]
) -> tuple[TestRows, dict[str, Scored]]:
    """Return the test rows and every model scored on them, the serving champion included.

    `upstream` holds the products of ``ingest``, ``hash_features`` and, under ``train-*``, of each training.
    """
    log = Log.open(resolve(upstream["ingest"]["log"]).parent)
    folder = resolve(upstream["hash_features"]["manifest"]).parent
    features = FeatureSet(folder / "test")
    split = Split.from_dict(json.loads((folder / "manifest.json").read_text())["split"])
    results = {}
    for task in upstream["train-*"].values():
        result = json.loads(resolve(task["result"]).read_text())
        results[result["name"]] = (result, load_model(resolve(task["model"]).parent))
    scored = {}
    y_true = np.empty(0)
    for name, (result, model) in results.items():
        y_true, p_click = predict_stream(model, features)
        scored[name] = Scored(model, p_click, result)
    test = TestRows(
        log, split.test, split.train, split.note, y_true, _truth(log, schema, split.test)
    )
    champion = _champion(schema, tracking, folder.parent / "champion")
    if champion is not None:
        model, found = champion
        known = {"registry_version": found.registry_version, "origin": found.origin}
        scored[CHAMPION] = Scored(model, score_log(model, log, split.test), known)
    return test, scored


def _truth(log: Log, schema: Schema, span: tuple[int, int]) -> np.ndarray | None:
    if schema.truth is None or not log.manifest.get("has_truth"):
        return None
    return log.to_pandas([schema.truth], *span)[schema.truth].to_numpy()


def _champion(
    schema: Schema, tracking: Mapping[str, str], folder: Path
) -> tuple[ScoringModel, mlflow_store.RegisteredModel] | None:
    client = mlflow_store.connect(tracking["tracking_uri"])
    found = mlflow_store.find_alias(
        client, mlflow_store.registered_name(schema), mlflow_store.CHAMPION, folder=folder
    )
    if found is None:
        return None
    try:
        model = load_model(found.folder)
    except ContractError as error:
        raise ContractError(
            f"the champion, version {found.registry_version}, cannot be scored by this code: {error}. Or remove the "
            f"alias {mlflow_store.CHAMPION!r} in `make ui`: the best new model then takes its place"
        ) from None
    needed = Schema.from_dict(model.contract.schema).field_names
    if not set(needed) <= set(schema.field_names):
        return None  # another declaration of the log: nothing to compare on these rows
    return model, found


def score_log(model: ScoringModel, log: Log, span: tuple[int, int]) -> np.ndarray:
    """Return the model's predictions for rows of the log, hashed with the *model's own* contract."""
    schema = Schema.from_dict(model.contract.schema)
    columns = [schema.time_column, *schema.field_names]
    pieces = [
        model.predict_codes(encode_batch(batch, model.contract))
        for batch in log.batches(columns=columns, start=span[0], stop=span[1])
    ]
    return np.concatenate(pieces)


def compare(
    test: TestRows,
    scored: Mapping[str, Scored],
    schema: Schema,
    *,
    gates: Gates,
    n_resamples: int,
    seed: int,
) -> Comparison:
    """Return metrics with intervals, slices and verdicts of all models on the test rows."""
    labels = slice_labels(test.log, schema, span=test.span, train_span=test.train_span)
    found = {name: metrics.evaluate(test.y_true, model.p_click) for name, model in scored.items()}
    parts = pd.concat(
        [slice_table(name, test.y_true, model.p_click, labels) for name, model in scored.items()],
        ignore_index=True,
    )
    candidates = (name for name in scored if name != CHAMPION)
    ranking = sorted(candidates, key=lambda name: found[name]["log_loss"])

    def interval(metric: str, name: str) -> tuple[float, float]:
        return metrics.bootstrap_interval(
            metric, test.y_true, scored[name].p_click, n_resamples=n_resamples, seed=seed
        )

    theirs = scored[CHAMPION].result.get("origin") if CHAMPION in scored else None
    ours = test.log.manifest.get("origin")
    verdicts = [
        judge(
            name,
            found[name] | {"calibration_interval": interval("calibration_ratio", name)},
            parts[parts["model"] == name].to_dict(orient="records"),
            gates=gates,
            champion=found.get(CHAMPION),
            origins=(ours, theirs) if ours and theirs else None,
        )
        for name in ranking
    ]
    table = pd.DataFrame(found).T.loc[[*ranking, *([CHAMPION] if CHAMPION in found else [])]]
    losses = {name: interval("log_loss", name) for name in table.index}
    intervals = pd.DataFrame.from_dict(losses, orient="index", columns=["low", "high"])
    intervals.insert(0, "value", table["log_loss"])
    truth = None if test.p_true is None else metrics.log_loss(test.y_true, test.p_true)
    return Comparison(table, intervals, parts, verdicts, ranking, truth)


def lead_over(
    name: str,
    best: str,
    *,
    scored: Mapping[str, Scored],
    test: TestRows,
    n_resamples: int,
    seed: int,
) -> tuple[float, float] | None:
    """Return the 95% interval of a model's log loss (nats) minus that of `best`; None without that model.

    Both are bootstrapped on the same resamples of the test rows.
    """
    if name not in scored:
        return None
    p_click, p_best = scored[name].p_click, scored[best].p_click
    return bootstrap_difference(
        "log_loss", test.y_true, p_click, p_best, n_resamples=n_resamples, seed=seed
    )


def evaluation_record(
    test: TestRows,
    scored: Mapping[str, Scored],
    result: Comparison,
    schema: Schema,
    *,
    n_golden: int,
) -> dict[str, Any]:
    """Return what ``promote``, ``package`` and ``report`` need, as JSON-ready data."""
    champion = scored.get(CHAMPION)
    return {
        "registered_name": mlflow_store.registered_name(schema),
        "n_test_rows": test.n_rows,
        "split_note": test.note,
        "log_digest": test.log.manifest["digest"],
        "source": test.log.manifest["source"],
        "origin": test.log.manifest.get("origin"),
        "champion_origin": champion.result.get("origin") if champion else None,
        "ranking": result.ranking,
        "metrics": {
            name: {key: float(value) for key, value in row.items()}
            for name, row in result.table.iterrows()
        },
        "intervals": {
            name: {key: float(value) for key, value in row.items()}
            for name, row in result.intervals.iterrows()
        },
        "slices": result.slices.to_dict(orient="records"),
        "verdicts": {verdict.model: verdict.to_dict() for verdict in result.verdicts},
        "truth_log_loss": result.truth_log_loss,
        "models": {name: dict(scored[name].result) for name in result.ranking},
        "champion_version": champion.result["registry_version"] if champion else None,
        "golden": golden_rows(test, scored, schema, n_rows=n_golden),
    }


def golden_rows(
    test: TestRows, scored: Mapping[str, Scored], schema: Schema, *, n_rows: int
) -> dict[str, Any]:
    """Return raw test rows, spread evenly, with what the pipeline's arrays predicted for each.

    ``rows`` are what a request would carry; ``p_click`` maps a model's name to its predictions.
    """
    picks = np.unique(np.linspace(0, test.n_rows - 1, min(n_rows, test.n_rows)).astype(int))
    rows = [test.log.raw_row(test.span[0] + int(pick), schema) for pick in picks]
    predictions = {
        name: [float(model.p_click[pick]) for pick in picks] for name, model in scored.items()
    }
    return {"rows": rows, "p_click": predictions}
