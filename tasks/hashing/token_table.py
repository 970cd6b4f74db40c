"""Which values stand behind the codes: the most frequent values of each field, to read weights by."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.hashing import murmur
from tasks.hashing.buckets import bucket_name
from tasks.hashing.columns import Column, read_column, rows_of, text_list
from tasks.hashing.contract import HashContract
from tasks.hashing.encode import (
    Items,
    columns_of,
    encode_batch,
    list_columns,
    single_columns,
)
from tasks.logs.log import Log
from tasks.logs.value_text import ITEM_MARK
from tasks.storage.files import write_atomic

FILE = "values.parquet"  # beside the feature sets
MISSING = "(missing)"

Coded = tuple[np.ndarray, list[str]]  # each row's entry, and the text of each entry


def frequent_values(
    log: Log,
    contract: HashContract,
    span: tuple[int, int],
    *,
    max_rows: int = 400_000,
    max_values: int = 50_000,
) -> pd.DataFrame:
    """Return the values that occur most often in the last rows of a span, with their codes.

    Parameters
    ----------
    log, contract, span
        The log, what it is hashed with, and the rows (end exclusive) to take the last ones of.
    max_rows
        Maximum number of rows that are read.
    max_values
        Maximum number of values returned; memory grows with the distinct values of `max_rows` rows.

    Returns
    -------
    DataFrame
        One row per field and value, most frequent first: ``field`` (a token column: fields, features,
        crosses), ``value`` (text; a missing value is "(missing)"), ``code`` (int32, see
        :func:`tasks.hashing.codes.split_codes`), ``n_rows``, ``n_clicks``.
    """
    label = contract.declared.label
    start = max(span[0], span[1] - max_rows)
    columns = list(dict.fromkeys([label, *columns_of(contract)]))
    counted = [
        table
        for batch in log.batches(columns=columns, start=start, stop=span[1])
        for table in _count_batch(batch, contract, batch.column(label).to_numpy())
    ]
    names = ["field", "value", "code", "n_rows", "n_clicks"]
    if not counted:
        return pd.DataFrame(columns=names)
    table = pd.concat(counted).groupby(names[:3], as_index=False, sort=False).sum()
    table = table.sort_values(["n_rows", "field", "value"], ascending=[False, True, True])
    return table.head(max_values).reset_index(drop=True)


def write_values(
    log: Log, contract: HashContract, span: tuple[int, int], folder: str | Path, **limits: int
) -> pd.DataFrame:
    """Write the table of :func:`frequent_values` beside the feature sets and return it; on failure none is left."""
    path = Path(folder) / FILE
    path.unlink(missing_ok=True)  # codes of another contract would name the wrong values
    values, buffer = frequent_values(log, contract, span, **limits), io.BytesIO()
    values.to_parquet(buffer, index=False)
    write_atomic(path, buffer.getvalue())
    return values


def load_values(folder: str | Path) -> pd.DataFrame:
    """Return the table that :func:`write_values` wrote."""
    return pd.read_parquet(Path(folder) / FILE)


def _count_batch(
    batch: pa.RecordBatch, contract: HashContract, label: np.ndarray
) -> Iterator[pd.DataFrame]:
    """Yield one table of counts per token column; each distinct value is written out once."""
    codes = encode_batch(batch, contract)
    for number, (name, entries, text) in enumerate(_token_columns(batch, contract)):
        found, first, inverse = np.unique(entries, return_index=True, return_inverse=True)
        yield pd.DataFrame(
            {
                "field": name,
                "value": [text(int(entry)) for entry in found],
                "code": codes[first, number],
                "n_rows": np.bincount(inverse, minlength=len(found)),
                "n_clicks": np.bincount(inverse, weights=label, minlength=len(found)).astype(int),
            }
        )
    for (name, _), items in zip(contract.lists, list_columns(batch, contract), strict=True):
        yield _count_items(name, items, read_column(batch.column(name), name=name), contract, label)


def _count_items(
    name: str, items: Items, column: Column, contract: HashContract, label: np.ndarray
) -> pd.DataFrame:
    """Return the counts of the items of a list."""
    n_lists = len(items.begins) - 1
    n_items = np.diff(items.begins)
    joined = text_list(column.texts, items.texts)
    listed = [
        text.split(ITEM_MARK)[:n] if text else [MISSING]
        for text, n in zip(joined, n_items.tolist(), strict=True)
    ]
    codes = items.hashes.copy()
    murmur.fold_hashes(codes, contract.bits)
    n_rows = np.bincount(items.rows, minlength=n_lists)
    n_clicks = np.bincount(items.rows, weights=label, minlength=n_lists).astype(int)
    table = pd.DataFrame(
        {
            "field": name,
            "value": [item for texts in listed for item in texts],
            "code": codes,
            "n_rows": np.repeat(n_rows, n_items),
            "n_clicks": np.repeat(n_clicks, n_items),
        }
    )
    return table[table["n_rows"] > 0]


def _token_columns(
    batch: pa.RecordBatch, contract: HashContract
) -> Iterator[tuple[str, np.ndarray, Callable[[int], str]]]:
    """Yield name, each row's entry (int64), and the function from entry to text, of each token column."""
    known: dict[str, Coded] = {}
    edges = dict(contract.numbers)
    for name, column in single_columns(batch, contract).items():
        texts = text_list(column.texts, np.arange(column.texts.n_texts + 1))
        if name in edges:
            texts = [bucket_name(text, edges[name]) for text in texts]
        known[name] = rows_of(column).astype(np.int64), [text or MISSING for text in texts]
    for name, (entries, texts) in known.items():
        yield name, entries, texts.__getitem__
    for cross in contract.crosses:
        yield "*".join(cross), *_crossed([known[name] for name in cross])


def _crossed(columns: list[Coded]) -> tuple[np.ndarray, Callable[[int], str]]:
    """Return the entries of combinations of values, and the function from entry to text."""
    sizes = [len(texts) for _, texts in columns]
    entries = np.ravel_multi_index([entries for entries, _ in columns], sizes)

    def text(entry: int) -> str:
        places = np.unravel_index(entry, sizes)
        return " × ".join(texts[place] for place, (_, texts) in zip(places, columns, strict=True))

    return entries, text
