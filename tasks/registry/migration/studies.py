"""Copies Optuna's studies from one storage to another, as far as their trials have finished."""

import warnings
from typing import Any

from tasks.errors import InputError
from tasks.storage.databases import without_password

_FINISHED = ("COMPLETE", "PRUNED")


def copy_studies(source: str, target: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """Copy studies and finished trials that the target lacks; return the numbers here, and how many are there now.

    ``optuna.copy_study`` refuses a study that exists, and so could not resume.

    Returns
    -------
    tuple, tuple
        Studies and trials of the source; those of them in the target.

    Raises
    ------
    InputError
        If the target has a study of the same name with other trials.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")
        import optuna
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        here, there = optuna.storages.RDBStorage(source), optuna.storages.RDBStorage(target)
        names = optuna.get_all_study_names(here)
        trials = {
            name: _finished(optuna.load_study(study_name=name, storage=here)) for name in names
        }
        missing = {name: _missing(optuna, name, trials[name], there, target) for name in names}
        for name in names:
            _add(optuna, name, missing[name], here, there)
        known = set(optuna.get_all_study_names(there))
        n_there = sum(
            min(
                len(trials[name]), len(_finished(optuna.load_study(study_name=name, storage=there)))
            )
            for name in names
        )
        here.engine.dispose()
        there.engine.dispose()
    finally:
        optuna.logging.set_verbosity(verbosity)
    n_here = sum(len(found) for found in trials.values())
    return (len(names), n_here), (len(known & set(names)), n_there)


def _finished(study: Any) -> list[Any]:
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.name in _FINISHED]


def _missing(optuna: Any, name: str, trials: list[Any], there: Any, target: str) -> list[Any]:
    """Return the trials that the target's study lacks; its own must begin with those of the source, or be fewer."""
    if name not in optuna.get_all_study_names(there):
        return trials
    found = _finished(optuna.load_study(study_name=name, storage=there))
    if any(_same(old) != _same(new) for old, new in zip(trials, found, strict=False)):
        raise InputError(
            f"study {name!r} at {without_password(target)!r} has other trials; nothing was copied to it. "
            "Name another target for the studies"
        )
    return trials[len(found) :]


def _same(trial: Any) -> tuple[Any, ...]:
    return trial.state, trial.params, trial.value, trial.datetime_start


def _add(optuna: Any, name: str, trials: list[Any], here: Any, there: Any) -> None:
    old = optuna.load_study(study_name=name, storage=here)
    knobs = {"study_name": name, "directions": old.directions, "load_if_exists": True}
    new = optuna.create_study(storage=there, **knobs)
    for key, value in old.user_attrs.items():
        new.set_user_attr(key, value)
    new.add_trials(trials)
