"""What features cost in hashing and in a request, and whether both give the same codes: ``python -m bench.features``."""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from bench.pipeline_path import hash_rows
from bench.process import ROOT
from bench.serving.request_steps import call_all, serving_state
from bench.serving.scoring import in_turn_us
from tasks.features import HOUR, feature
from tasks.features.ad_format import ad_format
from tasks.features.kinds.finding import try_feature
from tasks.hashing.contract import HashContract
from tasks.hashing.encode import columns_of, encode_batch
from tasks.hashing.features.survey import survey_features
from tasks.hashing.row_encoder import RowEncoder
from tasks.ingest import ingest_log
from tasks.logs.log import Log
from tasks.models.artifact import ScoringModel
from tasks.schema import Schema, load_schema

RESULT = ROOT / "bench" / "results" / "features.json"
_BITS, _N_REQUESTS = 20, 2_000


@feature("C15", "C16", buckets=[10_000, 20_000, 50_000, 100_000])
def ad_area(width: str | None, height: str | None) -> int | None:
    """Return the area of a banner in pixels."""
    return int(width) * int(height) if width and height else None


@feature("site_category", "app_category", HOUR, values=["where", "when"])
def place(site: str | None, app: str | None, hour: Any) -> tuple[str | None, str | None]:
    """Return the category of site and app together, and the part of the day."""
    return f"{site}/{app}", None if hour is None else ("night", "day")[6 <= hour.hour < 22]


@feature("device_ip")
def ip_block(address: str | None) -> str | None:
    """Return the first half of an address: of a field with almost as many values as rows."""
    return address and address[:4]


_SETS: dict[str, Sequence[Any]] = {
    "none": [],
    "three": [ad_format, ad_area, place],
    "three and one of device_ip": [ad_format, ad_area, place, ip_block],
}


def main() -> None:
    """Measure, print ratios to no features, and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--parity-rows", type=int, default=100_000)
    parser.add_argument("--no-save", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="clicklab-features-") as folder:
        log_folder = Path(folder) / "log"
        ingest_log(
            f"sim://avazu?rows={arguments.rows}&seed=7", log_folder, schema=load_schema("avazu")
        )
        log, contracts = Log.open(log_folder), _contracts()
        found = {
            "rows": log.n_rows,
            "hashing_ratio": _hashing(log, contracts, Path(folder), arguments.runs),
            "predict_ratio": _predicting(log, contracts),
            "parity": _parity(log, contracts["three and one of device_ip"], arguments.parity_rows),
            "survey": json.loads(
                survey_features(
                    log, contracts["three and one of device_ip"], (0, log.n_rows)
                ).to_json(orient="index")
            ),
        }
    Console().print_json(json.dumps(found))
    if not arguments.no_save:
        RESULT.write_text(json.dumps(found, indent=2) + "\n")


def _contracts() -> dict[str, HashContract]:
    """Return the contract of each set of features, besides the hour of the day, which all have."""
    raw = load_schema("avazu").to_dict()
    contracts = {}
    for name, functions in _SETS.items():
        for function in functions:
            if function is not ad_format:  # the others have no file in tasks/features
                try_feature(function)
        names = ["hour_of_day", *(function.__name__ for function in functions)]
        schema = Schema.from_dict(raw | {"features": names})
        contracts[name] = HashContract.from_schema(schema, bits=_BITS)
    return contracts


def _hashing(
    log: Log, contracts: Mapping[str, HashContract], folder: Path, n_runs: int
) -> dict[str, float]:
    """Return the time of writing a feature set as a ratio to none: the median of the rounds'."""
    ratios: dict[str, list[float]] = {name: [] for name in contracts}
    for number in range(n_runs + 1):  # the first round warms caches
        seconds = {}
        for name, contract in contracts.items():
            since = time.perf_counter()
            with tempfile.TemporaryDirectory(dir=folder) as target:
                hash_rows(log, (0, log.n_rows), contract, Path(target))
                seconds[name] = time.perf_counter() - since
        for name, taken in seconds.items():
            ratios[name] += [taken / seconds["none"]] if number else []
    return {name: round(statistics.median(found), 3) for name, found in ratios.items()}


def _predicting(log: Log, contracts: Mapping[str, HashContract]) -> dict[str, float]:
    """Return the processor time of answering ``/predict``, bytes to bytes, as a ratio to none."""
    from bentos.ctr.scoring.calls import Calls

    works = {}
    for name, contract in contracts.items():
        weights = np.random.default_rng(7).normal(size=contract.n_features).astype(np.float32)
        model = ScoringModel(
            {"weights": weights}, -1.5, contract, name="any", kind="ftrl", params={}
        )
        calls = Calls()
        calls.state = serving_state(model, "memory")
        rows = _rows(log, contract, _N_REQUESTS)
        bodies = [json.dumps(row).encode() for row in rows]
        works[name] = partial(call_all, calls, "/predict", bodies)
    found = in_turn_us(works, _N_REQUESTS)
    return {name: round(us / found["none"], 3) for name, us in found.items()}


def _rows(log: Log, contract: HashContract, n_rows: int) -> list[dict[str, Any]]:
    """Return the last rows of a log as requests."""
    schema = Schema.from_dict(contract.schema)
    return [row for row, _ in _pairs(log, contract, schema, n_rows)]


def _pairs(
    log: Log, contract: HashContract, schema: Schema, n_rows: int
) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """Yield each of the last rows of a log as a request, with its codes in the batch."""
    start = max(0, log.n_rows - n_rows)
    for batch in log.batches(columns=columns_of(contract), start=start, stop=log.n_rows):
        rows = batch.to_pylist()
        for row, codes in zip(rows, encode_batch(batch, contract), strict=True):
            row[schema.time_column] = row[schema.time_column].strftime(schema.time.format)
            yield row, codes


def _parity(log: Log, contract: HashContract, n_rows: int) -> dict[str, int]:
    """Return how many of the last rows get other codes as requests than in a batch."""
    encoder, schema = RowEncoder(contract), Schema.from_dict(contract.schema)
    found = {"rows": 0, "differing": 0}
    for row, codes in _pairs(log, contract, schema, n_rows):
        found["rows"] += 1
        found["differing"] += bool((encoder.encode_row(row) != codes).any())
    return found


if __name__ == "__main__":
    main()
