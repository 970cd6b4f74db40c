"""A model by the names that people have for it; on a real MLflow store."""

import pytest

from tasks.errors import ConfigError, InputError
from tasks.provenance.lineage import lineage
from tasks.provenance.models import find_model, started_from
from tasks.registry import mlflow_store
from tasks.registry.ledger import append_decision
from tasks.registry.mlflow_store import ARTIFACT_VERSION
from tasks.registry.runs import log_dataset, log_params, open_experiment
from tests.stores import mlflow_client

pytestmark = pytest.mark.slow  # MLflow makes a database
JUDGED, TAGGED, SERVED = "aaaaaaaaaaaa", "bbbbbbbbbbbb", "cccccccccccc"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two runs: one registered, judged and packed in a Bento; one that only says its version. And the knobs."""
    folder = tmp_path_factory.mktemp("lineage")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    client = mlflow_client(uri)
    experiment = open_experiment(client, "ctr-sim-avazu", artifact_root=folder / "artifacts")
    runs = [client.create_run(experiment).info.run_id for _ in range(2)]
    log_params(client, runs[0], {"model": "ftrl", "alpha": 0.1, "bits": 16})
    log_dataset(client, runs[0], name="avazu", source="sim://avazu?rows=9", digest="d", rows={"train": 1000})  # fmt: skip
    client.set_tag(runs[1], ARTIFACT_VERSION, TAGGED)
    version = mlflow_store.register(client, "ctr-avazu", runs[0], tags={})
    for alias in ("champion", "challenger"):
        mlflow_store.set_alias(client, "ctr-avazu", alias, version)
    decision = {"decision": "promoted", "run_id": runs[0], "artifact_version": JUDGED, "served_version": SERVED, "metrics": {"log_loss": 0.4265}, "previous_champion": None, "reasons": []}  # fmt: skip
    append_decision(folder / "ledger.jsonl", decision)
    append_decision(folder / "ledger.jsonl", decision | {"decision": "refused", "previous_champion": "4", "reasons": ["calibration ratio 1.9"]})  # fmt: skip
    bento = folder / "bentos/ctr/n3mz"
    bento.mkdir(parents=True)
    (bento / "bento.yaml").write_text(f"name: ctr\nversion: n3mz\ncreation_time: '2026-11-27T22:03:00'\nlabels: {{version: {JUDGED}}}\n")  # fmt: skip
    (bento.parent / "latest").write_text("n3mz")
    return folder, runs


@pytest.fixture
def find(store, monkeypatch):
    """Return a function that finds a model, and says which of the two it is."""
    folder, _ = store
    monkeypatch.setenv("BENTOML_HOME", str(folder))
    tracking = {"tracking_uri": f"sqlite:///{folder / 'mlflow.db'}", "ledger": str(folder / "ledger.jsonl")}  # fmt: skip
    return lambda **names: find_model({"mlflow": tracking}, **names)


@pytest.mark.parametrize(
    ("names", "which"),
    [
        ({"model": "ctr-avazu@champion"}, 0),
        ({"model": "ctr-avazu/1"}, 0),
        ({"bento": "ctr:n3mz"}, 0),
        ({"bento": "ctr:latest"}, 0),
        ({"bento": "ctr"}, 0),
        ({"version": JUDGED}, 0),
        ({"version": SERVED}, 0),
        ({"run": JUDGED}, 0),
        ({"version": TAGGED}, 1),
    ],
)
def test_each_name_leads_to_the_run(store, find, names, which):
    """Alias, version in the registry, Bento, the version in a model's files, or a run's id."""
    assert find(**names).run.info.run_id == store[1][which]
    assert find(run=store[1][which]).version == (JUDGED, TAGGED)[which]


@pytest.mark.parametrize(
    ("names", "error", "words"),
    [
        ({}, ConfigError, "name one model, found none"),
        ({"model": "a@b", "run": JUDGED}, ConfigError, "name one model, found MODEL and RUN"),
        ({"model": "ctr-avazu"}, ConfigError, "write ctr-avazu@champion or ctr-avazu/1"),
        ({"model": "@champion"}, ConfigError, "names no version"),
        ({"model": "other@champion"}, InputError, "no model is registered as 'other'; there are: ctr-avazu"),
        ({"model": "o'ther@champion"}, InputError, "no model is registered"),
        ({"model": "ctr-avazu@best"}, InputError, "has no alias 'best'; it has ch"),
        ({"model": "ctr-avazu/7"}, InputError, "has no version '7'; it has 1"),
        ({"bento": "ctr:nope"}, InputError, "there is no Bento ctr:nope .*there are: ctr:n3mz"),
        ({"version": "123"}, ConfigError, "is neither a version"),
        ({"version": "0123456789ab"}, InputError, "is neither in the ledger nor in the runs"),
        ({"run": "0" * 32}, InputError, "there is no run 0000"),
    ],
)  # fmt: skip
def test_a_name_that_leads_nowhere_says_what_there_is(find, names, error, words):
    """One line each."""
    with pytest.raises(error, match=words):
        find(**names)


def test_the_lines_of_a_model_that_was_judged(find):
    """Both decisions, the Bento; what an older release did not record is said."""
    lines = lineage(find(model="ctr-avazu@champion"))
    said = "\n".join(f"{label}: {text}" for label, text in lines)
    for words in (
        f"model: ftrl, version {JUDGED}; ctr-avazu version 1 (challenger, champion)",
        "parameters: alpha 0.1, bits 16",
        "data: sim://avazu?rows=9, origin not recorded, digest not recorded; 1,000 rows to train",
        "notebooks: not recorded",
        "packages: not recorded",
        "test log loss 0.4265; there was no champion",
        "decision: refused",
        "the champion was version 4; calibration ratio 1.9",
        "Bento: ctr:n3mz, built 2026-11-27 22:03",
    ):
        assert words in said


def test_a_training_that_went_on_says_from_which_version(store, find, tmp_path):
    """In its model's file; one without such a file, or from scratch, says nothing."""
    folder, runs = store
    client = mlflow_client(f"sqlite:///{folder / 'mlflow.db'}")
    assert started_from(find(version=TAGGED)) is None
    client.log_text(runs[1], '{"info": {"started_from": "cccccccccccc"}}', "model/model.json")
    assert started_from(find(version=TAGGED)) == SERVED
