"""What learning every pair of a row costs per row, beside single tokens and vectors: ``python -m bench.pairs``."""

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from bench.pipeline_path import hash_rows
from bench.report import save
from tasks.hashing.contract import HashContract
from tasks.ingest import ingest_log
from tasks.logs.log import Log
from tasks.models import make_learner
from tasks.schema import load_schema

KINDS = ("ftrl", "fm", "ftrl_pairs")
_CHUNK, _BITS = 500, 20


def main() -> None:
    """Time the kinds on one simulated log, print microseconds per row, and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--no-save", action="store_true")
    arguments = parser.parse_args()
    codes, label = simulated_rows(arguments.rows)
    learners = {
        kind: make_learner(kind, 2**_BITS, n_tokens=codes.shape[1], random_state=7)
        for kind in KINDS
    }
    each_us = time_per_row(learners, codes, label, n_runs=arguments.runs)
    for kind, row_us in each_us.items():
        Console().print(f"{kind:<12} {row_us:6.3f} us  {row_us / each_us['ftrl']:5.1f}")
    if not arguments.no_save:
        save("pairs", {"rows": len(codes), "n_tokens": codes.shape[1], "row_us": each_us})


def simulated_rows(n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return codes and labels of a simulated log."""
    schema = load_schema("avazu")
    contract = HashContract.from_schema(schema, bits=_BITS)
    with tempfile.TemporaryDirectory(prefix="clicklab-pairs-") as folder:
        ingest_log(f"sim://avazu?rows={n_rows}&seed=7", Path(folder) / "log", schema=schema)
        log = Log.open(Path(folder) / "log")
        rows = hash_rows(log, (0, log.n_rows), contract, Path(folder) / "rows")
        batches = [(np.array(batch.codes), np.array(batch.label)) for batch in rows.batches()]
    codes, label = (np.concatenate(part) for part in zip(*batches, strict=True))
    return codes, label


def time_per_row(
    learners: Mapping[str, Any], codes: np.ndarray, label: np.ndarray, *, n_runs: int
) -> dict[str, float]:
    """Return microseconds per row by name: learners take turns, and of each 500 rows the best run counts.

    A chunk takes about a millisecond, so that in some run nothing else had the core.
    """
    chunks = [slice(begin, begin + _CHUNK) for begin in range(0, len(label), _CHUNK)]
    best = {name: np.full(len(chunks), np.inf) for name in learners}
    for _ in range(n_runs + 1):  # the first compiles
        for name, learner in learners.items():
            best[name] = np.minimum(best[name], _seconds(learner, codes, label, chunks))
    return {name: float(seconds.sum()) / len(label) * 1e6 for name, seconds in best.items()}


def _seconds(
    learner: Any, codes: np.ndarray, label: np.ndarray, chunks: Sequence[slice]
) -> np.ndarray:
    found = []
    for chunk in chunks:
        since = time.perf_counter()
        learner.partial_fit_codes(codes[chunk], label[chunk])
        found.append(time.perf_counter() - since)
    return np.array(found)


if __name__ == "__main__":
    main()
