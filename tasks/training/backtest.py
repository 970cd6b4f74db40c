"""What each way to renew a model would have been worth on the last days of a log: each day predicted by a model of the days before."""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tasks.errors import ConfigError, InputError
from tasks.evaluation.bootstrap import bootstrap_difference
from tasks.evaluation.metrics import log_loss
from tasks.hashing.contract import HashContract
from tasks.hashing.feature_set import FeatureSet
from tasks.hashing.store import write_features
from tasks.logs.log import Log
from tasks.models.artifact import load_model
from tasks.models.learner import learns_at_the_end
from tasks.models.predict import predict_stream
from tasks.storage.files import write_atomic
from tasks.storage.workspace import resolve
from tasks.training.fit import learn_epochs
from tasks.training.renewal import BACKTEST
from tasks.training.sampling import Joined
from tasks.training.warm import RECIPE, learner_of

ANEW, WARM = "anew", "warm"
N_RESAMPLES = 200


class Predicted(NamedTuple):
    """One day as it came: labels, impressions per row (None: one each), and the predictions of each way, ``(n_rows,)``."""

    day: str
    y_true: np.ndarray
    weight: np.ndarray | None
    p_click: dict[str, np.ndarray]


def way_names(windows: Sequence[int]) -> dict[str, int | None]:
    """Return the ways that train anew, with how many days each learns; None: all.

    Examples
    --------
    >>> way_names([3])
    {'anew': None, 'anew, 3 days': 3}
    """
    return {ANEW: None, **{f"{ANEW}, {days} day{'s' * (days != 1)}": days for days in windows}}


def predict_days(
    days: Mapping[str, FeatureSet],
    recipe: Mapping[str, Any],
    *,
    n_days: int,
    windows: Sequence[int],
) -> Iterator[Predicted]:
    """Yield each of the last days with what models of the days before it predict.

    Parameters
    ----------
    days
        A feature set per day, in order, all of one contract.
    recipe
        How the models are trained (:func:`tasks.training.renewal.recipe_of`).
    n_days
        How many days to predict.
    windows
        Numbers of days to learn, besides all of them.

    Raises
    ------
    InputError
        If there are not more days than are to be predicted.
    """
    names, sets = list(days), list(days.values())
    if not 1 <= n_days < len(sets):
        raise InputError(
            f"a back-test over {n_days} days needs at least one more to learn from; the log has {len(sets)}"
        )
    how = {"max_epochs": recipe["n_epochs"], "negative_rate": recipe["negative_rate"]}

    def learned(learner: Any, rows: Any) -> Any:
        return learn_epochs(learner, rows, seed=recipe["seed"], **how)

    def new() -> Any:
        return learner_of(recipe, sets[0].contract.n_features)

    warm = None if learns_at_the_end(new()) else new()
    for number in range(len(sets) - n_days, len(sets)):
        found = {}
        for way, window in way_names(windows).items():
            begin = 0 if window is None else max(0, number - window)
            found[way] = predict_stream(learned(new(), Joined(*sets[begin:number])), sets[number])[
                1
            ]
        if warm is not None:
            is_first = number == len(sets) - n_days
            warm = learned(warm, Joined(*sets[:number]) if is_first else sets[number - 1])
            found[WARM] = predict_stream(warm, sets[number])[1]
        y_true = sets[number].load().label.astype(np.float64)
        yield Predicted(names[number], y_true, sets[number].weights(), found)


def compared(predicted: Sequence[Predicted], *, seed: int) -> dict[str, Any]:
    """Return the log loss of each way by day and over all days, minus that of training anew on all days with its 95% interval.

    Returns
    -------
    dict
        ``days`` and ``overall``: by way ``log_loss``, ``difference``, ``low``, ``high`` in nats; ``best``, the way with the
        lowest log loss over all days; ``way``, what ``renewal.way: auto`` takes it for; ``window_days``.
    """
    weights = [one.weight for one in predicted if one.weight is not None]
    ways = list(predicted[0].p_click)
    together = Predicted(
        "all days",
        np.concatenate([one.y_true for one in predicted]),
        np.concatenate(weights) if weights else None,
        {way: np.concatenate([one.p_click[way] for one in predicted]) for way in ways},
    )
    overall = _row(together, seed=seed)
    best = min(ways, key=lambda way: overall[way]["log_loss"])
    return {
        "days": {one.day: _row(one, seed=seed) for one in predicted},
        "overall": overall,
        "best": best,
        "way": WARM if best == WARM else ANEW,
    }


def _row(one: Predicted, *, seed: int) -> dict[str, dict[str, float]]:
    mark = log_loss(one.y_true, one.p_click[ANEW], one.weight)
    how: dict[str, Any] = {"n_resamples": N_RESAMPLES, "seed": seed, "weight": one.weight}
    found = {}
    for way, p_click in one.p_click.items():
        loss = log_loss(one.y_true, p_click, one.weight)
        low, high = (
            (0.0, 0.0)
            if way == ANEW
            else bootstrap_difference("log_loss", one.y_true, p_click, one.p_click[ANEW], **how)
        )
        found[way] = {"log_loss": loss, "difference": loss - mark, "low": low, "high": high}
    return found


def days_of(text: str) -> list[int]:
    """Return numbers of days from a list with commas; ConfigError if it is none.

    Examples
    --------
    >>> days_of("3, 7")
    [3, 7]
    """
    try:
        return [int(word) for word in text.split(",") if word.strip()]
    except ValueError:
        raise ConfigError(f"windows are numbers of days, such as 3,7; found {text!r}") from None


def backtest(
    knobs: Mapping[str, Any],
    *,
    n_days: int,
    windows: Sequence[int],
    model: str = "",
    tell: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Back-test the log and a model of the last run, print a table, and write ``backtest.json`` beside them.

    Parameters
    ----------
    knobs
        As in ``env.yaml``.
    n_days, windows
        As for :func:`predict_days`.
    model
        The model whose kind, parameters and number of epochs are used; the best of the last evaluation by default.
    tell
        Gets the lines.

    Raises
    ------
    InputError
        If nothing was trained yet, there is no such model, or the log has too few days.
    ConfigError
        If a number of days is below 1.
    """
    if n_days < 1 or any(days < 1 for days in windows):
        raise ConfigError("numbers of days must be 1 or more")
    products = resolve(knobs["products"])
    log, contract, recipe, name = _inputs(products, model)
    with tempfile.TemporaryDirectory(prefix="clicklab-backtest-") as place:
        days = _by_day(log, contract, Path(place), knobs["hash"]["batch_rows"])
        predicted = []
        for one in predict_days(days, recipe, n_days=n_days, windows=windows):
            predicted.append(one)
            shown = _row(one, seed=knobs["seed"])
            tell(
                f"{one.day}  {len(one.y_true):>9,} rows  "
                + "  ".join(_shown(*item) for item in shown.items())
            )
    found = compared(predicted, seed=knobs["seed"])
    for way, row in found["overall"].items():
        tell(
            f"{way:<14}  log loss {row['log_loss']:.4f}, {row['difference']:+.5f} against {ANEW} "
            f"({row['low']:+.5f} to {row['high']:+.5f})"
        )
    tell(
        f"best for {name} over {n_days} days: {found['best']}; `renewal: {{way: auto}}` takes {found['way']}"
    )
    about = {"model": name, "log_digest": log.digest, "contract": contract.digest, "recipe": recipe}
    made = datetime.now(UTC).isoformat(timespec="seconds")
    write_atomic(products / BACKTEST, json.dumps(about | {"made_utc": made} | found, indent=2))
    return found


def _by_day(
    log: Log, contract: HashContract, place: Path, batch_rows: int
) -> dict[str, FeatureSet]:
    """Hash each day of a log into a folder of its own."""
    found, begin = {}, 0
    for date, n_rows in log.rows_by_day.items():
        day, span = date.isoformat(), (begin, begin + n_rows)
        write_features(log, span, contract, place / day, batch_rows)
        found[day], begin = FeatureSet(place / day), span[1]
    return found


def _shown(way: str, row: Mapping[str, float]) -> str:
    return f"{way} {row['log_loss']:.4f} ({row['difference']:+.4f})"


def _inputs(products: Path, model: str) -> tuple[Log, HashContract, Mapping[str, Any], str]:
    """Return the log, the contract, how a model was trained, and its name; InputError, one line, without them."""
    if not model and (evaluation := products / "evaluation.json").is_file():
        model = next(iter(json.loads(evaluation.read_text())["ranking"]), "")
    folder = products / "models" / model
    if not model or not (folder / "model.json").is_file():
        raise InputError(f"{products}: no trained model {model or 'yet'}; `make run` first")
    info = load_model(folder).info
    if info.get(RECIPE) is None:
        raise InputError(f"{folder}: does not say how it was trained; `make run` first")
    contract = HashContract.load(products / "features" / "contract.json")
    return Log.open(products / "log"), contract, info[RECIPE], model
