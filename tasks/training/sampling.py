"""Which training rows a learner gets, and with what weight: the last ones, or fewer of those without a click.

Whether a row is kept is drawn from its number and a seed alone, so batches of any size, threads and
epochs agree on it.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tasks.errors import ConfigError
from tasks.hashing.codes import NO_TOKEN
from tasks.logs.value_text import is_number
from tasks.models.kernels.splitmix import GOLDEN_GAMMA, mix64

_SAME = 1e-9  # weights this close to 1 are 1: the inverse of a rate is not exact


def checked_rate(negative_rate: Any) -> float:
    """Return the rate as a float; ConfigError unless it is above 0 and up to 1."""
    if not is_number(negative_rate) or not 0 < negative_rate <= 1:
        raise ConfigError(
            f"training: negative_rate must be above 0 and at most 1, found {negative_rate!r}"
        )
    return float(negative_rate)


def keep_rows(
    label: np.ndarray, *, first_row: int, negative_rate: float, seed: int = 0
) -> np.ndarray:
    """Return which rows to learn from, bool ``(n_rows,)``: all clicks, and a share of the others.

    Parameters
    ----------
    label
        0 or 1, ``(n_rows,)``.
    first_row
        Number of the first of them in its feature set.
    negative_rate
        Probability of keeping a row without a click, above 0 and up to 1.
    seed
        Another seed keeps others; 0 to 2**32 - 1.

    Examples
    --------
    >>> keep_rows(np.array([1, 0, 0, 0, 1, 0]), first_row=0, negative_rate=0.4).tolist()
    [True, False, True, False, True, True]
    """
    if negative_rate == 1:
        return np.ones(len(label), dtype=bool)
    rows = np.arange(first_row, first_row + len(label), dtype=np.uint64)
    return (_uniform(rows, seed) < negative_rate) | (label != 0)


def sample_batch(
    batch: Any, first_row: int, *, negative_rate: float, seed: int, no_click_rate: float = 1.0
) -> tuple[Any, ...]:
    """Return what ``partial_fit_codes`` takes: codes and labels of the rows to learn from, and weights where they differ.

    Parameters
    ----------
    batch
        Rows with ``codes``, ``label`` and, where rows stand for several impressions, ``weight``.
    first_row, negative_rate, seed
        See :func:`keep_rows`.
    no_click_rate
        Share of the impressions without a click that the log holds. Such rows count in training as they are, not as
        the 1 / `no_click_rate` that they stand for: the learner's logit offset corrects for both kinds of sampling, and
        does not make its steps longer.
    """
    rows: tuple[Any, ...] = (batch.codes, batch.label)
    weight = getattr(batch, "weight", None)
    if weight is not None:
        own = np.where(batch.label == 0, weight * no_click_rate, weight)
        rows += (own,) if np.abs(own - 1).max(initial=0) > _SAME else ()
    if negative_rate == 1:
        return rows
    kept = keep_rows(batch.label, first_row=first_row, negative_rate=negative_rate, seed=seed)
    return tuple(array[kept] for array in rows)


def rates_of(learner: Any) -> dict[str, float]:
    """Return which shares of the rows without a click training, and the log before it, leave."""
    return {name: getattr(learner, f"{name}_", 1.0) for name in ("negative_rate", "no_click_rate")}


def weight_of(rows: tuple[Any, ...]) -> float:
    """Return how many rows those of :func:`sample_batch` count as: their number, or the sum of their weights."""
    return len(rows[1]) if len(rows) == 2 else float(rows[2].sum())


def tokens_per_row(rows: Any) -> int:
    """Return how many tokens a row has, by :func:`mean_tokens` of the first batch; 1 without rows."""
    first = next(iter(rows.batches()), None)
    return 1 if first is None else mean_tokens(first.codes)


def mean_tokens(codes: np.ndarray) -> int:
    """Return how many tokens a row has on average, rounded up, 1 or more: a list seldom fills its places."""
    return max(1, -(-int(np.count_nonzero(codes != NO_TOKEN)) // max(1, len(codes))))


class Slice(NamedTuple):
    """Row-aligned arrays, as those of a feature set."""

    codes: Any
    label: Any
    weight: Any = None


class LastRows:
    """The last `max_rows` rows of a feature set, read like one; all of them if there are fewer."""

    def __init__(self, rows: Any, max_rows: int):
        self._rows, self.contract = rows, rows.contract
        self._n_skipped = max(0, rows.n_rows - max_rows)
        self.n_rows = rows.n_rows - self._n_skipped

    def batches(self) -> Iterator[Slice]:
        """Yield the batches, the first one cut to its last rows."""
        offset = 0
        for batch in self._rows.batches():
            begin = max(0, self._n_skipped - offset)
            offset += len(batch.label)
            if begin < len(batch.label):
                weight = getattr(batch, "weight", None)
                last = None if weight is None else weight[begin:]
                yield Slice(batch.codes[begin:], batch.label[begin:], last)


class Joined:
    """Feature sets with one contract, read one after the other like one."""

    def __init__(self, *sets: Any):
        self.sets, self.contract = sets, sets[0].contract
        self.n_rows = sum(one.n_rows for one in sets)

    @property
    def manifest(self) -> dict[str, str]:
        """What identifies the rows."""
        return {"digest": "+".join(one.manifest["digest"] for one in self.sets)}

    def batches(self) -> Iterator[Any]:
        """Yield the batches of each set, in their order."""
        for one in self.sets:
            yield from one.batches()


def _uniform(rows: np.ndarray, seed: int) -> np.ndarray:
    """Return a number in [0, 1) for each row number: SplitMix64, started at the seed's own."""
    start = np.uint64((seed * 0xD1342543DE82EF95 + int(GOLDEN_GAMMA)) % 2**64)
    return (mix64(rows * GOLDEN_GAMMA + start) >> np.uint64(11)) * 2.0**-53
