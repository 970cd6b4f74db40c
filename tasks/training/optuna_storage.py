"""Where Optuna keeps its studies: in memory, in a file, or in PostgreSQL, shared by the workers of a team.

Workers on one study run exactly as many trials as asked for, together. A trial whose worker died is noticed by its
missing heartbeats and run again; a database that restarts is waited for.
"""

import math
import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from functools import wraps
from typing import Any

from tasks.errors import ClicklabError, ConfigError
from tasks.storage.availability import patiently
from tasks.storage.databases import (
    check_database,
    database_error,
    database_lock,
    one_line,
    refuse_password,
    without_password,
)
from tasks.storage.workspace import resolve_store

KNOB = "`search` in env.yaml"
HEARTBEAT_S, GRACE_S = 15, 90  # a worker counts as dead after this time without a heartbeat
MAX_RETRIES = 3  # of one trial whose workers die
POLL_S = 1.0
FINISHED = ("COMPLETE", "PRUNED")


class Storage:
    """A place for studies.

    Parameters
    ----------
    knob
        An address as in ``env.yaml``, None for memory; OPTUNA_STORAGE, if set, overrides it.

    Attributes
    ----------
    address
        Of the database; None in memory.
    is_shared
        Whether workers on other machines may use it, too.
    """

    def __init__(self, knob: str | None):
        named = os.environ.get("OPTUNA_STORAGE") or knob
        if knob and named == knob:
            refuse_password(knob, KNOB)
        self._shown = without_password(named or "memory")
        self.address = resolve_store(named) if named else None
        self.is_shared = self.address is not None and self.address.startswith("postgres")

    def open_study(self, optuna: Any, name: str, **knobs: Any) -> Any:
        """Return the study of that name, created or joined; ConfigError or UnavailableError if it cannot be."""

        def create() -> Any:
            if self.is_shared:
                check_database(str(self.address))
            with database_lock(self.address, "optuna"):
                return optuna.create_study(
                    storage=self._backend(optuna), study_name=name, load_if_exists=True, **knobs
                )

        try:
            return patiently(create) if self.is_shared else create()
        except Exception as error:
            raise self._readable(error) from None

    def run_trials(
        self,
        optuna: Any,
        study: Any,
        objective: Callable[[Any], float],
        *,
        n_trials: float,
        first: Mapping[str, Any],
        sampler: Callable[[int], Any],
        seconds: float = math.inf,
    ) -> None:
        """Run trials until the study's budget is spent; those of other workers count.

        Parameters
        ----------
        n_trials
            How many finished trials the study may have.
        seconds
            How long its finished trials may have taken together.
        first
            The parameters of the first trial.
        sampler
            Returns the sampler of the next trial, given the number of finished ones.

        Raises
        ------
        UnavailableError
            If the database stays unavailable.
        """
        try:
            patiently(lambda: self._enqueue_first(study, first))
            while not _is_spent(done := trials_in(study, *FINISHED), n_trials, seconds):
                study.sampler = sampler(len(done))
                trial = patiently(lambda: self._claim(optuna, study, n_trials))
                if trial is None:
                    time.sleep(POLL_S)  # others run the last ones
                else:
                    _run_claimed(optuna, study, trial, objective)
        except ClicklabError:
            raise
        except Exception as error:
            readable = self._readable(error)
            raise readable from (None if readable is not error else error.__cause__)

    def _lock(self, study: Any) -> AbstractContextManager[None]:
        """Return what keeps other workers of the study from beginning a trial."""
        return database_lock(self.address, f"trials of {study.study_name}")

    def _enqueue_first(self, study: Any, first: Mapping[str, Any]) -> None:
        begun = (*FINISHED, "RUNNING", "FAIL") if self.is_shared else FINISHED
        with self._lock(study):
            if not trials_in(study, "WAITING", *begun):
                study.enqueue_trial(dict(first))

    def _claim(self, optuna: Any, study: Any, n_trials: float) -> Any:
        """Return a new trial, or None while others run all that the study lacks."""
        with self._lock(
            study
        ):  # two processes that ask at once would get the same queued trial of a file
            if not self.is_shared:
                return study.ask()
            _fail_dead_trials(optuna, study)
            if len(trials_in(study, *FINISHED, "RUNNING")) >= n_trials:
                return None
            trial = study.ask()
            study._storage.record_heartbeat(trial._trial_id)  # before another worker counts it
            return trial

    def _backend(self, optuna: Any) -> Any:
        if not self.is_shared:
            return self.address
        return _patient(optuna)(
            self.address,
            engine_kwargs={"pool_pre_ping": True, "pool_size": 2},
            heartbeat_interval=HEARTBEAT_S,
            grace_period=GRACE_S,
            heartbeat_stale_trial_callback=optuna.storages.RetryHeartbeatStaleTrialCallback(
                MAX_RETRIES
            ),
        )

    def _readable(self, error: Exception) -> Exception:
        subject = "search: storage"
        found = database_error(error, subject=subject, address=str(self.address or ""), knob=KNOB)
        if found is not None:
            return found
        if type(error).__module__.startswith("sqlalchemy") or isinstance(
            error, ImportError | OSError
        ):
            return ConfigError(
                f"{subject} at {self._shown!r} cannot be used ({one_line(error)}); see {KNOB}"
            )
        return error


def _run_claimed(optuna: Any, study: Any, trial: Any, objective: Callable[[Any], float]) -> None:
    """Run a trial as Optuna's own loop does, and tell the study how it ended."""
    from optuna.storages._heartbeat import get_heartbeat_thread

    finished = optuna.exceptions.UpdateFinishedTrialError  # another worker took this one for dead
    state, value = optuna.trial.TrialState.FAIL, None
    with suppress(finished), get_heartbeat_thread(trial._trial_id, study._storage):
        try:
            value, state = objective(trial), None
        except optuna.TrialPruned:
            state = optuna.trial.TrialState.PRUNED
        finally:
            study.tell(trial, value, state=state, skip_if_finished=True)


def trials_in(study: Any, *states: str) -> list[Any]:
    """Return the trials of the study that are in one of the states."""
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.name in states]


def _is_spent(done: list[Any], n_trials: float, seconds: float) -> bool:
    taken = sum(trial.duration.total_seconds() for trial in done if trial.duration)
    return len(done) >= n_trials or (bool(done) and taken >= seconds)


def _fail_dead_trials(optuna: Any, study: Any) -> None:
    """Mark trials whose workers died as failed, and queue them again; the caller holds the study's lock.

    A running trial without any heartbeat lost its worker between its beginning and the first one: both happen under
    the lock.
    """
    from sqlalchemy import text

    storage = study._storage
    optuna.storages.fail_stale_trials(study)
    query = text(
        "SELECT trial_id FROM trials WHERE study_id = :study AND state = 'RUNNING' "
        "AND trial_id NOT IN (SELECT trial_id FROM trial_heartbeats)"
    )
    with storage._backend.engine.connect() as connection:
        dead = [row[0] for row in connection.execute(query, {"study": study._study_id})]
    for trial_id in dead:
        storage.set_trial_state_values(trial_id, state=optuna.trial.TrialState.FAIL)
        storage.get_heartbeat_stale_trial_callback()(study, storage.get_trial(trial_id))


def _patient(optuna: Any) -> type:
    """Return Optuna's storage in a database, with every call repeated while the database is temporarily unavailable."""

    def waiting(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            return patiently(lambda: function(*args, **kwargs))

        return call

    base = optuna.storages.RDBStorage
    methods = [
        *optuna.storages.BaseStorage.__dict__,
        "record_heartbeat",
        "_get_stale_trial_ids",
        "_create_new_trial",
        "_get_trials",
        "_set_trial_param",
        "_get_best_trial_id",
    ]
    calls = {
        name: waiting(getattr(base, name))
        for name in methods
        if not name.startswith("__") and callable(getattr(base, name))
    }
    return type("PatientStorage", (base,), calls)
