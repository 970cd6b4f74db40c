"""What the training rows looked like, compactly: the yardstick for drift, which travels with the model.

Bins of each field, how often each was hit, and how far one hour of training rows was from those a day before it: what
moves by itself every day is no alarm. Written by ``hash_features`` and stored beside each model of the run.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.errors import InputError
from tasks.hashing.feature_set import REFERENCE
from tasks.logs.log import Log
from tasks.monitoring.bins import (
    MISSING,
    N_BINS,
    N_TOP,
    REST,
    SEEN_BITS,
    UNSEEN,
    FieldBins,
    SeenValues,
    as_numbers,
)
from tasks.monitoring.divergence import excess_psi, merged
from tasks.schema import Field, Schema
from tasks.storage.files import write_atomic

FORMAT = 1
MAX_ROWS = 1_000_000
_MAX_COUNTED = 100_000  # distinct values of a field that are counted at once
_FEWEST_ROWS = 100  # of a window that says something
_HOUR_US = 3_600_000_000
_NEVER = 2**31 - 1
_DAY_HOURS = 24


@dataclass
class Usual:
    """How a quantity of an hour varies among the training rows: its mean and its standard deviation."""

    mean: float
    sd: float


@dataclass
class FieldReference:
    """One field in the training rows.

    Attributes
    ----------
    bins
        What its values are counted in.
    counts
        Rows per bin, ``(N_BINS,)``.
    psi
        PSI of an hour against the rows before it, beyond what its number of rows explains.
    missing, unseen
        Shares of an hour's rows without a value, and with one that no row until a day before it had.
    """

    bins: FieldBins
    counts: np.ndarray
    psi: Usual
    missing: Usual
    unseen: Usual


@dataclass
class Reference:
    """The training rows as a whole, by field."""

    n_rows: int
    fields: dict[str, FieldReference]

    def to_json(self) -> str:
        """Return it as text; :func:`read_reference` reads it."""
        fields = [
            {
                "bins": one.bins.to_dict(),
                "counts": one.counts.tolist(),
                **{key: asdict(getattr(one, key)) for key in ("psi", "missing", "unseen")},
            }
            for one in self.fields.values()
        ]
        return json.dumps({"format": FORMAT, "n_rows": self.n_rows, "fields": fields})


def read_reference(path: str | Path) -> Reference:
    """Return the reference in a file.

    Raises
    ------
    InputError
        If it is missing or not readable.
    """
    try:
        return reference_from(json.loads(Path(path).read_text()))
    except FileNotFoundError:
        raise InputError(
            f"{path}: no reference; train with this version, or name monitor.reference"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a readable reference ({error}); run `make run`") from None


def reference_from(raw: Mapping[str, Any]) -> Reference:
    """Return the reference of decoded JSON."""
    if raw["format"] != FORMAT:
        raise InputError(f"a reference of format {FORMAT} is needed, found {raw['format']}")
    fields = {}
    for one in raw["fields"]:
        usual = {key: Usual(**one[key]) for key in ("psi", "missing", "unseen")}
        bins = FieldBins.from_dict(one["bins"])
        fields[bins.name] = FieldReference(bins, np.array(one["counts"], np.int64), **usual)
    return Reference(int(raw["n_rows"]), fields)


def build_reference(
    log: Log, schema: Schema, span: tuple[int, int], *, max_rows: int = MAX_ROWS
) -> Reference:
    """Return the reference of the last rows of a span (end exclusive); memory does not grow with them."""
    span = (max(span[0], span[1] - max_rows), span[1])
    names = [spec.name for spec in schema.fields]
    columns = [*names, *([schema.time_column] if schema.has_time else [])]
    counters = [_Counter(spec) for spec in schema.fields]
    known: set[int] = set()
    for batch in log.batches(columns=columns, start=span[0], stop=span[1]):
        known.update(np.unique(_hours(batch, schema)).tolist())
        for counter in counters:
            counter.add(batch.column(counter.spec.name))
    lag = _DAY_HOURS if len(known) >= 3 * _DAY_HOURS else 1
    found = [_Windows(counter.bins(), lag) for counter in counters]
    for batch in log.batches(columns=columns, start=span[0], stop=span[1]):
        hours = _hours(batch, schema)
        for one in found:
            one.add(batch.column(one.bins.name), hours)
    return Reference(span[1] - span[0], {one.bins.name: one.reference() for one in found})


def _hours(batch: pa.RecordBatch, schema: Schema) -> np.ndarray:
    if not schema.has_time:
        return np.zeros(batch.num_rows, np.int64)
    moments = batch.column(schema.time_column).cast(pa.timestamp("us", tz="UTC"))
    return moments.cast(pa.int64()).to_numpy() // _HOUR_US


class _Counter:
    """Frequent values of one field in constant memory: rare ones are dropped whenever there are too many.

    After Manku and Motwani (2002), "Approximate frequency counts over data streams".
    """

    def __init__(self, spec: Field):
        self.spec = spec
        self._counts = pd.Series(dtype=np.int64)
        self._numbers = np.empty(0)

    def add(self, column: pa.Array) -> None:
        if self.spec.kind == "number":
            if len(self._numbers) < _MAX_COUNTED:
                self._numbers = np.concatenate([self._numbers, as_numbers(column)])
            return
        counted = column.value_counts()
        texts = counted.field("values")
        if pa.types.is_dictionary(texts.type):
            texts = texts.dictionary_decode()
        batch = pd.Series(counted.field("counts").to_numpy(), index=texts.to_pandas())
        batch = batch[batch.index.notna() & (batch.index != "")]
        self._counts = self._counts.add(batch, fill_value=0)
        if len(self._counts) > _MAX_COUNTED:
            self._counts = self._counts.nlargest(_MAX_COUNTED // 10)

    def bins(self) -> FieldBins:
        edges: list[float] = []
        finite = self._numbers[np.isfinite(self._numbers)]
        if len(finite):
            edges = np.unique(np.quantile(finite, np.linspace(0, 1, 11)[1:-1])).tolist()
        top = self._counts.sort_index().sort_values(ascending=False, kind="stable").index[:N_TOP]
        return FieldBins(self.spec.name, self.spec.kind, list(map(str, top)), edges, SeenValues())


class _Windows:
    """Counts of one field by hour, each with what was unseen until then."""

    def __init__(self, bins: FieldBins, lag: int):
        self.bins, self._lag = bins, lag
        self._counts: dict[int, np.ndarray] = {}
        self._first = np.full(1 << SEEN_BITS, _NEVER)  # hour in which a hash occurred first

    def add(self, column: pa.Array, hours: np.ndarray) -> None:
        cuts = np.flatnonzero(np.diff(hours)) + 1
        spans = list(zip([0, *cuts], [*cuts, len(hours)], strict=True))
        if self.bins.kind == "number":
            codes = self.bins.number_codes(column)
            for start, stop in spans:
                self._count(int(hours[start]), codes[start:stop])
            return
        rows, of_text, hashes = self.bins.coded(column)
        for start, stop in spans:
            at = rows[start:stop]
            codes = of_text[at]
            places = hashes[at[codes != MISSING]] >> (32 - SEEN_BITS)
            number = self._ordinal(int(hours[start]))
            self._first[places] = np.minimum(self._first[places], number)
            places = hashes[at[codes == REST]] >> (32 - SEEN_BITS)
            codes[codes == REST] = np.where(self._first[places] > number - self._lag, UNSEEN, REST)
            self._count(int(hours[start]), codes)

    def _ordinal(self, hour: int) -> int:
        """Return the number of an hour, of those that have rows."""
        return len(self._counts) - int(hour in self._counts)

    def _count(self, hour: int, codes: np.ndarray) -> None:
        counts = self._counts.setdefault(hour, np.zeros(N_BINS, np.int64))
        counts += np.bincount(codes, minlength=N_BINS)

    def reference(self) -> FieldReference:
        table = np.array([self._counts[hour] for hour in sorted(self._counts)]).reshape(-1, N_BINS)
        before = np.cumsum(table, axis=0)
        later = range(max(len(table) // 2, self._lag), len(table))
        kept = [number for number in later if table[number].sum() >= _FEWEST_ROWS]
        psi = [excess_psi(table[one], merged(before[one - self._lag])) for one in kept]
        shares = table[kept] / table[kept].sum(axis=1, keepdims=True)
        return FieldReference(
            replace(self.bins, seen=SeenValues(self._first < _NEVER)),
            merged(table.sum(axis=0)),
            _usual(psi),
            _usual(shares[:, MISSING]),
            _usual(shares[:, UNSEEN]),
        )


def _usual(values: Any) -> Usual:
    values = np.asarray(values, np.float64)
    if not len(values):
        return Usual(0.0, 0.0)
    return Usual(float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0)


def write_reference(
    log: Log, schema: Schema, span: tuple[int, int], folder: str | Path
) -> Reference:
    """Write the reference of the rows of a span beside the feature sets and return it; on failure none is left."""
    path = Path(folder) / REFERENCE
    path.unlink(missing_ok=True)  # that of other rows would hide a drift
    reference = build_reference(log, schema, span)
    write_atomic(path, reference.to_json())
    return reference
