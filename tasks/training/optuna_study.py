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
from tasks.logs.value_text import is_integer, is_number
from tasks.models import INPUT
from tasks.storage import progress
from tasks.training.history import Epoch
from tasks.training.optuna_storage import FINISHED, Storage, trials_in
from tasks.training.search_space import space_of, suggest

Run = Callable[..., dict[str, Any]]
_NOT_OF_THE_STUDY = ("storage", "n_trials", "minutes")  # another budget resumes the same study


def run_study(
    run: Run,
    model: Mapping[str, Any],
    fixed: Mapping[str, Any],
    plan: Mapping[str, Any],
    *,
    seed: int,
    study_name: str,
    n_tokens: int,
    negative_rate: float,
) -> tuple[list[dict[str, Any]], Any, dict[str, Any], dict[str, Any]]:
    """Return a study's finished trials, the study, its space, and the defaults in it; trials that the budget still has are run.

    The learner's defaults are tried first, those of them that lie in the space. A trial is pruned after an epoch in which its loss is above the median of
    the earlier trials' at that epoch, once four have finished. By halving, it goes on after its first, third, ninth ... epoch
    only if it is among the best third so far.

    Arguments and errors are those of :func:`tasks.training.search.search`; `run` trains once with parameters.
    """
    optuna = _import_optuna()
    n_trials, seconds = _budget(plan)
    is_limited = math.isfinite(n_trials)
    space, defaults = space_of(model, fixed, plan, n_tokens)
    name = f"{study_name}-{_digest(_named(model), fixed, plan, space, negative_rate)}"

    def objective(trial: Any) -> float:
        def prune(epoch: Epoch) -> None:
            trial.report(epoch.valid_log_loss, epoch.epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

        values = {key: suggest(trial, key, span) for key, span in space.items()}
        number = min(trial.number + 1, n_trials)  # a shared study also numbers trials that failed
        with progress.trial(int(number), int(max(number, n_trials if is_limited else 0))):
            result = run(values, prune)
        for key in ("epochs", "seconds", "state"):
            trial.set_user_attr(key, result[key])
        if not math.isfinite(result["valid_log_loss"]):
            raise optuna.TrialPruned
        return result["valid_log_loss"]

    storage = Storage(plan.get("storage"))
    with _quiet(optuna):
        study = storage.open_study(
            optuna, name, direction="minimize", pruner=_pruner(optuna.pruners, plan)
        )

        def sampler(n_done: int) -> Any:
            return _sampler(optuna, seed, n_done, is_shared=storage.is_shared)

        storage.run_trials(
            optuna,
            study,
            objective,
            n_trials=n_trials,
            seconds=seconds,
            first=defaults,
            sampler=sampler,
        )
        records = [_record(trial) for trial in trials_in(study, *FINISHED)]
        return records, study, space, defaults


def _budget(plan: Mapping[str, Any]) -> tuple[float, float]:
    """Return how many trials a study may have, and how many seconds they may take together."""
    if "n_trials" not in plan and "minutes" not in plan:
        raise ConfigError("search: n_trials must be given, or minutes: the budget of the search")
    minutes = plan.get("minutes", math.inf)
    if not is_number(minutes) or not minutes > 0:
        raise ConfigError(f"search: minutes must be a number above 0, found {minutes!r}")
    n_trials = positive(plan, "n_trials") if "n_trials" in plan else math.inf
    return n_trials, 60.0 * minutes


def _sampler(optuna: Any, seed: int, n_done: int, *, is_shared: bool) -> Any:
    """Return the sampler of the next trial; in a shared study it avoids the parameters that others are trying."""
    entropy = [seed, n_done, *([os.getpid()] if is_shared else [])]
    (state,) = np.random.SeedSequence(entropy).generate_state(1)
    return optuna.samplers.TPESampler(seed=int(state), n_startup_trials=5, constant_liar=is_shared)


def _named(model: Mapping[str, Any]) -> Any:
    """Return the kind of a model, and how an estimator gets its rows, which the losses depend on."""
    given = {key: model[key] for key in INPUT if key in model}
    return [model["kind"], given] if given else model["kind"]


def _digest(
    kind: Any, fixed: Any, plan: Mapping[str, Any], space: Any, negative_rate: float
) -> str:
    over = {key: value for key, value in plan.items() if key not in _NOT_OF_THE_STUDY}
    parts = [kind, fixed, over, space, negative_rate]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=dict).encode()).hexdigest()[:8]


def _record(trial: Any) -> dict[str, Any]:
    """Return a finished trial; one that was pruned has the loss of its last epoch."""
    attrs, losses = (
        trial.user_attrs,
        [loss for _, loss in sorted(trial.intermediate_values.items())],
    )
    finished = trial.state.name == "COMPLETE"
    state = attrs.get("state", "pruned")
    last = losses[-1] if losses and state == "pruned" else math.nan
    elapsed = round(trial.duration.total_seconds(), 3) if trial.duration else math.nan
    return {
        "params": dict(trial.params),
        "valid_log_loss": float(trial.value) if finished else last,
        "epochs": attrs.get("epochs", len(losses)),
        "seconds": attrs.get("seconds", elapsed),
        "state": state,
        "losses": losses,
        "started": trial.datetime_start.timestamp(),
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


def _pruner(pruners: Any, plan: Mapping[str, Any]) -> Any:
    if plan["method"] == "halving":
        return pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
    prunes = plan.get("pruner", True)
    if not isinstance(prunes, bool):
        raise ConfigError(f"search: pruner must be true or false, found {prunes!r}")
    return pruners.MedianPruner(n_startup_trials=4) if prunes else pruners.NopPruner()


def positive(plan: Mapping[str, Any], name: str, default: int | None = None) -> int:
    """Return a knob of the search; ConfigError unless it is an integer of at least 1."""
    value = plan.get(name, default)
    if not is_integer(value) or value < 1:
        raise ConfigError(f"search: {name} must be an integer of at least 1, found {value!r}")
    return value
