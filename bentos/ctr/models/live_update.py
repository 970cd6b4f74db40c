"""Keeps the serving state up to date: polls sources and experiment, and swaps in what is new.

Polling, loading and checking happen in one thread beside the event loop. The state is replaced by one
assignment to ``calls.state``; a source that is unreachable, unreadable or refused leaves it unchanged.
"""

import logging
import random
import threading
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

from bentos.ctr.experiment.declaration import Experiment, load_experiment
from bentos.ctr.models.managed_model import ManagedModel, utc_text
from bentos.ctr.models.patience import PEEK_S, Patience, PatientSource
from bentos.ctr.models.sources import FolderSource, bundle_folder, make_source
from bentos.ctr.scoring.serving_state import CHAMPION, LoadedModel, ServingState
from bentos.ctr.settings import Settings
from tasks.errors import ClicklabError, ConfigError
from tasks.schema import Schema
from tasks.storage.shared_files import read_regular

EXPERIMENT = "experiment"  # used where a model's name is expected
_MAX_EXPERIMENT_BYTES = 1 << 20
_RETIRE_S = 5.0  # by then the last counts of a replaced model have been read
_log = logging.getLogger("clicklab.service")


class Watcher:
    """Sets and replaces the serving state of `calls`.

    :meth:`poll` does one round; :meth:`start` repeats it in a thread.

    Parameters
    ----------
    calls
        Receives ``state``, and ``why_not_ready`` while there is none.
    settings
        The service's: ``models``, ``experiment``, ``poll_s``, ``limits``.
    telemetry
        Counts swaps, refusals and failed polls; None to count nothing.
    on_swap
        Called after a swap with the model that served before (None at first) and the new one.

    Raises
    ------
    ConfigError
        If a source is declared wrongly.
    """

    def __init__(
        self,
        calls: Any,
        settings: Settings,
        *,
        telemetry: Any = None,
        on_swap: Callable[[LoadedModel | None, LoadedModel], Any] | None = None,
    ):
        self._calls, self._settings = calls, settings
        self._telemetry, self._on_swap = telemetry, on_swap
        self._models = {
            name: ManagedModel(name, _source(name, raw), settings.limits, telemetry)
            for name, raw in settings.models.items()
        }
        self._primary = self._models.get(CHAMPION) or next(iter(self._models.values()))
        self._served: Any = None  # the hash contract whose requests are served
        self._experiment: Experiment | None = None
        self._experiment_file: bytes | None = None
        self._experiment_problem: str | None = None
        self._retired: list[tuple[float, LoadedModel]] = []
        self._random = random.Random()  # separate, so that other draws do not depend on it
        self._stopped = threading.Event()
        self._patience = Patience()  # for the experiment
        self._looked_at: float | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Poll every ``poll_s`` seconds, plus or minus a fifth so that workers do not poll all at once."""
        self._thread = threading.Thread(target=self._run, name="model-watcher", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Stop the thread; if it waits for a store, it ends with the process."""
        self._stopped.set()
        if self._thread not in (None, threading.current_thread()):
            self._thread.join(timeout_s)  # type: ignore[union-attr]

    def _run(self) -> None:
        while not self._stopped.wait(self._settings.poll_s * self._random.uniform(0.8, 1.2)):
            try:
                self.poll()
            except Exception:
                _log.exception("the models could not be polled; the loaded ones keep serving")

    @property
    def last_look_utc(self) -> str | None:
        """When the last round ended, None before the first: if long ago, the watcher hangs."""
        looked_at = self._looked_at
        return None if looked_at is None else utc_text(looked_at)

    def poll(self) -> None:
        """Check every source and the experiment once, and swap in what is new and may serve.

        Each look has a deadline; a source that exceeds it counts as unreachable, and the others are looked at.
        """
        replaced = [self._poll_primary()]
        if self._served is not None:
            replaced += [
                model.poll(self._served)
                for model in self._models.values()
                if model is not self._primary
            ]
        self._read_experiment()
        self._update_state()
        self._retire([loaded for loaded in replaced if loaded is not None])
        self._looked_at = time.time()

    def _poll_primary(self) -> LoadedModel | None:
        primary = self._primary
        replaced = primary.poll(self._served)
        if primary.loaded is None:
            bundle = FolderSource(bundle_folder(), is_fixed=True)
            if str(bundle) != str(primary.source):
                primary.load_fallback(bundle)
        if primary.loaded is not None and self._served is None:
            from bentos.ctr.models.admission import warm_kernels

            self._served = primary.loaded.scorer.model.contract
            warm_kernels(self._served, self._settings.limits)
        return replaced

    def _read_experiment(self) -> None:
        """Reread the experiment if its file has changed; an unreadable one changes nothing."""
        if self._served is None:
            return
        path = self._settings.experiment
        try:
            content = self._patience.call(_read_small, path, seconds=PEEK_S)
        except (TimeoutError, ClicklabError) as error:  # loading it would hang, or take it whole
            self._experiment_file = None
            self._refuse_experiment(f"{path}: {error}")
            return
        except OSError:
            content = None  # loading it gives the reason
        if content is not None and content == self._experiment_file:
            return
        schema = Schema.from_dict(self._served.schema)
        try:
            self._experiment = load_experiment(path, models=self._models, schema=schema)
            self._experiment_problem = None
            _log.info("experiment %s: %s", self._experiment.name, self._experiment.digest)
        except ConfigError as error:
            self._refuse_experiment(str(error))
        self._experiment_file = content

    def _refuse_experiment(self, problem: str) -> None:
        if problem != self._experiment_problem:
            present = "the previous one stays" if self._experiment else "no model serves"
            _log.error("experiment refused: %s; %s", problem, present)
            if self._telemetry is not None:
                self._telemetry.model_refused(EXPERIMENT, "config")
        self._experiment_problem = problem

    def _update_state(self) -> None:
        """Replace the serving state if the loaded models or the experiment have changed."""
        now: ServingState | None = self._calls.state
        models = {name: model.loaded for name, model in self._models.items() if model.loaded}
        if self._primary.loaded is None or self._experiment is None:
            self._calls.why_not_ready = f"no model can serve: {self._problem()}"
            return
        if now and now.declared is self._experiment and dict(now.models) == models:
            return
        try:
            self._calls.state = ServingState(models, self._experiment)
        except ConfigError as error:
            self._calls.why_not_ready = str(error)
            return
        self._report_swaps(now)

    def _report_swaps(self, before: ServingState | None) -> None:
        for name, loaded in self._calls.state.models.items():
            old = before.models.get(name) if before else None
            if old is loaded:
                continue
            if old is not None and self._telemetry is not None:
                self._telemetry.swapped(name, loaded.version)
            if self._on_swap is not None:
                self._on_swap(old, loaded)

    def _retire(self, replaced: list[LoadedModel]) -> None:
        """Release, column by column, the caches of scorers and readers replaced a while ago.

        Python would free a million codes at once, and block every request meanwhile.
        """
        now = time.monotonic()
        due = [loaded for when, loaded in self._retired if now - when >= _RETIRE_S]
        self._retired = [entry for entry in self._retired if entry[1] not in due]
        self._retired += [(now, loaded) for loaded in replaced]
        for loaded in due:
            for _ in chain(loaded.scorer.forget(), loaded.reader.forget()):
                time.sleep(0)  # requests first

    def _problem(self) -> str:
        if self._primary.loaded is None:
            return f"{self._primary.name}: {self._primary.problem}"
        return self._experiment_problem or "the experiment was not read"

    def problems(self) -> dict[str, dict[str, Any]]:
        """Return problems by name of the model (or ``experiment``); loaded models keep serving.

        ``problem`` is one line; ``stale_since`` is present while a source is unreachable: the time of
        the last successful poll, None if there was none.
        """
        found = {name: model.problems() for name, model in self._models.items()}
        if self._experiment_problem is not None:
            found[EXPERIMENT] = {"problem": self._experiment_problem}
        return {name: problem for name, problem in found.items() if problem}


def _read_small(path: Path) -> bytes:
    return read_regular(path, max_bytes=_MAX_EXPERIMENT_BYTES)


def _source(name: str, raw: Any) -> Any:
    try:
        return PatientSource(make_source(raw))
    except ConfigError as error:
        raise ConfigError(f"models: {name!r}: {error}") from None
