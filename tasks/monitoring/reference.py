"""What the training rows looked like, compactly: the yardstick for drift, which travels with the model.

Bins of each field, how often each was hit, and how far one hour of training rows was from those a day before it: what
moves by itself every day is no alarm. Written by ``hash_features`` and stored beside each model of the run.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.errors import InputError
from tasks.logs.log import Log
from tasks.monitoring.bins import (
    MISSING,
    N_BINS,
    N_TOP,
    REST,
    UNSEEN,
    FieldBins,
    SeenValues,
    as_numbers,
)
from tasks.monitoring.divergence import excess_psi, merged
from tasks.schema import Field, Schema

FILE = "reference.json"
FORMAT = 1
MAX_ROWS = 1_000_000
_MAX_COUNTED = 100_000  # distinct values of a field that are counted at once
_FEWEST_ROWS = 100  # of a window that says something
_HOUR_US = 3_600_000_000


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
        Shares of an hour's rows without a value, and with one that no earlier row had.
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
    counters = [_Counter(spec) for spec in schema.fields]
    for batch in log.batches(columns=names, start=span[0], stop=span[1]):
        for counter in counters:
            counter.add(batch.column(counter.spec.name))
    found = [_Windows(counter.bins()) for counter in counters]
    times = [schema.time_column] if schema.has_time else []
    for batch in log.batches(columns=[*names, *times], start=span[0], stop=span[1]):
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

    def __init__(self, bins: FieldBins):
        self.bins = bins
        self._counts: dict[int, np.ndarray] = {}

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
            codes = of_text[rows[start:stop]]
            rest = codes == REST
            found = hashes[rows[start:stop][rest]]
            codes[rest] = np.where(self.bins.seen.has(found), REST, UNSEEN)
            self._count(int(hours[start]), codes)
            self.bins.seen.add(hashes[rows[start:stop][codes != MISSING]])

    def _count(self, hour: int, codes: np.ndarray) -> None:
        counts = self._counts.setdefault(hour, np.zeros(N_BINS, np.int64))
        counts += np.bincount(codes, minlength=N_BINS)

    def reference(self) -> FieldReference:
        table = np.array([self._counts[hour] for hour in sorted(self._counts)]).reshape(-1, N_BINS)
        before = np.cumsum(table, axis=0)
        lag = 24 if len(table) >= 72 else 1
        later = range(max(len(table) // 2, lag), len(table))
        kept = [number for number in later if table[number].sum() >= _FEWEST_ROWS]
        psi = [excess_psi(table[one], merged(before[one - lag])) for one in kept]
        shares = table[kept] / table[kept].sum(axis=1, keepdims=True)
        return FieldReference(
            self.bins,
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
