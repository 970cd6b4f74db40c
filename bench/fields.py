"""What numbers and lists cost in hashing, per token, as a ratio to categories: ``python -m bench.fields``."""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console

from bench.pipeline_path import hash_rows
from bench.process import ROOT
from tasks.hashing.buckets import learn_edges
from tasks.hashing.codes import NO_TOKEN
from tasks.hashing.contract import HashContract
from tasks.hashing.encode import columns_of, encode_batch
from tasks.ingest import ingest_log
from tasks.logs.log import Log
from tasks.schema import Schema, load_schema

RESULT = ROOT / "bench" / "results" / "fields.json"
_BITS = 20
_NUMBERS: dict[str, Any] = {f"number_{place}": {"type": "number"} for place in range(13)}
_LIST: dict[str, Any] = {"tags": {"type": "list", "max_items": 8}}
_SETS: dict[str, dict[str, Any]] = {
    "categories": {},
    "and 13 numbers": _NUMBERS,
    "and one list": _LIST,
    "and 13 numbers and one list": _NUMBERS | _LIST,
}


def main() -> None:
    """Measure, print nanoseconds per token and ratios to categories, and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--no-save", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="clicklab-fields-") as name:
        folder = Path(name)
        log = _log(folder, arguments.rows)
        contracts = {name: _contract(log, extra) for name, extra in _SETS.items()}
        n_tokens = {name: _count_tokens(log, contract) for name, contract in contracts.items()}
        seconds = _hashing(log, contracts, folder, arguments.runs)
    ns = {name: 1e9 * np.array(taken) / n_tokens[name] for name, taken in seconds.items()}
    found = {
        "rows": log.n_rows,
        "tokens_per_row": {name: round(n / log.n_rows, 1) for name, n in n_tokens.items()},
        "ns_per_token": {name: round(statistics.median(each), 1) for name, each in ns.items()},
        "ratio_per_token": {
            name: round(statistics.median(each / ns["categories"]), 2) for name, each in ns.items()
        },
    }
    Console().print_json(json.dumps(found))
    if not arguments.no_save:
        RESULT.write_text(json.dumps(found, indent=2) + "\n")


def _schema(extra: Mapping[str, Any]) -> Schema:
    raw = load_schema("avazu").to_dict()
    return Schema.from_dict(raw | {"fields": raw["fields"] | extra})


def _log(folder: Path, n_rows: int) -> Log:
    """Return the simulated log with numbers and lists; almost every row has a combination of tags of its own."""
    plain, source = folder / "plain", folder / "raw.parquet"
    ingest_log(f"sim://avazu?rows={n_rows}&seed=7", plain, schema=_schema({}))
    rng, writer = np.random.default_rng(7), None
    for batch in Log.open(plain).batches():
        wide = _widened(batch, rng)
        writer = writer or pq.ParquetWriter(source, wide.schema)
        writer.write_batch(wide)
    assert writer is not None
    writer.close()
    ingest_log(str(source), folder / "log", schema=_schema(_SETS["and 13 numbers and one list"]))
    return Log.open(folder / "log")


def _widened(batch: pa.RecordBatch, rng: np.random.Generator) -> pa.RecordBatch:
    time_form = _schema({}).time
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    columns[time_form.name] = pc.strftime(columns[time_form.name], format=time_form.format)
    n_rows = batch.num_rows
    for place, name in enumerate(_NUMBERS):  # counts, and amounts; one in ten is missing
        counts, amounts = rng.poisson(3 * place + 1, n_rows), rng.lognormal(2, 1.5, n_rows)
        values = np.round(amounts, 3) if place % 2 else counts.astype(float)
        columns[name] = pa.array(values, mask=rng.random(n_rows) < 0.1)
    ends = np.cumsum(rng.integers(0, 9, n_rows))
    tags = pa.array([f"tag{number}" for number in range(60)])
    items = tags.take(pa.array(rng.integers(0, 60, ends[-1])))
    columns["tags"] = pa.ListArray.from_arrays(pa.array(np.append(0, ends), pa.int32()), items)
    return pa.record_batch(columns)


def _contract(log: Log, extra: Mapping[str, Any]) -> HashContract:
    schema = _schema(extra)
    edges = learn_edges(log, schema, (0, log.n_rows))
    return HashContract.from_schema(schema, bits=_BITS, edges=edges)


def _count_tokens(log: Log, contract: HashContract) -> int:
    batches = log.batches(columns=columns_of(contract))
    return sum(int((encode_batch(batch, contract) != NO_TOKEN).sum()) for batch in batches)


def _hashing(
    log: Log, contracts: Mapping[str, HashContract], folder: Path, n_runs: int
) -> dict[str, list[float]]:
    """Return the seconds of writing a feature set with each contract in turn, round by round."""
    seconds: dict[str, list[float]] = {name: [] for name in contracts}
    for number in range(n_runs + 1):  # the first round warms caches
        for name, contract in contracts.items():
            since = time.perf_counter()
            with tempfile.TemporaryDirectory(dir=folder) as target:
                hash_rows(log, (0, log.n_rows), contract, Path(target))
                seconds[name] += [time.perf_counter() - since] if number else []
    return seconds


if __name__ == "__main__":
    main()
