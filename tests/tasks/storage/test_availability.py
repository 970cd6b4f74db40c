"""What is temporarily unavailable, and what is wrong: MLflow, S3 and PostgreSQL as their clients find them on real sockets."""

import json
import socket
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from infra.container.bucket import Store
from tasks.errors import ClicklabError, ConfigError, InputError, UnavailableError
from tasks.logs.sources import list_files
from tasks.registry import mlflow_store, runs
from tasks.storage.availability import is_temporary, patiently
from tasks.storage.s3 import _client
from tasks.storage.shared_files import read_shared
from tasks.training.optuna_storage import Storage
from tests.conftest import ROOT, free_port
from tests.stores import IMPATIENT_AWS

pytestmark = pytest.mark.slow  # a server of its own for each answer
SLOW_DOWN = "<Error><Code>SlowDown</Code><Message>later</Message></Error>"
S3_ACCESS_DENIED = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Clients that ask once and soon give up, and know an account."""
    for name, value in {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
        "CLICKLAB_WAIT_S": "0",
        "MLFLOW_TRACKING_URI": "",  # MLflow notes there where it connected to last
        **IMPATIENT_AWS,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("tasks.storage.s3.ATTEMPTS", 1)
    _client.cache_clear()
    yield
    _client.cache_clear()


@contextmanager
def server(status: int, body: str = "", *, waits_s: float = 0, cuts: bool = False):
    """Yield the address of a server that answers everything alike: late, or cut off in the middle, if asked to."""

    class Answer(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            time.sleep(waits_s)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) + (100 if cuts else 0)))
            self.end_headers()
            self.wfile.write(body.encode())
            self.close_connection = True

        do_GET = do_POST = do_PUT = do_HEAD = _answer

        def log_message(self, *_) -> None:
            pass

    found = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{found.server_port}"
    finally:
        found.shutdown()
        found.server_close()


def told(code: str) -> str:
    """Return an error as MLflow's server writes it."""
    return json.dumps({"error_code": code, "message": "said by the server"})


# ---- MLflow


def test_nobody_at_mlflows_address_is_an_outage():
    """Nothing listens there: it is being deployed, or has died."""
    with pytest.raises(UnavailableError, match="cannot be reached just now") as caught:
        mlflow_store.connect(f"http://127.0.0.1:{free_port()}")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 8


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, told("INTERNAL_ERROR")), (502, ""), (503, "<html>busy</html>"), (504, ""), (429, "")],
)
def test_a_fault_of_the_servers_own_is_an_outage(status, body):
    """What a load balancer says while there is no healthy target, or MLflow of its database."""
    with server(status, body) as address, pytest.raises(UnavailableError):
        mlflow_store.connect(address)


def test_a_server_that_is_too_slow_is_an_outage(monkeypatch):
    """It may be starting."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with server(200, "{}", waits_s=3) as address, pytest.raises(UnavailableError):
        mlflow_store.connect(address)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, told("INVALID_PARAMETER_VALUE")),
        (401, "who are you?"),
        (403, told("PERMISSION_DENIED")),
        (404, "<html>nothing here</html>"),
        (404, told("RESOURCE_DOES_NOT_EXIST")),
        (200, "<html>another program</html>"),
    ],
)
def test_an_answer_that_stays_the_same_is_a_wrong_knob(status, body):
    """A right, an address, another program."""
    with server(status, body) as address, pytest.raises(ConfigError, match="cannot be used"):
        mlflow_store.connect(address)


@pytest.mark.parametrize("uri", ["gopher://mlflow", "sqlite:///{folder}", "https://{host}"])
def test_an_address_that_is_none_is_a_wrong_knob(monkeypatch, tmp_path, uri):
    """A scheme that MLflow does not know, a file that cannot be a database, TLS where there is none."""
    monkeypatch.setattr("time.sleep", lambda _: None)  # MLflow asks a database ten times
    with server(200) as address:
        named = uri.format(folder=tmp_path, host=address.removeprefix("http://"))
        with pytest.raises(ConfigError, match="cannot be used"):
            mlflow_store.connect(named)


def test_mlflows_own_database_that_is_away_is_an_outage(monkeypatch):
    """For those who name PostgreSQL itself, and no server, as the tracking store."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(UnavailableError, match="Connection refused"):
        mlflow_store.connect(f"postgresql+psycopg2://x@127.0.0.1:{free_port()}/x")


@pytest.mark.parametrize(
    ("number", "kind"), [(socket.EAI_AGAIN, UnavailableError), (socket.EAI_NONAME, ConfigError)]
)
def test_a_name_that_nobody_has_is_wrong_a_name_server_away_is_not(monkeypatch, number, kind):
    """The resolver tells the two apart."""

    def fail(*_, **__):
        raise socket.gaierror(number, "as the resolver says it")

    monkeypatch.setattr("socket.getaddrinfo", fail)
    with pytest.raises(kind):
        mlflow_store.connect("http://mlflow.invalid")


@pytest.mark.nightly
def test_mlflow_that_goes_away_in_the_middle_is_an_outage_in_every_call(tmp_path):
    """Not "there is no champion"; and a training that fails says so itself, whether MLflow hears of it or not."""
    from tests.stores import mlflow_client, mlflow_server

    with mlflow_server(tmp_path / "mlflow") as address:
        client = mlflow_client(address)
        run_id = client.create_run(runs.open_experiment(client, "ctr")).info.run_id
    calls = (
        lambda: mlflow_store.find_alias(client, "ctr", "champion", folder=tmp_path),
        lambda: runs.log_params(client, run_id, {"a": 1}),
        lambda: client.log_text(run_id, "x", "x.txt"),
        lambda: mlflow_store.register(client, "ctr", run_id, tags={}),
    )
    for call in calls:
        with pytest.raises(UnavailableError, match="run again when it is back"):
            call()


def test_the_command_line_says_it_in_one_line_and_its_code(monkeypatch, tmp_path):
    """A person reads the line, a scheduler the code."""
    from typer.testing import CliRunner

    from tasks.cli import app

    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    words = ["publish", str(tmp_path / "champion.json"), "--env", "env.tiny.yaml"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 8
    assert done.output.startswith("error: MLflow at ")
    assert done.output.count("\n") == 1


def test_what_a_training_failed_with_is_not_hidden_by_mlflows_absence():
    """MLflow was there when the run was opened, and is not when it is to be called failed."""

    class Gone:
        def create_run(self, *_, **__):
            return type("Run", (), {"info": type("Info", (), {"run_id": "r"})})

        def get_experiment_by_name(self, _):
            return type("Experiment", (), {"experiment_id": "1", "tags": {}})

        def set_experiment_tag(self, *_):
            pass

        def set_terminated(self, *_, **__):
            raise UnavailableError("away")

    with pytest.raises(KeyError), runs.training_run(Gone(), "ctr", "ftrl"):
        raise KeyError("the training's own")


def test_mlflow_tells_in_words_what_its_downloads_met():
    """It downloads files by threads of its own and keeps only the text of their errors."""
    from mlflow.exceptions import MlflowException

    said = "The following failures occurred while downloading:\n##### File weights.npy #####\n"
    assert is_temporary(MlflowException(said + "too many 503 error responses"))
    assert not is_temporary(MlflowException(said + "404 Client Error: NOT FOUND"))


# ---- S3


def test_unreachable_s3_is_an_outage_for_every_caller(monkeypatch):
    """Readers of logs, pointers, and a run's own files; nothing listens."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    for ask in ASKING:
        with pytest.raises(UnavailableError, match="S3 cannot be reached just now") as caught:
            ask()
        assert "\n" not in str(caught.value)


ASKING = (
    lambda: list_files("s3://bucket/a.csv"),
    lambda: read_shared("s3://bucket/champion.json"),
    lambda: Store("s3://bucket/runs").put("a", b"x"),
    lambda: Store("s3://bucket/runs").get("a"),
)


@pytest.mark.parametrize(
    ("status", "body"), [(503, SLOW_DOWN), (500, ""), (400, SLOW_DOWN.replace("SlowDown", "RequestTimeout"))]
)  # fmt: skip
def test_what_s3_says_when_it_is_busy_is_an_outage(monkeypatch, status, body):
    """Its 5xx, and the codes by which it asks for patience."""
    with server(status, body) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        for ask in ASKING:
            with pytest.raises(UnavailableError):
                ask()


def test_an_answer_of_s3_that_is_cut_off_is_an_outage(monkeypatch, tmp_path):
    """Of a small file, and of one that is fetched in parts."""
    with server(200, "half", cuts=True) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        for ask in (ASKING[3], lambda: Store("s3://bucket/runs").download("a", tmp_path / "a")):
            with pytest.raises(UnavailableError):
                ask()
    assert not (tmp_path / "a").exists()


def test_a_right_that_is_missing_on_s3_is_none(monkeypatch):
    """It is for somebody to grant."""
    with server(403, S3_ACCESS_DENIED) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        for ask, kind in zip(
            ASKING, (InputError, InputError, ConfigError, ConfigError), strict=True
        ):
            with pytest.raises(kind, match="AccessDenied"):
                ask()


# ---- databases


def test_a_study_whose_database_is_away_is_an_outage(tmp_path):
    """PostgreSQL for a team's searches; a file that cannot be opened is a wrong knob."""
    import optuna

    with pytest.raises(UnavailableError, match="cannot be reached just now"):
        Storage(f"postgresql://x@127.0.0.1:{free_port()}/x").open_study(optuna, "study")
    with pytest.raises(ConfigError, match="cannot be used"):
        Storage(f"sqlite:///{tmp_path}").open_study(optuna, "study")


def test_a_defect_is_no_outage():
    """Nor is an error of the disk, or one of ours that was caused by another."""
    for error in (KeyError("x"), FileNotFoundError("x"), OSError(28, "full"), ClicklabError("x")):
        assert not is_temporary(error)


def test_what_is_temporary_is_tried_again_for_a_limited_time(monkeypatch):
    """An outage that ends, one that lasts, and an error that waiting does not mend."""
    slept, calls = [], []
    monkeypatch.setattr("time.sleep", slept.append)
    monkeypatch.setenv("CLICKLAB_WAIT_S", "10")

    def fails(*errors):
        calls.clear()
        left = list(errors)

        def call():
            calls.append(1)
            if left:
                raise left.pop(0)
            return "done"

        return call

    assert patiently(fails(ConnectionRefusedError(), TimeoutError())) == "done"
    assert slept == [0.5, 1.0]
    with pytest.raises(ConnectionRefusedError):
        patiently(fails(*[ConnectionRefusedError()] * 100))
    assert sum(slept[2:]) <= 10
    with pytest.raises(PermissionError):
        patiently(fails(PermissionError()))
    assert len(calls) == 1


def test_a_refused_address_beside_one_that_answered_is_no_outage():
    """libpq tries every address of a host and reports them all."""

    class OperationalError(Exception):
        pass

    refused = 'connection to server at "::1" failed: Connection refused'
    wrong = 'connection to server at "127.0.0.1" failed: FATAL: password authentication failed'
    assert is_temporary(OperationalError(refused))
    assert not is_temporary(OperationalError(f"{refused}\n{wrong}"))
