"""Clicks to the exposures they belong to, each exactly once; whatever is not used is counted with its reason."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

SECOND_US = 1_000_000
HOUR_US = 3600 * SECOND_US


@dataclass(frozen=True)
class Rule:
    """What belongs together, times in microseconds since 1970.

    Attributes
    ----------
    start_us, now_us
        Exposures from the first moment on are reported; what is later than the second comes from a wrong clock.
    window_us
        A click later than this after its exposure does not count.
    tolerance_us
        How far clocks may be apart: a click that much before its exposure counts, as one at the same moment.
    """

    start_us: int
    now_us: int
    window_us: int
    tolerance_us: int


class Joined(NamedTuple):
    """Exposures of one bucket and their labels, ``(n_rows,)`` each.

    Attributes
    ----------
    rows
        Which rows of the table of exposures these are.
    time_us, y_true, delay_us
        Time of the exposure; whether it was clicked; how much later, -1 without a click.
    counts
        What became of every row that was read, by name.
    """

    rows: np.ndarray
    time_us: np.ndarray
    y_true: np.ndarray
    delay_us: np.ndarray
    counts: dict[str, int]


EXPOSURES = (
    "exposures",
    "exposures_used",
    "exposures_duplicate",
    "exposures_in_future",
    "exposures_before_span",
)
CLICKS = (
    "clicks",
    "clicks_attributed",
    "clicks_duplicate",
    "clicks_without_exposure",
    "clicks_before_exposure",
    "clicks_too_late",
    "clicks_in_future",
    "clicks_of_other_exposures",
)
_WITHOUT, _FUTURE, _BEFORE, _LATE, _OTHER, _VALID = range(6)


def attribute(exposures: pa.Table, clicks: pa.Table, rule: Rule) -> Joined:
    """Return the exposures of a bucket with their labels.

    Of several exposures of one request and position the first counts, of several clicks of one exposure the first; the
    order of rows does not matter. The numbers of exposures sum up to ``exposures``, those of clicks to ``clicks``;
    ``clicks_skewed`` are some of the attributed.
    """
    keys, click_keys = _keys(exposures, clicks)
    time, click_time = _micros(exposures), _micros(clicks)
    order = np.lexsort((time, keys))
    first = order[_starts(keys[order])]
    keys, time = keys[first], time[first]
    in_future = time > rule.now_us + rule.tolerance_us
    early = time < rule.start_us
    used = ~(in_future | early)
    label, delay = np.zeros(len(first), bool), np.full(len(first), -1, np.int64)
    kind, exposure = _kinds(keys, time, used, click_keys, click_time, rule)
    valid = np.flatnonzero(kind == _VALID)
    valid = valid[np.lexsort((click_time[valid], exposure[valid]))]
    chosen = valid[_starts(exposure[valid])]
    label[exposure[chosen]] = True
    lead = click_time[chosen] - time[exposure[chosen]]
    delay[exposure[chosen]] = np.maximum(lead, 0)
    n_exposures = [exposures.num_rows, used.sum(), exposures.num_rows - len(first)]
    n_exposures += [in_future.sum(), (early & ~in_future).sum()]
    n_clicks = [clicks.num_rows, len(chosen), len(valid) - len(chosen)]
    n_clicks += [(kind == one).sum() for one in (_WITHOUT, _BEFORE, _LATE, _FUTURE, _OTHER)]
    counts = dict(zip((*EXPOSURES, *CLICKS), map(int, n_exposures + n_clicks), strict=True))
    counts["clicks_skewed"] = int((lead < 0).sum())
    return Joined(first[used], time[used], label[used], delay[used], counts)


def _kinds(
    keys: np.ndarray,
    time: np.ndarray,
    used: np.ndarray,
    click_keys: np.ndarray,
    click_time: np.ndarray,
    rule: Rule,
) -> tuple[np.ndarray, np.ndarray]:
    """Return what each click is, and the number of its exposure."""
    if not len(keys):
        return np.full(len(click_keys), _WITHOUT), np.zeros(len(click_keys), np.int64)
    exposure = np.minimum(np.searchsorted(keys, click_keys), len(keys) - 1)
    lead = click_time - time[exposure]
    kind = np.select(
        [
            click_time > rule.now_us + rule.tolerance_us,
            keys[exposure] != click_keys,
            ~used[exposure],
            lead < -rule.tolerance_us,
            lead > rule.window_us,
        ],
        [_FUTURE, _WITHOUT, _OTHER, _BEFORE, _LATE],
        _VALID,
    )
    return kind, exposure


def _starts(values: np.ndarray) -> np.ndarray:
    """Return which of some sorted values are the first of their kind, bool."""
    return np.r_[True, values[1:] != values[:-1]] if len(values) else np.zeros(0, bool)


def _keys(exposures: pa.Table, clicks: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Return a number for request and position of every row, the same number for the same ones."""
    chunks = [*exposures["request_id"].chunks, *clicks["request_id"].chunks]
    ids = pa.chunked_array(chunks, pa.string()).combine_chunks()
    if isinstance(ids, pa.ChunkedArray):
        ids = pa.concat_arrays(ids.chunks) if ids.num_chunks else pa.array([], pa.string())
    request = ids.dictionary_encode().indices.to_numpy().astype(np.int64)
    position = np.concatenate([one["position"].to_numpy() for one in (exposures, clicks)])
    keys = (request << 31) | position
    return keys[: exposures.num_rows], keys[exposures.num_rows :]


def _micros(rows: pa.Table) -> np.ndarray:
    return rows["time"].cast(pa.int64()).to_numpy()
