"""What features make of whole columns: each called once per distinct combination of its inputs."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.errors import ConfigError
from tasks.features.kinds.declaration import STEPS_MS, Feature
from tasks.features.kinds.finding import n_tries
from tasks.hashing.columns import Column, read_column, read_only, rows_of, text_list, texts_of
from tasks.hashing.contract import HashContract
from tasks.hashing.features.rows import FeatureFaultError, FeatureMemory, Inputs, call_feature
from tasks.hashing.moments import NOT_A_TIME, from_ms

_REMEMBERED = 32_768  # combinations per feature, from batch to batch
_MAX_MESSAGES = 20  # per feature
MAX_FAILED_SHARE = 0.01  # of the rows; in more, the feature is a mistake


class Faults:
    """Rows in which features failed, and items that lists have beyond their maximum.

    Attributes
    ----------
    n_rows : Counter
        By feature.
    messages : dict of str to Counter
        By feature, rows by message, which names the input; the first 20 messages of each.
    left_out : Counter
        Items beyond the maximum, by list.
    """

    def __init__(self) -> None:
        self.n_rows: Counter[str] = Counter()
        self.messages: dict[str, Counter[str]] = {}
        self.left_out: Counter[str] = Counter()

    def add(self, feature: str, message: str, n_rows: int) -> None:
        """Count rows."""
        self.n_rows[feature] += n_rows
        messages = self.messages.setdefault(feature, Counter())
        if message in messages or len(messages) < _MAX_MESSAGES:
            messages[message] += n_rows

    def check(self, n_rows: int) -> None:
        """Raise ConfigError for a feature that fails in more than 1% of so many rows.

        Rows with a failing feature stay: their token is that of a missing value, as it is for a request.
        """
        for name, n_failed in self.n_rows.items():
            if n_failed > MAX_FAILED_SHARE * n_rows:
                message, _ = self.messages[name].most_common(1)[0]
                raise ConfigError(
                    f"{message}; it fails in {n_failed:,} of {n_rows:,} rows, more than {MAX_FAILED_SHARE:.0%}: "
                    "correct the function"
                )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data, which :meth:`add_dict` adds to another."""
        return {
            name: {"n_rows": n_rows, "messages": dict(self.messages[name])}
            for name, n_rows in self.n_rows.items()
        }

    def add_dict(self, found: Mapping[str, Any]) -> None:
        """Add what :meth:`to_dict` returned."""
        for name, fault in found.items():
            for message, n_rows in fault["messages"].items():
                self.add(name, message, n_rows)
            self.n_rows[name] += fault["n_rows"] - sum(fault["messages"].values())


def derive(
    memories: Sequence[FeatureMemory],
    known: Mapping[str, Column],
    moments: np.ndarray | None,
    faults: Faults | None = None,
) -> dict[str, Column]:
    """Return the columns that features give, by name.

    Parameters
    ----------
    memories
        The features, see :func:`remembered`.
    known
        The columns of the fields that they read.
    moments
        UTC milliseconds per row, if a feature reads the time.
    faults
        Counts the rows in which a feature fails; their text is that of a missing value.
    """
    found: dict[str, Column] = {}
    for memory in memories:
        combinations, rows = distinct(memory.feature, known, moments)
        results = [memory[key[0] if len(key) == 1 else key] for key in combinations]
        if faults is not None and any(texts is memory.missing for texts in results):
            _count(memory, combinations, results, rows, faults)
        for number, name in enumerate(memory.feature.columns):
            found[name] = _column([texts[number] for texts in results], rows)
    return found


def with_features(frame: Any, features: Iterable[Feature], *, time_column: str) -> Any:
    """Return a DataFrame with a column of text for each column of the features; missing values are None.

    Parameters
    ----------
    frame
        Rows of a log, as :mod:`tasks.logs.exploration` returns them. Columns that are there already stay.
    features
        Functions declared with :func:`tasks.features.kinds.declaration.feature`, as declarations.
    time_column
        The column of moments that features of the time read.

    Raises
    ------
    ConfigError
        If one is a statistic of the past without its table.
    """
    import pandas as pd  # which the service does without

    features = list(features)
    for one in features:
        if one.is_statistic and not one.has_past:
            raise ConfigError(
                f"feature {one.name!r} is a statistic of the past and needs its table; name it in the schema, and take "
                "it from `contract_for(log, schema, split_log(log), bits=...).derived`"
            )
    names = {name for one in features for name in one.fields}
    known = {
        name: read_column(pa.Array.from_pandas(frame[name]), name=name) for name in sorted(names)
    }
    moments = None
    if any(one.reads_time for one in features):
        times = frame[time_column]
        times = times if times.dt.tz is None else times.dt.tz_convert(None)
        moments = times.to_numpy().astype("datetime64[ms]").view(np.int64)
    memories = [FeatureMemory(one, size=_REMEMBERED) for one in features]
    found = {}
    for name, column in derive(memories, known, moments).items():
        if name not in frame:
            texts = text_list(column.texts, np.arange(column.texts.n_texts))
            rows = rows_of(column)
            found[name] = pd.Categorical.from_codes(np.where(rows == len(texts), -1, rows), texts)
    return frame.assign(**found)


def distinct(
    feature: Feature, known: Mapping[str, Column], moments: np.ndarray | None
) -> tuple[list[Inputs], np.ndarray]:
    """Return the distinct combinations of a feature's inputs, and which of them each row has, int32."""
    chosen: list[np.ndarray] = []  # per input so far, its entry in each combination
    rows = np.zeros(0, dtype=np.int32)
    values: list[list[Any] | None] = []
    for number, name in enumerate(feature.inputs):
        if name in STEPS_MS:
            assert moments is not None
            coded = pa.array(_floor(moments, STEPS_MS[name])).dictionary_encode()
            entries, n_entries = coded.indices.to_numpy(), len(coded.dictionary)
            values.append([_moment(ms) for ms in coded.dictionary.to_pylist()])
        else:
            entries, n_entries = rows_of(known[name]), known[name].texts.n_texts + 1
            values.append(None)
        pairs = entries if not number else rows.astype(np.int64) * n_entries + entries
        coded = pa.array(pairs).dictionary_encode()
        pair_of, rows = coded.dictionary.to_numpy(), coded.indices.to_numpy()
        if not number:
            chosen = [pair_of]
        else:
            left, right = np.divmod(pair_of, n_entries)
            chosen = [*(before[left] for before in chosen), right]
    lists = [
        text_list(known[name].texts, at) if moment is None else [moment[one] for one in at]
        for name, at, moment in zip(feature.inputs, chosen, values, strict=True)
    ]
    return list(zip(*lists, strict=True)), rows


def _floor(moments: np.ndarray, step_ms: int) -> np.ndarray:
    if step_ms == 1:
        return moments
    return np.where(moments == NOT_A_TIME, NOT_A_TIME, moments // step_ms * step_ms)


def _moment(moment_ms: int) -> Any:
    """Return a moment, None if it is missing; one beyond the calendar stays a number, which no feature takes."""
    try:
        return None if moment_ms == NOT_A_TIME else from_ms(moment_ms)
    except OverflowError:
        return moment_ms


def _count(
    memory: FeatureMemory,
    combinations: list[Inputs],
    results: list[tuple[str, ...]],
    rows: np.ndarray,
    faults: Faults,
) -> None:
    n_rows = np.bincount(rows, minlength=len(combinations))
    for inputs, texts, n in zip(combinations, results, n_rows.tolist(), strict=True):
        if texts is memory.missing:
            try:
                call_feature(memory.feature, inputs)
            except FeatureFaultError as fault:
                faults.add(memory.feature.name, str(fault), n)


def _column(texts: list[str], rows: np.ndarray) -> Column:
    """Return a column from the text of each combination; each distinct text is there once."""
    numbers = {text: number for number, text in enumerate(dict.fromkeys(filter(None, texts)))}
    entries = np.array([numbers.get(text, len(numbers)) for text in texts], dtype=np.int32)
    return Column(texts_of(list(numbers)), read_only(entries[rows]))


def remembered(contract: HashContract) -> list[FeatureMemory]:
    """Return the features of a contract with what they gave for the batches before.

    One more try of a function begins anew: a constant or another function that it uses may have changed.
    """
    return _remembered(contract, n_tries())


@lru_cache(maxsize=8)
def _remembered(contract: HashContract, _n_tries: int) -> list[FeatureMemory]:
    return [FeatureMemory(one, size=_REMEMBERED) for one in contract.derived]
