"""What features cost, where they fail, and whether they keep their promise, before all rows are hashed."""

import time
from collections.abc import Iterable
from typing import Any

import pandas as pd

from tasks.errors import ConfigError
from tasks.features.kinds.declaration import Feature
from tasks.features.kinds.finding import fresh_feature
from tasks.hashing.contract import HashContract
from tasks.hashing.encode import columns_of, encode_batch, field_columns, moments_of
from tasks.hashing.feature_set import FeatureSet
from tasks.hashing.features.columns import Faults, distinct
from tasks.hashing.features.rows import FeatureFaultError, Inputs, call_feature, shown
from tasks.logs.log import Log

SLOW_NS = 300  # per row; all of hashing takes some 900
_MAX_SECONDS = 1.0  # of calls per feature; further combinations are not tried


def survey_features(
    log: Log, contract: HashContract, span: tuple[int, int], *, max_rows: int = 100_000
) -> pd.DataFrame:
    """Return what each feature costs and how often it fails in the last rows of a span.

    Distinct combinations of inputs are tried three times: twice by a copy of the feature's module that is executed
    anew, first in the opposite order. Calls of one feature take three seconds at most.

    Parameters
    ----------
    log, contract, span
        The log, whose features, and the rows (end exclusive) to take the last ones of.
    max_rows
        Maximum number of rows.

    Returns
    -------
    DataFrame
        Index the features. ``reads``: its inputs; ``combinations``: distinct ones in these rows; ``us_per_call``;
        ``ns_per_row``, the same per row, since a combination is called once; ``slow``: more than 300 ns per row;
        ``failed_rows``.

    Raises
    ------
    ConfigError
        If a feature gives two values for one input, or fails in more than 1% of the rows.
    """
    start = max(span[0], span[1] - max_rows)
    found: dict[str, dict[Inputs, None]] = {one.name: {} for one in contract.derived}
    faults = Faults()
    for batch in log.batches(columns=columns_of(contract), start=start, stop=span[1]):
        known, moments = field_columns(batch, contract), moments_of(batch, contract)
        for one in contract.derived:
            found[one.name].update(dict.fromkeys(distinct(one, known, moments)[0]))
        encode_batch(batch, contract, faults=faults)
    n_rows = max(span[1] - start, 1)
    faults.check(n_rows)
    rows = {}
    for one in contract.derived:
        us_per_call = _try_again(one, _fresh(one, contract), list(found[one.name]))
        ns_per_row = 1000 * us_per_call * len(found[one.name]) / n_rows
        rows[one.name] = {
            "reads": ", ".join(name.lstrip("@") for name in one.inputs),
            "combinations": len(found[one.name]),
            "us_per_call": round(us_per_call, 2),
            "ns_per_row": round(ns_per_row, 2),
            "slow": ns_per_row > SLOW_NS,
            "failed_rows": faults.n_rows[one.name],
        }
    columns = ["reads", "combinations", "us_per_call", "ns_per_row", "slow", "failed_rows"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("feature")


def _fresh(feature: Feature, contract: HashContract) -> Feature:
    found = fresh_feature(feature.name)
    return found.with_past(contract.past[found.name]) if found.is_statistic else found


def _try_again(feature: Feature, fresh: Feature, combinations: list[Inputs]) -> float:
    """Return the microseconds of processor time of a call; ConfigError if an input has two values."""
    values: dict[Inputs, Any] = {}
    since = time.thread_time()
    for inputs in combinations:
        values[inputs] = _value(feature, inputs)
        if time.thread_time() - since > _MAX_SECONDS:
            break
    seconds = time.thread_time() - since
    for order in (list(values)[::-1], list(values)):
        since = time.thread_time()
        again = [_value(fresh, inputs) for inputs in order]
        seconds = min(seconds, time.thread_time() - since)
        for inputs, after in zip(order, again, strict=True):
            if after != values[inputs]:
                raise ConfigError(
                    f"feature {feature.name!r} gives {_shown(values[inputs])} and then {_shown(after)} for "
                    f"{shown(feature, inputs)}; its value follows from its inputs alone, so remove what else it reads"
                )
    return 1e6 * seconds / max(len(values), 1)


def _value(feature: Feature, inputs: Inputs) -> tuple[str, ...] | None:
    try:
        return call_feature(feature, inputs)
    except FeatureFaultError:
        return None


def _shown(texts: tuple[str, ...] | None) -> str:
    return "an error" if texts is None else repr(texts[0] if len(texts) == 1 else texts)


def failed_inputs(features: Iterable[FeatureSet]) -> pd.DataFrame:
    """Return the inputs on which features fail, as feature sets recorded them.

    Returns
    -------
    DataFrame
        ``feature``, ``reason`` (names the input) and ``n_rows``, most rows first; their token is that of a missing
        value. At most 20 reasons per feature are recorded.
    """
    faults = Faults()
    for one in features:
        faults.add_dict(one.manifest["feature_faults"])
    rows = [
        (name, reason, n_rows)
        for name, messages in faults.messages.items()
        for reason, n_rows in messages.items()
    ]
    table = pd.DataFrame(rows, columns=["feature", "reason", "n_rows"])
    return table.sort_values("n_rows", ascending=False, ignore_index=True)
