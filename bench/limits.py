"""How far one epoch is from what memory and arithmetic allow, and where the time goes, by phase."""

from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.data import Data, contract_of

MAX_ROWS = 1_000_000
_PAIR_BYTES = 16  # z and n of a weight
_LABEL_BYTES = 8


def find_limits(data: Data, *, bits: int) -> dict[str, Any]:
    """Return nanoseconds per row of each phase, and of the bounds of learning; one thread each.

    ``memory`` is the time to move what learning moves, in its order, calculating nothing;
    ``arithmetic`` is learning with all weights in the first cache. No epoch that does one after the
    other row can be faster than the larger of the two.
    """
    from bench import memory

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


def _phases(data: Data, contract: Any) -> tuple[dict[str, float], np.ndarray, np.ndarray]:
    """Return ns per row of each phase on its own, and the hashed rows."""
    from tasks.hashing.encode import encode_batch
    from tasks.logs.log import Log
    from tasks.streaming import csv_stream, log_stream

    log, n_rows = Log.open(data.folder / "log"), min(data.n_train, MAX_ROWS)
    columns = [contract.schema["label"], contract.time_column, *contract.fields]
    path = data.folder / "train.csv"

    def read() -> list[Any]:
        return list(log.batches(columns=columns, stop=n_rows))

    batches = read()
    codes = np.concatenate([encode_batch(batch, contract) for batch in batches])
    labels = np.concatenate([batch.column(0).to_numpy() for batch in batches])
    work: dict[str, Callable[[], object]] = {
        "read Parquet": read,
        "hash its dictionaries": lambda: [encode_batch(batch, contract) for batch in batches],
        "read and hash CSV, two threads": lambda: [None for _ in csv_stream(path, contract)],
        "learn": _epoch(codes, labels, contract.n_features),
        "predict": _prediction(codes, labels, contract.n_features),
        "all, from Parquet": lambda: _learn_all(
            log_stream(log, contract, stop=n_rows), contract.n_features
        ),
        "all, from CSV": lambda: _learn_all(csv_stream(path, contract), contract.n_features),
    }
    sizes = {name: data.n_train if "CSV" in name else n_rows for name in work}
    return {name: _ns(work[name], sizes[name]) for name in work}, codes, labels


def _ns(work: Callable[[], object], n_rows: int, repeats: int = 5) -> float:
    from bench.memory import best_of

    return best_of(work, repeats) / n_rows * 1e9


def _epoch(codes: np.ndarray, labels: np.ndarray, n_features: int) -> Callable[[], object]:
    from tasks.models import make_learner

    learner = make_learner("ftrl", n_features)
    return lambda: learner.partial_fit_codes(codes, labels)


def _prediction(codes: np.ndarray, labels: np.ndarray, n_features: int) -> Callable[[], object]:
    from tasks.models import make_learner

    learner = make_learner("ftrl", n_features).partial_fit_codes(codes, labels)
    return lambda: learner.predict_codes(codes)


def _learn_all(batches: Any, n_features: int) -> None:
    from tasks.models import make_learner

    learner = make_learner("ftrl", n_features)
    for batch in batches:
        learner.partial_fit_codes(batch.codes, batch.label)


def show_limits(console: Console, limits: dict[str, Any]) -> None:
    """Print where the time goes, and how far learning is from its bound."""
    table = Table(title="Where the time goes, one phase at a time", title_justify="left")
    table.add_column("phase")
    table.add_column("ns a row", justify="right")
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
