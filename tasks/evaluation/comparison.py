"""All models on the same test rows: metrics, intervals, slices, verdicts, and rows to prove parity by."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from tasks.evaluation import metrics
from tasks.evaluation.bootstrap import bootstrap_difference
from tasks.evaluation.candidates import CHAMPION, REFUSED, Scored, TestRows
from tasks.evaluation.champion import Champion
from tasks.evaluation.clusters import how_drawn
from tasks.evaluation.evidence import Promise, promise
from tasks.evaluation.gates import Gates, Verdict, few_clicks, judge, refused
from tasks.evaluation.importance import harm_note, harmful
from tasks.evaluation.rows import Z_95, mean_with_error, row_losses
from tasks.evaluation.slices import slice_labels, slice_table
from tasks.evaluation.succession import Choice, Paired, choose
from tasks.logs.learned import last_moment
from tasks.models.artifact import ScoringModel
from tasks.registry import mlflow_store
from tasks.schema import Schema
from tasks.schemas.fields import UNSEEN


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` found; ``ranking`` begins with the lowest log loss and leaves out the champion.

    ``note`` says what so few clicks cannot tell, if so; ``paired`` holds each model against the champion, and ``choice`` the
    one of those that pass that is to serve.
    """

    table: pd.DataFrame
    intervals: pd.DataFrame
    slices: pd.DataFrame
    verdicts: list[Verdict]
    ranking: list[str]
    truth_log_loss: float | None
    note: str | None = None
    paired: dict[str, Paired] = field(default_factory=dict)
    choice: Choice = field(default_factory=lambda: Choice(None, None))


def compare(
    test: TestRows,
    scored: Mapping[str, Scored],
    schema: Schema,
    *,
    gates: Gates,
    n_resamples: int,
    seed: int,
    failed: Mapping[str, Mapping[str, Any]] | None = None,
    champion: Champion | None = None,
) -> Comparison:
    """Return metrics with intervals, slices and verdicts of all models on the test rows, and which of them is to serve.

    `failed` are models without predictions, as :class:`tasks.evaluation.candidates.Collected` holds them; `champion` is the model that
    serves, also where it is left out. The champion's metrics are those of the rows that it has not learned.
    """
    y_true, weight = test.y_true, test.weight
    labels = slice_labels(test.log, schema, span=test.span, learned_span=test.learned_span)
    judged = {name: judged_rows(test, model) for name, model in scored.items()}
    found = {name: metrics.evaluate(*rows) for name, rows in judged.items()}
    sums = {name: metrics.counts(*rows) for name, rows in judged.items()}
    ranking = sorted(set(scored) - {CHAMPION}, key=lambda name: (found[name]["log_loss"], name))
    tables = [slice_table(name, y_true, scored[name].p_click, labels, weight) for name in ranking]
    parts = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["model"])
    seen = [part.name for part in schema.slices if part.seen]
    parts[UNSEEN] = parts["slice"].isin(seen) & (parts["value"] == UNSEEN) if tables else False
    how = {"n_resamples": n_resamples, "seed": seed}
    paired = _paired(test, scored, ranking, found, **how)
    theirs = champion.known if champion else scored[CHAMPION].result if CHAMPION in scored else {}
    origin, other = test.log.manifest.get("origin"), theirs.get("origin")
    verdicts = [
        judge(
            name,
            found[name] | sums[name],
            parts[parts["model"] == name].to_dict(orient="records"),
            gates=gates,
            promised=_promised(found[name], scored[name].p_click, weight, gates, seed),
            paired=paired.get(name),
            unbeaten=champion.left_out if champion and champion.is_unbeaten else None,
            origins=(origin, other) if origin and other else None,
        )
        for name in ranking
    ]
    passing = [verdict.model for verdict in verdicts if verdict.passed]
    choice = choose(
        passing,
        paired,
        serving=_name_of(champion) if CHAMPION in scored else None,
        max_relative_loss=gates.max_relative_loss,
        is_newer=lambda name: _is_newer(scored[name].model, champion),
        excess=lambda name, best: lead_over(name, best, scored=scored, test=test, **how),
    )
    verdicts += [refused(name, str(one[REFUSED])) for name, one in (failed or {}).items()]
    shown = [*ranking, *([CHAMPION] if CHAMPION in found else [])]
    table = pd.DataFrame.from_dict(found, orient="index", columns=list(metrics.METRICS)).loc[shown]
    intervals = _intervals(table, scored, test, **how)
    truth = None if test.p_true is None else metrics.log_loss(y_true, test.p_true, weight)
    total = metrics.counts(y_true, y_true, weight)
    note = few_clicks(total["n_clicks"], total["n_impressions"], gates)
    return Comparison(
        table, intervals, parts, verdicts, ranking, truth, note, paired=paired, choice=choice
    )


def judged_rows(test: TestRows, model: Scored, *others: Scored) -> tuple[Any, ...]:
    """Return labels, predictions and weights of the rows that none of the models has learned."""
    fresh = _fresh(test, model, *others)
    weight = None if test.weight is None else test.weight[fresh]
    return test.y_true[fresh], model.p_click[fresh], weight


def _paired(
    test: TestRows,
    scored: Mapping[str, Scored],
    ranking: list[str],
    found: Mapping[str, Mapping[str, float]],
    **how: int,
) -> dict[str, Paired]:
    """Return how each model compares with the champion; nothing where there is none."""
    if CHAMPION not in scored:
        return {}
    champion, out = scored[CHAMPION], {}
    for name in ranking:
        rows = judged_rows(test, scored[name], champion)
        interval = lead_over(name, CHAMPION, scored=scored, test=test, **how)
        mark = found[CHAMPION]["log_loss"]
        difference = metrics.log_loss(*rows) - mark
        n_clicks = metrics.counts(*rows)["n_clicks"]
        low, high = interval or (np.nan, np.nan)
        excess = row_losses(*rows[:2]) - row_losses(*judged_rows(test, champion, scored[name])[:2])
        half = Z_95 * float(mean_with_error(excess, rows[2])[1])
        out[name] = Paired(len(rows[0]), n_clicks, mark, difference, low, high, half)
    return out


def _name_of(champion: Champion | None) -> str:
    return champion.model.name if champion is not None and champion.model else CHAMPION


def _is_newer(model: ScoringModel | None, champion: Champion | None) -> bool:
    """Return whether a model learned rows after the champion's; True where one of them does not say."""
    ours = last_moment(model.info) if model is not None else None
    theirs = champion.learned_until if champion is not None and champion.model else None
    return ours is None or theirs is None or ours > theirs


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
    table: pd.DataFrame, scored: Mapping[str, Scored], test: TestRows, **how: int
) -> pd.DataFrame:
    """Return log loss with its bootstrap interval, for each model of the table."""
    losses = {}
    for name in table.index:
        y_true, p_click, weight = judged_rows(test, scored[name])
        rows = {"weight": weight, "cluster": _cluster_of(test, scored[name])}
        losses[name] = metrics.bootstrap_interval("log_loss", y_true, p_click, **rows, **how)
    intervals = pd.DataFrame.from_dict(losses, orient="index", columns=["low", "high"])
    intervals.insert(0, "value", table["log_loss"])
    return intervals


def _cluster_of(test: TestRows, *models: Scored) -> np.ndarray | None:
    return None if test.clusters is None else test.clusters.ids[_fresh(test, *models)]


def _fresh(test: TestRows, *models: Scored) -> np.ndarray:
    """Return which rows none of the models has learned, bool ``(n_rows,)``."""
    known = [one.fresh for one in models if one.fresh is not None]
    return np.logical_and.reduce([np.ones(test.n_rows, dtype=bool), *known])


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

    Both are bootstrapped on the same resamples of the test rows, by cluster where the rows hang together, and on those
    rows only that neither has learned.
    """
    if name not in scored or best not in scored:
        return None
    one, other = scored[name], scored[best]
    y_true, p_click, weight = judged_rows(test, one, other)
    rows = {"weight": weight, "cluster": _cluster_of(test, one, other)}
    how = {"n_resamples": n_resamples, "seed": seed}
    p_other = judged_rows(test, other, one)[1]
    return bootstrap_difference("log_loss", y_true, p_click, p_other, **rows, **how)


def evaluation_record(
    test: TestRows,
    scored: Mapping[str, Scored],
    result: Comparison,
    schema: Schema,
    *,
    n_golden: int,
    failed: Mapping[str, Mapping[str, Any]] | None = None,
    champion: Champion | None = None,
    importance: Mapping[str, pd.DataFrame] | None = None,
) -> dict[str, Any]:
    """Return what ``promote``, ``package`` and ``report`` need, as JSON-ready data.

    `importance` is that of the fields, by model (:func:`tasks.evaluation.importance.importance_by_model`).
    """
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
        "champion_note": champion.note if champion else None,
        "paired": {name: asdict(one) for name, one in result.paired.items()},
        "drawn_by": how_drawn(test.clusters),
        "importance": {
            name: one.to_dict(orient="records") for name, one in (importance or {}).items()
        },
        "harm": _harm(result, importance or {}),
        "preferred": result.choice.winner,
        "preference": result.choice.why,
        "golden": golden_rows(test, scored, schema, n_rows=n_golden),
    }


def _harm(result: Comparison, importance: Mapping[str, pd.DataFrame]) -> list[str]:
    """Return which fields harm the model that is to serve, or the best one, in a sentence."""
    for name in [result.choice.winner, *result.ranking]:
        if name is not None and name in importance:
            note = harm_note(name, harmful(importance[name]))
            return [note] if note else []
    return []


def golden_rows(
    test: TestRows, scored: Mapping[str, Scored], schema: Schema, *, n_rows: int
) -> dict[str, Any]:
    """Return raw test rows, spread evenly, with what the pipeline's arrays predicted for each.

    ``rows`` are what a request would carry, ``test_rows`` their numbers among the test rows; ``p_click`` maps a model's name to
    its predictions.
    """
    picks = np.unique(np.linspace(0, test.n_rows - 1, min(n_rows, test.n_rows)).astype(int))
    rows = [test.log.raw_row(test.span[0] + int(pick), schema) for pick in picks]
    predictions = {
        name: [float(model.p_click[pick]) for pick in picks] for name, model in scored.items()
    }
    return {"rows": rows, "test_rows": picks.tolist(), "p_click": predictions}
