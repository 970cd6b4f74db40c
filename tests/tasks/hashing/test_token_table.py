"""The table of frequent values: counts, and codes that are those of the rows."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from tasks.hashing.contract import HashContract
from tasks.hashing.encode import encode_batch
from tasks.hashing.row_encoder import RowEncoder
from tasks.hashing.token_table import MISSING, frequent_values, load_values, write_values
from tasks.ingest import ingest_log
from tasks.logs.log import Log
from tasks.schema import load_schema


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("values") / "log"
    ingest_log("sim://avazu?rows=4000&seed=7", folder, schema=load_schema("avazu"))
    return Log.open(folder)


@pytest.fixture(scope="module")
def contract():
    return HashContract.from_schema(load_schema("avazu"), bits=16)


def test_counts_are_those_of_the_rows(log, contract):
    """Each field's values, most frequent first, against pandas and a plain counter."""
    values = frequent_values(log, contract, (1000, 4000), max_rows=2500)
    rows = log.to_pandas(["site_id", "click"], 1500, 4000)
    found = values[values["field"] == "site_id"].set_index("value")
    assert found["n_rows"].to_dict() == Counter(rows["site_id"].astype(object).fillna("(missing)"))
    clicks = rows.groupby(rows["site_id"].astype(object).fillna("(missing)"))["click"].sum()
    assert found["n_clicks"].sort_index().tolist() == clicks.sort_index().tolist()
    assert values["n_rows"].is_monotonic_decreasing


def test_every_token_of_a_row_is_in_the_table(log, contract):
    """Fields, time features and crosses: n_tokens counts per row, with the codes of that row."""
    values = frequent_values(log, contract, (0, 4000))
    assert set(values["field"]) == set(contract.token_fields)
    assert values["n_rows"].sum() == 4000 * contract.n_tokens
    known = set(zip(values["field"], values["code"], strict=True))
    codes = np.concatenate([encode_batch(batch, contract) for batch in log.batches()])
    for number, field in enumerate(contract.token_fields):
        assert {(field, code) for code in codes[:, number]} <= known


def test_a_value_written_out_has_the_code_of_the_table(log, contract):
    """A request that carries the value gets the same code; one encoder vouches for the other."""
    values = frequent_values(log, contract, (0, 4000), max_values=500)
    encoder = RowEncoder(contract)
    plain = values[values["field"].isin(contract.fields) & (values["value"] != MISSING)]
    assert len(plain) > 100
    for row in plain.itertuples():
        place = contract.token_fields.index(row.field)
        assert encoder.encode_row({row.field: row.value, "hour": "14102100"})[place] == row.code


def test_missing_values_and_an_empty_span(contract, tmp_path):
    """An empty text is missing; no rows are an empty table that can be saved."""
    import pyarrow as pa

    class Rows:
        def batches(self, *, columns, start, stop):
            texts = {name: pa.array(["", None, "x"][start:stop]) for name in contract.fields}
            hours = pa.array(["14102100"] * 3)[start:stop]
            columns = {"click": pa.array([0, 1, 1])[start:stop], "hour": hours, **texts}
            yield from [pa.record_batch(columns)] if stop > start else []

    values = frequent_values(Rows(), contract, (0, 3))
    site = values[values["field"] == "site_id"]
    assert site[["value", "n_rows", "n_clicks"]].to_numpy().tolist() == [
        [MISSING, 2, 1],
        ["x", 1, 1],
    ]
    write_values(Rows(), contract, (0, 0), tmp_path)
    assert load_values(tmp_path).empty
    pd.testing.assert_index_equal(load_values(tmp_path).columns, values.columns)


def test_the_table_of_an_earlier_run_does_not_survive_a_failure(log, contract, tmp_path):
    """Its codes may be those of another contract."""
    written = write_values(log, contract, (0, 4000), tmp_path, max_values=9)
    pd.testing.assert_frame_equal(load_values(tmp_path), written, check_dtype=False)
    with pytest.raises(AttributeError):
        write_values(None, contract, (0, 4000), tmp_path)
    assert list(tmp_path.iterdir()) == []
