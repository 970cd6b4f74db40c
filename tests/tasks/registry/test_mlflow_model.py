"""A real MLflow model: loaded by MLflow alone, in process and over HTTP, it answers what ours answers."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import pandas as pd
import pytest

from tasks.models.artifact import load_model
from tasks.models.golden import model_files
from tasks.registry import mlflow_store, runs
from tasks.registry.mlflow_model import log_mlflow_files, write_mlflow_files
from tests.bentos.ctr.artifacts import artifact, boosted_artifact, fm_artifact
from tests.conftest import free_port, stop_group
from tests.stores import mlflow_client, mlflow_server

pytestmark = pytest.mark.slow  # MLflow starts, and loads models in processes of their own

FRAME = pd.DataFrame(
    {
        "hour": ["14102105", "14102106", None],
        "banner_pos": [0, 1, 7],
        "C14": [15706.0, float("nan"), 15707.0],
        "site_id": ["1fbe01fe", None, "ü"],
        "price": [1, 2, 3],
    }
)
ROWS = [
    {"hour": "14102105", "banner_pos": 0, "C14": 15706, "site_id": "1fbe01fe"},
    {"hour": "14102106", "banner_pos": 1},
    {"banner_pos": 7, "C14": 15707, "site_id": "ü"},
]

LOAD = """
import json, sys
import mlflow, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
found = {"p_click": model.predict(pd.read_json(sys.stdin, dtype=False)).tolist()}
found["example"] = model.predict(model.input_example).tolist()
import tasks
print(json.dumps(found | {"library": tasks.__file__}))
"""


def alone(folder: Path, uri: str, frame: pd.DataFrame = FRAME, **environment: str) -> dict:
    """Load a model in a process that finds no library but the model's own, and return what it says."""
    blocked = "import sys; sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in repr(f).lower()]\n"
    done = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-c", blocked + LOAD, uri],
        input=frame.to_json(orient="records"),
        cwd=folder,
        env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("write", [artifact, fm_artifact, boosted_artifact])
def test_it_loads_where_the_project_is_not(tmp_path, write):
    """With its own copy of the library; the example is one that it answers; nothing in it is a pickle."""
    folder = write(tmp_path / "ours")
    version = load_model(folder).version
    write_mlflow_files(folder, tmp_path / "model")
    for name in model_files(folder):
        (tmp_path / "model" / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "elsewhere").mkdir()
    found = alone(tmp_path / "elsewhere", str(tmp_path / "model"))
    assert found["library"].startswith(str(tmp_path / "model"))
    expected = load_model(folder).predict_rows(ROWS)
    np.testing.assert_allclose(found["p_click"], expected, rtol=0, atol=1e-6)
    assert 0 < found["example"][0] < 1
    assert not [path for path in (tmp_path / "model").rglob("*") if path.suffix == ".pkl"]
    assert load_model(tmp_path / "model").version == version


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A tracking server whose registry has a champion; its address, and the model's folder."""
    folder = tmp_path_factory.mktemp("store")
    model = artifact(folder / "ours")
    with mlflow_server(folder / "server") as address:
        client = mlflow_client(address)
        with runs.training_run(client, "ctr", "ftrl") as run_id:
            runs.log_model(client, run_id, model)
            log_mlflow_files(client, run_id, model)
        version = mlflow_store.register(client, "ctr-avazu", run_id, tags={})
        mlflow_store.set_alias(client, "ctr-avazu", mlflow_store.CHAMPION, version)
        yield address, model


def test_the_champion_is_loaded_from_the_registry(store, tmp_path):
    """By the address that MLflow's users expect, through a real server."""
    address, model = store
    uri = "models:/ctr-avazu@champion"
    found = alone(tmp_path, uri, MLFLOW_TRACKING_URI=address)
    expected = load_model(model).predict_rows(ROWS)
    np.testing.assert_allclose(found["p_click"], expected, rtol=0, atol=1e-6)


def test_our_readers_take_only_their_files(store, tmp_path):
    """What MLflow needs lies in the same folder of the run, and is left there."""
    address, model = store
    client = mlflow_client(address)
    found = mlflow_store.find_alias(client, "ctr-avazu", "champion", folder=tmp_path)
    assert {path.name for path in found.folder.iterdir()} == {
        "golden.json", "model.json", "weights.npy",
    }  # fmt: skip
    assert load_model(found.folder).version == load_model(model).version
    listed = {file.path for file in client.list_artifacts(found.run_id, "model")}
    assert {"model/MLmodel", "model/code", "model/input_example.json"} <= listed


def test_mlflow_serves_it(store, tmp_path):
    """`mlflow models serve` over HTTP, rows as records and as a table."""
    address, model = store
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"]
    command += ["--model-uri", "models:/ctr-avazu@champion", "--host", "127.0.0.1"]
    environment = {"MLFLOW_TRACKING_URI": address, "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment["PATH"] = (
        f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # uvicorn
    )
    with (tmp_path / "serve.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port), "--workers", "1"],
            cwd=tmp_path,
            env=os.environ | environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait(f"http://127.0.0.1:{port}/ping", process, tmp_path / "serve.log")
        expected = load_model(model).predict_rows(ROWS)
        for form in ("records", "split"):
            body = json.dumps({f"dataframe_{form}": json.loads(FRAME.to_json(orient=form))})
            request = Request(
                f"http://127.0.0.1:{port}/invocations",
                body.encode(),
                {"Content-Type": "application/json"},
            )
            with urlopen(request, timeout=60) as answer:
                found = json.loads(answer.read())["predictions"]
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6, err_msg=form)
    finally:
        stop_group(process)


def wait(url: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 300
    while True:
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        try:
            urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
