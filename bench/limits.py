"""How far one epoch is from what memory and arithmetic allow, and how long each phase takes."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bench import memory
from bench.data import Data, contract_of
from bench.pipeline_path import hash_rows, train
from tasks.hashing.contract import HashContract
from tasks.hashing.encode import encode_batch
from tasks.ingest import ingest_log
from tasks.logs.log import Log
from tasks.models import make_learner
from tasks.schema import load_schema

_PAIR_BYTES = 16  # z and n of one weight
_LABEL_BYTES = 8
_N_STAGE_REPEATS = 2


def find_limits(data: Data, *, bits: int) -> dict[str, Any]:
    """Return nanoseconds per row of each phase, and of the lower bounds of learning.

    ``memory`` is the time to move what learning moves, in the same order, without arithmetic;
    ``arithmetic`` is learning with all weights in the first-level cache. No epoch that processes
    rows one by one can be faster than the larger of the two.
    """
    contract = contract_of(bits)
    phases, codes, labels = _phases(data, contract)
    few = np.ascontiguousarray((codes & 255) ^ (codes >> 31))
    n_rows, pairs = len(labels), np.zeros((contract.n_features, 2))
    bounds = {
        "memory": _ns(lambda: memory.touch_codes(codes, pairs), n_rows),
        "arithmetic": _ns(_epoch(few, labels, 256), n_rows),
    }
    caches = memory.cache_sizes()
    misses = {
        name: memory.misses_per_row(codes, cache_bytes=size, pair_bytes=_PAIR_BYTES)
        for name, size in caches.items()
    }
    bytes_per_row = contract.n_tokens * 4 + _LABEL_BYTES
    moved = {name: bytes_per_row + 2 * memory.LINE_BYTES * n for name, n in misses.items()}
    bandwidth = memory.bandwidth()
    return {
        "n_rows": n_rows,
        "ns_per_row": phases,
        "bound_ns_per_row": bounds,
        "share_of_bound": max(bounds.values()) / phases["learn"],
        "cache_bytes": caches,
        "misses_per_row": misses,
        "bytes_moved_per_row": {f"beyond {name}": moved[name] for name in moved},
        "bandwidth_bytes_per_s": bandwidth,
        "bandwidth_ns_per_row": moved["L3"] / bandwidth["triad"] * 1e9,
        "random_touch_ns": memory.random_touch_ns(contract.n_features * _PAIR_BYTES),
    }


def _phases(data: Data, contract: HashContract) -> tuple[dict[str, float], np.ndarray, np.ndarray]:
    """Return ns per row of each phase on its own, and the hashed rows."""
    log, n_rows = Log.open(data.folder / "log"), data.n_train
    columns = [contract.declared.label, contract.time_column, *contract.fields]

    def read() -> list[Any]:
        return list(log.batches(columns=columns, stop=n_rows))

    batches = read()
    codes = np.concatenate([encode_batch(batch, contract) for batch in batches])
    labels = np.concatenate([batch.column(0).to_numpy() for batch in batches])
    in_memory: dict[str, Callable[[], object]] = {
        "read the log": read,
        "encode its dictionaries": lambda: [encode_batch(batch, contract) for batch in batches],
        "learn": _epoch(codes, labels, contract.n_features),
        "predict": _prediction(codes, labels, contract.n_features),
    }
    phases = {name: _ns(work, n_rows) for name, work in in_memory.items()}
    return _stages(data, log, contract) | phases, codes, labels


def _stages(data: Data, log: Log, contract: HashContract) -> dict[str, float]:
    """Return ns per row of the pipeline's stages, each from file to file."""
    n_rows, numbers = data.n_train, count()
    with TemporaryDirectory(dir=data.folder) as place:

        def new() -> Path:
            return Path(place) / str(next(numbers))

        valid = hash_rows(log, (n_rows, log.n_rows), contract, new())
        features = hash_rows(log, (0, n_rows), contract, new())
        csv, schema = str(data.folder / "train.csv"), load_schema("avazu")
        work: dict[str, Callable[[], object]] = {
            "stage ingest: CSV to log": lambda: ingest_log(csv, new(), schema=schema),
            "stage hash: log to features": lambda: hash_rows(log, (0, n_rows), contract, new()),
            "stage train: features to model": lambda: train(features, valid),
        }
        return {name: _ns(run, n_rows, _N_STAGE_REPEATS) for name, run in work.items()}


def _ns(work: Callable[[], object], n_rows: int, repeats: int = 5) -> float:
    return memory.best_of(work, repeats) / n_rows * 1e9


def _epoch(codes: np.ndarray, labels: np.ndarray, n_features: int) -> Callable[[], object]:
    learner = make_learner("ftrl", n_features)
    return lambda: learner.partial_fit_codes(codes, labels)


def _prediction(codes: np.ndarray, labels: np.ndarray, n_features: int) -> Callable[[], object]:
    learner = make_learner("ftrl", n_features).partial_fit_codes(codes, labels)
    return lambda: learner.predict_codes(codes)


def show_limits(console: Console, limits: dict[str, Any]) -> None:
    """Print the time of each phase, and how far learning is from its bound."""
    table = Table(title="Where the time goes, one phase at a time", title_justify="left")
    table.add_column("phase")
    table.add_column("ns per row", justify="right")
    table.add_column("rows/s", justify="right")
    for name, ns in limits["ns_per_row"].items():
        table.add_row(name, f"{ns:.0f}", f"{1e9 / ns:,.0f}")
    for name, ns in limits["bound_ns_per_row"].items():
        table.add_row(f"bound of learning: {name}", f"{ns:.0f}", f"{1e9 / ns:,.0f}", style="dim")
    console.print(table)
    width, misses = limits["bandwidth_bytes_per_s"], limits["misses_per_row"]
    moved = limits["bytes_moved_per_row"]
    console.print(
        f"Learning runs at {limits['share_of_bound']:.0%} of the larger bound. A row's weights miss L2 "
        f"{misses['L2']:.1f} times and L3 {misses['L3']:.1f} times (simulated), which moves "
        f"{moved['beyond L2']:,.0f} and {moved['beyond L3']:,.0f} bytes; at {width['triad'] / 1e9:.1f} GB/s (triad; "
        f"read {width['read'] / 1e9:.1f}) the latter takes {limits['bandwidth_ns_per_row']:.0f} ns. "
        f"A random touch of the weights takes {limits['random_touch_ns']:.1f} ns.",
        highlight=False,
    )
