"""All parts of a split: what one call writes is what the single calls write."""

import pytest

from tasks.errors import ConfigError
from tasks.hashing.contract import HashContract
from tasks.hashing.split_features import PARTS, write_split
from tasks.hashing.store import write_features
from tasks.ingest import ingest_log
from tasks.logs.log import Log
from tasks.logs.split import split_log
from tasks.schema import load_schema


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("split") / "log"
    ingest_log("sim://avazu?rows=3000&seed=7", folder, schema=load_schema("avazu"))
    return Log.open(folder)


@pytest.fixture
def contract():
    return HashContract.from_schema(load_schema("avazu"), bits=12)


def test_each_part_has_its_folder_and_the_contract_lies_beside(log, contract, tmp_path):
    """The same bytes as part by part, and every row in one of them."""
    split = split_log(log)
    features = write_split(log, split, contract, tmp_path / "all", 500)
    for name in PARTS:
        write_features(log, getattr(split, name), contract, tmp_path / "single" / name, 500)
        files = sorted((tmp_path / "single" / name).iterdir())
        assert files
        for path in files:
            assert (tmp_path / "all" / name / path.name).read_bytes() == path.read_bytes()
    assert sum(part.n_rows for part in features.values()) == log.n_rows
    assert HashContract.load(tmp_path / "all" / "contract.json") == contract


def test_a_malformed_engine_is_refused_before_anything_is_written(log, contract, tmp_path):
    """One line says what it may be."""
    with pytest.raises(ConfigError, match="engine must be local, dask"):
        write_split(log, split_log(log), contract, tmp_path, engine="spark")
    assert list(tmp_path.iterdir()) == []
