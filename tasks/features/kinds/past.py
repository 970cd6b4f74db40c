"""The past of a field's values: impressions and clicks by day, which a statistic is computed from."""

import hashlib
import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import accumulate

Counts = tuple[int, int, int]  # a day (days since 1970), its impressions, its clicks
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Past:
    """Impressions and clicks of values by day, as one log had them; immutable.

    A row of some day sees only the days before it, so neither its own click nor any later one is in its statistic.
    A row later than all days, such as a live request, and one without a time see all of them.

    Parameters
    ----------
    counts
        Per value (the empty text: missing), its days in order.

    Raises
    ------
    ValueError
        If a day is out of order, or has fewer impressions than clicks.

    Examples
    --------
    >>> past = Past({"a": [(0, 10, 1), (2, 5, 2)]})
    >>> [past.before("a", datetime(1970, 1, day, tzinfo=UTC)) for day in (1, 2, 3, 4)], past.before("a", None)
    ([None, (10, 1), (10, 1), (15, 3)], (15, 3))
    """

    def __init__(self, counts: Mapping[str, Sequence[Counts]]):
        self._days: dict[str, list[int]] = {}
        self._sums: dict[str, list[tuple[int, int]]] = {}
        for value, by_day in counts.items():
            days, impressions, clicks = (
                [int(one) for one in column] for column in zip(*by_day, strict=True)
            )
            if sorted(set(days)) != days or any(
                not 0 <= hit <= shown for shown, hit in zip(impressions, clicks, strict=True)
            ):
                raise ValueError(
                    f"the past of {value!r} has days out of order, or more clicks than impressions"
                )
            self._days[str(value)] = days
            self._sums[str(value)] = list(
                zip(accumulate(impressions), accumulate(clicks), strict=True)
            )
        counted = {value: self._counts(value) for value in self._days}
        self.digest = hashlib.sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()[:16]

    @classmethod
    def from_dict(cls, raw: Mapping[str, str]) -> "Past":
        """Return the table that :meth:`to_dict` wrote; ValueError or AttributeError if it is none."""
        return cls(
            {
                value: [tuple(map(int, day.split())) for day in text.split(",")]  # type: ignore[misc]
                for value, text in raw.items()
            }
        )

    def __len__(self) -> int:
        """Return the number of values."""
        return len(self._days)

    def before(self, value: str | None, day: datetime | None) -> tuple[int, int] | None:
        """Return impressions and clicks of a value on the days before one, None if it had none."""
        days = self._days.get(value or "")
        if days is None:
            return None
        n_days = len(days) if day is None else bisect_left(days, (day - _EPOCH).days)
        return self._sums[value or ""][n_days - 1] if n_days else None

    def to_dict(self) -> dict[str, str]:
        """Return JSON-ready data: per value its days with impressions and clicks, as ``0 10 1,2 5 2``.

        A number per line, which a list would become in a file with indents, would take five times as much space.
        """
        return {
            value: ",".join(" ".join(map(str, one)) for one in self._counts(value))
            for value in self._days
        }

    def _counts(self, value: str) -> list[Counts]:
        sums = [(0, 0), *self._sums[value]]
        return [
            (day, after[0] - before[0], after[1] - before[1])
            for day, before, after in zip(self._days[value], sums, sums[1:], strict=False)
        ]
