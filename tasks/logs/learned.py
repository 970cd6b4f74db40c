"""Which rows a model has learned, and which rows of a log it therefore must not be judged by."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tasks.logs.log import Log, ticks_of
from tasks.logs.split import Span

KEY = "learned"  # of the notes in a model's file
JUDGED = "judged"  # of a renewed model's: the notes of the one that was judged


def learned_rows(*manifests: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rows of some feature sets, given their manifests, as a model's file names them.

    Returns
    -------
    dict
        ``log_digest``; ``rows``, first and one past the last of each span; ``times``, first and last moment of each
        span in microseconds since 1970, UTC.
    """
    return {
        "log_digest": manifests[0]["log_digest"],
        "rows": [list(one["span"]) for one in manifests],
        "times": [list(one["times"]) for one in manifests],
    }


def with_older(before: Mapping[str, Any] | None, now: dict[str, Any]) -> dict[str, Any]:
    """Return the rows of a log that a model has learned, with the times of older logs that it began with."""
    older = [times for times in (before or {}).get("times", []) if times not in now["times"]]
    return {**now, "times": [*older, *now["times"]]}


def times_between(first: np.datetime64, last: np.datetime64) -> list[int]:
    """Return two moments of whole milliseconds in microseconds since 1970, UTC; the last one with all of its millisecond.

    Examples
    --------
    >>> times_between(np.datetime64("1970-01-01T00:00:01"), np.datetime64("1970-01-01T00:00:02"))
    [1000000, 2000999]
    """
    ticks = [int(one.astype("datetime64[ms]").astype(np.int64)) * 1000 for one in (first, last)]
    return [ticks[0], ticks[1] + 999]


def unlearned(info: Mapping[str, Any], log: Log, column: str, span: Span) -> np.ndarray | None:
    """Return which rows of a span a model has not learned, bool ``(n_rows,)``; None if that cannot be told.

    Rows of the very log that it learned are told by their number, those of another by their time: what lies within the
    time that it learned counts as learned, whichever file it came from. Rows of another origin are others, whenever they
    were; of a log without times, rows of another version cannot be told.

    Parameters
    ----------
    info
        Notes in the model's file: ``learned`` as :func:`learned_rows` returns it, ``origin``. An older file has only
        ``log_digest`` and the number of ``rows``, which are the first ones of that log.
    log, column, span
        The log, the name of its time's column, the rows to judge by.
    """
    fresh = np.ones(span[1] - span[0], dtype=bool)
    known = info.get(KEY)
    if known is None and info.get("log_digest") == log.digest and "rows" in info:
        known = {"log_digest": log.digest, "rows": [[0, info["rows"]]]}
    if known is not None and known["log_digest"] == log.digest:
        for first, end in known["rows"]:
            fresh[max(first - span[0], 0) : max(end - span[0], 0)] = False
        return fresh
    ours, theirs = log.manifest.get("origin"), info.get("origin")
    if ours and theirs and ours != theirs:
        return fresh
    if known is None or not log.manifest.get("has_time", True):
        return None
    batches = log.batches(columns=[column], start=span[0], stop=span[1])
    ticks = np.concatenate(
        [np.empty(0, np.int64), *(ticks_of(one.column(column)) for one in batches)]
    )
    for times in filter(None, known["times"]):
        fresh &= (ticks < times[0]) | (ticks > times[1])
    return fresh


def last_moment(info: Mapping[str, Any]) -> int | None:
    """Return the last moment that a model learned, in microseconds since 1970, UTC; None if its file does not say."""
    return max((times[1] for times in info.get(KEY, {}).get("times", []) if times), default=None)
