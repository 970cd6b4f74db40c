"""One model of the service: what its source holds, what is loaded, and any problem between the two."""

import logging
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bentos.ctr.models.sources import Source, SourceError
from bentos.ctr.scoring.serving_state import LoadedModel
from bentos.ctr.settings import Limits
from tasks.errors import ClicklabError

RETRY_S = 600.0  # a refused artifact is retried silently: the fault may have been this machine's
_log = logging.getLogger("clicklab.service")


class ManagedModel:
    """Loads the model of a source whenever it changes.

    Parameters
    ----------
    name
        Its name in ``serving.yaml``.
    source
        The source of its files.
    limits
        Upper limits of a request.
    telemetry
        Counts refusals and failed polls; None to count nothing.

    Attributes
    ----------
    loaded : LoadedModel or None
        The model that serves, or would if the state were complete.
    """

    def __init__(self, name: str, source: Source, limits: Limits, telemetry: Any = None):
        self.name, self.source = name, source
        self.loaded: LoadedModel | None = None
        self._limits, self._telemetry = limits, telemetry
        self._identity: str | None = None  # of the loaded model, if it is from `source`
        self._refused: str | None = None  # identity of the refused model
        self._refusal: str | None = None  # why
        self._retry_at = 0.0
        self._unreachable: str | None = None
        self._reached_at: float | None = None
        self._fallback_problem: str | None = None

    @property
    def problem(self) -> str | None:
        """Why `loaded` is not what the source holds, None if it is."""
        return self._unreachable or self._refusal

    def problems(self) -> dict[str, Any]:
        """Return ``problem`` and, if the source is unreachable, ``stale_since``; empty if there is no problem."""
        about = {} if self.problem is None else {"problem": self.problem}
        return about | ({"stale_since": utc_text(self._reached_at)} if self._unreachable else {})

    def poll(self, served: Any) -> LoadedModel | None:
        """Load what the source holds if it is new and may serve; return the model it replaced, if any.

        Parameters
        ----------
        served
            The hash contract of the requests being served, or None.
        """
        try:
            identity = self.source.peek()
            self._note_reached()
            if identity == self._identity:
                self._refused = self._refusal = None
            elif identity != self._refused or time.monotonic() >= self._retry_at:
                return self._take(identity, served)
        except SourceError as error:
            self._note_unreachable(error)
        except Exception as error:  # no error of one store may end the polling of the others
            if self._unreachable is None:
                _log.exception("model %s: %s cannot be polled", self.name, self.source)
            self._note_unreachable(SourceError(f"{type(error).__name__}: {error}"))
        return None

    def load_fallback(self, source: Source) -> None:
        """Load a model from another source, to serve until the model's own source has one."""
        from bentos.ctr.models.admission import RefusedError  # pulls in numba

        try:
            self.loaded = self._load(source.peek(), source, None)
        except (SourceError, RefusedError) as error:
            if str(error) != self._fallback_problem:
                _log.error(
                    "model %s: the fallback %s cannot serve either: %s",
                    self.name,
                    source,
                    _line(error),
                )
            self._fallback_problem = str(error)
            return
        _log.warning("model %s: %s serves as a fallback; %s", self.name, source, self.problem)

    def _take(self, identity: str, served: Any) -> LoadedModel | None:
        from bentos.ctr.models.admission import RefusedError

        try:
            loaded = self._load(identity, self.source, served)
        except RefusedError as error:
            if self.source.peek() == identity:
                self._refuse(identity, error)
            return (
                None  # otherwise it changed while being copied: the next poll gets the complete one
            )
        self._identity, self._refused, self._refusal = identity, None, None
        before = self.loaded
        if before is not None and _is_same(before, loaded):
            return None
        self.loaded = loaded
        _log.info(
            "model %s: loaded %s %s, %s", self.name, loaded.model_name, loaded.version, identity
        )
        return before

    def _load(self, identity: str, source: Source, served: Any) -> LoadedModel:
        from bentos.ctr.models.admission import RefusedError, admit

        with tempfile.TemporaryDirectory(prefix="clicklab-model-") as folder:
            try:
                found = source.fetch(Path(folder))
            except SourceError:
                raise
            except ClicklabError as error:
                raise RefusedError("unreadable", str(error)) from None
            # the weights are mapped: the disk space of their removed file is freed with the model
            return admit(found, name=self.name, source=identity, limits=self._limits, served=served)

    def _refuse(self, identity: str, error: Any) -> None:
        self._retry_at = time.monotonic() + RETRY_S
        refusal = f"refused ({error.kind}): {_line(error)}"
        if (identity, refusal) != (self._refused, self._refusal):
            _log.error("model %s: %s; %s", self.name, refusal, self._serving())
            if self._telemetry is not None:
                self._telemetry.model_refused(self.name, error.kind)
        self._refused, self._refusal = identity, refusal

    def _note_unreachable(self, error: SourceError) -> None:
        if self._telemetry is not None:
            self._telemetry.source_unreachable(self.name)
        if self._unreachable is None:
            _log.warning("model %s: unreachable: %s; %s", self.name, _line(error), self._serving())
        self._unreachable = f"unreachable: {_line(error)}"

    def _note_reached(self) -> None:
        if self._unreachable is not None:
            _log.info("model %s: %s is reachable again", self.name, self.source)
        self._unreachable, self._reached_at = None, time.time()

    def _serving(self) -> str:
        return f"{self.loaded.version} keeps serving" if self.loaded else "no model serves"


def _is_same(before: LoadedModel, after: LoadedModel) -> bool:
    return (before.version, before.model_name) == (after.version, after.model_name)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def utc_text(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
