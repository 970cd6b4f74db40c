"""One serving process: its calls, and what runs beside them (model updates, exposures, metrics)."""

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
from tasks.errors import ClicklabError, ConfigError

_FLUSH_S, _REPORT_EVERY_S = 1.0, 60.0
_log = logging.getLogger("clicklab.service")


class Worker:
    """Created when the service is imported, which is cheap; :meth:`start` is called once per serving process.

    Invalid settings do not stop the process: it stays up and reports them on ``/healthcheck``.

    Parameters
    ----------
    registry
        Of the metrics; for tests, a separate one.

    Attributes
    ----------
    calls : Calls
        Answers requests.
    settings : Settings or None
        None if they are invalid.
    """

    def __init__(self, *, registry: Any = None) -> None:
        self.calls = Calls()
        self._registry = registry
        self.settings: Settings | None = None
        self._telemetry: Telemetry | None = None
        self._watcher: Any = None
        self._flushing: asyncio.Task[None] | None = None
        self._has_failed = False
        self._n_reported_drops, self._next_report_at = 0, 0.0
        try:
            self.settings = load_settings()
        except ClicklabError as error:
            self._fail(error)

    @property
    def limits(self) -> Limits:
        """Upper limits of a request."""
        return self.settings.limits if self.settings else Limits()

    @property
    def api_key(self) -> str | None:
        """The key that clients must send, None if none."""
        return self.settings.api_key if self.settings else None

    @property
    def may_force(self) -> bool:
        """Whether clients may force a variant: if they have the key, or the settings allow it to all."""
        return self.settings is not None and (
            self.settings.api_key is not None or self.settings.forced_variants
        )

    @property
    def is_ready(self) -> bool:
        """Whether requests get predictions."""
        return self.calls.state is not None

    # ---- lifecycle

    def start(self) -> None:
        """Load the models, open the exposure log, and start updating both."""
        logging.getLogger("clicklab").setLevel(os.environ.get("CLICKLAB_LOG", "INFO"))
        if self.settings is None:
            return
        # pulls in numba, which BentoML's supervisor can do without
        from bentos.ctr.models.live_update import Watcher

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
            self._fail(error)
        if not self._has_failed:
            self._watcher.start()
            _limit_garbage_collection()

    async def keep_counting(self) -> None:
        """Update the metrics once per second from now on."""
        self._flush()  # the first update creates the series, which takes a while
        self._flushing = asyncio.create_task(self._flush_periodically())

    def stop(self) -> None:
        """Stop what runs beside the calls; queued exposures are written."""
        if self._flushing is not None:
            self._flushing.cancel()
        if self._watcher is not None:
            self._watcher.stop()
        if self.calls.exposures is not None:
            self.calls.exposures.close()
        self._flush()

    def _fail(self, error: ClicklabError) -> None:
        """Serve nothing until the settings are fixed and the service is restarted."""
        _log.error("not ready: %s", error)
        self._has_failed = True
        if self._watcher is not None:
            self._watcher.stop()
        self.calls.state = None
        self.calls.why_not_ready = str(error)

    def _swapped(self, old: Any, new: Any) -> None:
        """Open the exposure log once the fields are known: a misspelled one in `redact` must not pass."""
        _limit_garbage_collection()
        if self.calls.exposures is not None or self.settings is None:
            return
        from bentos.ctr.experiment.declaration import SHIPPED_SALT
        from tasks.schema import Schema

        schema = Schema.from_dict(new.scorer.model.contract.schema)
        is_salted = self._salt() != SHIPPED_SALT
        try:
            if not is_salted and self.settings.exposures.sink.startswith("s3://"):
                raise ConfigError(
                    f"exposures go to S3, but the salt is the publicly known default: set CLICKLAB_SALT, or `salt` in {self.settings.experiment}"
                )
            self.calls.exposures = ExposureLog(
                self.settings.exposures, columns=schema.required_columns
            )
        except ClicklabError as error:
            self._fail(error)
            return
        if self.calls.exposures.is_on and not is_salted:
            _log.warning(
                "exposures are logged with the publicly known default salt: set `salt` in %s",
                self.settings.experiment,
            )

    def _salt(self) -> str:
        state = self.calls.state
        return state.experiment.salt if state else ""

    async def _flush_periodically(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH_S)
            try:
                self._flush()
            except Exception:
                _log.exception("the metrics could not be updated")

    def _flush(self) -> None:
        if self._telemetry is not None:
            self._telemetry.flush(self.calls.state, self.calls.exposures)
        self._report_drops()

    def _report_drops(self) -> None:
        """Log dropped exposures for alarms on the log, no more than once per minute."""
        log = self.calls.exposures
        if (
            log is None
            or log.n_dropped <= self._n_reported_drops
            or time.monotonic() < self._next_report_at
        ):
            return
        _log.warning("%d exposures were dropped", log.n_dropped - self._n_reported_drops)
        self._n_reported_drops, self._next_report_at = (
            log.n_dropped,
            time.monotonic() + _REPORT_EVERY_S,
        )

    # ---- documents and health

    def describe(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return an OpenAPI document with the calls added, if a model serves."""
        state = self.calls.state
        if state is None:
            return document
        from bentos.ctr.http.openapi import describe

        return describe(
            document,
            state.champion.scorer.model.contract,
            max_candidates=self.limits.candidates,
            body_bytes=self.limits.body_bytes,
            variants=[v.name for v in state.experiment.variants] if self.may_force else (),
            head_bytes=self.limits.head_bytes,
            needs_key=self.api_key is not None,
        )

    def health(self) -> dict[str, Any]:
        """Return the answer of ``/healthcheck`` with all details."""
        state, watcher = self.calls.state, self._watcher
        looked = {"last_look_utc": watcher.last_look_utc} if watcher is not None else {}
        if state is None:
            return {"status": "unavailable", "error": self.calls.why_not_ready, **looked}
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
        found |= looked
        if state.shadows:
            found["shadows"] = {loaded.name: loaded.version for loaded in state.shadows}
        if watcher is not None and (problems := watcher.problems()):
            found["problems"] = problems
        if self.calls.exposures is not None and self.calls.exposures.n_dropped:
            found["dropped_exposures"] = self.calls.exposures.n_dropped
        return found


def _limit_garbage_collection() -> None:
    """Keep full collections off the request path: with Python's defaults they are the slowest percent.

    Objects loaded so far are permanent and exempt from collection; requests leave few cycles behind.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
