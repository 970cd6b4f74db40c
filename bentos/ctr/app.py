"""The service's calls as a plain ASGI app, mounted beside BentoML's own routes.

A typed BentoML endpoint costs about a millisecond a request where scoring costs some 20 us, so
``/predict`` is written out by hand. It is a Starlette app so that BentoML can ask which paths it
answers and keep the others; nothing here imports BentoML.
"""

import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from bentos.ctr.impressions import MAX_BODY_BYTES, Refusal, read_row
from bentos.ctr.openapi import describe
from bentos.ctr.parity import GOLDEN, check_parity, read_golden
from tasks.errors import ClicklabError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_log = logging.getLogger("clicklab.service")
_MAX_ERROR_CHARS = 300


class CtrApp(Starlette):
    """Answers ``POST /predict``, ``GET /healthcheck`` and ``GET /docs.json``; has no model until :meth:`load`.

    Parameters
    ----------
    base_document
        Returns the OpenAPI document to which this app's calls are added.

    Attributes
    ----------
    is_ready : bool
        Whether a model is loaded that reproduces its golden rows.
    health : dict
        What ``GET /healthcheck`` answers.
    """

    def __init__(self, base_document: Callable[[], dict[str, Any]] = dict):
        super().__init__(
            routes=[
                Route("/predict", self._no_endpoint, methods=["POST"]),
                Route("/healthcheck", self._healthcheck),
                Route("/docs.json", self._docs),
            ]
        )
        self._base_document = base_document
        self._model: Any = None
        self._columns: frozenset[str] = frozenset()
        self._tail = b""
        self.health: dict[str, Any] = {"status": "unavailable", "error": "no model is loaded yet"}
        self.is_ready = False

    def load(self, folder: Path) -> None:
        """Load the model of a folder and check its golden rows; on failure nothing is served but the reason."""
        try:
            self._load(folder)
        except ClicklabError as error:
            self._refuse(str(error))
        except (
            Exception
        ) as error:  # a damaged file may raise anything; the process stays up to say so
            _log.exception("the model in %s cannot be loaded", folder)
            self._refuse(f"{folder}: the model cannot be loaded ({type(error).__name__})")

    def _load(self, folder: Path) -> None:
        from tasks.hashing.encode import (
            columns_of,
        )  # pulls in numba, which BentoML's supervisor can do without
        from tasks.models.artifact import load_model

        model = load_model(folder)
        self._columns = frozenset(columns_of(model.contract))
        self._tail = f', "model": {json.dumps(model.name)}, "version": {json.dumps(model.version)}}}'.encode()
        self._model = model
        about = {"model": model.name, "version": model.version, "contract": model.contract.digest}
        parity: dict[str, Any] = {
            "parity": "unchecked"
        }  # a model folder that was never packaged has no golden rows
        if (folder / GOLDEN).exists():
            found = check_parity(self, read_golden(folder))
            parity = {"parity": "ok", "n_golden": found.n_rows, "max_abs_diff": found.max_abs_diff}
        self.health = {"status": "ok", **about, **parity}
        self.is_ready = True

    def _refuse(self, reason: str) -> None:
        _log.error("not ready: %s", reason)
        self._model, self.is_ready = None, False
        self.health = {"status": "unavailable", "error": reason}

    def predict(self, body: bytes) -> bytes:
        """Return the answer to a request body as JSON; Refusal if there is none."""
        if self._model is None:
            raise Refusal(503, self.health["error"])
        row = read_row(body, self._columns)
        try:
            prediction = self._model.predict_row(row)
        except ClicklabError as error:
            raise Refusal(422, str(error)) from None
        return b'{"prediction": %b%b' % (repr(float(prediction)).encode(), self._tail)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/predict":
            await self._predict(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    async def _predict(self, scope: Message, receive: Receive, send: Send) -> None:
        status, headers = 200, []
        try:
            if scope["method"] != "POST":
                headers = [(b"allow", b"POST")]
                raise Refusal(405, "send POST with one JSON object")
            body = await _read_body(scope, receive)
            if body is None:
                return
            answer = self.predict(body)
        except Refusal as refusal:
            status, answer = refusal.status, _error(str(refusal))
        except Exception:
            _log.exception("a request could not be answered")
            status, answer = 500, _error("internal error; the service's log has the details")
        headers += [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(answer)),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _no_endpoint(self, request: Request) -> JSONResponse:
        raise NotImplementedError(
            "`__call__` answers /predict; the route only tells BentoML that it is there"
        )

    async def _healthcheck(self, request: Request) -> JSONResponse:
        return JSONResponse(self.health, status_code=200 if self.is_ready else 503)

    async def _docs(self, request: Request) -> JSONResponse:
        document = self._base_document()
        return JSONResponse(describe(document, self._model.contract) if self._model else document)


async def _read_body(scope: Message, receive: Receive) -> bytes | None:
    """Return the request's body, None if the client has gone; Refusal if it is too large."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value[:20]) > MAX_BODY_BYTES:
            raise _too_large()
    message = await receive()
    if message["type"] == "http.disconnect":
        return None
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        if len(body) > MAX_BODY_BYTES:
            raise _too_large()
        return body
    parts, n_bytes = [body], len(body)
    while message.get("more_body"):
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        n_bytes += len(parts[-1])
        if n_bytes > MAX_BODY_BYTES:
            raise _too_large()
    return b"".join(parts)


def _too_large() -> Refusal:
    return Refusal(
        413, f"the body is larger than {MAX_BODY_BYTES} bytes; send one impression a request"
    )


def _error(message: str) -> bytes:
    line = " ".join(message.split())
    if len(line) > _MAX_ERROR_CHARS:
        line = f"{line[: _MAX_ERROR_CHARS - 3]}..."
    return json.dumps({"error": line}).encode()
