"""Which fields matter before any model is trained: how well each one alone predicts later clicks."""

import numpy as np
import pandas as pd

from tasks.schema import Schema

_PRIOR_ROWS = 20.0  # a value's click rate starts as if it had so many average rows


def field_gain(frame: pd.DataFrame, schema: Schema, *, learn_share: float = 0.8) -> pd.DataFrame:
    """Return for each field how much its values' click rates lower log loss on later rows.

    Parameters
    ----------
    frame
        Rows in time order, as :func:`tasks.logs.exploration.sample_log` returns them.
    schema
        Names the fields; ``hour_of_day`` and the features are added if the frame has them.
    learn_share
        Click rates are learned from this share of the rows, the first ones, and judged on the rest.

    Returns
    -------
    DataFrame
        Index the fields, best first. ``gain``: nats by which log loss falls against knowing only the
        overall click rate; below 0 the field misleads. ``share``: the same relative to that loss. Both NaN
        if there are fewer than two rows.

    Notes
    -----
    Each field is judged alone, so fields that say the same share their gain; a value that is new in the later
    rows predicts the overall click rate, so an identifier gains nothing.
    """
    more = dict.fromkeys(["hour_of_day", *schema.feature_columns])
    fields = [*schema.field_names, *(name for name in more if name in frame)]
    cut = int(len(frame) * learn_share)
    early, late = frame.iloc[:cut], frame.iloc[cut:]
    gains, base_loss = dict.fromkeys(fields, np.nan), np.nan
    if len(early) and len(late):
        y_true = late[schema.label].to_numpy(dtype=float)
        base = (early[schema.label].sum() + 0.5) / (len(early) + 1)
        base_loss = _log_loss(y_true, np.full(len(late), base))
        for field in fields:
            p_click = _rates(early, late, field, schema.label, base)
            gains[field] = base_loss - _log_loss(y_true, p_click)
    table = pd.DataFrame({"gain": gains}).rename_axis("field")
    return table.assign(share=table["gain"] / base_loss).sort_values("gain", ascending=False)


def _rates(
    early: pd.DataFrame, late: pd.DataFrame, field: str, label: str, base: float
) -> np.ndarray:
    grouped = early.groupby(field, observed=True, dropna=False)[label].agg(["sum", "size"])
    rate = (grouped["sum"] + _PRIOR_ROWS * base) / (grouped["size"] + _PRIOR_ROWS)
    return late[field].astype(object).map(rate.to_dict()).fillna(base).to_numpy(dtype=float)


def _log_loss(y_true: np.ndarray, p_click: np.ndarray) -> float:
    return float(-np.mean(np.log(np.where(y_true == 1, p_click, 1 - p_click))))
