"""The model that is to serve, renewed: the same training with the test rows too, and held against the one that was judged."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tasks.errors import ConfigError, DivergenceError
from tasks.evaluation.metrics import calibration_ratio, log_loss
from tasks.evaluation.predictions import fault_of
from tasks.hashing.feature_set import FeatureSet
from tasks.logs.learned import JUDGED, KEY, learned_rows, with_older
from tasks.models import INPUT
from tasks.models.artifact import ScoringModel, freeze, load_model, save_model
from tasks.models.predict import predict_stream
from tasks.storage.workspace import resolve
from tasks.training.fit import learn_epochs
from tasks.training.sampling import Joined
from tasks.training.warm import RECIPE, learner_of, restore_state, save_state

BACKTEST = "backtest.json"  # in the folder of products
_TINY = 1e-12


class Shift(NamedTuple):
    """How a renewed model differs from the judged one on the test rows.

    Attributes
    ----------
    logit
        Mean of its logits minus the judged one's.
    calibration_ratio
        Its mean prediction over the click rate.
    extra_loss
        Its log loss minus the judged one's, as a share of that: below 0 as a rule, since it has learned these rows.
    """

    logit: float
    calibration_ratio: float
    extra_loss: float

    @property
    def shown(self) -> str:
        """All three, as text."""
        return f"logit {self.logit:+.3f}, calibration ratio {self.calibration_ratio:.3f}, log loss {self.extra_loss:+.2%}"


@dataclass(frozen=True)
class Renewed:
    """What came of it: ``line`` says it in a sentence; `model` is None where the judged one is to serve."""

    line: str
    model: ScoringModel | None = None
    shift: Shift | None = None
    p_click: np.ndarray | None = None  # of the test rows, (n_rows,)


def recipe_of(
    block: Mapping[str, Any],
    params: Mapping[str, Any],
    *,
    n_tokens: int,
    n_epochs: int,
    negative_rate: float,
    seed: int,
) -> dict[str, Any]:
    """Return what a training is made of besides its rows, as a model's file names it; `block` is that of env.yaml."""
    return {
        "model": {key: block[key] for key in ("kind", *INPUT) if key in block},
        "params": dict(params),
        "n_tokens": n_tokens,
        "n_epochs": max(1, n_epochs),
        "negative_rate": negative_rate,
        "seed": seed,
    }


def way_of(knobs: Mapping[str, Any], product: str | Path) -> str:
    """Return ``anew`` or ``warm``: the knob ``renewal.way``, or for ``auto`` what the back-test beside a product found best.

    Without a back-test it is ``anew``.
    """
    if knobs["way"] != "auto":
        return str(knobs["way"])
    try:
        found = json.loads((resolve(product).parent / BACKTEST).read_text())["way"]
    except (OSError, ValueError, KeyError, TypeError):
        return "anew"
    return "warm" if found == "warm" else "anew"


def renew(
    judged: str | Path,
    features: str | Path,
    target: str | Path,
    *,
    knobs: Mapping[str, Any],
    engine: Any = "local",
) -> Renewed:
    """Train a judged model once more, now with the test rows, and write it to `target` if it is sound.

    Parameters
    ----------
    judged
        Its folder.
    features
        The folder of the feature sets ``train``, ``valid`` and ``test``.
    target
        A folder for the renewed model, with what it needs to go on from.
    knobs
        The section ``renewal`` of ``env.yaml``, its ``way`` as :func:`way_of` returns it.
    engine
        As for :class:`tasks.training.epochs.Training`.

    Returns
    -------
    Renewed
        Without a model where the judged one has to serve, for the reason in ``line``.
    """
    model = load_model(judged)
    parts = [FeatureSet(Path(features) / name) for name in ("train", "valid", "test")]
    if (why := _cannot(model, parts)) is not None:
        return Renewed(f"{model.name} serves as it was judged: {why}")
    try:
        learner, how = _learned(model, Path(judged), parts, knobs["way"], engine)
    except (ConfigError, DivergenceError) as error:
        return Renewed(
            f"{model.name} serves as it was judged: it could not learn the test rows ({error})"
        )
    contract, test = parts[-1].contract, parts[-1]
    y_true, before = predict_stream(model, test)
    after = predict_stream(freeze(learner, contract, name=model.name), test)[1]
    if (fault := fault_of(after)) is not None:
        return Renewed(f"{model.name} serves as it was judged: with the test rows {fault}")
    shift = shift_of(y_true, before, after, test.weights())
    if (why := refusal_of(shift, knobs)) is not None:
        return Renewed(
            f"{model.name} serves as it was judged: with the test rows {why}", shift=shift
        )
    manifests = [part.manifest for part in parts]
    info = {
        **model.info,
        "rows": sum(part.n_rows for part in parts),
        KEY: with_older(model.info.get(KEY), learned_rows(*manifests)),
        JUDGED: {"version": model.version, KEY: model.info.get(KEY)},
    }
    saved = save_model(target, learner, contract, name=model.name, info=info)
    save_state(target, learner)
    line = f"{model.name} learned the {test.n_rows:,} test rows too before it serves, {how} ({shift.shown})"
    return Renewed(line, saved, shift, after)


def shift_of(
    y_true: np.ndarray, judged: np.ndarray, renewed: np.ndarray, weight: np.ndarray | None = None
) -> Shift:
    """Return how the predictions of a renewed model differ from those of the judged one.

    Parameters
    ----------
    y_true, judged, renewed
        Labels and both models' probabilities for the same rows, ``(n_rows,)``.
    weight
        Impressions per row; None: one each.

    Examples
    --------
    >>> y_true = np.array([1, 0, 0, 0])
    >>> shift_of(y_true, np.full(4, 0.2), np.full(4, 0.25)).shown
    'logit +0.288, calibration ratio 1.000, log loss -1.30%'
    """
    loss = log_loss(y_true, judged, weight)
    return Shift(
        float(np.average(_logit(renewed) - _logit(judged), weights=weight)),
        calibration_ratio(y_true, renewed, weight),
        (log_loss(y_true, renewed, weight) - loss) / max(loss, _TINY),
    )


def refusal_of(shift: Shift, knobs: Mapping[str, Any]) -> str | None:
    """Return why a renewed model must not serve, in a sentence's end; None if it may.

    Examples
    --------
    >>> knobs = {"max_logit_shift": 0.3, "max_extra_loss": 0.0, "calibration_ratio": [0.8, 1.25]}
    >>> refusal_of(Shift(0.1, 1.0, -0.02), knobs)
    >>> refusal_of(Shift(0.5, 1.0, -0.02), knobs)
    'its logits move by +0.500 in the mean, more than renewal.max_logit_shift (0.3)'
    """
    low, high = knobs["calibration_ratio"]
    if not abs(shift.logit) <= knobs["max_logit_shift"]:  # NaN is refused too
        return (
            f"its logits move by {shift.logit:+.3f} in the mean, more than renewal.max_logit_shift "
            f"({knobs['max_logit_shift']:g})"
        )
    if not low <= shift.calibration_ratio <= high:
        return f"its calibration ratio is {shift.calibration_ratio:.3f}, outside of renewal.calibration_ratio [{low:g}, {high:g}]"
    if not shift.extra_loss <= knobs["max_extra_loss"]:
        return (
            f"its log loss on them is {shift.extra_loss:+.2%} of the judged one's, although it has learned them; "
            f"renewal.max_extra_loss allows {knobs['max_extra_loss']:+.2%}"
        )
    return None


def _cannot(model: ScoringModel, parts: Sequence[FeatureSet]) -> str | None:
    if model.info.get(RECIPE) is None:
        return "its file does not say how it was trained, so it cannot learn more rows the same way"
    if model.contract.digest != parts[-1].contract.digest:
        return "the features were hashed anew since it was trained; run again"
    return None


def _learned(
    model: ScoringModel, judged: Path, parts: Sequence[FeatureSet], way: str, engine: Any
) -> tuple[Any, str]:
    """Return a learner that has learned all parts, and how in words."""
    recipe = model.info[RECIPE]
    n_epochs, seed = recipe["n_epochs"], recipe["seed"]
    learner = learner_of(recipe, parts[0].contract.n_features)
    goes_on = way == "warm" and restore_state(judged, learner)
    rows = parts[-1] if goes_on else Joined(*parts)
    options = {"max_epochs": n_epochs, "negative_rate": recipe["negative_rate"], "seed": seed}
    learner = learn_epochs(learner, rows, **options, engine=engine)
    epochs = f"{n_epochs} epoch{'s' * (n_epochs != 1)}"
    return learner, f"going on for {epochs}" if goes_on else f"from scratch in {epochs}"


def _logit(p_click: np.ndarray) -> np.ndarray:
    p = np.clip(p_click, _TINY, 1 - _TINY)
    return np.log(p) - np.log1p(-p)
