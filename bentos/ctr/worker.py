"""One serving process: its calls, and what runs beside them (models looked after, exposures, metrics)."""

import asyncio
import gc
import logging
import os
import time
from typing import Any

from bentos.ctr.exposures import ExposureLog
from bentos.ctr.metrics.telemetry import Telemetry
from bentos.ctr.scoring.calls import Calls
from bentos.ctr.settings import Limits, Settings, load_settings
from tasks.errors import ClicklabError

SHIPPED_SALT = "change me"
_FLUSH_S, _TELL_EVERY_S = 1.0, 60.0
_log = logging.getLogger("clicklab.service")


class Worker:
    """Made when the service is imported, which is cheap; :meth:`start` is called once, where it serves.

    Settings that cannot be used do not stop the process: it stays up to say so on ``/healthcheck``.

    Parameters
    ----------
    registry
        Of the metrics; one of its own, for tests.

    Attributes
    ----------
    calls : Calls
        Answers requests.
    settings : Settings or None
        None if they cannot be used.
    """

    def __init__(self, *, registry: Any = None) -> None:
        self.calls = Calls()
        self._registry = registry
        self.settings: Settings | None = None
        self._telemetry: Telemetry | None = None
        self._watcher: Any = None
        self._flushing: asyncio.Task[None] | None = None
        self._has_given_up = False
        self._n_told, self._tell_again_at = 0, 0.0
        try:
            self.settings = load_settings()
        except ClicklabError as error:
            self._give_up(error)

    @property
    def limits(self) -> Limits:
        """What a request may be at most."""
        return self.settings.limits if self.settings else Limits()

    @property
    def api_key(self) -> str | None:
        """What clients must send, None for nothing."""
        return self.settings.api_key if self.settings else None

    @property
    def is_ready(self) -> bool:
        """Whether requests get predictions."""
        return self.calls.state is not None

    # ---- life

    def start(self) -> None:
        """Load the models, open the exposure log, and begin to look after both."""
        logging.getLogger("clicklab").setLevel(os.environ.get("CLICKLAB_LOG", "INFO"))
        if self.settings is None:
            return
        # pulls in numba, which BentoML's supervisor can do without
        from bentos.ctr.models.watcher import Watcher

        self._telemetry = Telemetry(models=self.settings.models, registry=self._registry)
        self.calls.telemetry = self._telemetry
        try:
            self._watcher = Watcher(
                self.calls,
                self.settings,
                telemetry=self._telemetry,
                on_swap=self._swapped,
            )
            self._watcher.poll()
        except ClicklabError as error:
            self._give_up(error)
        if not self._has_given_up:
            self._watcher.start()
            _spare_the_collector()

    async def keep_counting(self) -> None:
        """Bring the metrics up to date once a second, from now on."""
        self._flush()  # the first one makes the series, which takes a while
        self._flushing = asyncio.create_task(self._flush_for_ever())

    def stop(self) -> None:
        """Stop what runs beside the calls; exposures that wait are written."""
        if self._flushing is not None:
            self._flushing.cancel()
        if self._watcher is not None:
            self._watcher.stop()
        if self.calls.exposures is not None:
            self.calls.exposures.close()
        self._flush()

    def _give_up(self, error: ClicklabError) -> None:
        """Serve nothing until somebody mends the settings and starts this again."""
        _log.error("not ready: %s", error)
        self._has_given_up = True
        if self._watcher is not None:
            self._watcher.stop()
        self.calls.state = None
        self.calls.why_not_ready = str(error)

    def _swapped(self, old: Any, new: Any) -> None:
        """Open the exposure log as soon as the fields are known: a misspelt one to redact must not pass."""
        _spare_the_collector()
        if self.calls.exposures is not None or self.settings is None:
            return
        from tasks.schema import Schema

        schema = Schema.from_dict(new.scorer.model.contract.schema)
        try:
            self.calls.exposures = ExposureLog(
                self.settings.exposures, columns=schema.required_columns
            )
        except ClicklabError as error:
            self._give_up(error)
            return
        if self.calls.exposures.is_on and self._salt() == SHIPPED_SALT:
            _log.warning(
                "exposures are logged under the salt that everybody knows: set `salt` in %s",
                self.settings.experiment,
            )

    def _salt(self) -> str:
        state = self.calls.state
        return state.experiment.salt if state else ""

    async def _flush_for_ever(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH_S)
            try:
                self._flush()
            except Exception:
                _log.exception("the metrics could not be brought up to date")

    def _flush(self) -> None:
        if self._telemetry is not None:
            self._telemetry.flush(self.calls.state, self.calls.exposures)
        self._tell_of_drops()

    def _tell_of_drops(self) -> None:
        """Write a line for alarms that read logs, once a minute at most."""
        log = self.calls.exposures
        if log is None or log.n_dropped <= self._n_told or time.monotonic() < self._tell_again_at:
            return
        _log.warning("%d exposures were dropped", log.n_dropped - self._n_told)
        self._n_told, self._tell_again_at = log.n_dropped, time.monotonic() + _TELL_EVERY_S

    # ---- what it says of itself

    def describe(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return an OpenAPI document with the calls added, if something is served."""
        state = self.calls.state
        if state is None:
            return document
        from bentos.ctr.http.openapi import describe

        return describe(
            document,
            state.champion.scorer.model.contract,
            max_candidates=self.limits.candidates,
            body_bytes=self.limits.body_bytes,
            variants=[variant.name for variant in state.experiment.variants],
            needs_key=self.api_key is not None,
        )

    def health(self) -> dict[str, Any]:
        """Return what ``/healthcheck`` answers."""
        state = self.calls.state
        if state is None:
            return {"status": "unavailable", "error": self.calls.why_not_ready}
        champion = state.champion
        model = champion.scorer.model
        found = {
            "status": "ok",
            "model": model.name,
            "version": model.version,
            "contract": model.contract.digest,
            "parity": "ok",
            "n_golden": champion.n_golden,
            "max_abs_diff": champion.max_abs_diff,
            "experiment": state.experiment.name,
            "variants": {
                variant.name: {
                    "weight": variant.weight,
                    "model": state.of(variant.name).scorer.model.name,
                    "version": state.of(variant.name).version,
                    "source": state.of(variant.name).source,
                }
                for variant in state.experiment.variants
            },
        }
        if state.shadows:
            found["shadows"] = {loaded.name: loaded.version for loaded in state.shadows}
        if self._watcher is not None and (problems := self._watcher.problems()):
            found["problems"] = problems
        if self.calls.exposures is not None and self.calls.exposures.n_dropped:
            found["dropped_exposures"] = self.calls.exposures.n_dropped
        return found


def _spare_the_collector() -> None:
    """Keep full collections off the request path: with Python's defaults they are the slowest percent.

    What is loaded by now stays, so it is no longer looked through; requests leave few cycles behind.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
