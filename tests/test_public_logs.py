"""The bundled schemas of public logs, each on rows made in its shape: ingested, validated, hashed, learned from."""

import pytest

from tasks.hashing.features.past_counts import contract_for
from tasks.hashing.split_features import write_split
from tasks.ingest import ingest_log
from tasks.logs.log import Log
from tasks.logs.split import split_log
from tasks.models.ftrl import FTRLProximal
from tasks.schema import BUNDLED, load_schema
from tasks.training.fit import fit_stream, validate
from tasks.validate import check_log
from tests.public_logs import PUBLIC, write_public


def test_each_bundled_schema_has_rows_to_be_tested_on():
    """Avazu's are the simulation's."""
    assert {path.stem for path in BUNDLED.glob("*.yaml")} == {"avazu", *PUBLIC}


@pytest.mark.parametrize("name", PUBLIC)
def test_a_bundled_schema_reads_its_log_and_models_learn_from_it(name, tmp_path):
    """No row goes to quarantine, the checks pass, and what decides the click is found."""
    schema = load_schema(name)
    source = write_public(tmp_path / "train.txt", name, 4000)
    manifest = ingest_log(str(source), tmp_path / "log", schema=schema)
    assert (manifest["n_rows_in"], manifest["n_quarantined"]) == (4000, 0)
    log = Log.open(tmp_path / "log")
    assert check_log(log, schema, {}).errors == []
    split = split_log(log)
    contract = contract_for(log, schema, split, bits=16)
    features = write_split(log, split, contract, tmp_path / "features", 2000)
    learner = FTRLProximal(n_features=2**16)
    fit_stream(learner, features["train"], features["valid"], max_epochs=3)
    _, roc_auc = validate(learner, features["valid"])
    assert roc_auc > 0.6


@pytest.mark.parametrize("name", PUBLIC)
def test_the_example_is_a_row_that_the_service_takes(name):
    """`make predict` sends it: every field has one."""
    row = load_schema(name).example_row()
    assert all(row.values())
