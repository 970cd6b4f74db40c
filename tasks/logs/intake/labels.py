"""What a row says about clicks: its label, and for how many impressions it stands."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tasks.logs.intake.values import coded, floats
from tasks.logs.value_text import value_text
from tasks.schema import Schema

LABEL = "label is not 0 or 1"
WORD = "label is none of the declared values"
COUNTS = "clicks and impressions are not counts, the first at most the second"
WEIGHT = "weight is not a positive number"
_PLAIN = {"0": 0, "1": 1, "false": 0, "true": 1}

Blame = tuple[np.ndarray, str, pa.Array]  # the rows that are wrong, why, and the column at fault


@dataclass(frozen=True)
class Clicks:
    """For each row: the weight of its click and of its non-click, of which one is 0 unless rows are counts; and blame.

    Weights are float64, shape ``(n_rows,)``; the plain log has those of 0 and 1.
    """

    clicked: np.ndarray
    not_clicked: np.ndarray
    blame: list[Blame]


class LabelReader:
    """Reads label and weight of raw rows as the schema declares them.

    Without declared values, numbers and booleans are read however they are written: ``1``, ``1.0``, ``TRUE``.
    """

    def __init__(self, schema: Schema):
        self._schema, self._form = schema, schema.label_form
        self._click = {_word(text) for text in self._form.click}
        self._no_click = {_word(text) for text in self._form.no_click}

    def __call__(self, columns: Mapping[str, pa.Array], file: str) -> Clicks:
        """Return what the rows say; InputError if a column's type holds no values."""
        schema, form = self._schema, self._form
        if not form.column:  # rows to be scored have no label
            n_rows = len(next(iter(columns.values())))
            return Clicks(np.zeros(n_rows), np.ones(n_rows), [])
        column = columns[form.column]
        if form.impressions:
            clicked = floats(column, form.column, file)
            shown = floats(columns[form.impressions], form.impressions, file)
            with np.errstate(invalid="ignore"):
                right = (clicked >= 0) & (clicked <= shown) & (shown > 0) & np.isfinite(shown)
                right &= (clicked == np.floor(clicked)) & (shown == np.floor(shown))
            clicked, shown = np.where(right, clicked, 0.0), np.where(right, shown, 0.0)
            not_clicked = shown - clicked
            blame = [(~right, COUNTS, column)]
        else:
            label = self._labels(column, file)
            clicked, not_clicked = (label == 1).astype(float), (label == 0).astype(float)
            reason = WORD if self._click or self._no_click else LABEL
            blame = [(label < 0, reason, column)]
        if schema.weight:
            weight = floats(columns[schema.weight], schema.weight, file)
            wrong = ~((weight > 0) & np.isfinite(weight))
            blame.append((wrong, WEIGHT, columns[schema.weight]))
            weight = np.where(wrong, 0.0, weight)
            clicked, not_clicked = clicked * weight, not_clicked * weight
        return Clicks(clicked, not_clicked / form.no_click_rate, blame)

    def _labels(self, column: pa.Array, file: str) -> np.ndarray:
        """Return 1, 0, or -1 where the value is neither, int8."""
        indices, texts = coded(column, self._form.column, file)
        known = [self._label(_word(text or "")) for text in texts.to_pylist()]
        rows = indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return np.array([*known, self._label("")], dtype=np.int8)[rows]

    def _label(self, word: str) -> int:
        if not self._click and not self._no_click:
            return _PLAIN.get(word, -1)
        if word in self._click:
            return 1
        if word in self._no_click:
            return 0
        if (self._click and self._no_click) or not word:
            return -1
        return int(not self._click)  # only the other side is listed


def _word(text: str) -> str:
    """Return the text that all ways of writing a value share: 1.00 is 1, TRUE is true."""
    text = text.strip()
    if text.lower() in ("true", "false"):
        return text.lower()
    try:
        return value_text(float(text))
    except ValueError:
        return text


def rows_of(clicks: Clicks, good: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rows of the log that good raw rows become: the raw row, label (int8) and weight of each.

    Examples
    --------
    >>> clicks = Clicks(np.array([2.0, 0, 1]), np.array([8.0, 5, 0]), [])
    >>> [values.tolist() for values in rows_of(clicks, np.array([True, True, True]))]
    [[0, 0, 1, 2], [1, 0, 0, 1], [2.0, 8.0, 5.0, 1.0]]
    """
    if not ((clicks.clicked > 0) & (clicks.not_clicked > 0)).any():
        rows = np.flatnonzero(good)
        label = (clicks.clicked > 0)[rows]
        return rows, label.astype(np.int8), (clicks.clicked + clicks.not_clicked)[rows]
    both = np.column_stack([clicks.clicked, clicks.not_clicked])
    rows, sides = np.nonzero((both > 0) & good[:, None])
    return rows, (1 - sides).astype(np.int8), both[rows, sides]
