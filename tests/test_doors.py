"""One value has one token, by whichever door it comes: every format of a log, every form of a request."""

import csv
import json
from collections.abc import Callable
from decimal import Decimal
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from bentos.ctr.exposures.record import Exposure, LineEncoder
from bentos.ctr.scoring.request_reader import RequestReader
from tasks.hashing.contract import HashContract
from tasks.hashing.encode import columns_of
from tasks.hashing.row_encoder import RowEncoder
from tasks.ingest import ingest_log
from tasks.models.pyfunc_model import _to_arrow
from tasks.schema import Schema
from tasks.serving.exposures import read_exposures
from tasks.serving.lookup import CodeLookup
from tests.logs import read_all

# by field: its values, and the text that each of them has
TYPED: dict[str, tuple[list[Any], list[str]]] = {
    "whole": ([1005, None, -3, 0], ["1005", "", "-3", "0"]),
    "long": ([2**53 - 1, None, 10**15, 7], ["9007199254740991", "", "1000000000000000", "7"]),
    "truth": ([True, None, False, True], ["true", "", "false", "true"]),
    "part": ([0.5, None, 2.0, -1.25], ["0.5", "", "2", "-1.25"]),
    "number": ([7, None, 2.0, -1.25], ["7", "", "2", "-1.25"]),
    "sold": ([True, None, False, True], ["1", "", "0", "1"]),
    "money": ([Decimal("1.50"), None, Decimal("2.00"), Decimal("-0.10")], ["1.5", "", "2", "-0.1"]),
}
TEXTS: dict[str, tuple[list[Any], list[str]]] = {
    "version": (["10.0", None, "1.10", "1.1"], ["10", "", "1.10", "1.1"]),
    "as_is": (["10.0", None, "True", "10"], ["10.0", "", "True", "10"]),
    "there": (["x"] * 4, ["x"] * 4),
    "id": (["007", None, "1e3", "9007199254740993.0"], ["007", "", "1e3", "9007199254740993.0"]),
}
TABLE = TYPED | TEXTS
VALUES = {name: values for name, (values, _) in TABLE.items()}
EXPECTED = {name: texts for name, (_, texts) in TABLE.items()}
DECLARED: dict[str, dict[str, Any]] = {
    "number": {"type": "number"},
    "sold": {"type": "number"},
    "money": {"spelling": "number"},
    "as_is": {"spelling": "exact"},
}
SCHEMA = Schema.from_dict(
    {
        "name": "doors",
        "label": "click",
        "fields": {name: DECLARED.get(name, {}) | {"from": f"a.b[0].{name}"} for name in TABLE},
    }
)
ROWS = [dict(zip(VALUES, row, strict=True)) for row in zip(*VALUES.values(), strict=True)]
CLICKS = [0, 1, 0, 1]


def arrow(**kinds: pa.DataType) -> pa.Table:
    """Return the table as Arrow types it, some columns as other types."""
    columns = {name: pa.array(values) for name, values in VALUES.items()}
    columns |= {name: columns[name].cast(kind) for name, kind in kinds.items()}
    return pa.table({"click": CLICKS, **columns})


def frame() -> pd.DataFrame:
    """Return the table as pandas types it: integers with gaps are floats."""
    table = pd.DataFrame({"click": CLICKS, **VALUES})
    assert table["whole"].dtype == np.float64
    return table


def plain(value: Any) -> Any:
    """Return a value as JSON holds it."""
    return float(value) if isinstance(value, Decimal) else value


def _lines(path: Path) -> None:
    path.write_text("".join(json.dumps({"click": click} | {name: plain(value) for name, value in row.items()}) + "\n" for click, row in zip(CLICKS, ROWS, strict=True)))  # fmt: skip


def _separated(path: Path, separator: str) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=separator)
        writer.writerow(["click", *TABLE])
        writer.writerows([click, *row.values()] for click, row in zip(CLICKS, ROWS, strict=True))


def _pandas_parquet(path: Path) -> None:
    pq.write_table(pa.Table.from_pandas(frame()), path)


FLOATS = {name: pa.float64() for name in ("whole", "long", "sold")}
DECIMALS = {name: pa.decimal128(30, 3) for name in ("whole", "long", "part", "number")}
FILES: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "CSV of pandas": ("a.csv", lambda path: frame().to_csv(path, index=False)),
    "CSV of Arrow": ("a.csv", lambda path: pa_csv.write_csv(arrow(), path)),
    "CSV of Python": ("a.csv", lambda path: _separated(path, ",")),
    "TSV": ("a.tsv", lambda path: _separated(path, "\t")),
    "JSON lines": ("a.jsonl", _lines),
    "JSON lines of pandas": ("b.jsonl", lambda path: frame().to_json(path, orient="records", lines=True, double_precision=15)),
    "Parquet": ("a.parquet", lambda path: pq.write_table(arrow(), path)),
    "Parquet of pandas": ("a.parquet", _pandas_parquet),
    "Parquet of floats": ("a.parquet", lambda path: pq.write_table(arrow(**FLOATS), path)),
    "Parquet of short floats": ("a.parquet", lambda path: pq.write_table(arrow(number=pa.float32(), part=pa.float32()), path)),
    "Parquet of decimals": ("a.parquet", lambda path: pq.write_table(arrow(**DECIMALS), path)),
    "Parquet of codes": ("a.parquet", lambda path: pq.write_table(arrow(whole=pa.int32()).set_column(1, "whole", arrow()["whole"].dictionary_encode()), path)),
}  # fmt: skip


def _texts(row: dict[str, Any]) -> dict[str, str]:
    """Return the canonical texts of a row of a log."""
    short = {name: np.format_float_positional(row[name], trim="-") for name in ("number", "sold") if row[name] is not None}  # fmt: skip
    return {name: "" if value is None else str(value) for name, value in (row | short).items() if name in TABLE}  # fmt: skip


EDGES = {"number": [-1.0, 2.0, 5.0], "sold": [1.0]}
CONTRACT = HashContract.from_schema(SCHEMA, bits=20, edges=EDGES)


def _requests(read: Callable[[Any, dict[str, Any]], dict[str, Any]]):
    reader, lookup = RequestReader(CONTRACT), CodeLookup(CONTRACT, cache_size=64)
    names = CONTRACT.single_fields
    return [dict(zip(names, lookup.inputs(read(reader, row)), strict=True)) for row in ROWS]


def _body(row: dict[str, Any]) -> bytes:
    return json.dumps({name: plain(value) for name, value in row.items()}).encode()


def _ranking(reader: RequestReader, row: dict[str, Any]) -> dict[str, Any]:
    body = b'{"context": {}, "candidates": [%b, %b]}' % (_body(row), _body(row))
    return list(reader.read_ranking(body)[1])[1]


def _nested(reader: RequestReader, row: dict[str, Any]) -> dict[str, Any]:
    return reader.read_impression(b'{"a": {"b": [%b]}}' % _body(row))


def _frame(table: pd.DataFrame) -> list[dict[str, str]]:
    rows = _to_arrow(table, CONTRACT).select(columns_of(CONTRACT)).to_pylist()
    return [{name: row[name] or "" for name in TABLE} for row in rows]


def _as_text(row: dict[str, Any]) -> bytes:
    return json.dumps({n: None if v is None else str(v) for n, v in row.items()}).encode()


def _exposed(folder: Path) -> list[dict[str, str]]:
    """Return what a log of exposures holds, after it is ingested again."""
    reader, encoder = RequestReader(CONTRACT), LineEncoder(columns=CONTRACT.fields)
    seen = [reader.read_impression(_body(row)) for row in ROWS]
    lines = [encoder.encode(Exposure(f"r{n}", n, "predict", "a", "b", "c", False, row, 0.1)) for n, row in enumerate(seen)]  # fmt: skip
    (folder / "a.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    table = pa.table(read_exposures(folder / "a.jsonl")["fields"].combine_chunks().flatten(), names=[*TABLE])  # fmt: skip
    pq.write_table(table.append_column("click", pa.array(CLICKS)), folder / "b.parquet")
    return _ingested(folder / "b.parquet")


def _ingested(path: Path) -> list[dict[str, str]]:
    ingest_log(str(path), path.parent / f"log-{path.stem}", schema=SCHEMA, max_bad_share=0.0)
    return [_texts(row) for row in read_all(path.parent / f"log-{path.stem}")]


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, list[dict[str, str]]]:
    """The texts of the table's values, by door."""
    doors = {}
    for name, (file, write) in FILES.items():
        path = tmp_path_factory.mktemp("door") / file
        write(path)
        doors[name] = _ingested(path)
    doors["request"] = _requests(lambda reader, row: reader.read_impression(_body(row)))
    doors["request of texts"] = _requests(lambda reader, row: reader.read_impression(_as_text(row)))
    doors["candidate"] = _requests(_ranking)
    doors["nested request"] = _requests(_nested)
    doors["frame"] = _frame(frame())
    doors["frame of objects"] = _frame(pd.DataFrame(ROWS, dtype=object))
    doors["frame of nullable types"] = _frame(frame().convert_dtypes())
    doors["frame of Arrow types"] = _frame(arrow().to_pandas(types_mapper=pd.ArrowDtype))
    doors["exposures"] = _exposed(tmp_path_factory.mktemp("exposures"))
    return doors


@pytest.mark.parametrize("field", TABLE)
def test_every_pair_of_doors_gives_a_value_the_same_text(found, field):
    """And the one that is written out by hand."""
    for one, other in combinations(found, 2):
        pair = [[row[field] for row in found[door]] for door in (one, other)]
        assert pair[0] == pair[1], (field, one, other)
    assert [row[field] for row in found["CSV of pandas"]] == EXPECTED[field]


def test_the_same_text_is_the_same_token():
    """The encoder of rows takes each value by its type, and by the text of any door."""
    encoder = RowEncoder(CONTRACT)
    texts = [dict(zip(EXPECTED, row, strict=True)) for row in zip(*EXPECTED.values(), strict=True)]
    assert (encoder.encode_rows(ROWS) == encoder.encode_rows(texts)).all()


def test_texts_that_a_door_tells_apart_stay_apart():
    """Versions, leading zeros; with `exact` all of them."""
    encoder = RowEncoder(CONTRACT)
    for field, one, other in (("version", "1.1", "1.10"), ("id", "7", "007"), ("id", "1e3", "1000"), ("as_is", "10.0", "10")):  # fmt: skip
        codes = encoder.encode_rows([{field: one}, {field: other}])
        assert (codes[0] != codes[1]).any(), (field, one, other)
