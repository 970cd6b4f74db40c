"""Connections are limited before a request is one: tested by attack, on a real server."""

import contextlib
import os
import re
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
import uvicorn
from uvicorn.config import HTTP_PROTOCOLS

from bentos.ctr.http.connections import LimitedProtocol, install
from bentos.ctr.settings import Limits
from tests.conftest import ROOT, free_port

HEAD = b"GET / HTTP/1.1\r\nhost: x\r\n"
LIMITS = Limits(
    head_bytes=2_000, head_seconds=0.4, idle_seconds=3, connections=20, body_bytes=1_000
)


async def app(scope, receive, send):
    """Answer after the body has come, with its size."""
    if scope["type"] != "http":
        return
    n_bytes, more = 0, True
    while more:
        message = await receive()
        n_bytes += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = b"%d" % n_bytes
    head = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})


@contextlib.contextmanager
def running(**limits):
    """Yield the port of a server in a thread with these limits."""
    port = free_port()
    protocol = type("Limited", (LimitedProtocol,), {"limits": LIMITS._replace(**limits)})
    config = uvicorn.Config(app, port=port, http=protocol, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield port
    finally:
        server.force_exit = server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def port():
    with running() as port:
        yield port


def connect(port):
    found = socket.create_connection(("127.0.0.1", port))
    found.settimeout(5)
    return found


def received(connection):
    """Return what comes until the server closes."""
    found = b""
    with contextlib.suppress(ConnectionError):
        while more := connection.recv(65_536):
            found += more
    return found


def ask(port, head=HEAD):
    with contextlib.suppress(OSError), connect(port) as connection:
        connection.sendall(head + b"connection: close\r\n\r\n")
        return received(connection).startswith(b"HTTP/1.1 200")
    return False


@pytest.mark.parametrize("begin", [b"", b"GE", HEAD, HEAD + b"x: ", b"\r\n\r\n"])
def test_a_head_that_does_not_come_ends_the_connection(port, begin):
    """Whether it began or not, and however slowly it comes."""
    with connect(port) as connection:
        connection.sendall(begin)
        assert received(connection) == b""


def test_a_head_that_comes_byte_by_byte_gets_no_more_time(port):
    """The deadline is the head's, not that of one byte."""
    with connect(port) as connection, pytest.raises(ConnectionError):
        for _ in range(100):
            connection.sendall(b"G" if not _ else b"E")
            time.sleep(0.05)


def test_line_ends_between_requests_do_not_keep_a_connection(port):
    """They are no head that ever ends."""
    with connect(port) as connection:
        connection.sendall(HEAD + b"\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        connection.sendall(b"\r\n")
        assert received(connection) == b""


def test_an_idle_connection_outlives_a_heads_deadline(port):
    """The next request may come later: a load balancer keeps its connections."""
    with connect(port) as connection:
        for _ in range(2):
            connection.sendall(HEAD + b"\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
            time.sleep(1)


@pytest.mark.parametrize(
    "more",
    [
        b"x: " + b"y" * 3_000 + b"\r\n\r\n",
        b"x: y\r\n" * 500 + b"\r\n",
        b"x: " + b"y" * 300_000,
        b"y" * 3_000,
    ],
    ids=["one", "many", "endless", "name"],
)
def test_a_head_that_is_too_large_is_refused(port, more):
    """One header, many, or one without an end; it is not kept."""
    with connect(port) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(HEAD + more)
        assert received(connection)[:12] in (b"HTTP/1.1 431", b"")


def test_an_address_that_is_too_long_is_refused(port):
    """It is part of the head."""
    with connect(port) as connection:
        connection.sendall(b"GET /" + b"a" * 3_000 + b" HTTP/1.1\r\n\r\n")
        assert received(connection).startswith(b"HTTP/1.1 431")


def test_a_large_body_is_no_large_head(port):
    """Even if both come at once; several requests of a connection are counted one by one."""
    body = b"POST / HTTP/1.1\r\ncontent-length: 9000\r\n\r\n" + b"x" * 9_000
    with connect(port) as connection:
        for _ in range(3):
            connection.sendall(body)
            assert connection.recv(1000).endswith(b"9000")


def test_trailers_without_an_end_are_not_kept(port):
    """A chunked body may be followed by headers, which no limit of the body counts."""
    head = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n"
    with connect(port) as connection, pytest.raises(ConnectionError):
        connection.sendall(head)
        for _ in range(200):
            connection.sendall(b"x: " + b"y" * 10_000 + b"\r\n")
        connection.recv(1)


def test_those_who_wait_longest_make_room(port):
    """Heads that are held open, connections that idle, bodies that do not come: none keeps others out."""
    body = b"POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\n"
    for begin in (HEAD, HEAD + b"\r\n", body):
        held = [connect(port) for _ in range(60)]
        for connection in held:
            with contextlib.suppress(ConnectionError):
                connection.sendall(begin)
        assert [ask(port) for _ in range(12)] == [True] * 12
        for connection in held:
            connection.close()


def test_a_client_has_a_limited_number_of_connections():
    """By its address; the header of a proxy is not believed. What it closes, it may open again."""
    with running(connections_per_client=3, head_seconds=30) as port:
        held = [connect(port) for _ in range(3)]
        time.sleep(0.1)
        assert not ask(port, HEAD + b"x-forwarded-for: 10.0.0.1\r\n")
        held.pop().close()
        time.sleep(0.1)
        assert ask(port)
        for connection in held:
            connection.close()


def test_bentomls_server_gets_the_limits(monkeypatch):
    """It starts uvicorn with the protocol that is found by the name `auto`."""
    monkeypatch.setitem(HTTP_PROTOCOLS, "auto", HTTP_PROTOCOLS["auto"])
    monkeypatch.setattr(LimitedProtocol, "limits", LIMITS)
    install(Limits(head_bytes=7))
    config = uvicorn.Config(app)
    config.load()
    assert config.http_protocol_class is LimitedProtocol
    assert LimitedProtocol.limits.head_bytes == 7


SERVER = """
    import resource, sys
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
    import uvicorn
    from bentos.ctr.http.connections import install
    from bentos.ctr.settings import Limits
    from tests.bentos.ctr.http.test_connections import app
    install(Limits())
    uvicorn.run(app, port=int(sys.argv[1]), log_level="error", lifespan="off")
"""


@pytest.mark.slow
def test_three_thousand_open_heads_keep_nobody_out():
    """A process with 1,024 file descriptors; twelve innocent requests, before the deadline of any head."""
    port = free_port()
    command = [sys.executable, "-c", textwrap.dedent(SERVER), str(port)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    held = []
    try:
        deadline = time.monotonic() + 30
        while not ask(port):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        for _ in range(3_000):
            with contextlib.suppress(OSError):
                held.append(connect(port))
                held[-1].sendall(HEAD)
        assert len(held) > 2_900
        assert [ask(port) for _ in range(12)] == [True] * 12
        status = Path(f"/proc/{server.pid}/status").read_text()
        assert int(re.search(r"VmRSS:\s+(\d+)", status)[1]) < 300_000
    finally:
        for connection in held:
            connection.close()
        server.kill()
        server.wait()
