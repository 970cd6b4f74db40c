"""The constant-rate load: latencies from the due time, failures counted, connections kept."""

import socketserver
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest

from bench.serving.open_loop import Connection, OpenLoop, percentiles, request_bytes


@contextmanager
def server(answer):
    """Run a server whose `answer(number, body)` is what goes back, None to hang up; yield its port."""
    counter = iter(range(10**6))

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            while head := self.rfile.readline():
                length = 0
                while head.strip():
                    if head.lower().startswith(b"content-length:"):
                        length = int(head.split(b":")[1])
                    head = self.rfile.readline()
                found = answer(next(counter), self.rfile.read(length))
                if found is None:
                    return
                for part in found if isinstance(found, list) else [found]:
                    self.wfile.write(part)
                    self.wfile.flush()

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield running.server_address[1]
        finally:
            running.shutdown()
            thread.join()


def answer_of(body=b'{"version": "v7"}', status=b"200 OK"):
    """Return an answer as it goes over the wire."""
    return b"HTTP/1.1 %b\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)


def run(port, *, rate=200.0, seconds=0.25, n_connections=4, bodies=(b"{}",)):
    """Return what a short run found."""
    requests = [request_bytes("/predict", port, body) for body in bodies]
    loop = OpenLoop(port, requests, rate=rate, seconds=seconds, n_connections=n_connections)
    return loop.found(loop.run())


def test_every_request_is_sent_once_in_turn():
    """As many as rate and time say, bodies one after the other and again from the first."""
    seen = []
    with server(lambda _, body: seen.append(body) or answer_of()) as port:
        found = run(port, bodies=(b"1", b"2", b"3"), n_connections=1)
    assert seen == [b"1", b"2", b"3"] * 16 + [b"1", b"2"]
    assert found["n_requests"] == 50
    assert found["n_failed"] == 0
    assert found["versions"] == {"v7": 50}
    assert found["wall_s"] >= 49 / 200


def test_a_stall_delays_all_that_were_due_meanwhile():
    """Counted from the due time, one slow answer shows in every request behind it, not in one alone."""

    def answer(number, _):
        if number == 10:
            time.sleep(0.2)
        return answer_of()

    with server(answer) as port:
        requests = [request_bytes("/", port, b"")]
        loop = OpenLoop(port, requests, rate=200, seconds=0.5, n_connections=1)
        loop.run()
    late = np.array(loop.latency_s)
    assert late[10] >= 0.2
    assert (late[11:40] >= 0.2 - 0.005 * np.arange(1, 30)).all()
    assert len(late) == 100


def test_statuses_and_hang_ups_are_failures():
    """Any status but 200 is a failure, and the run continues over a new connection."""
    answers = {3: answer_of(status=b"503 Unavailable"), 5: None}
    with server(lambda number, _: answers.get(number, answer_of())) as port:
        found = run(port, n_connections=2)
    assert found["n_failed"] == 2
    assert found["outcomes"] == {"200": 48, "503": 1, "ConnectionError": 1}
    assert sum(second["n_failed"] for second in found["timeline"]) == 2


def test_an_answer_in_pieces_is_whole_in_the_end():
    """Head and body may come apart, at any place."""
    whole = answer_of(b'{"version": "long"}')
    pieces = [whole[:20], whole[20:45], whole[45:]]
    with server(lambda *_: pieces) as port:
        assert run(port)["versions"] == {"long": 50}


def test_an_idle_connection_may_be_closed():
    """A server that closes an idle connection has failed no request."""
    with server(lambda *_: answer_of()) as port:
        loop = OpenLoop(
            port, [request_bytes("/", port, b"")], rate=100, seconds=0.1, n_connections=3
        )
        for connection in loop._all[1:]:
            connection.socket.shutdown(1)  # the server's side ends, ours reads the end
        found = loop.found(loop.run())
    assert found["n_failed"] == 0


def test_an_answer_without_a_length_cannot_be_read():
    """It would never be whole."""
    with server(lambda *_: b"HTTP/1.1 200 OK\r\n\r\n") as port:
        connection = Connection(port)
        connection.socket.sendall(request_bytes("/", port, b""))
        with pytest.raises(ConnectionError, match="without a length"):
            connection.read()
        connection.socket.close()


def test_percentiles_are_numpys_and_nothing_of_nothing():
    """The largest is the largest."""
    values = np.arange(1001.0)
    expected = {"p50_ms": 500, "p99_ms": 990, "p99_9_ms": 999, "max_ms": 1000}
    assert percentiles(values) == pytest.approx(expected)
    assert percentiles(values[:0]) == {}
