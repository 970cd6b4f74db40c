"""Hash collisions in a log: how many tokens share a bucket, and how much of the traffic is affected.

Each distinct token is hashed once per batch, to 32 bits, and counted; every number of bits is then a
fold of the same hashes. Memory is about 12 bytes per distinct token, twice that while merging.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.errors import ConfigError
from tasks.hashing.contract import MAX_BITS, HashContract
from tasks.hashing.encode import columns_of, list_columns, record_batches, token_columns
from tasks.logs.log import Log

_MERGE_TOKENS = 1_000_000


class TokenCounts:
    """Distinct tokens of one token column and how many rows hold each.

    Tokens are distinguished by their 32-bit hash, so of 7 million in one column about one in a
    thousand is not counted.
    """

    def __init__(self) -> None:
        self._hashes = np.empty(0, dtype=np.int32)
        self._counts = np.empty(0, dtype=np.int64)
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []
        self._n_waiting = 0

    def add(self, hashes: np.ndarray, counts: np.ndarray) -> None:
        """Count `counts` more rows for each of `hashes`, in which a token may occur twice."""
        seen = counts > 0
        self._waiting.append((hashes[seen], counts[seen]))
        self._n_waiting += int(seen.sum())
        if self._n_waiting > max(_MERGE_TOKENS, self._hashes.size):
            self._merge()

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the distinct signed hashes (int32, ascending) and their rows (int64)."""
        self._merge()
        return self._hashes, self._counts

    def _merge(self) -> None:
        hashes = np.concatenate([self._hashes, *(part for part, _ in self._waiting)])
        counts = np.concatenate([self._counts, *(part for _, part in self._waiting)])
        self._waiting, self._n_waiting = [], 0
        order = np.argsort(hashes, kind="stable")
        self._hashes, starts = np.unique(hashes[order], return_index=True)
        self._counts = np.add.reduceat(counts[order], starts) if starts.size else counts


def count_tokens(
    source: Log | Iterable[pa.RecordBatch | pa.Table], contract: HashContract
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return for each token column, or list, its distinct 32-bit hashes and the rows that hold each."""
    batches: Any = source
    if hasattr(source, "batches"):
        batches = source.batches(columns=columns_of(contract))
    counters = [TokenCounts() for _ in range(contract.n_alone)]
    of_lists = [TokenCounts() for _ in contract.lists]
    for batch in batches:
        for part in record_batches(batch, contract):
            for counter, (hashes, entries) in zip(
                counters, token_columns(part, contract), strict=True
            ):
                if entries is None:
                    counter.add(hashes[:-1], np.ones(part.num_rows, dtype=np.int64))
                else:
                    counter.add(hashes, np.bincount(entries, minlength=hashes.size))
            for counter, items in zip(of_lists, list_columns(part, contract), strict=True):
                n_rows = np.bincount(items.rows, minlength=len(items.begins) - 1)
                counter.add(items.hashes, np.repeat(n_rows, np.diff(items.begins)))
    return [counter.result() for counter in (*counters, *of_lists)]


def collision_report(
    source: Log | Iterable[pa.RecordBatch | pa.Table], contract: HashContract, bits: Iterable[int]
) -> pd.DataFrame:
    """Return the collisions of the tokens of a log for each number of bits.

    Parameters
    ----------
    source
        A log, or batches of its rows.
    contract
        Which tokens; its own number of bits is ignored.
    bits
        Numbers of bits to try, each 1 to 30.

    Returns
    -------
    DataFrame
        Index ``bits``. ``n_tokens``: distinct tokens. ``n_occupied``: buckets that hold any.
        All shares lie in [0, 1], lower is better: ``colliding_share`` of the distinct tokens share
        their bucket; ``colliding_rows_share`` of the occurrences (rows x tokens) are of a token that
        does; ``mixed_rows_share`` of the occurrences lie in a bucket that also holds a token of
        another field; ``outvoted_rows_share`` are of a token that is not its bucket's most frequent,
        whose weight is therefore mostly another token's.

    Examples
    --------
    >>> from tasks.schema import Schema
    >>> raw = {"name": "tiny", "label": "click", "time": {"column": "t", "format": "iso"}, "fields": {"a": {}}}
    >>> contract = HashContract.from_schema(Schema.from_dict(raw), bits=20)
    >>> rows = pa.record_batch({"a": ["x", "y", "y", "z"]})
    >>> collision_report([rows], contract, [1, 20])[["n_tokens", "n_occupied"]].values.tolist()
    [[3, 2], [3, 3]]
    """
    bits = sorted(set(bits))
    if not bits or bits[0] < 1 or bits[-1] > MAX_BITS:
        raise ConfigError(f"bits must be numbers from 1 to {MAX_BITS}, found {bits}")
    counted = count_tokens(source, contract)
    hashes = np.concatenate([found for found, _ in counted])
    counts = np.concatenate([rows for _, rows in counted])
    kinds = np.repeat(np.arange(len(counted), dtype=np.int16), [found.size for found, _ in counted])
    magnitude = np.abs(hashes.astype(np.int64)).astype(np.uint32)
    rows = {
        n_bits: _measure(magnitude & np.uint32((1 << n_bits) - 1), counts, kinds) for n_bits in bits
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("bits")


def _measure(index: np.ndarray, counts: np.ndarray, kinds: np.ndarray) -> dict[str, float]:
    if not index.size:
        names = (
            "colliding_share",
            "colliding_rows_share",
            "mixed_rows_share",
            "outvoted_rows_share",
        )
        return {"n_tokens": 0, "n_occupied": 0} | dict.fromkeys(names, 0.0)
    order = np.argsort(index, kind="stable")
    counts, kinds = counts[order], kinds[order]
    starts = np.flatnonzero(np.diff(index[order], prepend=index[order[0]] ^ np.uint32(1)))
    n_sharing = np.diff(starts, append=index.size)
    n_rows = np.add.reduceat(counts, starts)
    is_mixed = np.minimum.reduceat(kinds, starts) != np.maximum.reduceat(kinds, starts)
    total = n_rows.sum()
    return {
        "n_tokens": index.size,
        "n_occupied": starts.size,
        "colliding_share": n_sharing[n_sharing > 1].sum() / index.size,
        "colliding_rows_share": n_rows[n_sharing > 1].sum() / total,
        "mixed_rows_share": n_rows[is_mixed].sum() / total,
        "outvoted_rows_share": (n_rows - np.maximum.reduceat(counts, starts)).sum() / total,
    }
