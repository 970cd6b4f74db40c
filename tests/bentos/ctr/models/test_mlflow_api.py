"""The three calls of MLflow's REST API, against a real server and against odd ones."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bentos.ctr.models.mlflow_api import MlflowApi, Version
from bentos.ctr.models.sources import MlflowSource, SourceError
from tasks.models.golden import is_model_file
from tasks.registry import mlflow_store, runs
from tests.bentos.ctr.artifacts import artifact
from tests.conftest import free_port
from tests.stores import mlflow_client, mlflow_server

NAME = "ctr-avazu"


def register(client, folder, experiment="ctr", path=mlflow_store.MODEL_PATH, **where):
    """Log and register a model folder as a training and a promotion do, the judged or the renewed one; return its version."""
    with runs.training_run(client, experiment, "ftrl", **where) as run_id:
        runs.log_model(client, run_id, folder, path=path)
    number = mlflow_store.register(client, NAME, run_id, tags={}, path=path)
    return Version(number, run_id, path)


# ---- a real server


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return artifact(tmp_path_factory.mktemp("model") / "ftrl")


@pytest.mark.slow
def test_a_real_server_says_what_is_behind_an_alias(tmp_path, model):
    """Versions of a run whose files the server keeps, and of one whose files a pipeline wrote before."""
    store = tmp_path / "store"
    store.mkdir()
    local = mlflow_client(f"sqlite:///{store}/mlflow.db")
    earlier = register(local, model, "before", artifact_root=tmp_path / "files")
    mlflow_store.set_alias(local, NAME, "challenger", earlier[0])
    with mlflow_server(store) as address:
        client = mlflow_client(address)
        later = register(client, model, path=mlflow_store.SERVED_PATH)
        mlflow_store.set_alias(client, NAME, "champion", later[0])
        api = MlflowApi(address)
        assert api.version_behind(NAME, "champion") == later
        assert api.version_behind(NAME, "challenger") == earlier
        for number, version in enumerate((earlier, later)):
            into = tmp_path / str(number)
            into.mkdir()
            found = api.copy_model(version, into, is_model_file)
            assert sorted(found) == ["golden.json", "model.json", "weights.npy"]
            for name in found:
                assert (into / name).read_bytes() == (model / name).read_bytes()
        for name, alias in ((NAME, "none"), ("nobody", "champion")):
            with pytest.raises(SourceError, match=r"answers 40\d .*not found"):
                MlflowSource(api, name, alias).peek()
        other_host = MlflowSource(
            MlflowApi(address.replace("127.0.0.1", "localhost")), NAME, "champion"
        )
        with pytest.raises(SourceError, match=r"answers 403 .*Host"):
            other_host.peek()
    with pytest.raises(SourceError, match="cannot be reached"):
        MlflowSource(api, NAME, "champion").peek()


# ---- odd ones


class Odd:
    """A server with fixed answers: path to (status, headers, body)."""

    def __init__(self):
        self.answers, self.asked = {}, []
        odd = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                odd.asked.append((self.path, dict(self.headers)))
                path = self.path.partition("?")[0]
                status, headers, body = odd.answers.get(path, (404, {}, b"nothing here"))
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(body))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


ALIAS = "/api/2.0/mlflow/registered-models/alias"
LIST = "/api/2.0/mlflow/artifacts/list"
FILE = "/get-artifact"


@pytest.fixture
def odd(monkeypatch):
    for name in ("TOKEN", "USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    server = Odd()
    yield server
    server.stop()


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>log in</html>", b"[]", b"{}", b'{"model_version": 3}', b'{"model_version": {"version": "1"}}', b"\xff"],
)  # fmt: skip
def test_what_is_no_mlflow_is_out_of_reach(odd, body):
    odd.answers[ALIAS] = (200, {}, body)
    with pytest.raises(SourceError, match="did not answer as MLflow does"):
        MlflowSource(MlflowApi(odd.address), NAME, "champion").peek()


def test_a_server_in_trouble_is_out_of_reach(odd):
    odd.answers[ALIAS] = (500, {}, b"<html>\n oh no \n</html>")
    with pytest.raises(SourceError, match="answers 500 <html> oh no </html>"):
        MlflowSource(MlflowApi(odd.address), NAME, "champion").peek()


def test_a_download_that_breaks_off_is_no_model(odd, tmp_path):
    """Python's client takes the end of a broken connection for the end of the file."""
    listed = {"files": [{"path": "model/weights.npy", "is_dir": False, "file_size": 100}]}
    odd.answers[ALIAS] = (200, {}, b'{"model_version": {"version": "1", "run_id": "r"}}')
    odd.answers[LIST] = (200, {}, json.dumps(listed).encode())
    for headers in ({}, {"Content-Length": "100"}):
        odd.answers[FILE] = (200, headers, b"x" * 60)
        with pytest.raises(SourceError, match="broke off after 60 of 100 bytes"):
            MlflowSource(MlflowApi(odd.address), NAME, "champion").fetch(tmp_path)


def test_only_files_of_a_model_are_asked_for(odd, tmp_path):
    """A server cannot make the service write anywhere else."""
    names = ["model/model.json", "model/../../evil", "/etc/passwd", "model/notes.txt", 3, None]
    listed = {"files": [*({"path": name, "file_size": 2} for name in names), "x"]}
    odd.answers[LIST] = (200, {}, json.dumps(listed).encode())
    odd.answers[FILE] = (200, {}, b"{}")
    found = MlflowApi(odd.address).copy_model(Version("1", "r"), tmp_path, is_model_file)
    assert found == ["model.json"]
    assert [file.name for file in tmp_path.iterdir()] == ["model.json"]


@pytest.mark.parametrize("listed", [b"[]", b"{}", b'{"files": []}'])
def test_a_version_without_files_may_yet_be_mended(odd, tmp_path, listed):
    """An artifact store that is not mounted looks like this."""
    odd.answers[ALIAS] = (200, {}, b'{"model_version": {"version": "1", "run_id": "r"}}')
    odd.answers[LIST] = (200, {}, listed)
    with pytest.raises(SourceError, match="version 1 has no files of a model"):
        MlflowSource(MlflowApi(odd.address), NAME, "champion").fetch(tmp_path)


def basic(text):
    return f"Basic {base64.b64encode(text.encode()).decode()}"


@pytest.mark.parametrize(
    ("environment", "user", "sent"),
    [
        ({}, "", None),
        ({"TOKEN": "t0k"}, "", "Bearer t0k"),
        ({"USERNAME": "ann", "PASSWORD": "p:w"}, "", basic("ann:p:w")),
        ({"USERNAME": "ann", "PASSWORD": "pw"}, "bob:p%40w@", basic("bob:p@w")),
        ({"TOKEN": "t0k", "USERNAME": "ann"}, "", "Bearer t0k"),
    ],
)
def test_credentials_are_those_of_mlflows_client(odd, monkeypatch, environment, user, sent):
    for name, value in environment.items():
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
    odd.answers[ALIAS] = (200, {}, b'{"model_version": {"version": "1", "run_id": "r"}}')
    api = MlflowApi(odd.address.replace("//", f"//{user}"))
    assert api.version_behind("a b&c", "champion")[:2] == ("1", "r")
    ((path, headers),) = odd.asked
    assert path == f"{ALIAS}?name=a%20b%26c&alias=champion"
    assert headers.get("Authorization") == sent


def test_credentials_do_not_follow_a_redirect(odd, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0k")
    odd.answers[ALIAS] = (302, {"Location": f"{odd.address}/elsewhere"}, b"")
    odd.answers["/elsewhere"] = (200, {}, b'{"model_version": {"version": "1", "run_id": "r"}}')
    MlflowApi(odd.address).version_behind(NAME, "champion")
    assert [headers.get("Authorization") for _, headers in odd.asked] == ["Bearer t0k", None]


def test_a_server_that_does_not_listen_is_unreachable():
    with pytest.raises(SourceError, match=r"cannot be reached .*refused"):
        MlflowSource(MlflowApi(f"http://127.0.0.1:{free_port()}"), NAME, "champion").peek()
