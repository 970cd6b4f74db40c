"""Each day is predicted by models of the days before it, in each way; the best way is named."""

import json

import numpy as np
import pytest

from tasks.errors import ConfigError, InputError
from tasks.evaluation.metrics import log_loss
from tasks.hashing.contract import HashContract
from tasks.hashing.feature_set import FeatureSet
from tasks.hashing.store import write_features
from tasks.ingest import ingest_log
from tasks.logs.log import Log
from tasks.models.artifact import save_model
from tasks.training.backtest import Predicted, backtest, compared, predict_days
from tasks.training.renewal import recipe_of
from tasks.training.warm import learner_of
from tests.logs import SMALL, hours_of, rows, write_lines

RECIPE = recipe_of(
    {"kind": "ftrl"}, {}, n_tokens=24, n_epochs=2, negative_rate=1.0, seed=5
)  # fmt: skip


@pytest.fixture(scope="module")
def days(tmp_path_factory):
    """Products of a run on a log of four days, 300 rows each, and the feature set of each day."""
    folder = tmp_path_factory.mktemp("backtest")
    source = write_lines(folder / "raw.csv", rows(1200, hours=hours_of(4)))
    ingest_log(str(source), folder / "log", schema=SMALL)
    log, contract, found = Log.open(folder / "log"), HashContract.from_schema(SMALL, bits=8), {}
    for number, day in enumerate(log.rows_by_day):
        span = (300 * number, 300 * (number + 1))
        found[day.isoformat()] = write_day(log, span, contract, folder / "days" / str(number))
    contract.save(folder / "features" / "contract.json")
    learner = learned(found.values())
    save_model(folder / "models" / "ftrl", learner, contract, name="ftrl", info={"recipe": RECIPE})
    (folder / "evaluation.json").write_text(json.dumps({"ranking": ["ftrl"]}))
    return folder, found


def write_day(log, span, contract, place):
    """Hash some rows, and return them as a feature set."""
    write_features(log, span, contract, place, 200)
    return FeatureSet(place)


def learned(*groups):
    """Return a learner that has passed twice over each group of sets, in turn."""
    learner = learner_of(RECIPE, 256)
    for sets in groups:
        for _ in range(2):
            for one in sets:
                for batch in one.batches():
                    learner.partial_fit_codes(batch.codes, batch.label)
    return learner


def test_a_day_is_predicted_by_models_of_the_days_before_it(days):
    """Anew on all, anew on a window, and going on from the day before: to the bit what is trained by hand."""
    sets = list(days[1].values())
    third, fourth = predict_days(days[1], RECIPE, n_days=2, windows=[1])
    by_hand = {
        "anew": learned(sets[:3]),
        "anew, 1 day": learned(sets[2:3]),
        "warm": learned(sets[:2], sets[2:3]),
    }
    codes = sets[3].load().codes
    assert list(fourth.p_click) == list(by_hand)
    for way, learner in by_hand.items():
        np.testing.assert_array_equal(fourth.p_click[way], learner.predict_codes(codes))
    np.testing.assert_array_equal(third.p_click["warm"], third.p_click["anew"])
    assert (third.day, fourth.day) == tuple(list(days[1])[2:])


def test_the_best_is_that_of_the_lowest_loss_over_all_days():
    """Differences are to training anew on all days, with intervals; a way that wins one day alone does not win."""
    draw = np.random.default_rng(0)
    p_true = draw.uniform(0.05, 0.6, 4000)
    y_true = (draw.random(4000) < p_true).astype(float)
    off = np.clip(p_true * 1.4, 0, 0.99)
    halves = (
        Predicted("1", y_true[:500], None, {"anew": p_true[:500], "warm": off[:500]}),
        Predicted("2", y_true[500:], None, {"anew": off[500:], "warm": p_true[500:]}),
    )
    found = compared(halves, seed=1)
    assert (found["best"], found["way"]) == ("warm", "warm")
    row = found["overall"]["warm"]
    losses = [log_loss(y_true, np.r_[a[:500], b[500:]]) for a, b in ((off, p_true), (p_true, off))]
    assert row["difference"] == pytest.approx(losses[0] - losses[1])
    assert row["low"] < row["difference"] < row["high"] < 0
    assert found["days"]["1"]["warm"]["low"] > 0


def test_the_command_writes_what_it_found_beside_the_products(days):
    """With the model of the last evaluation; lines say each day and each way."""
    lines = []
    knobs = {"products": str(days[0]), "seed": 1, "hash": {"batch_rows": 200}}
    found = backtest(knobs, n_days=2, windows=[1], tell=lines.append)
    written = json.loads((days[0] / "backtest.json").read_text())
    assert written["best"] == found["best"] in found["overall"]
    assert written["model"] == "ftrl"
    assert len(lines) == 2 + 3 + 1
    assert lines[-1].startswith(f"best for ftrl over 2 days: {found['best']}")


@pytest.mark.parametrize(
    ("options", "error", "why"),
    [
        ({"n_days": 4}, InputError, "over 4 days needs at least one more to learn from; the log has 4"),
        ({"n_days": 0}, ConfigError, "numbers of days must be 1 or more"),
        ({"windows": [0]}, ConfigError, "numbers of days must be 1 or more"),
        ({"model": "fm"}, InputError, "no trained model fm"),
    ],
)  # fmt: skip
def test_what_cannot_be_tested_is_one_line(days, options, error, why):
    """Too few days, no such model."""
    knobs = {"products": str(days[0]), "seed": 1, "hash": {"batch_rows": 200}}
    with pytest.raises(error, match=why):
        backtest(knobs, **({"n_days": 2, "windows": []} | options))
