"""The service: the same numbers as the model, an answer to every request, and honest about its health."""

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bentos.ctr.app import CtrApp
from bentos.ctr.impressions import MAX_BODY_BYTES
from bentos.ctr.parity import GOLDEN, ask, read_golden
from tasks.errors import ContractError
from tasks.models.artifact import load_model
from tasks.packaging import serving_requirements
from tasks.schema import Schema, load_schema
from tests.bentos.serving import fetch, golden_rows, served, trained_model
from tests.conftest import ROOT

ROW = load_schema("avazu").example_row()
BAD_BODIES = [
    (b"", 400, "JSON"),
    (b"{", 400, "JSON"),
    (b"null", 400, "null"),
    (b"[]", 400, "a list"),
    (b'"text"', 400, "text"),
    (b"12", 400, "a number"),
    (b'{"C14": NaN}', 400, "NaN"),
    (b'{"C14": "\xff"}', 400, "UTF-8"),
    (b"[" * 60_000, 400, "nested"),
    (b'{"C14": ' + b"1" * 60_000 + b"}", 400, "digits"),
    (b'{"banner_pos": true}', 422, "'banner_pos'"),
    (b'{"banner_pos": [1]}', 422, "'banner_pos'"),
    (b'{"banner_pos": {"a": 1}}', 422, "'banner_pos'"),
    (b'{"C14": 1e999}', 422, "'C14'"),
    (b'{"C14": "\\ud800"}', 422, "'C14'"),
    (b'{"hour": "yesterday"}', 422, "'hour'"),
    (b'{"hour": "14102199"}', 422, "'hour'"),
    (b'{"hour": ""}', 422, "'hour'"),
    (b'{"hour": 1.5}', 422, "'hour'"),
    (b'{"hour": []}', 422, "'hour'"),
    (b'{"hour": "' + b"x" * 60_000 + b'"}', 422, "'hour'"),
    (b"x" * (MAX_BODY_BYTES + 1), 413, "larger than 65536 bytes"),
]


def drive(app, messages: list[dict], *, path="/predict", headers=(), method="POST") -> list[dict]:
    """Return what the app sends when these messages come in, one after the other."""
    waiting, sent = list(messages), []

    async def receive():
        return waiting.pop(0)

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": list(headers),
        "query_string": b"",
    }
    asyncio.run(app(scope, receive, send))
    return sent


def get(app, path: str) -> tuple[int, dict]:
    start, body = drive(app, [], path=path, method="GET")
    return start["status"], json.loads(body["body"])


def predict(app, row) -> dict:
    status, body = ask(app, "/predict", json.dumps(row).encode())
    assert status == 200, body
    return json.loads(body)


# ---- predictions


def test_the_answer_is_the_models_own_number(app, model_dir):
    """Value, name and version are those of the artefact, to the last bit."""
    model = load_model(model_dir)
    expected = {"prediction": model.predict_row(ROW), "model": "ftrl", "version": model.version}
    assert predict(app, ROW) == expected


def test_integers_and_texts_are_the_same_value(app):
    """Clients that send numbers get what clients that send text get."""
    numbers = {
        name: int(value) if value.isdigit() and value[0] != "0" else value
        for name, value in ROW.items()
    }
    assert any(type(value) is int for value in numbers.values())
    assert predict(app, numbers) == predict(app, ROW)
    assert predict(app, ROW | {"C14": 15706.0}) == predict(app, ROW)


@pytest.mark.parametrize("name", [*ROW])
def test_an_absent_field_is_a_missing_one_as_in_training(app, model_dir, name):
    """Leaving out a field, sending null, and a null in the arrays are one and the same."""
    absent = {key: value for key, value in ROW.items() if key != name}
    assert predict(app, absent) == predict(app, ROW | {name: None})
    expected = load_model(model_dir).predict_rows([ROW | {name: None}])[0]
    assert predict(app, absent)["prediction"] == pytest.approx(expected, abs=1e-12)


def test_an_empty_object_and_unknown_fields_are_answered(app):
    """Nothing but missing values is a request, and what the model does not know is ignored."""
    assert predict(app, {"campaign_note": [1, {"a": True}], "click": True}) == predict(app, {})


def test_another_teams_schema_needs_no_code(tmp_path):
    """Other names, an ISO time, no device fields: types and documents follow the model's contract."""
    schema = Schema.from_dict(
        {
            "name": "shop",
            "label": "bought",
            "time": {"column": "seen_at", "format": "iso"},
            "time_features": ["hour_of_day", "weekday"],
            "fields": {"page": {"example": "home", "about": "where"}, "country": {"example": "CH"}},
            "crosses": [["page", "country"]],
        }
    )
    model = trained_model(tmp_path, schema)
    app = CtrApp()
    app.load(tmp_path)
    assert app.health["parity"] == "unchecked"
    row = {"seen_at": "2026-03-01T12:00:00+01:00", "page": "home", "country": "CH"}
    assert predict(app, row)["prediction"] == model.predict_row(row)
    status, body = ask(app, "/predict", b'{"seen_at": "14102100x"}')
    assert (status, "'seen_at'" in body.decode()) == (422, True)
    document = get(app, "/docs.json")[1]
    assert list(document["components"]["schemas"]["Impression"]["properties"]) == [
        "seen_at",
        "page",
        "country",
    ]


# ---- refusals


@pytest.mark.parametrize(("body", "status", "named"), BAD_BODIES, ids=range(len(BAD_BODIES)))
def test_a_bad_request_is_refused_in_one_line_that_names_the_fault(app, body, status, named):
    """A client's mistake is a 4xx with a short reason, never a 5xx."""
    found, answer = ask(app, "/predict", body)
    assert found == status
    assert list(json.loads(answer)) == ["error"]
    error = json.loads(answer)["error"]
    assert named in error
    assert len(error) <= 300
    assert "\n" not in error
    assert "Traceback" not in error


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(row=st.dictionaries(st.sampled_from([*ROW]) | st.text(max_size=5), JSON_VALUES, max_size=8))
def test_any_object_gets_a_probability_or_a_reason(app, row):
    """Whatever JSON can say, the answer is 200 with a probability or 4xx with one line."""
    _check_answer(*ask(app, "/predict", json.dumps(row).encode()))


@settings(max_examples=300, deadline=None)
@given(body=st.binary(max_size=200))
def test_any_bytes_get_an_answer(app, body):
    """No bytes make it fail."""
    _check_answer(*ask(app, "/predict", body))


def _check_answer(status: int, body: bytes) -> None:
    answer = json.loads(body)
    if status == 200:
        assert 0 <= answer["prediction"] <= 1
    else:
        assert 400 <= status < 500
        assert list(answer) == ["error"]


def test_a_body_in_pieces_is_put_together(app):
    """A chunked upload is one impression."""
    body = json.dumps(ROW).encode()
    pieces = [
        {"type": "http.request", "body": body[:7], "more_body": True},
        {"type": "http.request", "body": body[7:]},
    ]
    assert json.loads(drive(app, pieces)[1]["body"]) == predict(app, ROW)


def test_a_large_body_is_refused_before_it_is_read(app):
    """The announced length is enough; without one, reading stops at the limit."""
    announced = drive(app, [], headers=[(b"content-length", b"999999999999999999999999")])
    assert announced[0]["status"] == 413
    chunk = {"type": "http.request", "body": b" " * 40_000, "more_body": True}
    assert drive(app, [chunk, chunk, chunk])[0]["status"] == 413


def test_a_client_that_has_gone_gets_nothing(app):
    """No answer is made up for half a request."""
    half = {"type": "http.request", "body": b"{", "more_body": True}
    assert drive(app, [half, {"type": "http.disconnect"}]) == []
    assert drive(app, [{"type": "http.disconnect"}]) == []


def test_only_post_predicts(app):
    """The answer to GET says what to send."""
    sent = drive(app, [], method="GET")
    assert sent[0]["status"] == 405
    assert (b"allow", b"POST") in sent[0]["headers"]


def test_a_defect_is_logged_and_not_shown(app, monkeypatch, caplog):
    """What cannot happen is a 500 without a stack trace in its body."""
    monkeypatch.setattr(app, "predict", lambda body: 1 / 0)
    status, body = ask(app, "/predict", b"{}")
    assert status == 500
    assert b"ZeroDivision" not in body
    assert "ZeroDivisionError" in caplog.text


# ---- health


def test_the_health_check_names_model_and_parity(app, model_dir):
    """Who serves, and that it was checked with how many rows."""
    status, health = get(app, "/healthcheck")
    model = load_model(model_dir)
    assert status == 200
    assert health == {
        "status": "ok",
        "model": "ftrl",
        "version": model.version,
        "contract": model.contract.digest,
        "parity": "ok",
        "n_golden": 8,
        "max_abs_diff": pytest.approx(0, abs=1e-9),
    }


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
    """The process lives, is not ready, and says why; /predict answers 503."""
    folder = tmp_path / "model"
    shutil.copytree(model_dir, folder)
    damage(folder)
    app = CtrApp()
    app.load(folder)
    status, health = get(app, "/healthcheck")
    assert not app.is_ready
    assert (status, health["status"]) == (503, "unavailable")
    assert re.search(reason, health["error"])
    assert ask(app, "/predict", b"{}")[0] == 503


def test_without_golden_rows_there_is_nothing_to_prove_with(tmp_path):
    """Rows and predictions must be there and as many."""
    (tmp_path / GOLDEN).write_text(json.dumps({"rows": [{}], "p_click": []}))
    with pytest.raises(ContractError, match="1 golden rows and 0 predictions"):
        read_golden(tmp_path)


# ---- documents


def test_the_openapi_document_describes_predict_with_an_example(app):
    """Types and example come from the schema, and the example is a request that works."""
    document = get(app, "/docs.json")[1]
    assert "requestBody" in document["paths"]["/predict"]["post"]
    impression = document["components"]["schemas"]["Impression"]
    assert [*impression["properties"]] == [*ROW]
    assert predict(app, impression["example"]) == predict(app, ROW)


ONLY_PINNED = """
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

pins = set(sys.argv[2].split())
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
assert {"pandas", "sklearn", "scipy", "mlflow", "boto3"} <= foreign
from bentos.ctr import service

service.APP.load(Path(sys.argv[1]))
assert service.APP.is_ready, service.APP.health
"""


def test_the_packed_requirements_are_enough_for_the_service(model_dir):
    """With every other installed package hidden (pandas, scikit-learn, MLflow ...) it loads and predicts."""
    pins = [
        line.split("==")[0]
        for line in serving_requirements((ROOT / "requirements.lock").read_text())
    ]
    command = [sys.executable, "-W", "ignore", "-c", ONLY_PINNED, str(model_dir), " ".join(pins)]
    environment = os.environ | {"BENTOML_DO_NOT_TRACK": "True"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


# ---- the real thing


@pytest.mark.slow
def test_the_served_bento_gives_the_models_numbers(endpoint, model_dir):
    """Through HTTP, BentoML and the packed files: equal to the artefact to 1e-6."""
    model = load_model(model_dir)
    for row in [*golden_rows(model, 20)["rows"], {}, {"hour": 14102113, "C14": None}]:
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
    assert 'endpoint="/predict"' in fetch(f"{endpoint}/metrics")[1].decode()


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
def test_it_listens_on_this_machine_only_and_stops_when_told(bento, tmp_path):
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
