"""Real receivers of notices on free ports of this machine: a webhook, a mail server, a port that never answers."""

import json
import socketserver
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Webhook(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, json.loads(body)))
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


class _Mail(socketserver.StreamRequestHandler):
    """As much of SMTP as a client needs to leave one message."""

    def handle(self):
        self._answer("220 local")
        while line := self.rfile.readline():
            word = line.split()[0].upper() if line.split() else b""
            if word == b"DATA":
                self._answer("354 go on")
                lines = iter(self.rfile.readline, b".\r\n")
                self.server.received.append(b"".join(lines))
            self._answer("221 bye" if word == b"QUIT" else "250 ok")
            if word == b"QUIT":
                return

    def _answer(self, text):
        self.wfile.write(f"{text}\r\n".encode())


class _Silent(socketserver.BaseRequestHandler):
    def handle(self):
        self.server.released.wait(20)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


@contextmanager
def _running(server):
    server.received, server.released = [], threading.Event()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def webhook(status=200):
    """Yield a server that keeps (path, JSON) of what it gets, and answers `status`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Webhook)
    server.status = status
    with _running(server):
        yield server


@contextmanager
def mail_server():
    """Yield a server that keeps the messages it gets."""
    with _running(_Server(("127.0.0.1", 0), _Mail)) as server:
        yield server


@contextmanager
def silent_server():
    """Yield a server that takes connections and never answers."""
    with _running(_Server(("127.0.0.1", 0), _Silent)) as server:
        yield server


def port_of(server):
    """Return the port a server listens on."""
    return server.server_address[1]
