"""A search by Optuna: trials in a study that several processes may share and that can be resumed.

A trial's parameters depend on the seed and on the number of finished trials, not on how often the search
was started: a killed search repeats no finished trial and ends like an uninterrupted one.
"""

import hashlib
import json
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from tasks.errors import ConfigError
from tasks.logs.value_text import is_integer
from tasks.models import learner_class
from tasks.training.history import Epoch
from tasks.training.optuna_storage import FINISHED, Storage, trials_in

Run = Callable[..., dict[str, Any]]


def run_study(
    run: Run,
    kind: str,
    fixed: Mapping[str, Any],
    plan: Mapping[str, Any],
    *,
    seed: int,
    study_name: str,
    negative_rate: float,
) -> list[dict[str, Any]]:
    """Return the finished trials of a study, as many as the plan asks for; missing ones are run.

    Arguments and errors are those of :func:`tasks.training.search.search`; `run` trains once with parameters.
    """
    optuna = _import_optuna()
    n_trials = positive(plan, "n_trials")
    space = _space(kind, fixed, plan)
    name = f"{study_name}-{_digest(kind, fixed, plan, space, negative_rate)}"
    defaults = learner_class(kind)().get_params()

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

    storage = Storage(plan.get("storage"))
    with _quiet(optuna):
        pruner = optuna.pruners.MedianPruner(n_startup_trials=4)
        study = storage.open_study(optuna, name, direction="minimize", pruner=pruner)

        def sampler(n_done: int) -> Any:
            return _sampler(optuna, seed, n_done, is_shared=storage.is_shared)

        first = {key: defaults[key] for key in space}
        storage.run_trials(
            optuna, study, objective, n_trials=n_trials, first=first, sampler=sampler
        )
        return [_record(trial) for trial in trials_in(study, *FINISHED)]


def _space(kind: str, fixed: Mapping[str, Any], plan: Mapping[str, Any]) -> dict[str, Any]:
    spans = (plan.get("space") or learner_class(kind).search_space).items()
    space = {name: span for name, span in spans if name not in fixed}
    if not space:
        raise ConfigError(
            "search: nothing is left to search; `params` fixes every parameter of the space"
        )
    return space


def _sampler(optuna: Any, seed: int, n_done: int, *, is_shared: bool) -> Any:
    """Return the sampler of the next trial; in a shared study it avoids the parameters that others are trying."""
    entropy = [seed, n_done, *([os.getpid()] if is_shared else [])]
    (state,) = np.random.SeedSequence(entropy).generate_state(1)
    return optuna.samplers.TPESampler(seed=int(state), n_startup_trials=5, constant_liar=is_shared)


def _digest(
    kind: str, fixed: Any, plan: Mapping[str, Any], space: Any, negative_rate: float
) -> str:
    over = {key: value for key, value in plan.items() if key not in ("storage", "n_trials")}
    parts = [kind, fixed, over, space, negative_rate]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=dict).encode()).hexdigest()[:8]


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


def _import_optuna() -> Any:
    """Return Optuna, imported without its warning that progress bars need another package."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")
        import optuna
    return optuna


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Silence Optuna's progress lines and its warnings about experimental features."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            warnings.filterwarnings("ignore", message="Heartbeat of storage")  # kept by run_trials
            yield
    finally:
        optuna.logging.set_verbosity(before)


def positive(plan: Mapping[str, Any], name: str, default: int | None = None) -> int:
    """Return a knob of the search; ConfigError unless it is an integer of at least 1."""
    value = plan.get(name, default)
    if not is_integer(value) or value < 1:
        raise ConfigError(f"search: {name} must be an integer of at least 1, found {value!r}")
    return value
