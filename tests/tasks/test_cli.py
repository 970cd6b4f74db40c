"""The commands of the Makefile's verbs: they follow the file of knobs that they are given."""

import json
import shutil
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import yaml
from typer.testing import CliRunner

from tasks.cli import app
from tasks.registry.ledger import append_decision
from tests.conftest import ROOT

SCHEMA = {
    "name": "shop",
    "label": "bought",
    "time": {"column": "at", "format": "iso"},
    "fields": {"page": {"example": "home"}},
}


@pytest.fixture
def knobs(tmp_path):
    """A file of knobs for another team's log; all that it leaves out is env.yaml's."""
    shutil.copy(ROOT / "env.yaml", tmp_path)
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump(SCHEMA))
    path = tmp_path / "env.shop.yaml"
    ledger = {"ledger": str(tmp_path / "ledger.jsonl")}
    path.write_text(yaml.safe_dump({"schema": str(tmp_path / "shop.yaml"), "mlflow": ledger}))
    return path


class _Service(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, json.loads(body)))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"p_click": 0.5}')

    def log_message(self, *_):
        pass


@contextmanager
def service():
    """A server that keeps what it was asked."""
    with HTTPServer(("127.0.0.1", 0), _Service) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_predict_sends_the_example_of_the_log_that_the_knobs_name(knobs):
    """Another team's model is not asked about Avazu's fields."""
    with service() as (server, url):
        done = CliRunner().invoke(app, ["predict", "--env", str(knobs), "--url", url])
    assert done.exit_code == 0, done.output
    assert server.asked == [("/predict", {"at": "2014-10-21T00:00:00+00:00", "page": "home"})]
    assert '{"p_click": 0.5}' in done.output


def test_an_empty_ledger_is_said(knobs, tmp_path):
    """Nothing on the screen would leave open where was looked."""
    done = CliRunner().invoke(app, ["ledger", "--env", str(knobs)])
    assert done.exit_code == 0
    assert done.stderr == (
        f"{tmp_path / 'ledger.jsonl'}: no decision yet; `make run` makes the first\n"
    )
    append_decision(
        tmp_path / "ledger.jsonl", {"decision": "promoted", "model": "fm", "version": "3"}
    )
    done = CliRunner().invoke(app, ["ledger", "--env", str(knobs)])
    assert "promoted  fm" in done.stdout and not done.stderr
