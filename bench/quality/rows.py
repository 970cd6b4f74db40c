"""The rows of the quality bench: simulated logs whose truth is known, and folds of a real log, for every contestant."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from bench.pipeline_path import hash_rows
from tasks.hashing.features.past_counts import contract_for
from tasks.ingest import ingest_log
from tasks.logs.log import Log
from tasks.logs.split import Span, split_log
from tasks.schema import Schema, load_schema
from tasks.training.sampling import Joined

BITS = 20  # 2^20 weights, as in env.yaml


@dataclass(frozen=True)
class Part:
    """Some rows of a log in time order, in each form that a contestant reads.

    Attributes
    ----------
    features
        Our feature sets, with the tokens of the schema: fields, hour of the day, crosses.
    columns
        The same tokens for the peers: int32 ``(n_rows, n_columns)``, for each column the number of its value.
    label
        0 or 1, ``(n_rows,)``.
    p_true
        True click probability, ``(n_rows,)``; None where it is not known.
    """

    features: Joined
    columns: np.ndarray
    label: np.ndarray
    p_true: np.ndarray | None

    def then(self, *later: "Part") -> "Part":
        """Return these rows, followed by those."""
        parts = (self, *later)
        truths = [part.p_true for part in parts if part.p_true is not None]
        return Part(
            Joined(*(one for part in parts for one in part.features.sets)),
            np.concatenate([part.columns for part in parts]),
            np.concatenate([part.label for part in parts]),
            np.concatenate(truths) if len(truths) == len(parts) else None,
        )


@dataclass(frozen=True)
class Fold:
    """What a contestant learns, is tuned on, and is judged on.

    `n_fields` of the columns are fields, and the last are crosses.
    """

    name: str
    train: Part
    valid: Part
    test: Part
    n_fields: int
    folder: Path


def simulated(shape: str, *, n_rows: int, seed: int, folder: Path) -> Fold:
    """Return a simulated log of ten days, split as the pipeline splits it; another seed is another world."""
    schema = load_schema("avazu")
    ingest_log(f"sim://avazu?rows={n_rows}&seed={seed}&truth={shape}", folder / "log", schema=schema)  # fmt: skip
    log = Log.open(folder / "log")
    split = split_log(log)
    train, valid, test = _parts(log, schema, [split.train, split.valid, split.test], folder)
    return Fold(f"{shape}, seed {seed}", train, valid, test, _n_fields(schema), folder)


def real_folds(path: Path, *, n_folds: int, folder: Path) -> Iterator[Fold]:
    """Yield a fold for each block of a log in its order: one block to test, the one before it to tune, all others to train.

    For a log of a single hour, whose rows have no order in time. Three or more folds.
    """
    schema = load_schema("avazu")
    ingest_log(str(path), folder / "log", schema=schema)
    log = Log.open(folder / "log")
    edges = np.linspace(0, log.n_rows, n_folds + 1).astype(int).tolist()
    blocks = _parts(log, schema, list(itertools.pairwise(edges)), folder)
    for test in range(n_folds):
        tune = (test - 1) % n_folds
        first, *others = [blocks[n] for n in range(n_folds) if n not in (test, tune)]
        train = first.then(*others)
        yield Fold(f"block {test + 1} of {n_folds}", train, blocks[tune], blocks[test], _n_fields(schema), folder)  # fmt: skip


def _parts(log: Log, schema: Schema, spans: list[Span], folder: Path) -> list[Part]:
    table = pa.Table.from_batches(log.batches()).combine_chunks()
    columns = _numbered(table, schema)
    label = table.column(schema.label).to_numpy().astype(np.uint8)
    truth = str(schema.truth)
    p_true = table.column(truth).to_numpy() if truth in table.column_names else None
    contract = contract_for(log, schema, split_log(log), bits=BITS)
    found = []
    for start, stop in spans:
        features = Joined(hash_rows(log, (start, stop), contract, folder / f"rows-{start}"))
        of_these = None if p_true is None else p_true[start:stop]
        found.append(Part(features, columns[start:stop], label[start:stop], of_these))
    return found


def _numbered(table: pa.Table, schema: Schema) -> np.ndarray:
    """Return the number of each row's value in each field, the hour of the day and the crosses, int32 ``(n_rows, n_columns)``."""
    by_name = {name: _codes(table.column(name).to_pandas().astype(str)) for name in schema.field_names}  # fmt: skip
    hour = table.column(schema.time_column).to_pandas().dt.hour.to_numpy()
    crosses = [_codes(pd.MultiIndex.from_arrays([by_name[name] for name in cross])) for cross in schema.crosses]  # fmt: skip
    return np.column_stack([*by_name.values(), hour, *crosses]).astype(np.int32)


def _codes(values: pd.Series | pd.MultiIndex) -> np.ndarray:
    return pd.factorize(values, use_na_sentinel=False)[0]


def _n_fields(schema: Schema) -> int:
    return len(schema.field_names) + 1  # and the hour
