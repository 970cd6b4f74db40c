"""A blend: the weighted mean of models' logits, its weights learned on validation rows that no part had learned.

Weights are 0 or above and add up to 1, and there is no constant: free weights were worse on later rows (docs/models.md).
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tasks.errors import ContractError, DegenerateError, InputError
from tasks.evaluation.candidates import REFUSED
from tasks.models import BLEND
from tasks.models.artifact import ScoringModel, load_model
from tasks.models.blend_scoring import prefix_of
from tasks.models.scoring import sigmoid
from tasks.storage.files import write_atomic
from tasks.storage.workspace import resolve
from tasks.training.history import Epoch, History

VALID_LOGITS = "valid-logits.npy"  # beside a model's files, and none of them
_STEPS, _CLOSE = 200, 1e-12  # Newton steps at most; a gain in nats that ends them


class Blend:
    """Models to be blended, as what :func:`tasks.models.artifact.save_model` saves.

    Parameters
    ----------
    parts
        Models with one hash contract, by name.
    weights
        A weight for each, 0 or above, 1 in all.

    Raises
    ------
    ContractError
        If the parts do not share one contract.
    """

    kind, bias, logit_offset_, scorer = BLEND, 0.0, 0.0, None

    def __init__(self, parts: Mapping[str, ScoringModel], weights: Sequence[float]):
        self.parts, self.weights = dict(parts), [float(weight) for weight in weights]
        require_one_contract(parts)

    def get_params(self) -> dict[str, Any]:
        """Return each part's name, kind, parameters, intercept and weight, under ``parts``."""
        members = zip(self.parts.items(), self.weights, strict=True)
        return {
            "parts": [
                {
                    "name": name,
                    "kind": part.kind,
                    "params": part.params,
                    "intercept": part.intercept,
                    "weight": weight,
                }
                for (name, part), weight in members
            ]
        }

    def arrays(self) -> dict[str, Any]:
        """Return the arrays of all parts, as :mod:`tasks.models.blend_scoring` names them."""
        return {
            f"{prefix_of(number)}{key}": array
            for number, part in enumerate(self.parts.values())
            for key, array in part.arrays.items()
        }

    def predict_codes(self, codes: np.ndarray) -> np.ndarray:
        """Return click probabilities of hashed rows, float64 ``(n_rows,)``."""
        logits = [part.logits(codes) for part in self.parts.values()]
        return sigmoid(np.dot(self.weights, logits))


def keep_valid_logits(model: str | Path, p_click: np.ndarray) -> None:
    """Write a model's logits of the validation rows beside it, float64 ``(n_rows,)``, for blends of which it is a part.

    Parameters
    ----------
    model
        Its ``model.json``.
    p_click
        What it predicted for the validation rows before it learned them.
    """
    tiny = np.finfo(float).tiny
    p_click = np.clip(np.asarray(p_click, np.float64), tiny, 1 - np.finfo(float).epsneg)
    write_atomic(resolve(model).with_name(VALID_LOGITS), _npy(np.log(p_click) - np.log1p(-p_click)))


def read_parts(
    names: Sequence[str], upstream: Mapping[str, Any], n_rows: int
) -> tuple[dict[str, ScoringModel], np.ndarray]:
    """Return the models to blend, by name, and their logits of the validation rows, ``(n_parts, n_rows)``.

    Parameters
    ----------
    names
        The parts' names.
    upstream
        ``result`` and ``model`` of each part's training, by its task.
    n_rows
        Number of validation rows.

    Raises
    ------
    DegenerateError
        If a part has no model, with the reason that its training gave.
    ContractError
        If the parts do not share one hash contract.
    InputError
        If a part's logits are missing, or are those of other rows.
    """
    models, logits = {}, []
    for name in names:
        task = upstream[f"train-{name}"]
        result = json.loads(resolve(task["result"]).read_text())
        if REFUSED in result:
            raise DegenerateError(f"its part {name} has no model: {result[REFUSED]}")
        path = resolve(task["model"])
        models[name] = load_model(path.parent)
        logits.append(_read_logits(path.with_name(VALID_LOGITS), n_rows))
    require_one_contract(models)
    return models, np.stack(logits)


def require_one_contract(models: Mapping[str, ScoringModel]) -> None:
    """Raise ContractError, naming the part, unless all models were trained on rows of one hash contract."""
    contract = None
    for name, model in models.items():
        contract = contract or model.contract
        try:
            contract.require_same(model.contract, where=f"the part {name} of the blend")
        except ContractError as error:
            raise ContractError(f"{error}; train all parts on the same features") from None


def blend_weights(
    logits: np.ndarray, y_true: np.ndarray, weight: np.ndarray | None = None
) -> np.ndarray:
    """Return the weights of parts whose weighted mean of logits has the lowest log loss.

    Parameters
    ----------
    logits
        float64 ``(n_parts, n_rows)``.
    y_true
        Labels 0 or 1, ``(n_rows,)``.
    weight
        Impressions that each row stands for, ``(n_rows,)``; None: 1.

    Returns
    -------
    ndarray
        float64 ``(n_parts,)``, 0 or above, 1 in all.

    Notes
    -----
    The loss is convex in the weights, so there is one minimum. Projected steps of sequential quadratic programming
    (SciPy's SLSQP) from equal weights find it.

    Examples
    --------
    >>> y_true = np.array([0, 1, 0, 1, 1])
    >>> good, bad = np.array([-1.0, 1.0, 1.0, 1.0, 1.0]), np.array([1.0, -1.0, 1.0, -1.0, 1.0])
    >>> blend_weights(np.stack([good, bad]), y_true).round(6).tolist()
    [1.0, 0.0]
    """
    from scipy.optimize import minimize

    n_parts, sign = len(logits), np.where(y_true == 1, -1.0, 1.0)

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (w @ logits)
        slope = np.average(sign * sigmoid(margin) * logits, axis=1, weights=weight)
        return float(np.average(np.logaddexp(0, margin), weights=weight)), slope

    found = minimize(
        loss,
        np.full(n_parts, 1 / n_parts),
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * n_parts,
        constraints=[{"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like}],
        options={"maxiter": _STEPS, "ftol": _CLOSE},
    )
    w = np.clip(found.x, 0, 1)
    w[w < 1e-6] = 0.0  # what rounding leaves of a part that does not help
    return w / w.sum()


def blend_history(metrics: Mapping[str, float], *, seconds: float) -> History:
    """Return the one step that fitting a blend's weights is, as a training's history; no rows were learned in it."""
    loss, auc = float(metrics["log_loss"]), float(metrics["roc_auc"])
    return History((Epoch(1, math.nan, loss, auc, seconds),), 1, loss)


def _read_logits(path: Path, n_rows: int) -> np.ndarray:
    try:
        logits = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: no logits of the validation rows ({error}); train that part again"
        ) from None
    if logits.shape != (n_rows,):
        raise InputError(
            f"{path}: logits of {logits.size:,} rows, but there are {n_rows:,} validation rows; train that part again"
        )
    return np.asarray(logits)


def _npy(array: np.ndarray) -> bytes:
    import io

    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
