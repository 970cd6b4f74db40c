"""The outermost ASGI layer: answers the two calls itself and passes everything else to BentoML.

A body's size and time are limited here, its shape by :mod:`bentos.ctr.scoring.request_reader`.

BentoML's own layers (metrics, tracing, timeout, context) cost about 400 us per request, scoring 20, so
the calls are answered before them, with metrics and limits of their own.
"""

import hmac
import json
import logging
import re
import time
import zlib
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from bentos.ctr.http.client_timeouts import SharedTimeout
from bentos.ctr.scoring.calls import Calls, RequestOptions
from bentos.ctr.scoring.request_reader import Refusal
from bentos.ctr.settings import Limits

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

VARIANT_HEADER, REQUEST_ID_HEADER, KEY_HEADER = b"x-variant", b"x-request-id", b"x-api-key"
OPEN_PATHS = frozenset({"/livez", "/readyz", "/healthz", "/healthcheck"})  # need no API key
SECURITY = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]
# BentoML's page at `/` would load Google Tag Manager; it works without
PAGE_POLICY = (
    b"content-security-policy",
    b"default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'",
)
_JSON = [(b"content-type", b"application/json"), *SECURITY]
_MAX_ERROR_CHARS = 300
_is_request_id = re.compile(rb"[A-Za-z0-9._:/=+@-]{1,128}").fullmatch
_log = logging.getLogger("clicklab.service")


class CallsMiddleware:
    """ASGI middleware that answers the two calls and hardens all other answers.

    Parameters
    ----------
    app
        Gets every request that is not one of `calls`.
    calls
        Answers ``/predict`` and ``/rank``.
    limits
        Maximum size of a body, and maximum time for a client to send it.
    api_key
        If given, requests need it in the header ``X-Api-Key``, except for health checks.
    may_force
        Whether the header ``X-Variant`` is obeyed, or else refused.
    """

    def __init__(
        self,
        app: Any,
        calls: Calls,
        *,
        limits: Limits | None = None,
        api_key: str | None = None,
        may_force: bool = False,
    ):
        self._app, self._calls = app, calls
        self._limits = limits or Limits()
        self._body_timeout = SharedTimeout(self._limits.body_seconds)
        self._key, self._may_force = api_key.encode() if api_key else None, may_force

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] in self._calls.by_path:
            await self._answer(scope, receive, send)
        elif self._key and scope["path"] not in OPEN_PATHS and not self._has_key(scope["headers"]):
            await _send_answer(send, 401, _error(_KEY_MISSING), [])
        else:
            await self._app(scope, receive, _hardened(send))

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        name, call = self._calls.by_path[scope["path"]]
        status, extra = 200, []
        try:
            if scope["method"] != "POST":
                extra = [(b"allow", b"POST")]
                raise Refusal(405, "send POST with one JSON object")
            options = self._read_headers(scope["headers"])
            body = await self._read_body(receive)
            if body is None:
                return
            if options.is_gzip:
                body = self._unpacked(body)
            answer = call(body, options, started)
        except Refusal as refusal:
            status, answer = refusal.status, _error(str(refusal))
        except Exception:
            _log.exception("a request could not be answered")
            status, answer = 500, _error("internal error; the service's log has the details")
        if status != 200:
            self._calls.count_refusal(name, status)
            if status == 415:
                extra = [(b"accept-encoding", b"gzip")]
            if status in (408, 413, 415):  # the rest of the body is not read
                extra = [*extra, (b"connection", b"close")]
        await _send_answer(send, status, answer, extra)

    def _read_headers(self, headers: Headers) -> RequestOptions:
        """Return the options in the headers; Refusal if the key is wrong or the body too large."""
        request_id = variant = None
        is_gzip = False
        key = b""
        for name, value in headers:
            if name == b"content-length":
                if len(value) > 18 or int(value) > self._limits.body_bytes:
                    raise self._too_large()
            elif name == REQUEST_ID_HEADER:
                if not _is_request_id(value):
                    raise Refusal(
                        400,
                        "header X-Request-Id: expected up to 128 letters, digits or any of ._:/=+@-",
                    )
                request_id = value.decode()
            elif name == VARIANT_HEADER:
                variant = value.decode("latin-1")
            elif name == KEY_HEADER:
                key = value
            elif name == b"content-encoding":
                is_gzip = _is_gzip(value)
        if self._key and not hmac.compare_digest(key, self._key):
            raise Refusal(401, _KEY_MISSING)
        if variant is not None and not self._may_force:
            raise Refusal(403, _MAY_NOT_FORCE)
        return RequestOptions(request_id, variant, is_gzip)

    def _has_key(self, headers: Headers) -> bool:
        assert self._key
        return any(
            name == KEY_HEADER and hmac.compare_digest(value, self._key) for name, value in headers
        )

    def _unpacked(self, body: bytes) -> bytes:
        """Return a gzip body decoded, no further than the limit; Refusal if it is larger or damaged."""
        decoder = zlib.decompressobj(wbits=31)
        try:
            found = decoder.decompress(body, self._limits.body_bytes + 1)
        except zlib.error as error:
            raise Refusal(
                400, f"the body is not gzip, as Content-Encoding says ({error})"
            ) from None
        if len(found) > self._limits.body_bytes:
            raise self._too_large()
        if not decoder.eof or decoder.unused_data:
            raise Refusal(
                400, "the body is not one whole gzip stream; send all of it, and nothing after"
            )
        return found

    async def _read_body(self, receive: Receive) -> bytes | None:
        """Return the body, None if the client has disconnected; Refusal if it is too large or slow."""
        try:
            body: bytes | None = await self._body_timeout.wait(self._read_parts(receive))
        except TimeoutError:
            seconds = self._limits.body_seconds
            raise Refusal(408, f"the body did not arrive within {seconds:g} s") from None
        if body is not None and len(body) > self._limits.body_bytes:
            raise self._too_large()
        return body

    async def _read_parts(self, receive: Receive) -> bytes | None:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body: bytes = message.get("body", b"")
        return await self._read_rest(receive, body) if message.get("more_body") else body

    async def _read_rest(self, receive: Receive, begin: bytes) -> bytes | None:
        parts, n_bytes, more = [begin], len(begin), True
        while more:
            if n_bytes > self._limits.body_bytes:
                raise self._too_large()
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            parts.append(message.get("body", b""))
            n_bytes += len(parts[-1])
            more = message.get("more_body", False)
        return b"".join(parts)

    def _too_large(self) -> Refusal:
        return Refusal(
            413,
            f"the body is larger than {self._limits.body_bytes} bytes; "
            "send one impression, or fewer candidates, per request",
        )


_MAY_NOT_FORCE = (
    "header X-Variant is taken from clients with an API key only, or if `forced_variants` is set"
)
_KEY_MISSING = "this service requires its API key in the header X-Api-Key"


def _is_gzip(encoding: bytes) -> bool:
    """Return whether a body is to be decoded; Refusal for an encoding other than gzip."""
    name = encoding.strip().lower()
    if name in (b"gzip", b"x-gzip"):
        return True
    if name in (b"", b"identity"):
        return False
    shown = encoding[:20].decode("latin-1")
    raise Refusal(415, f"Content-Encoding {shown!r} is not read; send gzip, or JSON as it is")


async def _send_answer(send: Send, status: int, body: bytes, extra: list[Any]) -> None:
    headers = [*_JSON, (b"content-length", b"%d" % len(body)), *extra]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _hardened(send: Send) -> Send:
    """Return a `send` that adds the security headers."""

    async def send_hardened(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *SECURITY, PAGE_POLICY]
        await send(message)

    return send_hardened


def _error(message: str) -> bytes:
    line = " ".join(message.split())
    if len(line) > _MAX_ERROR_CHARS:
        line = f"{line[: _MAX_ERROR_CHARS - 3]}..."
    return json.dumps({"error": line}).encode()
