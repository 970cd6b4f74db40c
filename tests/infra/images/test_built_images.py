"""The images, built and run: same predictions, user and termination as ECS expects, tasks of the pipeline."""

import json
import os
import time
from unittest.mock import patch

import boto3
import numpy as np
import pytest

from tasks.models.artifact import load_model
from tasks.package import package_model
from tasks.schema import load_schema
from tests.bentos.ctr.serving import fetch, golden_rows, trained_model
from tests.conftest import free_port
from tests.infra.cloud import REGION, account
from tests.infra.containers import build, containerize, finished, runner, running
from tests.rehearsal.tracking import database, tracking_server
from tests.stores import mlflow_client

pytestmark = pytest.mark.nightly
BUCKET = "clicklab-bucket"
# What an image must not contain of its build: pip, its settings, wheels, keys, the folder of the first stage.
LEFT_OVER = r"""
find /build /root/.cache /app/.venv/bin/pip /wheels -type f 2>/dev/null
find / -xdev -path /usr -prune -o -type f -size +0 \
  \( -name '*.whl' -o -name pip.conf -o -name .netrc -o -name '*.key' \) -print 2>/dev/null
true
"""
# Prints the writable folders of the root file system.
UNWRITABLE = "for place in / /tmp /home /app /var/tmp; do touch $place/x 2>/dev/null && echo $place; done; true"


@pytest.fixture(scope="module")
def bento(tmp_path_factory):
    """The model of a small Bento, and its tag; BENTOML_HOME is its store."""
    runner()  # before anything is packaged
    folder = tmp_path_factory.mktemp("service")
    with patch.dict(os.environ, {"BENTOML_HOME": str(folder / "store")}):
        model = trained_model(folder / "model", load_schema("avazu"))
        receipt = package_model(folder / "model", golden_rows(model), name="ctr_test")
        yield load_model(folder / "model"), receipt["bento"]


@pytest.fixture
def served(tmp_path):
    """The environment of a service's container, and its address."""
    port = free_port()
    return {"BENTOML_PORT": str(port), "BENTOML_HOST": "127.0.0.1"}, f"http://127.0.0.1:{port}"


def test_the_service_answers_with_the_models_own_numbers_and_stops_on_sigterm(bento, served):
    """By both calls, to 1e-6; without capabilities, writable folders except /scratch, or remains of the build."""
    model, tag = bento
    variables, address = served
    built = build("service", "--bento", tag)
    with running(built, environment=variables, read_only=True) as container:
        container.wait_for(f"{address}/readyz")
        _check_answers(address, model)
        container.run(*container.health_check())
        assert container.run("id", "-u").strip() == "1034"
        assert container.run("sh", "-c", LEFT_OVER) == ""
        compiled = ["find", "/scratch/numba", "-name", "*.nbc"]
        assert container.run(*compiled), "kernels are in the image"
        assert not container.run(*compiled, "-newer", "/etc/clicklab-commit"), (
            "and none was compiled anew"
        )
        assert container.run("sh", "-c", UNWRITABLE) == ""
        assert container.stop() == 0


def test_bentomls_own_image_can_be_run_in_place_of_it(bento, served):
    """``bentoml containerize`` builds from the network; the user, the place and the numbers are the same."""
    model, tag = bento
    variables, address = served
    with running(containerize(tag), environment=variables) as container:
        container.wait_for(f"{address}/readyz")
        _check_answers(address, model)
        assert container.run("id", "-u").strip() == "1034"
        assert container.run("printenv", "BENTO_PATH").strip() == "/home/bentoml/bento"
        assert container.stop() == 0


def _check_answers(address, model):
    golden = golden_rows(model, 50)
    predicted = [_ask(f"{address}/predict", row)["prediction"] for row in golden["rows"]]
    ranked = _ask(f"{address}/rank", {"context": {}, "candidates": golden["rows"]})["predictions"]
    np.testing.assert_allclose(predicted, golden["p_click"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(ranked, golden["p_click"], rtol=0, atol=1e-6)


def _ask(url, body):
    status, answer = fetch(url, json.dumps(body).encode())
    assert status == 200, answer
    return json.loads(answer)


def test_the_tracking_server_serves_a_database_and_stops_on_sigterm(tmp_path):
    """A run with an artifact, nothing written but below /scratch; PostgreSQL if installed, else SQLite there."""
    built = build("tracking")
    port = free_port()
    with database(tmp_path) as (store, _):
        variables = {
            "MLFLOW_BACKEND_STORE_URI": store
            if "postgres" in store
            else "sqlite:////scratch/mlflow.db",
            "MLFLOW_ARTIFACTS_DESTINATION": "/scratch/artifacts",
            "MLFLOW_SERVER_ALLOWED_HOSTS": "127.0.0.1:*",
        }
        command = ["mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "2"]
        with running(
            built, command, environment=variables, memory_mb=2048, read_only=True
        ) as container:
            container.wait_for(f"http://127.0.0.1:{port}/health", patience_s=240)
            client = mlflow_client(f"http://127.0.0.1:{port}")
            run = client.create_run(client.create_experiment("images")).info.run_id
            client.log_metric(run, "log_loss", 0.4)
            client.log_text(run, "word", "note.txt")
            assert client.get_run(run).data.metrics == {"log_loss": 0.4}
            assert [one.path for one in client.list_artifacts(run)] == ["note.txt"]
            assert container.run("sh", "-c", UNWRITABLE) == ""
            assert container.stop() == 0


@pytest.fixture
def task():
    """The environment of a task's container, and the bucket."""
    with account():
        s3 = boto3.client("s3", region_name=REGION)
        place = {"LocationConstraint": REGION}
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)
        keys = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION")
        variables = {key: os.environ[key] for key in keys} | {
            "CLICKLAB_STORE": f"s3://{BUCKET}/runs",
            "CLICKLAB_RUN": "one",
            "CLICKLAB_DATA": "sim://avazu?rows=20000&seed=7",
            "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",  # unused: these tasks need no MLflow
        }
        yield variables, s3


def test_the_pipelines_image_runs_tasks_as_the_state_machine_starts_them(task):
    """Functions and a notebook, each in its own read-only container; products and logs are in their places."""
    variables, s3 = task
    built = build("pipeline")
    for name in ("ingest", "validate", "explore"):
        done = finished(
            built, ["python", "-m", "infra.container.attempt", name], environment=variables
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert all(json.loads(line) for line in done.stdout.splitlines())
    found = s3.list_objects_v2(Bucket=BUCKET, Prefix="runs/one/")["Contents"]
    names = {one["Key"].removeprefix("runs/one/") for one in found}
    assert {"tasks/explore.json", "products/explore.html", "products/validation.json"} <= names
    unknown = finished(
        built, ["python", "-m", "infra.container.attempt", "no_such"], environment=variables
    )
    assert unknown.returncode in (2, 3), unknown.stdout


def test_a_whole_run_writes_below_scratch_alone(task, tmp_path):
    """All tasks, notebooks and the Bento's proof among them, in one read-only container; MLflow is a real server."""
    variables, s3 = task
    with tracking_server(tmp_path / "mlflow") as tracking:
        variables["MLFLOW_TRACKING_URI"] = tracking.uri
        done = finished(
            build("pipeline"),
            ["python", "-m", "infra.container.run_pipeline", "all"],
            environment=variables,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    found = s3.list_objects_v2(Bucket=BUCKET, Prefix="runs/all/tasks/")["Contents"]
    assert len(found) == 12


def test_a_task_exits_with_143_on_sigterm(task):
    """As process 1, which ignores SIGTERM by default: 143, not 137."""
    variables, s3 = task
    command = ["python", "-m", "infra.container.attempt", "ingest"]
    with running(build("pipeline"), command, environment=variables, read_only=True) as container:
        until = time.monotonic() + 60
        while not s3.list_objects_v2(Bucket=BUCKET, Prefix="runs/one/started/")["KeyCount"]:
            assert time.monotonic() < until
            time.sleep(0.1)
        assert container.stop() == 143
