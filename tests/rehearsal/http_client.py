"""A small HTTP/1.1 client with connections that are kept: for the proxy and for the load sent through it."""

import asyncio
from typing import Any

import httptools


class Gone(ConnectionError):
    """The other side broke off before it had answered."""


class Refused(ConnectionError):
    """The other side took no connection, so nothing was sent."""


class _Connection(asyncio.Protocol):
    """One connection; at most one request at a time."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self.is_open = True

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(Gone(str(error or "closed")))

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._transport.close()
            self.connection_lost(error)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((self._parser.get_status_code(), self._body))

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send a request and return status and body."""
        self._parser, self._body = httptools.HttpResponseParser(self), b""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        answer = await self._answer
        if not self._parser.should_keep_alive():
            self.close()
        return answer

    def close(self) -> None:
        """End the connection."""
        self.is_open = False
        self._transport.close()


class Pool:
    """Kept connections to one address."""

    def __init__(self, host: str, port: int):
        self._host, self._port = host, port
        self._idle: list[_Connection] = []

    async def ask(self, method: bytes, path: bytes, kind: bytes, body: bytes) -> tuple[int, bytes]:
        """Return status and body of an answer.

        Raises
        ------
        Refused
            If the other side is not there.
        Gone
            If it broke off; nothing is sent twice.
        """
        connection = await self._connection()
        head = b"%s %s HTTP/1.1\r\nhost: %s:%d\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n"
        head %= (
            method,
            path,
            self._host.encode(),
            self._port,
            kind or b"application/json",
            len(body),
        )
        try:
            answer = await connection.ask(head + body)
        except BaseException:
            connection.close()
            raise
        if connection.is_open:
            self._idle.append(connection)
        return answer

    async def _connection(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(_Connection, self._host, self._port)
        except OSError as error:
            raise Refused(str(error)) from None
        return connection
