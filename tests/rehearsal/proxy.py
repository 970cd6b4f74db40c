"""A load balancer of this machine: ``python -m tests.rehearsal.proxy PORT ADMIN_PORT LISTENER ADDRESSES``.

It follows the weights that the listener has in the emulator, asks targets for ``/readyz``, sends each request to
the ready target of a group that has least in flight, and retries nothing: a target that dies under a request is
a 502. One that takes no connection is left out. ADDRESSES is the file that says where a task's address in the
network really listens. On ADMIN_PORT it tells as JSON what it counted, by target group. Both ports are on
127.0.0.1 alone.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import httptools
import uvloop

from tests.rehearsal.balancer import Balancer
from tests.rehearsal.http_client import Gone, Refused

_FOLLOW_S = 0.5
_NO_TARGET = b'{"error": "no target is ready"}'
_LOST = b'{"error": "the target broke off"}'


class Caller(asyncio.Protocol):
    """One connection of a client: reads requests one after the other and answers them."""

    def __init__(self, balancer: Balancer):
        self._balancer = balancer
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: asyncio.Queue[tuple[bytes, bytes, bytes, bytes]] = asyncio.Queue()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._worker = asyncio.ensure_future(self._answer_all())

    def connection_lost(self, error: Exception | None) -> None:
        self._worker.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_message_begin(self) -> None:
        self._url, self._body, self._type = b"", b"", b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-type":
            self._type = value

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        asked = (self._parser.get_method(), self._url, self._type, self._body)
        self._waiting.put_nowait(asked)

    async def _answer_all(self) -> None:
        while True:
            status, body = await self._answer(*await self._waiting.get())
            head = f"HTTP/1.1 {status} -\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
            self._transport.write(head.encode() + body)

    async def _answer(
        self, method: bytes, url: bytes, kind: bytes, body: bytes
    ) -> tuple[int, bytes]:
        while (chosen := self._balancer.choose()) is not None:
            group, target = chosen
            target.in_flight += 1
            try:
                status, answer = await target.pool.ask(method, url, kind, body)
                group.statuses[f"{status // 100}xx"] += 1
                return status, answer
            except Refused:
                target.note_refusal()
            except Gone:
                group.statuses["lost"] += 1
                return 502, _LOST
            finally:
                target.in_flight -= 1
        self._balancer.no_target += 1
        return 503, _NO_TARGET


async def _follow(balancer: Balancer, listener: str, addresses: Path) -> None:
    """Read the listener's weights and the groups' targets from the emulator, until whoever started this is gone."""
    import boto3

    balancing = boto3.client("elbv2")

    def read() -> tuple[dict[str, int], dict[str, set[tuple[str, int]]]]:
        found = balancing.describe_listeners(ListenerArns=[listener])["Listeners"][0]
        action = found["DefaultActions"][0]
        groups = action.get("ForwardConfig", {}).get("TargetGroups") or [
            {"TargetGroupArn": action["TargetGroupArn"], "Weight": 1}
        ]
        weights = {group["TargetGroupArn"]: int(group.get("Weight", 1)) for group in groups}
        targets = {}
        for arn in weights:
            health = balancing.describe_target_health(TargetGroupArn=arn)
            places = [one["Target"] for one in health["TargetHealthDescriptions"]]
            names = [f"{place['Id']}:{place['Port']}" for place in places]
            known = json.loads(addresses.read_text())
            targets[arn] = {("127.0.0.1", known[name]) for name in names if name in known}
        return weights, targets

    parent = os.getppid()
    while os.getppid() == parent:
        try:
            balancer.follow(*await asyncio.to_thread(read))
        except Exception as error:
            sys.stderr.write(f"cannot follow the listener: {error}\n")
        await asyncio.sleep(_FOLLOW_S)


async def _tell(
    balancer: Balancer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    await reader.readuntil(b"\r\n\r\n")
    body = json.dumps(balancer.told()).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
    writer.close()


async def serve(port: int, admin_port: int, listener: str, addresses: Path) -> None:
    """Serve until whoever started this is gone."""
    balancer, loop = Balancer(), asyncio.get_running_loop()
    front = await loop.create_server(lambda: Caller(balancer), "127.0.0.1", port)
    admin = await asyncio.start_server(
        lambda reader, writer: _tell(balancer, reader, writer), "127.0.0.1", admin_port
    )
    async with front, admin:
        checks = asyncio.create_task(balancer.check())
        await _follow(balancer, listener, addresses)
        checks.cancel()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])))
