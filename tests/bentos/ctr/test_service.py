"""The service as it is run: health, documents, BentoML's own routes, and a process that stops on SIGTERM."""

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from urllib.parse import urlsplit

import httpx
import pytest

from bentos.ctr.http.side_app import SideApp
from tasks.models.artifact import load_model
from tasks.models.golden import GOLDEN
from tasks.serving.requirements import serving_requirements
from tests.bentos.ctr.scoring.test_calls import BAD_BODIES, ROW
from tests.bentos.ctr.serving import ask, fetch, golden_rows, served, started_worker
from tests.conftest import ROOT

# ---- health


def test_the_health_check_names_model_and_parity(worker, model_dir):
    """Which model serves, and with how many rows it was checked."""
    model = load_model(model_dir)
    health = worker.health()
    assert health["status"] == "ok"
    assert (health["model"], health["version"]) == ("ftrl", model.version)
    assert health["contract"] == model.contract.digest
    assert (health["parity"], health["n_golden"]) == ("ok", 8)
    assert health["max_abs_diff"] == pytest.approx(0, abs=1e-9)
    assert health["variants"]["champion"]["version"] == model.version
    assert "problems" not in health


def _cut_weights(folder):
    (folder / "weights.npy").write_bytes((folder / "weights.npy").read_bytes()[:-100])


def _no_weights(folder):
    (folder / "weights.npy").unlink()


def _other_golden(folder):
    golden = json.loads((folder / GOLDEN).read_text())
    golden["p_click"][3] += 2e-6
    (folder / GOLDEN).write_text(json.dumps(golden))


def _nan_golden(folder):
    golden = json.loads((folder / GOLDEN).read_text())
    golden["p_click"][3] = float("nan")
    (folder / GOLDEN).write_text(json.dumps(golden))


def _bad_golden_row(folder):
    golden = json.loads((folder / GOLDEN).read_text())
    golden["rows"][3]["hour"] = "x"
    (folder / GOLDEN).write_text(json.dumps(golden))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_cut_weights, "train"),
        (_no_weights, "weights.npy"),
        (_other_golden, "golden row 3"),
        (_nan_golden, "golden row 3"),
        (_bad_golden_row, "golden row 3 .*'hour'"),
        (lambda folder: (folder / GOLDEN).write_text("{}"), "no golden rows"),
        (lambda folder: (folder / "model.json").write_text("{"), "no readable model"),
    ],
    ids=["cut", "absent", "off", "nan", "unreadable", "empty", "broken"],
)
def test_a_model_that_cannot_be_trusted_is_not_served(model_dir, tmp_path, damage, reason):
    """The process lives, is not ready, and says why; calls answer 503."""
    folder = tmp_path / "model"
    shutil.copytree(model_dir, folder)
    damage(folder)
    with started_worker(folder) as worker:
        assert not worker.is_ready
        health = worker.health()
        assert health["status"] == "unavailable"
        assert re.search(reason, health["error"])
        assert ask(worker.calls.predict, b"{}")[0] == 503


@pytest.mark.parametrize("text", ["models: {}", "modles: {}", "{"])
def test_settings_that_cannot_be_used_are_said_and_not_served(model_dir, tmp_path, text):
    """The process stays up to say what is wrong with which file."""
    path = tmp_path / "serving.yaml"
    path.write_text(text)
    with started_worker(model_dir, CLICKLAB_SERVING=str(path)) as worker:
        assert str(path) in worker.health()["error"]
        assert ask(worker.calls.predict, ROW)[0] == 503


def test_a_misspelled_field_to_redact_is_not_served_past(model_dir, tmp_path):
    """Its values would be logged; nothing serves and no model is polled until it is fixed."""
    path = tmp_path / "serving.yaml"
    log = {"sink": str(tmp_path / "log"), "redact": ["device_ipp"]}
    path.write_text(
        json.dumps(
            {
                "models": {"champion": {"from": "bundle"}},
                "exposures": log,
                "poll_s": 0.05,
                "experiment": str(ROOT / "bentos/ctr/experiment.yaml"),
            }
        )
    )
    with started_worker(model_dir, CLICKLAB_SERVING=str(path)) as worker:
        for _ in range(5):
            assert "device_ipp" in worker.health()["error"]
            assert ask(worker.calls.predict, ROW)[0] == 503
            time.sleep(0.1)


# ---- documents


def test_the_openapi_document_describes_both_calls(worker):
    """Types and examples come from the schema; what BentoML describes stays."""
    base = {"openapi": "3.0.2", "paths": {"/livez": {}}}
    app = SideApp(worker.health, worker.describe, lambda: base)

    async def get(path):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://side") as client:
            return (await client.get(path)).json()

    document = asyncio.run(get("/docs.json"))
    assert {"/predict", "/rank", "/healthcheck", "/livez"} <= set(document["paths"])
    example = document["components"]["schemas"]["Impression"]["example"]
    assert ask(worker.calls.predict, example)[0] == 200
    assert asyncio.run(get("/healthcheck"))["status"] == "ok"


ONLY_PINNED = """
import sys
from importlib.metadata import packages_distributions

pins = set(sys.argv[1].split())
foreign = {
    module
    for module, owners in packages_distributions().items()
    if module != "tasks" and not pins & {owner.lower().replace("_", "-").replace(".", "-") for owner in owners}
}


class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in foreign:
            raise ModuleNotFoundError(name, name=name)


sys.meta_path.insert(0, Refuse())
assert {"pandas", "sklearn", "scipy", "mlflow"} <= foreign
from bentos.ctr import service

service.WORKER.start()
assert service.WORKER.is_ready, service.WORKER.health()
service.WORKER.stop()
"""


@pytest.mark.slow
def test_the_packed_requirements_are_enough_for_the_service(model_dir):
    """With every other installed package hidden (pandas, scikit-learn, MLflow ...) it loads and predicts."""
    pins = [
        line.split("==")[0]
        for line in serving_requirements((ROOT / "requirements.lock").read_text())
    ]
    command = [sys.executable, "-W", "ignore", "-c", ONLY_PINNED, " ".join(pins)]
    environment = os.environ | {
        "BENTOML_DO_NOT_TRACK": "True",
        "CLICKLAB_MODEL_DIR": str(model_dir),
    }
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def run_python(code, *words, content, **environment):
    """Return what a process of its own prints: BentoML leaves warnings and state behind."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *words],
        cwd=ROOT,
        env=os.environ | {"BENTOML_DO_NOT_TRACK": "True"} | environment,
        input=json.dumps(content),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


WITH_AND_WITHOUT = """
import asyncio, json, sys
import bentoml
from bentos.ctr import in_process, service

requests = json.load(sys.stdin)
apps = service.Ctr.to_asgi(), bentoml.Service.to_asgi(service.Ctr)
assert type(apps[0]) is service.CallsMiddleware
answers = [asyncio.run(in_process.answer(app, requests)) for app in apps[int(sys.argv[1]) :][:1]]
print(json.dumps(answers[0]))
"""


@pytest.mark.slow
def test_the_typed_calls_answer_like_the_middleware_in_front_of_them(model_dir):
    """The same numbers, statuses and messages; BentoML wraps an error in a list."""
    row = golden_rows(load_model(model_dir), 1)["rows"][0]
    requests = [
        ("/predict", row),
        ("/rank", {"context": row, "candidates": [{"C14": 1}, {"C14": None}]}),
        ("/predict", {"hour": "x"}),
        ("/rank", {"context": row, "candidates": []}),
    ]
    environment = {"CLICKLAB_MODEL_DIR": str(model_dir)}
    found = [
        json.loads(
            run_python(WITH_AND_WITHOUT, which, content=requests, **environment).splitlines()[-1]
        )
        for which in "01"
    ]
    for (status, fast), (typed_status, typed) in zip(*found, strict=True):
        assert status == typed_status
        if status == 200:
            assert fast | {"request_id": ""} == typed | {"request_id": ""}
        else:
            assert [fast] == typed


# ---- the real thing


@pytest.mark.slow
def test_the_served_bento_gives_the_models_numbers(endpoint, model_dir):
    """Through HTTP, BentoML and the packed files: equal to the artifact to 1e-6."""
    model = load_model(model_dir)
    for row in [
        *golden_rows(model, 20)["rows"],
        {"C1": "1005"},
        {"hour": 14102113, "C14": None, "C1": 1005},
    ]:
        status, body = fetch(f"{endpoint}/predict", json.dumps(row).encode())
        answer = json.loads(body)
        assert status == 200
        assert answer["prediction"] == pytest.approx(model.predict_row(row), abs=1e-6)
        assert (answer["model"], answer["version"]) == ("ftrl", model.version)


@pytest.mark.slow
@pytest.mark.parametrize(("body", "status", "named"), BAD_BODIES, ids=range(len(BAD_BODIES)))
def test_the_served_bento_refuses_bad_requests(endpoint, body, status, named):
    """The refusals survive the layers around the app."""
    found, answer = fetch(f"{endpoint}/predict", body)
    assert found == status
    assert named in json.loads(answer)["error"]


CLIENT = """
import json, sys
import bentoml
from bentoml.exceptions import UnprocessableEntity

context, *rows = json.load(sys.stdin)
with bentoml.SyncHTTPClient(sys.argv[1]) as client:
    found = [client.predict(context), client.rank(context=context, candidates=rows)]
    try:
        client.predict({**context, "hour": "x"})
    except UnprocessableEntity as error:
        found.append(str(error))
print(json.dumps(found))
"""


@pytest.mark.slow
def test_bentomls_own_client_makes_both_calls(endpoint, model_dir):
    """`SyncHTTPClient` gets the model's numbers, and raises a refusal with the message that names the field."""
    model = load_model(model_dir)
    rows = golden_rows(model, 4)["rows"]
    done = run_python(CLIENT, endpoint, content=rows)
    answer, ranked, refusal = json.loads(done.splitlines()[-1])
    assert answer["prediction"] == pytest.approx(model.predict_row(rows[0]), abs=1e-9)
    assert ranked["predictions"] == pytest.approx(model.predict_rows(rows[1:]), abs=1e-9)
    for found in (answer, ranked):
        assert (found["model"], found["version"]) == ("ftrl", model.version)
    assert "field 'hour'" in refusal


@pytest.mark.slow
def test_the_page_loads_and_its_examples_are_answered(endpoint):
    """Swagger UI's files are there, and posting the document's example, as "Execute" does, succeeds."""
    page = fetch(f"{endpoint}/")[1].decode()
    files = re.findall(r'(?:src|href)="\./(static_content/[^"]+)"', page)
    assert any("swagger-ui-bundle.js" in name for name in files)
    assert [fetch(f"{endpoint}/{name}")[0] for name in files] == [200] * len(files)
    document = json.loads(fetch(f"{endpoint}/docs.json")[1])
    assert [server["url"] for server in document["servers"]] == ["."]
    for path in ("/predict", "/rank"):
        call = document["paths"][path]["post"]
        reference = call["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        example = document["components"]["schemas"][reference.rpartition("/")[2]]["example"]
        assert fetch(f"{endpoint}{path}", json.dumps(example).encode())[0] == 200
        assert call["tags"][0] in {tag["name"] for tag in document["tags"]}


@pytest.mark.slow
def test_bentomls_own_routes_stay_beside_ours(endpoint):
    """Probes, metrics, documents and the index answer; what does not exist is a 404."""
    for path in ("livez", "readyz", "metrics", "healthcheck", "docs.json", ""):
        assert fetch(f"{endpoint}/{path}")[0] == 200, path
    assert fetch(f"{endpoint}/nothing")[0] == 404
    assert fetch(f"{endpoint}/predict")[0] == 405
    document = json.loads(fetch(f"{endpoint}/docs.json")[1])
    assert {"/predict", "/healthcheck", "/livez", "/readyz", "/metrics"} <= set(document["paths"])
    fetch(f"{endpoint}/predict", b"{}")
    assert 'ctr_requests_total{call="predict"' in fetch(f"{endpoint}/metrics")[1].decode()


@pytest.mark.slow
def test_a_served_model_that_is_damaged_is_live_but_not_ready(bento, model_dir, tmp_path):
    """An orchestrator sees it, and the reason can be read; CLICKLAB_MODEL_DIR names another model."""
    receipt, home = bento
    folder = tmp_path / "model"
    shutil.copytree(model_dir, folder)
    _other_golden(folder)
    with served(
        receipt["bento"], home=home, log=tmp_path / "serve.log", CLICKLAB_MODEL_DIR=str(folder)
    ) as (address, _):
        assert fetch(f"{address}/livez")[0] == 200
        assert fetch(f"{address}/readyz")[0] == 503
        status, body = fetch(f"{address}/healthcheck")
        assert status == 503
        assert "golden row 3" in json.loads(body)["error"]
        assert fetch(f"{address}/predict", b"{}")[0] == 503


@pytest.mark.slow
def test_two_servers_of_one_home_keep_their_metrics_apart(bento, tmp_path):
    """The second one empties BentoML's folder when it starts; each has limits of connections, too."""
    receipt, home = bento
    counted = 'ctr_requests_total{call="predict",outcome="200",variant="champion"} %s'
    options = {"home": home, "BENTOML_CONFIG_OPTIONS": "services.ctr.workers=1"}
    with served(receipt["bento"], log=tmp_path / "one.log", **options) as (one, _):
        for _ in range(3):
            assert fetch(f"{one}/predict", json.dumps(ROW).encode())[0] == 200
        assert fetch(f"{one}/livez", headers={"x": "y" * 20_000})[0] == 431
        with served(receipt["bento"], log=tmp_path / "two.log", **options) as (two, _):
            assert fetch(f"{two}/predict", json.dumps(ROW).encode())[0] == 200
            assert counted % "3.0" in fetch(f"{one}/metrics")[1].decode()
            assert counted % "1.0" in fetch(f"{two}/metrics")[1].decode()


@pytest.mark.slow
def test_it_listens_on_this_machine_only_and_stops_on_sigterm(bento, tmp_path):
    """Nothing is open to the network unless --host says so, and SIGTERM ends every process of it."""
    receipt, home = bento
    with served(receipt["bento"], home=home, log=tmp_path / "serve.log") as (address, process):
        port = urlsplit(address).port
        with socket.socket() as other, pytest.raises(ConnectionRefusedError):
            other.connect(("127.0.0.2", port))  # 0.0.0.0 would answer here
        process.terminate()
        assert process.wait(timeout=20) == 0
        with socket.socket() as gone, pytest.raises(ConnectionRefusedError):
            gone.connect(("127.0.0.1", port))
