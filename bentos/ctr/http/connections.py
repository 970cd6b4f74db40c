"""Limits of connections, which uvicorn lacks: a head's time and bytes, open connections, idle time.

uvicorn waits for a head for as long as a client likes, and keeps all of it in memory. The protocol below is
uvicorn's own with limits around it. When too many connections are open, the one that has waited longest for its
client is closed: a request that is being answered never is, and clients that send their requests at once keep
being answered while others hold half a request each.
"""

import asyncio
import logging
import resource
from collections import Counter
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from uvicorn.config import HTTP_PROTOCOLS
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from bentos.ctr.http.sparing_log import Sparing
from bentos.ctr.settings import Limits

_SWEEP_S = 0.5
_OVERHEAD = 8  # bytes on the wire per byte of a body, at most: chunks of one byte
_SPARE_BYTES = 1 << 16


class HeadTooLarge(Exception):
    """Ends the parsing of a request."""


class _Open:
    """The connections of one server: those that wait for their client, longest first, and how many each client has."""

    def __init__(self, limits: Limits):
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if descriptors == resource.RLIM_INFINITY:
            descriptors = 2 * limits.connections
        self.most = max(1, min(limits.connections, descriptors // 2))
        self.waiting: dict[LimitedProtocol, None] = {}
        self.by_client: Counter[str] = Counter()
        self.is_armed = False


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with limits; :func:`install` makes uvicorn use it.

    Attributes
    ----------
    limits
        ``head_seconds``, ``head_bytes``, ``idle_seconds``, ``connections``, ``connections_per_client``.
    """

    limits: ClassVar[Limits] = Limits()
    _servers: ClassVar[WeakKeyDictionary[Any, _Open]] = WeakKeyDictionary()

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self.timeout_keep_alive = self.limits.idle_seconds  # type: ignore[assignment]  # a delay
        self.ws_protocol_class = None  # no call of the service is a web socket
        if self.server_state not in self._servers:
            self._servers[self.server_state] = _Open(self.limits)
        self._open = self._servers[self.server_state]
        self._is_counted = False
        self._head_since: float | None = None
        self._n_bytes = 0  # received of the present head or body
        self._may_be_large = self._is_large = False

    # ---- of connections

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, unless its client has too many; close the longest waiting one if all are too many."""
        super().connection_made(transport)
        found, client = self._open, self._client
        if found.by_client[client] >= self.limits.connections_per_client:
            transport.abort()
            return
        found.by_client[client] += 1
        self._is_counted = True
        self._head_since = self.loop.time()
        found.waiting[self] = None
        if len(self.connections) > found.most:
            longest = next(iter(found.waiting))
            del found.waiting[longest]
            longest.transport.abort()
        if not found.is_armed:
            self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        super().connection_lost(exc)
        found, client = self._open, self._client
        found.waiting.pop(self, None)
        if self._is_counted:
            self._is_counted = False
            found.by_client[client] -= 1
            if not found.by_client[client]:
                del found.by_client[client]

    @property
    def _client(self) -> str:
        return self.client[0] if self.client else ""

    def _arm(self) -> None:
        self._open.is_armed = True
        self.loop.call_later(_SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        """Close the connections whose head is overdue."""
        found = self._open
        found.is_armed = False
        latest = self.loop.time() - self.limits.head_seconds
        for protocol in list(found.waiting):
            if protocol._head_since is not None and protocol._head_since <= latest:
                del found.waiting[protocol]
                protocol.transport.abort()
        if found.waiting:
            self._arm()

    # ---- of requests

    def data_received(self, data: bytes) -> None:
        """Parse what arrived; end the connection if the head, or what follows it, is too large."""
        self._may_be_large = self._n_bytes + len(data) > self.limits.head_bytes
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._head_since is None and self._is_idle:  # line ends between requests
            self._head_since = self.loop.time()
        self._n_bytes += len(data)
        if self._head_since is not None:
            if self._n_bytes > self.limits.head_bytes:
                self._refuse_head()
        elif self._n_bytes > _OVERHEAD * self.limits.body_bytes + _SPARE_BYTES:
            self.transport.abort()  # trailers and chunk extensions without an end

    @property
    def _is_idle(self) -> bool:
        is_done = self.cycle is None or self.cycle.response_complete
        return is_done and self.timeout_keep_alive_task is None

    def on_message_begin(self) -> None:
        """Note when a head begins."""
        super().on_message_begin()
        if self._head_since is None:
            self._head_since = self.loop.time()
            self._n_bytes = 0

    def on_headers_complete(self) -> None:
        """Start answering, unless the head is too large."""
        if self._may_be_large:
            n_bytes = len(self.url) + sum(
                len(name) + len(value) + 4 for name, value in self.headers
            )
            if n_bytes > self.limits.head_bytes:
                self._is_large = True
                raise HeadTooLarge
        self._head_since = None
        self._n_bytes = 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that the client is waited for no longer."""
        self._open.waiting.pop(self, None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the client's next request."""
        self._n_bytes = 0
        if not self.transport.is_closing():
            self._open.waiting.pop(self, None)
            self._open.waiting[self] = None
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer a request that cannot be parsed, or whose head is too large."""
        if self._is_large:
            self._refuse_head()
        else:
            super().send_400_response(msg)

    def _refuse_head(self) -> None:
        body = b'{"error": "the head is larger than %d bytes"}' % self.limits.head_bytes
        head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(STATUS_LINE[431] + head % len(body) + body)
        self.transport.close()


def install(limits: Limits) -> None:
    """Make the uvicorn of this process, which BentoML starts, limit connections."""
    LimitedProtocol.limits = limits
    logger = logging.getLogger("uvicorn.error")  # a warning per request that is no HTTP
    if not any(isinstance(found, Sparing) for found in logger.filters):
        logger.addFilter(Sparing())
    HTTP_PROTOCOLS["auto"] = f"{__name__}:{LimitedProtocol.__name__}"
