"""Parameters chosen by validation log loss, lower is better: fixed, from a grid, by Optuna, or near the defaults by halving.

A search is the mapping under ``search`` of a model in ``env.yaml``:

- ``{method: halving}``, which holds where a model has no ``search``: a few trials near the defaults on the newest quarter of
  the training rows, pruned after their first epoch unless among the best third, by Optuna's successive halving. The best of
  them is trained in full, as the default is, and replaces it if it is better by more than chance. It takes ``n_trials``,
  ``storage`` and ``space`` as below;
- ``{method: fixed}``: the parameters as given;
- ``{method: grid, grid: {name: [values]}}``: every combination;
- ``{method: optuna, n_trials: 10, minutes: 30, storage: URL}``: until there are that many trials, or they have taken
  that many minutes, in total over all processes that share the storage, and however often the search was started;
  either may be left out. The storage is SQLite for one machine, PostgreSQL for several; memory if left out.
  ``space: {name: [choices] or {low, high, log}}`` replaces the learner's own; the learner's defaults are tried first
  where they lie inside. ``pruner: false`` lets every trial end.

``max_rows`` (the last rows before validation, by default 150,000, or a quarter by halving) and ``max_epochs`` (default 2) keep
trials cheap. The caller trains the winner on all rows.
"""

import itertools
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pandas as pd

from tasks.errors import ConfigError, DivergenceError
from tasks.models import make_learner
from tasks.storage.progress import trial
from tasks.training.fit import fit_stream
from tasks.training.halving import decide, finalists, full_training, halving_plan
from tasks.training.history import Epoch
from tasks.training.optuna_study import Run, positive, run_study
from tasks.training.sampling import LastRows, checked_rate, tokens_per_row
from tasks.training.search_space import edge_notes, has_space

_KEYS = {
    "halving": {"method", "n_trials", "storage", "space", "max_rows", "max_epochs"},
    "fixed": {"method"},
    "grid": {"method", "grid", "max_rows", "max_epochs"},
    "optuna": {
        "method", "n_trials", "minutes", "storage", "space", "pruner", "max_rows", "max_epochs",
    },
}  # fmt: skip
_MAX_ROWS, _MAX_EPOCHS = 150_000, 2


class SearchResult(NamedTuple):
    """What a search found.

    Attributes
    ----------
    params
        The parameters to train with.
    trials
        Best first; columns ``trial``, ``valid_log_loss`` (nats; NaN where it diverged, that of the last epoch where
        it was pruned), ``epochs``, ``seconds``, ``state`` ("complete", "pruned", "diverged") and the parameters
        tried. Empty for the method "fixed".
    notes
        A sentence for each parameter whose best value lies at an edge of what was tried.
    records
        The trials in their order, with ``params``, ``losses`` by epoch and ``started`` (seconds since 1970) too.
    settings
        Method, budget and space, by names such as ``search.n_trials``; addresses are left out.
    study
        The Optuna study, or None.
    defaults
        The learner's defaults of the parameters searched, those of them that lie in the space.
    decision
        By halving, one sentence: which parameters changed and what that is worth, or that the default stays.
    """

    params: dict[str, Any]
    trials: pd.DataFrame
    notes: list[str]
    records: list[dict[str, Any]]
    settings: dict[str, Any]
    study: Any = None
    defaults: Mapping[str, Any] = {}
    decision: str = ""

    @property
    def said(self) -> list[str]:
        """The decision, if there was one to make, and the notes."""
        return [*([self.decision] if self.decision else []), *self.notes]


def search(
    model: Mapping[str, Any],
    train: Any,
    valid: Any,
    *,
    seed: int,
    study_name: str = "clicklab",
    negative_rate: float = 1.0,
    final: Mapping[str, Any] | None = None,
) -> SearchResult:
    """Return the parameters to train with, and the trials they were chosen from.

    Parameters
    ----------
    model
        ``kind``, ``params`` and ``search`` as in ``env.yaml``; ``params`` apply to every trial.
    train, valid
        Feature sets with one contract.
    seed
        For learners, sampler and row sampling. One process is reproducible; several that share a study
        are not.
    study_name
        Name of the Optuna study; a digest of the search is appended, so that a different search under the
        same name starts over and the same one resumes.
    negative_rate
        As for :class:`tasks.training.epochs.Training`; trials use the same rate as the final training.
    final
        How the final training is done, for the comparison in full that ends a halving: ``max_epochs``, ``patience`` and
        ``engine`` of :class:`tasks.training.epochs.Training`.

    Raises
    ------
    ConfigError
        If the search names an unknown method or knob.
    DivergenceError
        If no trial has a finite loss.
    """
    if not isinstance(model, Mapping) or "kind" not in model:
        raise ConfigError(f"model must be a block with kind, params and search, found {model!r}")
    plan = _plan_of(model, train.n_rows)
    method = plan["method"]
    fixed = dict(model.get("params") or {})
    n_tokens = tokens_per_row(train)
    make_learner(
        model, train.contract.n_features, n_tokens=n_tokens, **fixed
    )  # refuses bad parameters before hours of trials, not after
    if method == "fixed":
        return SearchResult(fixed, _table([]), [], [], {"search.method": method})
    sampling: dict[str, Any] = {"negative_rate": checked_rate(negative_rate), "seed": seed}
    run = _runner(model, fixed, train, valid, plan, sampling)
    defaults: dict[str, Any] = {}
    if method == "grid":
        space, study = _checked_grid(plan.get("grid")), None
        records = _run_grid(run, space)
    else:
        records, study, space, defaults = run_study(
            run, model, fixed, plan, study_name=study_name, n_tokens=n_tokens, **sampling
        )
    complete = [one for one in records if one["state"] == "complete"]
    if not complete:
        raise DivergenceError(
            "search: no trial has a finite loss; lower the learning rates it tries"
        )
    best, notes, decision = min(complete, key=lambda one: one["valid_log_loss"])["params"], [], ""
    if method == "halving":
        in_full = full_training(model, fixed, train, valid, {**(final or {}), **sampling}, n_tokens)
        others, n_tried = finalists(records, defaults), len(records) - 1
        best, decision = decide(in_full, defaults, others, valid, n_tried=n_tried, seed=seed)
    else:
        notes = edge_notes(space, best, key="search.grid" if method == "grid" else "search.space")
    settings, table = _settings(plan, space), _table(records)
    params = {**fixed, **best}
    return SearchResult(params, table, notes, records, settings, study, defaults, decision)


def _plan_of(model: Mapping[str, Any], n_rows: int) -> dict[str, Any]:
    """Return the search of a model, checked; without one, halving if its kind has a space to search."""
    default = {"method": "halving" if has_space(model) else "fixed"}
    plan = dict(model.get("search") or default)
    method = plan.get("method")
    if method not in _KEYS:
        raise ConfigError(f"search: method {method!r} is unknown; choose from {', '.join(_KEYS)}")
    unknown = sorted(set(plan) - _KEYS[method])
    if unknown:
        raise ConfigError(
            f"search: {method!r} has no knob {unknown[0]!r}; it has {', '.join(sorted(_KEYS[method]))}"
        )
    return halving_plan(plan, n_rows) if method == "halving" else plan


def _runner(
    model: Mapping[str, Any],
    fixed: Mapping[str, Any],
    train: Any,
    valid: Any,
    plan: Mapping[str, Any],
    sampling: Mapping[str, Any],
) -> Run:
    """Return the function that trains once with given parameters and returns the outcome."""
    max_rows, max_epochs = (
        positive(plan, name, default)
        for name, default in (("max_rows", _MAX_ROWS), ("max_epochs", _MAX_EPOCHS))
    )
    last, n_tokens = LastRows(train, max_rows), tokens_per_row(train)

    def run(
        params: Mapping[str, Any], on_epoch: Callable[[Epoch], None] | None = None
    ) -> dict[str, Any]:
        started, since = time.time(), time.perf_counter()
        losses: list[float] = []

        def note(epoch: Epoch) -> None:
            losses.append(epoch.valid_log_loss)
            if on_epoch is not None:
                on_epoch(epoch)

        learner = make_learner(
            model,
            train.contract.n_features,
            random_state=sampling["seed"],
            n_tokens=n_tokens,
            **{**fixed, **params},
        )
        try:
            history = fit_stream(
                learner, last, valid, max_epochs=max_epochs, on_epoch=note, **sampling
            )
            loss, epochs, state = history.best_log_loss, len(history.epochs), "complete"
        except DivergenceError:
            loss, epochs, state = math.nan, 0, "diverged"
        seconds = round(time.perf_counter() - since, 3)
        return {
            "params": dict(params),
            "valid_log_loss": loss,
            "epochs": epochs,
            "seconds": seconds,
            "state": state,
            "losses": losses,
            "started": started,
        }

    return run


def _table(found: list[dict[str, Any]]) -> pd.DataFrame:
    first = ["trial", "valid_log_loss", "epochs", "seconds", "state"]
    rows = [{"trial": number, **one} for number, one in enumerate(found)]
    rows.sort(key=_rank)
    flat = [{key: row[key] for key in first} | row["params"] for row in rows]
    return pd.DataFrame(flat, columns=None if flat else first)


def _rank(row: Mapping[str, Any]) -> tuple[bool, float]:
    loss = row["valid_log_loss"]
    return row["state"] != "complete", loss if math.isfinite(loss) else math.inf


def _checked_grid(grid: Any) -> dict[str, Any]:
    if (
        not isinstance(grid, Mapping)
        or not grid
        or not all(isinstance(values, list) and values for values in grid.values())
    ):
        raise ConfigError(f"search: grid must map parameters to lists of values, found {grid!r}")
    return dict(grid)


def _settings(plan: Mapping[str, Any], space: Mapping[str, Any]) -> dict[str, Any]:
    """Return every effective knob of a search but its storage, whose address may hold a password."""
    knobs: dict[str, Any] = {"max_rows": _MAX_ROWS, "max_epochs": _MAX_EPOCHS}
    if plan["method"] == "halving":
        knobs |= {"n_trials": plan["n_trials"]}
    if plan["method"] == "optuna":
        knobs |= {"n_trials": "no limit", "minutes": "no limit", "pruner": True}
    knobs |= {key: plan[key] for key in plan if key not in ("storage", "space", "grid")}
    spans = {f"space.{name}": _span_text(span) for name, span in space.items()}
    return {f"search.{key}": value for key, value in (knobs | spans).items()}


def _span_text(span: Any) -> str:
    if isinstance(span, Mapping):
        return f"{span['low']:g} to {span['high']:g}{', log' if span.get('log') else ''}"
    return ", ".join(str(value) for value in span)


def _run_grid(run: Any, grid: Mapping[str, Any]) -> list[dict[str, Any]]:
    points = list(itertools.product(*grid.values()))
    found = []
    for number, values in enumerate(points, start=1):
        with trial(number, len(points)):
            found.append(run(dict(zip(grid, values, strict=True))))
    return found
