"""Parameters chosen by validation log loss, lower is better: fixed, from a grid, or by Optuna.

A search is the mapping under ``search`` of a model in ``env.yaml``:

- ``{method: fixed}``: the parameters as given;
- ``{method: grid, grid: {name: [values]}}``: every combination;
- ``{method: optuna, n_trials: 10, storage: URL}``: that many trials in total, over all processes that
  share the storage; SQLite for one machine, PostgreSQL for several; in memory if left out;
  ``space: {name: [choices] or {low, high, log}}`` replaces the learner's own.

``max_rows`` (the last rows before validation, default 150,000) and ``max_epochs`` (default 2) keep
trials cheap. The caller trains the winner on all rows.
"""

import itertools
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from tasks.errors import ConfigError, DivergenceError
from tasks.models import make_learner
from tasks.storage.progress import trial
from tasks.training.fit import fit_stream
from tasks.training.history import Epoch
from tasks.training.optuna_study import Run, positive, run_study
from tasks.training.sampling import LastRows, checked_rate

_KEYS = {
    "fixed": {"method"},
    "grid": {"method", "grid", "max_rows", "max_epochs"},
    "optuna": {"method", "n_trials", "storage", "space", "max_rows", "max_epochs"},
}
_MAX_ROWS, _MAX_EPOCHS = 150_000, 2


def search(
    model: Mapping[str, Any],
    train: Any,
    valid: Any,
    *,
    seed: int,
    study_name: str = "clicklab",
    negative_rate: float = 1.0,
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return the parameters to train with, and the trials they were chosen from, best first.

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

    Returns
    -------
    dict, DataFrame
        The parameters; columns ``trial``, ``valid_log_loss`` (nats, NaN where it diverged), ``epochs``,
        ``seconds``, ``state`` and the parameters tried. Empty for the method "fixed".

    Raises
    ------
    ConfigError
        If the search names an unknown method or knob, or no trial has a finite loss.
    """
    if not isinstance(model, Mapping) or "kind" not in model:
        raise ConfigError(f"model must be a block with kind, params and search, found {model!r}")
    plan = dict(model.get("search") or {"method": "fixed"})
    method = plan.get("method")
    if method not in _KEYS:
        raise ConfigError(f"search: method {method!r} is unknown; choose from {', '.join(_KEYS)}")
    unknown = sorted(set(plan) - _KEYS[method])
    if unknown:
        raise ConfigError(
            f"search: {method!r} has no knob {unknown[0]!r}; it has {', '.join(sorted(_KEYS[method]))}"
        )
    fixed = dict(model.get("params") or {})
    make_learner(
        model["kind"], train.contract.n_features, **fixed
    )  # refuses bad parameters before hours of trials, not after
    if method == "fixed":
        return fixed, _table([])
    sampling: dict[str, Any] = {"negative_rate": checked_rate(negative_rate), "seed": seed}
    run = _runner(model["kind"], fixed, train, valid, plan, sampling)
    if method == "grid":
        found = _search_grid(run, plan.get("grid"))
    else:
        found = run_study(run, model["kind"], fixed, plan, study_name=study_name, **sampling)
    table = _table(found)
    if not table["valid_log_loss"].notna().any():
        raise ConfigError("search: no trial has a finite loss; lower the learning rates it tries")
    best = min(
        (one for one in found if math.isfinite(one["valid_log_loss"])),
        key=lambda one: one["valid_log_loss"],
    )
    return {**fixed, **best["params"]}, table


def _runner(
    kind: str,
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
    last = LastRows(train, max_rows)

    def run(
        params: Mapping[str, Any], on_epoch: Callable[[Epoch], None] | None = None
    ) -> dict[str, Any]:
        since = time.perf_counter()
        learner = make_learner(
            kind, train.contract.n_features, random_state=sampling["seed"], **{**fixed, **params}
        )
        try:
            history = fit_stream(
                learner, last, valid, max_epochs=max_epochs, on_epoch=on_epoch, **sampling
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
        }

    return run


def _table(found: list[dict[str, Any]]) -> pd.DataFrame:
    first = ["trial", "valid_log_loss", "epochs", "seconds", "state"]
    rows = [{"trial": number, **one} for number, one in enumerate(found)]
    flat = [{key: row[key] for key in first} | row["params"] for row in rows]
    table = pd.DataFrame(flat, columns=None if flat else first)
    return table.sort_values("valid_log_loss", kind="stable", ignore_index=True)


def _search_grid(run: Run, grid: Any) -> list[dict[str, Any]]:
    if (
        not isinstance(grid, Mapping)
        or not grid
        or not all(isinstance(values, list) and values for values in grid.values())
    ):
        raise ConfigError(f"search: grid must map parameters to lists of values, found {grid!r}")
    points = list(itertools.product(*grid.values()))
    found = []
    for number, values in enumerate(points, start=1):
        with trial(number, len(points)):
            found.append(run(dict(zip(grid, values, strict=True))))
    return found
