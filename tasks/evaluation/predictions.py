"""Whether predictions can be judged at all."""

import numpy as np


def fault_of(p_click: np.ndarray) -> str | None:
    """Return what is wrong with predictions that are not all probabilities, in a sentence; None if they are.

    Examples
    --------
    >>> fault_of(np.array([0.1, np.nan, 0.3]))
    'it predicts no probability (NaN) for 1 of 3 rows'
    >>> fault_of(np.array([0.1, 0.2]))
    """
    bad = ~((p_click >= 0) & (p_click <= 1))  # NaN as well
    if not bad.any():
        return None
    first = float(p_click[bad][0])
    shown = "NaN" if first != first else f"{first:g}"
    return f"it predicts no probability ({shown}) for {int(bad.sum()):,} of {len(p_click):,} rows"
