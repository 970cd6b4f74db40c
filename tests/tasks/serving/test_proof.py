"""The proof: whatever predicts another number somewhere, it is found, and said in one line."""

import json
import os
import shutil
import socket
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import ClicklabError, ContractError
from tasks.models.artifact import load_model
from tasks.schema import load_schema
from tasks.serving import packed_service, proof
from tasks.serving.packed_service import isolated, serving
from tasks.serving.proof import TOLERANCE, differences, predict_artifact, prove
from tasks.serving.receipt import MODEL, changed_files, packed_digests
from tests.bentos.ctr.serving import golden_rows, trained_model
from tests.conftest import ROOT

N_ROWS = 8
PLACES = ("/predict in process", "/rank in process", "/predict live", "/rank live")
# Stands in for the service: the packed model behind two routes, and an error where `off.json` wants one.
SERVICE = """
import json, sys
from pathlib import Path
import bentoml
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from tasks.models.artifact import load_model

HERE = Path(__file__).parent
MODEL = load_model(HERE / "model")
OFF = json.loads((HERE / "off.json").read_text())
WHERE = "in process" if sys.argv[0].endswith("in_process.py") else "live"

async def predict(request):
    row = await request.json()
    return JSONResponse({"prediction": answer("/predict", row), "version": OFF["version"] or MODEL.version}, OFF["status"])

async def rank(request):
    asked = await request.json()
    rows = [{**asked["context"], **candidate} for candidate in asked["candidates"]]
    return JSONResponse({"predictions": [answer("/rank", row) for row in rows], "version": MODEL.version})

def answer(call, row):
    wrong = OFF["place"] == f"{call} {WHERE}" and row[OFF["field"]] == OFF["value"]
    return MODEL.predict_row(row) + OFF["by"] * wrong

APP = Starlette(routes=[Route("/predict", predict, methods=["POST"]), Route("/rank", rank, methods=["POST"])])

@bentoml.asgi_app(APP, path="/")
@bentoml.service(name="ctr", workers=1, http={"host": "127.0.0.1"})
class Ctr:
    async def __is_ready__(self) -> bool:
        return OFF["ready"]
"""


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    """A trained model on disk."""
    folder = tmp_path_factory.mktemp("models") / "ftrl"
    trained_model(folder, load_schema("avazu"))
    return folder


@pytest.fixture(scope="module")
def golden(model_dir):
    """Rows and what the model predicts for them."""
    return golden_rows(load_model(model_dir), N_ROWS)


@pytest.fixture(scope="module")
def packed(model_dir, golden, tmp_path_factory):
    """A packed service that answers what it should, unless `off.json` says otherwise."""
    folder = tmp_path_factory.mktemp("packed")
    shutil.copytree(ROOT / "tasks", folder / "tasks", ignore=shutil.ignore_patterns("*.pyc"))
    shutil.copytree(model_dir, folder / MODEL)
    shutil.copy(ROOT / "bentos/ctr/in_process.py", folder / "bentos/ctr/in_process.py")
    (folder / "bentos/ctr/service.py").write_text(SERVICE)
    return folder


@pytest.fixture
def misbehave(packed):
    """Make the packed service answer wrongly, until the test ends."""
    field = load_schema("avazu").field_names[0]
    good = {"place": "", "field": field, "value": "3", "by": 0.0, "status": 200, "ready": True}
    good["version"] = ""
    path = packed / "bentos/ctr/off.json"
    path.write_text(json.dumps(good))
    yield lambda **how: path.write_text(json.dumps(good | how))
    path.write_text(json.dumps(good))


# ---- comparing


def test_the_largest_difference_of_each_pair_is_found():
    """By hand; the order of the pairs is that of the places."""
    found = differences({"a": [0.5, 0.25], "b": [0.5, 0.25 + 4e-7], "c": [0.5 - 3e-7, 0.25]})
    assert list(found) == ["a | b", "a | c", "b | c"]
    assert list(found.values()) == pytest.approx([4e-7, 3e-7, 4e-7], abs=1e-12)


@pytest.mark.parametrize("wrong", [0.25 + 1.1e-6, 0.25 - 1.1e-6, float("nan"), 0.0])
def test_a_difference_is_one_line_with_row_places_and_numbers(wrong):
    """It names where to look."""
    with pytest.raises(ContractError) as caught:
        differences({"notebook": [0.5, 0.25], "/rank live": [0.5, wrong]})
    line = str(caught.value)
    assert line.startswith(f"row 1: /rank live predicts {wrong!r}, notebook 0.25;")
    assert "\n" not in line


def test_a_missing_row_is_noticed():
    """Fewer predictions than rows are no proof."""
    with pytest.raises(ContractError, match="notebook predicts 2 rows, /rank live 1"):
        differences({"notebook": [0.5, 0.25], "/rank live": [0.5]})


VALUES = st.dictionaries(st.sampled_from("abcdef"), st.none() | st.text(max_size=2), max_size=6)


@given(st.lists(VALUES, min_size=1, max_size=230))
def test_candidates_with_their_context_are_the_rows_again(rows):
    """Whatever is missing in a row is missing in the candidate, though the context may have it."""
    again = []
    for path, body in proof._rank_requests(rows):
        assert path == "/rank" and 1 <= len(body["candidates"]) <= 100
        again += [{**body["context"], **candidate} for candidate in body["candidates"]]
    for row, candidate in zip(rows, again, strict=True):
        assert {k: v for k, v in candidate.items() if v is not None} == {
            k: v for k, v in row.items() if v is not None
        }


def test_the_artifact_predicts_columns_as_it_predicts_rows(model_dir):
    """Missing values, numbers and texts alike."""
    example = load_schema("avazu").example_row()
    rows = [{}, example, example | {"C14": None}, example | {"C14": 15706}, {"hour": 14102100}]
    model = load_model(model_dir)
    expected = [model.predict_row(row) for row in rows]
    np.testing.assert_allclose(predict_artifact(model_dir, rows), expected, rtol=0, atol=1e-12)


# ---- digests


def test_every_packed_file_has_a_digest_and_code_has_one_of_its_own(packed, misbehave):
    """The model is separate from the code; compiled files and the proof itself do not count."""
    before = packed_digests(packed)
    assert before["model"] == load_model(packed / MODEL).version
    assert {"tasks/schema.py", "tasks/schemas/avazu.yaml", "bentos/ctr/service.py"} <= set(
        before["files"]
    )
    assert f"{MODEL.as_posix()}/weights.npy" in before["files"]
    assert not any("__pycache__" in path for path in before["files"])
    (packed / MODEL / "proof.json").write_text("{}")
    (packed / MODEL / "golden.json").write_text("{}")
    with_golden = packed_digests(packed)
    assert with_golden["code"] == before["code"]
    assert changed_files(before["files"], with_golden["files"]) == [
        f"{MODEL.as_posix()}/golden.json"
    ]
    misbehave(value="4")
    assert packed_digests(packed)["code"] != before["code"]


def test_the_services_environment_is_its_own(tmp_path, monkeypatch):
    """No key, no log, no metrics folder of a service that runs beside it."""
    for name in ("CLICKLAB_API_KEY", "CLICKLAB_EXPOSURES", "BENTOML_CONFIG"):
        monkeypatch.setenv(name, "set")
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path))
    with isolated(tmp_path) as environment:
        assert "set" not in environment.values()
        assert environment["PATH"] == os.environ["PATH"]
        assert Path(environment["BENTOML_HOME"]).is_dir()
        assert environment["BENTOML_HOME"] != str(tmp_path)
    assert not Path(environment["BENTOML_HOME"]).exists()


# ---- the whole proof


@pytest.mark.slow
def test_all_places_agree_and_the_receipt_says_so(packed, golden, model_dir, misbehave):
    """Fifteen pairs of six places, within the tolerance; nothing is left running."""
    receipt = prove(packed, golden, model_dir, data_digest="of the log")
    assert len(receipt["max_abs_diff"]) == 15
    assert {name for pair in receipt["max_abs_diff"] for name in pair.split(" | ")} == {
        *("notebook", "pipeline"),
        *PLACES,
    }
    assert max(receipt["max_abs_diff"].values()) <= TOLERANCE
    assert receipt["rows"] == N_ROWS
    assert receipt["digests"]["data"] == "of the log"
    assert receipt["digests"]["files"] == packed_digests(packed)["files"]
    json.dumps(receipt, allow_nan=False)
    assert not [process for process in psutil.process_iter() if _works_in(process, packed)]


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return Path(process.cwd()) == folder
    except psutil.Error:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_a_number_that_is_off_anywhere_is_found(place, packed, golden, model_dir, misbehave):
    """2e-6 in one row of one call of one service."""
    misbehave(place=place, by=2e-6)
    with pytest.raises(ContractError, match=f"^row 3: {place} predicts 0[.].*, notebook 0[.]"):
        prove(packed, golden, model_dir)


def test_what_the_notebook_left_must_be_what_the_model_predicts(
    packed, golden, model_dir, misbehave
):
    """Otherwise the service is not even asked."""
    wrong = golden | {"p_click": [*golden["p_click"][:5], 0.9, *golden["p_click"][6:]]}
    with pytest.raises(ContractError, match=r"^row 5: pipeline predicts 0\.\d+, notebook 0\.9;"):
        prove(packed, wrong, model_dir)


@pytest.mark.parametrize("golden_of", [{"rows": [], "p_click": []}, {"rows": [{}], "p_click": []}])
def test_no_rows_prove_nothing(golden_of, packed, model_dir):
    """Nor do rows without predictions."""
    with pytest.raises(ContractError, match="run `evaluate` again"):
        prove(packed, golden_of, model_dir)


@pytest.mark.slow
def test_a_row_without_an_answer_is_named(packed, golden, model_dir, misbehave):
    """An error status is not compared with anything."""
    misbehave(status=422)
    with pytest.raises(ContractError, match="row 0: /predict in process answers 422"):
        prove(packed, golden, model_dir)


@pytest.mark.slow
def test_another_model_than_the_packed_one_proves_nothing(packed, golden, model_dir, misbehave):
    """Not even if it gives the same numbers."""
    misbehave(version="0123456789ab")
    version = load_model(model_dir).version
    line = f"row 0: /predict in process answers with version 0123456789ab, packed is {version}"
    with pytest.raises(ContractError, match=line):
        prove(packed, golden, model_dir)


@pytest.mark.slow
def test_a_service_that_is_never_ready_is_given_up(packed, misbehave, monkeypatch):
    """It is stopped, and the port is free again."""
    misbehave(ready=False)
    monkeypatch.setattr(packed_service, "_UNREADY_S", 0.5)
    with (
        isolated(packed) as environment,
        serving(packed, environment) as server,
        pytest.raises(ClicklabError, match="does not become ready"),
    ):
        server.wait_until_ready()
    with socket.socket() as gone, pytest.raises(ConnectionRefusedError):
        gone.connect(("127.0.0.1", server.port))


@pytest.mark.slow
def test_a_service_that_cannot_start_says_why(packed, golden, model_dir, misbehave):
    """Its last words, not a time-out."""
    service = packed / "bentos/ctr/service.py"
    service.write_text("import nothing_of_that_name\n")
    try:
        with (
            isolated(packed) as environment,
            serving(packed, environment) as server,
            pytest.raises(ClicklabError, match="nothing_of_that_name"),
        ):
            server.wait_until_ready()
        with pytest.raises(ClicklabError, match="nothing_of_that_name"):
            prove(packed, golden, model_dir)
    finally:
        service.write_text(SERVICE)
