"""The end of a search by halving: its best trials against the default, all trained in full.

Few epochs on few rows favour other settings than the whole does, a high learning rate above all. So trials only choose
who is compared: the parameters change where a full training is better on the validation rows by more than chance.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from tasks.errors import DivergenceError
from tasks.evaluation.bootstrap import bootstrap_difference
from tasks.evaluation.metrics import log_loss
from tasks.logs.value_text import is_number
from tasks.models import make_learner
from tasks.models.predict import predict_stream
from tasks.training.fit import fit_stream

N_FINALISTS = 1  # besides the default
_MIN_ROWS, _MAX_ROWS = 25_000, 1_000_000


class Decision(NamedTuple):
    """What the comparison chose.

    Attributes
    ----------
    params
        The searched parameters that win; empty where the default stays.
    text
        One sentence: what was changed and what it is worth on the validation rows, or that the default stays.
    """

    params: dict[str, Any]
    text: str


def halving_plan(plan: Mapping[str, Any], n_rows: int) -> dict[str, Any]:
    """Return a plan with every knob: trials learn the newest quarter of the rows, within limits, unless it says otherwise."""
    recent = min(max(n_rows // 4, _MIN_ROWS), _MAX_ROWS, n_rows)
    return {"n_trials": 9, "max_rows": max(recent, 1), "max_epochs": 2} | dict(plan)


def finalists(
    records: list[dict[str, Any]], defaults: Mapping[str, Any], n: int = N_FINALISTS
) -> list[dict[str, Any]]:
    """Return the parameters of the best complete trials that lost less than the default did, the best first."""
    complete = sorted(
        (one for one in records if one["state"] == "complete"),
        key=lambda one: one["valid_log_loss"],
    )
    same = [one["valid_log_loss"] for one in complete if one["params"] == dict(defaults)]
    limit = same[0] if same else math.inf
    better = [one["params"] for one in complete if one["valid_log_loss"] < limit]
    return better[:n]


def full_training(
    model: Mapping[str, Any],
    fixed: Mapping[str, Any],
    train: Any,
    valid: Any,
    options: Mapping[str, Any],
    n_tokens: int,
) -> Callable[[Mapping[str, Any]], Any]:
    """Return the function that trains with given parameters as the final training does, and returns the learner.

    Parameters
    ----------
    model
        Its block in ``env.yaml``.
    fixed
        Parameters that hold in any case.
    train, valid
        Feature sets with one contract.
    options
        Of :class:`tasks.training.epochs.Training`; a checkpoint is left alone, it is the final training's.
    n_tokens
        Tokens of a row, on which defaults may depend.
    """
    kept = {key: value for key, value in options.items() if key != "checkpoint"}

    def train_in_full(params: Mapping[str, Any]) -> Any:
        learner = make_learner(
            model,
            train.contract.n_features,
            random_state=options["seed"],
            n_tokens=n_tokens,
            **{**fixed, **params},
        )
        fit_stream(learner, train, valid, **kept)
        return learner

    return train_in_full


def decide(
    train_in_full: Callable[[Mapping[str, Any]], Any],
    defaults: Mapping[str, Any],
    candidates: list[dict[str, Any]],
    valid: Any,
    *,
    n_tried: int,
    seed: int,
) -> Decision:
    """Return the candidate that is better than the default by more than chance, or the default.

    Parameters
    ----------
    train_in_full
        Returns a learner at its best epoch, given parameters in place of defaults; raises DivergenceError.
    defaults
        The searched parameters' defaults, for the sentence.
    candidates
        Parameters to compare, of :func:`finalists`.
    valid
        The validation rows; the 95% interval is a paired bootstrap over them.
    n_tried
        Settings besides the default that the trials tried.
    seed
        Of the bootstrap.

    Raises
    ------
    DivergenceError
        If the default and every candidate diverge.
    """
    if not candidates:
        return Decision({}, f"The default stays: none of {n_tried} other settings lost less.")
    default = _predictions(train_in_full, {}, valid)
    tried = [(one, _predictions(train_in_full, one, valid)) for one in candidates]
    found = [(one, p) for one, p in tried if p is not None]
    if not found:
        return Decision({}, "The default stays: the search's best diverges when trained in full.")
    if default is None:
        return Decision(found[0][0], f"{_changes(found[0][0], defaults)}: the default diverges.")
    weight = valid.weights() if hasattr(valid, "weights") else None
    compared = [(one, *_difference(default, p, weight, seed)) for one, p in found]
    best, apart, low, high = min(compared, key=lambda one: one[1])
    worth = f"{apart:+.4f} +- {(high - low) / 2:.4f} nats on the validation rows (95% interval)"
    if high < 0:
        return Decision(best, f"{_changes(best, defaults)}: {worth}.")
    return Decision({}, f"The default stays: {_changes(best, defaults)} is worth {worth}.")


def _predictions(
    train_in_full: Callable[[Mapping[str, Any]], Any], params: Mapping[str, Any], valid: Any
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return labels and probabilities of the validation rows; None if the training diverges."""
    try:
        return predict_stream(train_in_full(params), valid)
    except DivergenceError:
        return None


def _difference(
    default: tuple[np.ndarray, np.ndarray],
    other: tuple[np.ndarray, np.ndarray],
    weight: np.ndarray | None,
    seed: int,
) -> tuple[float, float, float]:
    """Return the log loss of `other` minus that of the default, and the ends of its interval."""
    (y_true, p_default), (_, p_other) = default, other
    apart = log_loss(y_true, p_other, weight) - log_loss(y_true, p_default, weight)
    low, high = bootstrap_difference(
        "log_loss", y_true, p_other, p_default, weight=weight, seed=seed
    )
    return apart, low, high


def _changes(params: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """Return the parameters that differ, such as ``alpha 0.03 instead of 0.05``."""
    return ", ".join(
        f"{name} {_short(value)}"
        + (f" instead of {_short(defaults[name])}" if name in defaults else "")
        for name, value in params.items()
        if value != defaults.get(name)
    )


def _short(value: Any) -> str:
    return f"{value:.3g}" if is_number(value) else str(value)
