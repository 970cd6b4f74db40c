"""All models on the same test rows: metrics, intervals, slices, verdicts, and rows to prove parity by."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from tasks.evaluation import metrics
from tasks.evaluation.bootstrap import bootstrap_difference
from tasks.evaluation.champion import Champion, find_champion
from tasks.evaluation.evidence import Promise, promise
from tasks.evaluation.gates import Gates, Verdict, few_clicks, judge, refused
from tasks.evaluation.predictions import fault_of
from tasks.evaluation.slices import slice_labels, slice_table
from tasks.hashing.feature_set import FeatureSet
from tasks.logs.log import Log
from tasks.logs.split import Split
from tasks.models.artifact import ScoringModel, load_model
from tasks.models.predict import predict_stream
from tasks.registry import mlflow_store
from tasks.schema import Schema
from tasks.storage.workspace import resolve

CHAMPION = "champion"
REFUSED = "refused"  # key of a training's result: why there is no model


@dataclass(frozen=True)
class TestRows:
    """The test part: where its rows lie in the log, their labels and, if known, true probabilities and impressions."""

    __test__ = False

    log: Log
    span: tuple[int, int]
    train_span: tuple[int, int]
    note: str
    y_true: np.ndarray
    p_true: np.ndarray | None
    weight: np.ndarray | None = None

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
class Collected:
    """What there is to compare.

    Attributes
    ----------
    test, scored
        The test rows, and every model with its predictions for them, the serving champion included.
    failed
        What the training task wrote of each model that has no predictions, with the reason under ``refused``.
    champion
        The model that serves, also where it is left out; None while nothing does.
    """

    test: TestRows
    scored: dict[str, Scored]
    failed: dict[str, dict[str, Any]] = field(default_factory=dict)
    champion: Champion | None = None

    @property
    def notes(self) -> list[str]:
        """Who is not compared, a sentence each."""
        out = [f"{name} has no predictions: {one[REFUSED]}" for name, one in self.failed.items()]
        if self.champion is not None and self.champion.left_out:
            out.append(self.champion.left_out)
        return out


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` found; ``ranking`` begins with the lowest log loss and leaves out the champion.

    ``note`` says what so few clicks cannot tell, if so.
    """

    table: pd.DataFrame
    intervals: pd.DataFrame
    slices: pd.DataFrame
    verdicts: list[Verdict]
    ranking: list[str]
    truth_log_loss: float | None
    note: str | None = None


def collect(upstream: Mapping[str, Any], schema: Schema, tracking: Mapping[str, str]) -> Collected:
    """Return the test rows and every model scored on them, the serving champion included.

    `upstream` holds the products of ``ingest``, ``hash_features`` and, under ``train-*``, of each training.
    """
    log = Log.open(resolve(upstream["ingest"]["log"]).parent)
    folder = resolve(upstream["hash_features"]["manifest"]).parent
    features = FeatureSet(folder / "test")
    split = Split.from_dict(json.loads((folder / "manifest.json").read_text())["split"])
    scored: dict[str, Scored] = {}
    failed: dict[str, dict[str, Any]] = {}
    for task in upstream["train-*"].values():
        result = json.loads(resolve(task["result"]).read_text())
        if REFUSED not in result:
            model = load_model(resolve(task["model"]).parent)
            p_click = predict_stream(model, features)[1]
            if (fault := fault_of(p_click)) is None:
                scored[result["name"]] = Scored(model, p_click, result)
                continue
            result[REFUSED] = fault
        failed[result["name"]] = result
    test = _test_rows(log, schema, split)
    champion = find_champion(log, split.test, schema, tracking, folder.parent / "champion")
    if champion is not None and champion.p_click is not None:
        scored[CHAMPION] = Scored(champion.model, champion.p_click, champion.known)
    return Collected(test, scored, failed, champion)


def _test_rows(log: Log, schema: Schema, split: Split) -> TestRows:
    truth = schema.truth if log.manifest.get("has_truth") else None
    weight = schema.weight_column if schema.weight_column in log.columns else None
    names = [name for name in (schema.label, truth, weight) if name]
    columns = log.to_pandas(names, *split.test)

    def floats(name: str | None) -> np.ndarray | None:
        return None if name is None else columns[name].to_numpy(np.float64)

    y_true = columns[schema.label].to_numpy(np.float64)
    spans = (split.test, split.train, split.note)
    return TestRows(log, *spans, y_true, floats(truth), floats(weight))


def compare(
    test: TestRows,
    scored: Mapping[str, Scored],
    schema: Schema,
    *,
    gates: Gates,
    n_resamples: int,
    seed: int,
    failed: Mapping[str, Mapping[str, Any]] | None = None,
    champion_origin: str | None = None,
) -> Comparison:
    """Return metrics with intervals, slices and verdicts of all models on the test rows.

    `failed` are models without predictions, as :class:`Collected` holds them, and `champion_origin` that of a champion
    that is left out.
    """
    y_true, weight = test.y_true, test.weight
    labels = slice_labels(test.log, schema, span=test.span, train_span=test.train_span)
    p_click = {name: model.p_click for name, model in scored.items()}
    found = {name: metrics.evaluate(y_true, p, weight) for name, p in p_click.items()}
    sums = {name: metrics.counts(y_true, p, weight) for name, p in p_click.items()}
    tables = [slice_table(name, y_true, p, labels, weight) for name, p in p_click.items()]
    parts = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["model"])
    ranking = sorted(set(scored) - {CHAMPION}, key=lambda name: (found[name]["log_loss"], name))
    theirs = scored[CHAMPION].result.get("origin") if CHAMPION in scored else champion_origin
    ours = test.log.manifest.get("origin")
    verdicts = [
        judge(
            name,
            found[name] | sums[name],
            parts[parts["model"] == name].to_dict(orient="records"),
            gates=gates,
            promised=_promised(found[name], p_click[name], weight, gates, seed),
            champion=found.get(CHAMPION),
            origins=(ours, theirs) if ours and theirs else None,
        )
        for name in ranking
    ]
    verdicts += [refused(name, str(one[REFUSED])) for name, one in (failed or {}).items()]
    shown = [*ranking, *([CHAMPION] if CHAMPION in found else [])]
    table = pd.DataFrame.from_dict(found, orient="index", columns=list(metrics.METRICS)).loc[shown]
    intervals = _intervals(table, p_click, test, n_resamples=n_resamples, seed=seed)
    truth = None if test.p_true is None else metrics.log_loss(y_true, test.p_true, weight)
    total = metrics.counts(y_true, y_true, weight)
    note = few_clicks(total["n_clicks"], total["n_impressions"], gates)
    return Comparison(table, intervals, parts, verdicts, ranking, truth, note)


def _promised(
    found: Mapping[str, float],
    p_click: np.ndarray,
    weight: np.ndarray | None,
    gates: Gates,
    seed: int,
) -> Promise | None:
    """Return what predictions promise whose entropy is not below its limit; None for all others."""
    entropy = found["normalized_entropy"]
    if entropy < gates.max_normalized_entropy or not math.isfinite(entropy):
        return None
    return promise(p_click, weight, entropy, seed=seed)


def _intervals(
    table: pd.DataFrame, p_click: Mapping[str, np.ndarray], test: TestRows, **how: int
) -> pd.DataFrame:
    """Return log loss with its bootstrap interval, for each model of the table."""
    losses = {
        name: metrics.bootstrap_interval(
            "log_loss", test.y_true, p_click[name], weight=test.weight, **how
        )
        for name in table.index
    }
    intervals = pd.DataFrame.from_dict(losses, orient="index", columns=["low", "high"])
    intervals.insert(0, "value", table["log_loss"])
    return intervals


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
    if name not in scored or best not in scored:
        return None
    p_click, p_best = scored[name].p_click, scored[best].p_click
    return bootstrap_difference(
        "log_loss",
        test.y_true,
        p_click,
        p_best,
        n_resamples=n_resamples,
        seed=seed,
        weight=test.weight,
    )


def evaluation_record(
    test: TestRows,
    scored: Mapping[str, Scored],
    result: Comparison,
    schema: Schema,
    *,
    n_golden: int,
    failed: Mapping[str, Mapping[str, Any]] | None = None,
    champion: Champion | None = None,
) -> dict[str, Any]:
    """Return what ``promote``, ``package`` and ``report`` need, as JSON-ready data."""
    everyone = {name: dict(scored[name].result) for name in result.ranking} | {
        name: dict(one) for name, one in (failed or {}).items()
    }
    known = dict(scored[CHAMPION].result) if CHAMPION in scored else {}
    if champion is not None:
        known = champion.known
    return {
        "registered_name": mlflow_store.registered_name(schema),
        "n_test_rows": test.n_rows,
        "split_note": test.note,
        "log_digest": test.log.manifest["digest"],
        "source": test.log.manifest["source"],
        "origin": test.log.manifest.get("origin"),
        "champion_origin": known.get("origin"),
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
        "models": everyone,
        "failed": {name: one[REFUSED] for name, one in (failed or {}).items()},
        "note": result.note,
        "champion_version": known.get("registry_version"),
        "champion_left_out": champion.left_out if champion else None,
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
