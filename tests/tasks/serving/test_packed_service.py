"""A packed service in a process of its own: isolated, asked, and stopped with all its processes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tasks.errors import ClicklabError
from tasks.serving import packed_service
from tasks.serving.packed_service import (
    Server,
    ask_bentoml,
    ask_in_process,
    free_port,
    isolated,
    last_lines,
    serving,
)
from tests.conftest import ROOT

# Stands in for `bentoml serve`: answers posts with what was posted; not ready while a file says why.
SERVER = """
import json, sys, subprocess
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
Path("child").write_text(str(child.pid))

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        reason = Path("not-ready").read_text() if Path("not-ready").exists() else ""
        self.answer(503 if reason else 200, {"error": reason})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/die":
            sys.exit("it died")
        self.answer(404 if self.path == "/none" else 200, [self.path, json.loads(body)])

    def log_message(self, *arguments):
        pass

words = sys.argv
HTTPServer((words[words.index("--host") + 1], int(words[words.index("--port") + 1])), Handler).serve_forever()
"""


@pytest.fixture(autouse=True)
def _short_stop(monkeypatch):
    """The stand-in leaves its child behind: what does not end by itself is killed at once."""
    monkeypatch.setattr(packed_service, "_STOP_S", 0.2)


@pytest.fixture
def folder(tmp_path):
    """A folder whose `bentoml` is the stand-in, and whose service answers in process."""
    (tmp_path / "bentoml.py").write_text(SERVER)
    package = tmp_path / "bentos/ctr"
    package.mkdir(parents=True)
    (package / "in_process.py").write_text(
        "import json, sys\n"
        "print('a line of a library')\n"
        "print(json.dumps([[200, request] for request in json.load(sys.stdin)]))\n"
    )
    return tmp_path


def environment(folder: Path) -> dict[str, str]:
    """Return an environment in which that folder is imported first."""
    return {**os.environ, "PYTHONPATH": str(folder)}


def is_running(pid: int) -> bool:
    """Return whether a process runs; one that ended may wait to be reaped."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


# ---- isolation


def test_the_callers_settings_do_not_reach_the_service(tmp_path, monkeypatch):
    """Model, key, sink, store and tracing of the caller are dropped; what Python needs stays."""
    for name in ("CLICKLAB_MODEL_DIR", "CLICKLAB_API_KEY", "BENTOML_PORT", "OTEL_TRACES_EXPORTER"):
        monkeypatch.setenv(name, "of the caller")
    monkeypatch.setenv("BENTOML_HOME", "/of/the/caller")
    with isolated(tmp_path) as found:
        assert "of the caller" not in found.values()
        assert found["PATH"] == os.environ["PATH"] and found["PYTHONPATH"] == str(tmp_path)
        home = Path(found["BENTOML_HOME"])
        assert home.is_dir() and home != Path("/of/the/caller")
        assert found["PROMETHEUS_MULTIPROC_DIR"] == str(home)
    assert not home.exists()


def test_the_isolated_settings_are_valid_and_log_nothing(tmp_path):
    """The service itself reads them: the packed model only, no sink, one variant with all units."""
    code = (
        "from bentos.ctr.settings import load_settings\n"
        "from bentos.ctr.experiment.declaration import load_experiment\n"
        "s = load_settings()\n"
        "e = load_experiment(s.experiment, models=s.models)\n"
        "print(dict(s.models), s.exposures.sink, s.api_key, [v.name for v in e.variants])"
    )
    with isolated(ROOT) as found:
        done = subprocess.run(
            [sys.executable, "-c", code], env=found, cwd=tmp_path, capture_output=True, text=True
        )
    assert done.stdout.strip() == "{'champion': {'from': 'bundle'}} off None ['champion']", (
        done.stderr
    )


# ---- in process


def test_in_process_answers_are_the_last_line_printed(folder):
    """Lines that libraries print before do not count."""
    requests = [("/predict", {"a": 1}), ("/rank", None)]
    assert ask_in_process(folder, requests, environment(folder)) == [
        (200, ["/predict", {"a": 1}]),
        (200, ["/rank", None]),
    ]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise RuntimeError('no model')", "RuntimeError: no model"),
        ("print('not JSON')", "no reason given"),
        ("import os; os.kill(os.getpid(), 9)", "killed by signal 9: no reason given"),
        ("print('[[200]]')", "no reason given"),
        ("", "no reason given"),
    ],
)
def test_a_service_that_gives_no_answers_in_process_is_one_line(folder, code, reason):
    """With the last line of what went wrong."""
    (folder / "bentos/ctr/in_process.py").write_text(code)
    with pytest.raises(ClicklabError, match=rf"cannot be loaded \({reason}\)"):
        ask_in_process(folder, [("/predict", {})], environment(folder))


# ---- live


def test_a_live_service_is_asked_over_one_connection_and_ends_with_its_children(folder):
    """Statuses and JSON come back in order; afterwards neither server nor child is left."""
    with serving(folder, environment(folder)) as server:
        server.wait_until_ready()
        answers = server.ask([("/predict", {"a": 1}), ("/none", [2])])
        child = int((folder / "child").read_text())
        assert is_running(child)
    assert answers == [(200, ["/predict", {"a": 1}]), (404, ["/none", [2]])]
    assert server.process.poll() is not None
    deadline = time.monotonic() + 10
    while is_running(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_running(child)


def test_a_service_that_never_becomes_ready_says_its_reason(folder, monkeypatch):
    """The reason is what its health check answers."""
    monkeypatch.setattr(packed_service, "_UNREADY_S", 0.3)
    (folder / "not-ready").write_text("golden row 3 differs")
    with (
        serving(folder, environment(folder)) as server,
        pytest.raises(ClicklabError, match=r"does not become ready \(golden row 3 differs\)"),
    ):
        server.wait_until_ready()


def test_a_service_that_dies_at_the_start_shows_its_last_lines(folder):
    """Waiting ends with the process, long before the timeout."""
    (folder / "bentoml.py").write_text("raise SystemExit('a port is in use')")
    with (
        serving(folder, environment(folder)) as server,
        pytest.raises(ClicklabError, match=r"does not become ready .*a port is in use"),
    ):
        server.wait_until_ready()


def test_a_service_that_dies_while_it_is_asked_is_one_line(folder):
    """No traceback of the HTTP library."""
    with serving(folder, environment(folder)) as server:
        server.wait_until_ready()
        with pytest.raises(ClicklabError, match="the live service gives no answer") as caught:
            server.ask([("/predict", {}), ("/die", {})])
    assert "\n" not in str(caught.value)


def test_a_server_listens_on_this_machine_only(folder):
    """The address is passed to `bentoml serve`; its port is free before."""
    port = free_port()
    assert port not in {
        found.laddr.port for found in psutil.net_connections("tcp") if found.status == "LISTEN"
    }
    server = Server(folder, environment(folder))
    try:
        server.wait_until_ready()
        addresses = {
            found.laddr.ip for found in psutil.Process(server.process.pid).net_connections()
        }
    finally:
        server.stop()
    assert addresses == {"127.0.0.1"}


# ---- BentoML's commands


@pytest.mark.slow
def test_a_command_that_fails_is_one_line(monkeypatch, tmp_path):
    """Asked of BentoML itself, in an empty store."""
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path))
    with pytest.raises(ClicklabError, match="bentoml get failed: "):
        ask_bentoml("get", "ctr:latest")


@pytest.mark.parametrize(
    ("text", "n_lines", "expected"),
    [
        ("one\n\n  two  \n\n", 1, "two"),
        ("one\ntwo\nthree", 2, "two three"),
        ("one", 4, "one"),
        (" \n", 1, "no reason given"),
    ],
)
def test_the_last_lines_of_an_output_become_one(text, n_lines, expected):
    """Blank ones do not count."""
    assert last_lines(text, n_lines) == expected
