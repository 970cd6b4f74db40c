"""An answer is explained from the exposure log to the ledger, and computed again; on a real MLflow store."""

import json

import numpy as np
import pytest

from bentos.ctr.exposures.record import Exposure, LineEncoder
from tasks.errors import InputError
from tasks.provenance.audit import audit
from tasks.provenance.models import open_model
from tasks.registry import mlflow_store
from tasks.registry.ledger import append_decision
from tasks.registry.mlflow_store import ARTIFACT_VERSION
from tasks.registry.runs import log_model, open_experiment
from tasks.schema import load_schema
from tasks.serving.candidates import Candidates
from tasks.serving.exposure_files import write_parquet
from tests.bentos.ctr.serving import trained_model
from tests.stores import mlflow_client

pytestmark = pytest.mark.slow  # MLflow makes a database
AVAZU = load_schema("avazu")
CONTEXT = AVAZU.example_row()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model whose numbers differ from row to row."""
    return trained_model(tmp_path_factory.mktemp("model") / "model", AVAZU)


@pytest.fixture(scope="module")
def env(tmp_path_factory, model):
    """The knobs of a store with that model as champion."""
    folder = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    client = mlflow_client(uri)
    experiment = open_experiment(client, "ctr-sim-avazu", artifact_root=folder / "artifacts")
    run_id = client.create_run(experiment).info.run_id
    client.set_tag(run_id, ARTIFACT_VERSION, model.version)
    files = folder / "model"
    log_model(client, run_id, trained_folder(files))
    number = mlflow_store.register(client, "ctr-avazu", run_id, tags={})
    mlflow_store.set_alias(client, "ctr-avazu", "champion", number)
    ledger = folder / "ledger.jsonl"
    append_decision(ledger, {"decision": "promoted", "run_id": run_id, "artifact_version": model.version, "metrics": {"log_loss": 0.4}, "previous_champion": None, "reasons": []})  # fmt: skip
    return {"mlflow": {"tracking_uri": uri, "ledger": str(ledger)}}


def trained_folder(folder):
    trained_model(folder, AVAZU)  # the same draws as the model's
    return folder


@pytest.fixture(scope="module")
def exposures(tmp_path_factory, model):
    """A folder with a prediction in a file still being written, a ranking as Parquet, one of an unknown version, one that was changed."""
    folder = tmp_path_factory.mktemp("exposures")
    encoder = LineEncoder()
    many = [{"C14": str(number)} for number in range(7)]
    ranked = model.predict_rows([CONTEXT | one for one in many])
    single = float(model.predict_rows([CONTEXT])[0])
    where = {"unit_field": "device_id", "experiment": "e" * 12}

    def line(request, call, seen, p_click, version=model.version):
        return encoder.encode(Exposure(request, 10**18, call, "main", version, "u", False, seen, p_click, None, *where.values())) + b"\n"  # fmt: skip

    (folder / "a.jsonl.part").write_bytes(line("one", "predict", CONTEXT, single))
    seen = (CONTEXT, Candidates.of(CONTEXT, many))
    (folder / "b.jsonl").write_bytes(line("many", "rank", seen, ranked.tolist()))
    write_parquet(folder / "b.jsonl", folder / "b.parquet")
    (folder / "b.jsonl").unlink()
    other = [line("gone", "predict", CONTEXT, single, "0" * 12), line("wrong", "predict", CONTEXT, single + 0.01)]  # fmt: skip
    (folder / "c.jsonl").write_bytes(b"".join(other))
    (folder / "d.jsonl").write_bytes(b"[1]\n" * 3)  # no exposures; it hides no others
    return folder


@pytest.mark.parametrize(("request_id", "shown"), [("one", 1), ("many", 5)])
def test_an_answer_leads_to_its_model_and_is_computed_again(
    env, exposures, model, request_id, shown
):
    """From a file still being written as from Parquet, for a prediction as for a ranking."""
    found = audit(env, request_id, str(exposures))
    lines = dict(found.lines)
    assert found.agrees
    assert lines["answer"].count("0.") == shown
    assert lines["again"].startswith(lines["answer"])
    assert model.version in lines["variant"]
    assert "promoted" in lines["decision"]
    assert "(champion)" in lines["model"]
    assert f"C14 {CONTEXT['C14']}" in lines["fields"] or request_id == "many"


def test_a_changed_line_is_noticed(env, exposures):
    """The numbers differ, and the difference is said."""
    found = audit(env, "wrong", str(exposures))
    assert found.agrees is False
    assert "differs by up to 1.0e-02" in dict(found.lines)["again"]


def test_a_version_that_the_store_does_not_know_is_said(env, exposures):
    """What the log holds is shown all the same."""
    found = audit(env, "gone", str(exposures))
    assert found.agrees is None
    assert "neither in the ledger nor in the runs" in dict(found.lines)["model"]


def test_an_unknown_request_is_one_line(env, exposures):
    """It names what was searched."""
    with pytest.raises(InputError, match="no request 'none' among the exposures of 4 files"):
        audit(env, "none", str(exposures))


def test_a_model_opens_by_folder_by_name_and_by_default(env, model, tmp_path):
    """The champion, unless another is named; one that reads other columns is refused."""
    trained_model(tmp_path / "model", AVAZU)
    for named in ("", "ctr-avazu@champion", "ctr-avazu/1", str(tmp_path / "model")):
        with open_model(env, named, AVAZU) as found:
            assert found.version == model.version
            np.testing.assert_array_equal(found.predict_rows([CONTEXT]), model.predict_rows([CONTEXT]))  # fmt: skip
    raw = json.loads(json.dumps(AVAZU.to_dict()))
    raw["fields"] = {"C1": {}}
    raw |= {"features": [], "crosses": [], "slices": [], "unit": []}
    from tasks.schema import Schema

    with (
        pytest.raises(InputError, match="reads the field"),
        open_model(env, str(tmp_path / "model"), Schema.from_dict(raw)),
    ):
        pass
