"""What there is to compare: the test rows, and every model with its predictions for them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tasks.evaluation.champion import Champion, find_champion
from tasks.evaluation.clusters import AUTO, Clusters, check_cluster, find_clusters, how_drawn
from tasks.evaluation.predictions import fault_of
from tasks.evaluation.rows import row_losses
from tasks.hashing.feature_set import FeatureSet
from tasks.logs.log import Log
from tasks.logs.split import Split
from tasks.models.artifact import ScoringModel, load_model
from tasks.models.predict import predict_stream
from tasks.schema import Schema
from tasks.storage.workspace import resolve

CHAMPION = "champion"
REFUSED = "refused"  # key of a training's result: why there is no model


@dataclass(frozen=True)
class TestRows:
    """The test part.

    Attributes
    ----------
    log, span
        Where its rows lie.
    learned_span
        The rows that the models of this run have learned: training and validation.
    note
        How the log was split.
    y_true, p_true, weight
        Labels and, if known, true probabilities and impressions, ``(n_rows,)``.
    clusters
        What the rows belong to where they hang together; None: intervals are drawn by single rows.
    """

    __test__ = False

    log: Log
    span: tuple[int, int]
    learned_span: tuple[int, int]
    note: str
    y_true: np.ndarray
    p_true: np.ndarray | None
    weight: np.ndarray | None = None
    clusters: Clusters | None = None

    @property
    def n_rows(self) -> int:
        """Number of test rows."""
        return len(self.y_true)


@dataclass(frozen=True)
class Scored:
    """A model and its predictions for the test rows; ``result`` is what its training task wrote.

    ``fresh``, bool ``(n_rows,)``, are the rows that it has not learned, by which alone it may be judged; None: all.
    """

    model: ScoringModel
    p_click: np.ndarray
    result: Mapping[str, Any]
    fresh: np.ndarray | None = None


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
    features
        The hashed test rows.
    """

    test: TestRows
    scored: dict[str, Scored]
    failed: dict[str, dict[str, Any]] = field(default_factory=dict)
    champion: Champion | None = None
    features: FeatureSet | None = None

    @property
    def notes(self) -> list[str]:
        """What intervals are drawn by, and who is not compared on all rows, a sentence each."""
        out = [f"{name} has no predictions: {one[REFUSED]}" for name, one in self.failed.items()]
        if self.champion is not None:
            out += filter(None, [self.champion.left_out, self.champion.note])
        return [*out, f"intervals are drawn by {how_drawn(self.test.clusters)}"]


def collect(
    upstream: Mapping[str, Any],
    schema: Schema,
    tracking: Mapping[str, str],
    *,
    cluster: str | None = AUTO,
) -> Collected:
    """Return the test rows and every model scored on them, the serving champion included.

    `upstream` holds the products of ``ingest``, ``hash_features`` and, under ``train-*``, of each training. `cluster` is the
    knob ``evaluation.cluster`` (:func:`tasks.evaluation.clusters.find_clusters`).
    """
    check_cluster(cluster, schema)
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
        scored[CHAMPION] = Scored(champion.model, champion.p_click, champion.known, champion.fresh)
    losses = _lowest_losses(test, {name: one for name, one in scored.items() if name != CHAMPION})
    clusters = find_clusters(test, losses, schema, cluster)
    return Collected(replace(test, clusters=clusters), scored, failed, champion, features)


def _lowest_losses(test: TestRows, scored: Mapping[str, Scored]) -> np.ndarray | None:
    """Return the log loss of each test row, of the model with the lowest mean; None without a model."""
    losses = [row_losses(test.y_true, one.p_click) for one in scored.values()]
    return min(losses, key=lambda one: np.average(one, weights=test.weight), default=None)


def _test_rows(log: Log, schema: Schema, split: Split) -> TestRows:
    truth = schema.truth if log.manifest.get("has_truth") else None
    weight = schema.weight_column if schema.weight_column in log.columns else None
    names = [name for name in (schema.label, truth, weight) if name]
    columns = log.to_pandas(names, *split.test)

    def floats(name: str | None) -> np.ndarray | None:
        return None if name is None else columns[name].to_numpy(np.float64)

    y_true = columns[schema.label].to_numpy(np.float64)
    spans = (split.test, (split.train[0], split.valid[1]), split.note)
    return TestRows(log, *spans, y_true, floats(truth), floats(weight))
