"""Parameters chosen by validation log loss, lower is better: as given, from a grid, or by Optuna.

A search is the mapping under ``search`` of a model in ``env.yaml``:

- ``{method: fixed}``: the parameters as given;
- ``{method: grid, grid: {name: [values]}}``: every combination;
- ``{method: optuna, n_trials: 10, storage: URL}``: as many trials in all, over all processes that
  share the storage; SQLite for one machine, PostgreSQL for several; memory if it is left out;
  ``space: {name: [choices] or {low, high, log}}`` replaces the learner's own.

``max_rows`` (the last rows before validation, default 150,000) and ``max_epochs`` (default 2) keep
trials cheap. The winner is trained on all rows by the caller.
"""

import hashlib
import itertools
import json
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.errors import ConfigError
from tasks.models import learner_class, make_learner
from tasks.training import DivergenceError, Epoch, Tail, fit_stream
from tasks.workspace import resolve_store

_KEYS = {
    "fixed": {"method"},
    "grid": {"method", "grid", "max_rows", "max_epochs"},
    "optuna": {"method", "n_trials", "storage", "space", "max_rows", "max_epochs"},
}
_MAX_ROWS, _MAX_EPOCHS = 150_000, 2


def search(
    model: Mapping[str, Any], train: Any, valid: Any, *, seed: int, study_name: str = "clicklab"
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return the parameters to train with, and the trials they were chosen from, best first.

    Parameters
    ----------
    model
        ``kind``, ``params`` and ``search`` as in ``env.yaml``; ``params`` hold for every trial.
    train, valid
        Feature sets with one contract.
    seed
        Of learners and sampler. One process repeats itself; several that share a study do not.
    study_name
        Of the Optuna study; what the search is over is added to it, so that another search under the
        same name starts afresh and the same one goes on where it stopped.

    Returns
    -------
    dict, DataFrame
        The parameters; columns ``trial``, ``valid_log_loss`` (nats, NaN where it diverged), ``epochs``,
        ``seconds``, ``state`` and the parameters tried. Empty for the method "fixed".

    Raises
    ------
    ConfigError
        If the search names an unknown method or knob, or no trial came out finite.
    """
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
    )  # complains before hours of trials, not after
    if method == "fixed":
        return fixed, _table([])
    run = _runner(model["kind"], fixed, train, valid, plan, seed)
    if method == "grid":
        found = _search_grid(run, plan.get("grid"))
    else:
        found = _search_optuna(run, model["kind"], fixed, plan, seed, study_name)
    table = _table(found)
    if not table["valid_log_loss"].notna().any():
        raise ConfigError("search: no trial came out finite; lower the learning rates it tries")
    best = min(
        (one for one in found if math.isfinite(one["valid_log_loss"])),
        key=lambda one: one["valid_log_loss"],
    )
    return {**fixed, **best["params"]}, table


Run = Callable[..., dict[str, Any]]


def _runner(
    kind: str, fixed: Mapping[str, Any], train: Any, valid: Any, plan: Mapping[str, Any], seed: int
) -> Run:
    """Return the function that trains once with parameters and says how it went."""
    max_rows, max_epochs = (
        _positive(plan, name, default)
        for name, default in (("max_rows", _MAX_ROWS), ("max_epochs", _MAX_EPOCHS))
    )
    tail = Tail(train, max_rows)

    def run(
        params: Mapping[str, Any], on_epoch: Callable[[Epoch], None] | None = None
    ) -> dict[str, Any]:
        since = time.perf_counter()
        learner = make_learner(
            kind, train.contract.n_features, random_state=seed, **{**fixed, **params}
        )
        try:
            history = fit_stream(learner, tail, valid, max_epochs=max_epochs, on_epoch=on_epoch)
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


def _positive(plan: Mapping[str, Any], name: str, default: int | None = None) -> int:
    value = plan.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"search: {name} must be an integer of at least 1, found {value!r}")
    return value


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
    return [
        run(dict(zip(grid, values, strict=True))) for values in itertools.product(*grid.values())
    ]


# ---- Optuna


def _search_optuna(
    run: Run,
    kind: str,
    fixed: Mapping[str, Any],
    plan: Mapping[str, Any],
    seed: int,
    study_name: str,
) -> list[dict[str, Any]]:
    import optuna

    n_trials = _positive(plan, "n_trials")
    cls = learner_class(kind)
    space = {
        name: span
        for name, span in (plan.get("space") or cls.search_space).items()
        if name not in fixed
    }
    if not space:
        raise ConfigError(
            "search: there is nothing left to search; `params` fixes every parameter of the space"
        )
    name = f"{study_name}-{_digest(kind, fixed, plan, space)}"

    def objective(trial: Any) -> float:
        def prune(epoch: Epoch) -> None:
            trial.report(epoch.valid_log_loss, epoch.epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

        result = run({key: _suggest(trial, key, span) for key, span in space.items()}, prune)
        for key in ("epochs", "seconds", "state"):
            trial.set_user_attr(key, result[key])
        if not math.isfinite(result["valid_log_loss"]):
            raise optuna.TrialPruned
        return result["valid_log_loss"]

    with _quiet(optuna):
        study = _open_study(optuna, plan.get("storage"), name, seed)
        if not study.trials:
            defaults = cls().get_params()
            study.enqueue_trial({key: defaults[key] for key in space}, skip_if_exists=True)
        finished = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
        if len(study.get_trials(deepcopy=False, states=finished)) < n_trials:
            stop = optuna.study.MaxTrialsCallback(n_trials, states=finished)
            study.optimize(objective, n_trials=n_trials, callbacks=[stop])
        return [_record(trial) for trial in study.get_trials(deepcopy=False, states=finished)]


def _digest(*parts: Any) -> str:
    plan = {key: value for key, value in parts[2].items() if key not in ("storage", "n_trials")}
    return hashlib.sha256(
        json.dumps([*parts[:2], plan, *parts[3:]], sort_keys=True, default=dict).encode()
    ).hexdigest()[:8]


def _suggest(trial: Any, name: str, span: Any) -> Any:
    if isinstance(span, list) and span:
        return trial.suggest_categorical(name, span)
    if not isinstance(span, Mapping) or not {"low", "high"} <= set(span) <= {"low", "high", "log"}:
        raise ConfigError(
            f"search: the space of {name!r} must be a list of choices or {{low, high, log}}, found {span!r}"
        )
    return trial.suggest_float(
        name, float(span["low"]), float(span["high"]), log=bool(span.get("log", False))
    )


def _record(trial: Any) -> dict[str, Any]:
    attrs = trial.user_attrs
    finished = trial.state.name == "COMPLETE"
    elapsed = round(trial.duration.total_seconds(), 3) if trial.duration else math.nan
    return {
        "params": dict(trial.params),
        "valid_log_loss": float(trial.value) if finished else math.nan,
        "epochs": attrs.get("epochs", len(trial.intermediate_values)),
        "seconds": attrs.get("seconds", elapsed),
        "state": attrs.get("state", "pruned"),
    }


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Keep Optuna's progress lines and its warnings about experimental parts off the screen."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def _open_study(optuna: Any, storage: str | None, name: str, seed: int) -> Any:
    """Return the study of that name, made or joined; SQLite tables are made behind a lock."""
    address = resolve_store(storage) if storage else None
    sampler_seed = seed if address is None or address.startswith("sqlite") else seed + os.getpid()
    knobs = {
        "study_name": name,
        "direction": "minimize",
        "load_if_exists": True,
        "sampler": optuna.samplers.TPESampler(seed=sampler_seed, n_startup_trials=5),
        "pruner": optuna.pruners.MedianPruner(n_startup_trials=4),
    }
    try:
        with _first_use(address):
            return optuna.create_study(storage=address, **knobs)
    except (ImportError, OSError) as error:
        raise ConfigError(
            f"search: storage {storage!r} cannot be used ({error}); see `search` in env.yaml"
        ) from None
    except Exception as error:
        if type(error).__module__.startswith("sqlalchemy"):
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"search: storage {storage!r} cannot be used ({reason}); see `search` in env.yaml"
            ) from None
        raise


@contextmanager
def _first_use(address: str | None) -> Iterator[None]:
    import fcntl

    prefix = "sqlite:///"
    if address is None or not address.startswith(prefix):
        yield
        return
    path = Path(address.removeprefix(prefix))
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
