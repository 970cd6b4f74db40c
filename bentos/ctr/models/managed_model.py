"""One model of the service: what its source holds now, what serves of it, and what is wrong with the rest."""

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

RETRY_S = 600.0  # a refused artefact is tried again, silently: this machine may have been to blame
_log = logging.getLogger("clicklab.service")


class ManagedModel:
    """Loads the model of a source whenever there is another one.

    Parameters
    ----------
    name
        What ``serving.yaml`` calls it.
    source
        Where it comes from.
    limits
        What a request may be at most.
    telemetry
        Counts refusals and failed looks; None for nothing.

    Attributes
    ----------
    loaded : LoadedModel or None
        What serves, or would if the state were complete.
    """

    def __init__(self, name: str, source: Source, limits: Limits, telemetry: Any = None):
        self.name, self.source = name, source
        self.loaded: LoadedModel | None = None
        self._limits, self._telemetry = limits, telemetry
        self._identity: str | None = None  # of what is loaded, if it is from `source`
        self._refused: str | None = None  # identity of what was refused
        self._refusal: str | None = None  # why
        self._retry_at = 0.0
        self._unreachable: str | None = None
        self._reached_at: float | None = None
        self._no_stand_in: str | None = None

    @property
    def problem(self) -> str | None:
        """Why `loaded` is not what the source holds, None if it is."""
        return self._unreachable or self._refusal

    def problems(self) -> dict[str, Any]:
        """Return ``problem`` and, if the source is out of reach, ``stale_since``; empty if all is well."""
        about = {} if self.problem is None else {"problem": self.problem}
        return about | ({"stale_since": _utc(self._reached_at)} if self._unreachable else {})

    def poll(self, served: Any) -> LoadedModel | None:
        """Load what the source holds if that is new and may serve; return what it replaced, if anything.

        Parameters
        ----------
        served
            The hash contract of the model whose requests are served, or None.
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
        except (
            Exception
        ) as error:  # whatever a store answers must not end the watch over the others
            if self._unreachable is None:
                _log.exception("model %s: %s cannot be looked at", self.name, self.source)
            self._note_unreachable(SourceError(f"{type(error).__name__}: {error}"))
        return None

    def stand_in(self, source: Source) -> None:
        """Load from another source what serves until the model's own has something."""
        from bentos.ctr.models.admission import RefusedError  # pulls in numba

        try:
            self.loaded = self._load(source.peek(), source, None)
        except (SourceError, RefusedError) as error:
            if str(error) != self._no_stand_in:
                _log.error("model %s: nor can %s serve: %s", self.name, source, _line(error))
            self._no_stand_in = str(error)
            return
        _log.warning("model %s: %s serves meanwhile; %s", self.name, source, self.problem)

    def _take(self, identity: str, served: Any) -> LoadedModel | None:
        from bentos.ctr.models.admission import RefusedError

        try:
            loaded = self._load(identity, self.source, served)
        except RefusedError as error:
            if self.source.peek() == identity:
                self._refuse(identity, error)
            return None  # else it changed while it was copied: the next look gets all of it
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
            # the weights are mapped: removing their file gives the disk back when the model is gone
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
            _log.warning("model %s: out of reach: %s; %s", self.name, _line(error), self._serving())
        self._unreachable = f"out of reach: {_line(error)}"

    def _note_reached(self) -> None:
        if self._unreachable is not None:
            _log.info("model %s: %s is in reach again", self.name, self.source)
        self._unreachable, self._reached_at = None, time.time()

    def _serving(self) -> str:
        return f"{self.loaded.version} goes on serving" if self.loaded else "nothing serves"


def _is_same(before: LoadedModel, after: LoadedModel) -> bool:
    return (before.version, before.model_name) == (after.version, after.model_name)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _utc(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
