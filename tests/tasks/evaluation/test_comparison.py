"""All models on the same rows: who ranks first, by which numbers, and what is passed on."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from tasks.evaluation.candidates import CHAMPION, Collected, Scored, TestRows
from tasks.evaluation.champion import Champion
from tasks.evaluation.clusters import Clusters
from tasks.evaluation.comparison import (
    compare,
    evaluation_record,
    golden_rows,
    lead_over,
)
from tasks.evaluation.gates import Gates
from tasks.ingest import ingest_log
from tasks.logs.log import Log
from tests.logs import SMALL, hours_of, rows, write_lines

N_ROWS, TEST = 600, (400, 600)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """A log of two days, a third of it clicks."""
    folder = tmp_path_factory.mktemp("comparison")
    source = write_lines(folder / "raw.csv", rows(N_ROWS, hours=hours_of(2)))
    ingest_log(str(source), folder / "log", schema=SMALL)
    return Log.open(folder / "log")


@pytest.fixture(scope="module")
def test(log):
    """The last third as the test part; every row's true probability is that of the log."""
    y_true = log.to_pandas(["click"], *TEST)["click"].to_numpy(np.float64)
    return TestRows(log, TEST, (0, 400), "by row", y_true, np.full(len(y_true), 1 / 3))


def scored(test, scale: float, **result) -> Scored:
    """Return predictions somewhat higher for clicks, on average right, times a scale."""
    p_click = scale * np.where(test.y_true == 1, 0.4, 0.3)
    return Scored(None, p_click, {"run_id": "r", "version": "v", **result})


@pytest.fixture(scope="module")
def models(test):
    """A calibrated model, one that predicts far too much, and the champion."""
    return {
        "loud": scored(test, 1.6),
        "good": scored(test, 1.0),
        CHAMPION: scored(test, 0.9, registry_version="3"),
    }


@pytest.fixture(scope="module")
def result(test, models):
    """The comparison of the three."""
    gates = Gates(max_undetected_loss=1.0, calibration_ratio=(0.5, 1.5))  # for so few clicks
    return compare(test, models, SMALL, gates=gates, n_resamples=50, seed=1)


def test_models_are_ranked_by_log_loss_and_the_champion_is_not(result):
    """The lowest first; the champion stands below as the mark to beat."""
    assert result.ranking == ["good", "loud"]
    assert result.table.index.tolist() == ["good", "loud", CHAMPION]


def test_the_numbers_are_scikit_learns(result, test, models):
    """Of each model, on all test rows; an interval holds its value."""
    for name, model in models.items():
        row = result.table.loc[name]
        assert row["log_loss"] == pytest.approx(log_loss(test.y_true, model.p_click))
        assert row["roc_auc"] == pytest.approx(roc_auc_score(test.y_true, model.p_click))
        assert row["calibration_ratio"] == pytest.approx(model.p_click.mean() / test.y_true.mean())
        low, value, high = (result.intervals.loc[name, key] for key in ("low", "value", "high"))
        assert low < value < high and value == row["log_loss"]
    assert result.truth_log_loss == pytest.approx(log_loss(test.y_true, test.p_true))


def test_gates_judge_each_candidate(result):
    """By the interval of its calibration: the loud one is refused for it."""
    verdicts = {verdict.model: verdict.to_dict() for verdict in result.verdicts}
    assert verdicts["good"]["passed"]
    assert not verdicts["loud"]["passed"]
    assert "calibration" in " ".join(verdicts["loud"]["reasons"])


def test_without_known_probabilities_there_is_no_truth(test, models):
    """A real log has none."""
    real = dataclasses.replace(test, p_true=None)
    found = compare(real, models, SMALL, gates=Gates(), n_resamples=5, seed=1)
    assert found.truth_log_loss is None


def test_golden_rows_are_spread_and_carry_every_models_predictions(test, models):
    """The first row, the last and one between, each as a request would carry it."""
    golden = golden_rows(test, models, SMALL, n_rows=3)
    picks = [0, 99, 199]
    assert golden["rows"] == [test.log.raw_row(400 + pick, SMALL) for pick in picks]
    assert set(golden["rows"][0]) == {"hour", "site", "pos"}
    for name, model in models.items():
        assert golden["p_click"][name] == model.p_click[picks].tolist()


def test_the_record_is_json_and_names_what_later_tasks_read(test, models, result):
    """``promote`` finds models, verdicts and the champion that they were compared with."""
    record = evaluation_record(test, models, result, SMALL, n_golden=5)
    again = json.loads(json.dumps(record))
    assert again["registered_name"] == "ctr-small"
    assert again["champion_version"] == "3"
    assert set(again["models"]) == set(again["verdicts"]) == {"good", "loud"}
    assert again["metrics"]["good"]["log_loss"] == result.table.loc["good", "log_loss"]
    assert len(again["golden"]["rows"]) == 5
    without = {name: model for name, model in models.items() if name != CHAMPION}
    alone = compare(test, without, SMALL, gates=Gates(), n_resamples=5, seed=1)
    assert evaluation_record(test, without, alone, SMALL, n_golden=5)["champion_version"] is None


def test_a_lead_covers_the_difference_and_changes_sign_with_the_order(test, models):
    """Around scikit-learn's difference of the two losses; mirrored the other way round."""
    how = {"scored": models, "test": test, "n_resamples": 200, "seed": 3}
    low, high = lead_over("loud", "good", **how)
    losses = [log_loss(test.y_true, models[name].p_click) for name in ("loud", "good")]
    assert low < losses[0] - losses[1] < high
    assert (low + high) / 2 == pytest.approx(losses[0] - losses[1], abs=0.2 * (high - low))
    assert lead_over("good", "loud", **how) == pytest.approx((-high, -low))


def test_there_is_no_lead_over_a_model_that_is_not_there(test, models):
    """One model alone has no runner-up, and the first run no champion."""
    assert lead_over("", "good", scored=models, test=test, n_resamples=10, seed=0) is None


def test_a_model_without_predictions_is_refused_and_the_others_go_on(test, models):
    """It has a verdict with its reason, and no metrics."""
    failed = {"wild": {"name": "wild", "refused": "it diverged", "run_id": None}}
    found = compare(test, models, SMALL, gates=Gates(), n_resamples=5, seed=1, failed=failed)
    assert found.ranking == ["good", "loud"]
    assert {one.model: one.reasons for one in found.verdicts}["wild"] == ["it diverged"]
    record = evaluation_record(test, models, found, SMALL, n_golden=3, failed=failed)
    assert record["failed"] == {"wild": "it diverged"}
    assert "wild" in record["models"] and "wild" not in record["metrics"]


def test_nothing_but_models_without_predictions_is_a_comparison_too(test):
    """So that the table says why, model by model."""
    failed = {"wild": {"name": "wild", "refused": "it diverged", "run_id": None}}
    found = compare(test, {}, SMALL, gates=Gates(), n_resamples=5, seed=1, failed=failed)
    assert (found.ranking, len(found.table)) == ([], 0)
    record = evaluation_record(test, {}, found, SMALL, n_golden=3, failed=failed)
    assert json.loads(json.dumps(record))["verdicts"]["wild"]["passed"] is False


def test_test_rows_without_a_click_refuse_all_for_that_reason(test, models):
    """No metric needs a click to be shown."""
    none = dataclasses.replace(test, y_true=np.zeros(test.n_rows), p_true=None)
    found = compare(none, models, SMALL, gates=Gates(), n_resamples=5, seed=1)
    assert all(one.reasons[0].startswith("no click among") for one in found.verdicts)
    assert np.isfinite(found.table["log_loss"]).all()


def test_weights_count_impressions(test, models):
    """Twice each row is each row twice: no metric differs, and there are twice the clicks to judge by."""
    twice = dataclasses.replace(test, weight=np.full(test.n_rows, 2.0))
    how = {"gates": Gates(), "n_resamples": 5, "seed": 1}
    one, two = compare(test, models, SMALL, **how), compare(twice, models, SMALL, **how)
    pd.testing.assert_frame_equal(one.table, two.table)
    assert "among the 200 test impressions" in one.note
    assert two.note is None


def test_a_champion_left_out_is_named_and_stays_the_one_to_replace(test, models):
    """``promote`` replaces it, though nothing was compared with it."""
    known = SimpleNamespace(registry_version="7", origin="log")
    champion = Champion(
        None, known, None, "the champion, version 7, is left out of the comparison: its label"
    )
    others = {name: model for name, model in models.items() if name != CHAMPION}
    found = compare(test, others, SMALL, gates=Gates(), n_resamples=5, seed=1)
    record = evaluation_record(test, others, found, SMALL, n_golden=3, champion=champion)
    assert (record["champion_version"], record["champion_origin"]) == ("7", "log")
    assert record["champion_left_out"] == champion.left_out
    assert Collected(test, others, {}, champion).notes[0] == champion.left_out


def served(p_click, test, *, fresh=None, name="good", until=None, **more) -> Champion:
    """Return a champion with predictions, which learned until a moment."""
    info = {"learned": {"times": [[0, until]]}} if until else {}
    model = SimpleNamespace(name=name, info=info)
    known = SimpleNamespace(registry_version="3", origin=test.log.manifest["origin"])
    return Champion(model, known, p_click, fresh=fresh, **more)


def with_champion(test, models, champion, **more):
    """Return the comparison with that champion."""
    entry = Scored(champion.model, champion.p_click, champion.known, champion.fresh)
    others = {name: model for name, model in models.items() if name != CHAMPION}
    everyone = others | ({CHAMPION: entry} if champion.p_click is not None else {})
    how = {"gates": Gates(max_undetected_loss=1.0, calibration_ratio=(0.1, 10)), "n_resamples": 100}
    return compare(test, everyone, SMALL, champion=champion, **how | {"seed": 2} | more)


def test_the_champion_is_judged_by_rows_that_it_has_not_learned(test, models):
    """It knows the first half by heart; on the other it is scikit-learn's paired difference that counts."""
    fresh = np.arange(test.n_rows) >= 100
    by_heart = np.where(fresh, models[CHAMPION].p_click, np.clip(test.y_true, 0.01, 0.99))
    found = with_champion(test, models, served(by_heart, test, fresh=fresh))
    y_true, good = test.y_true[fresh], models["good"].p_click[fresh]
    losses = [log_loss(y_true, one) for one in (good, by_heart[fresh])]
    one = found.paired["good"]
    assert (one.n_rows, one.n_clicks) == (100, y_true.sum())
    assert one.difference == pytest.approx(losses[0] - losses[1])
    assert one.low < one.difference < one.high
    assert found.table.loc[CHAMPION, "log_loss"] == pytest.approx(losses[1])
    assert found.choice.winner == "good"
    unfair = with_champion(test, models, served(by_heart, test))
    assert unfair.choice.winner is None


def test_a_champion_that_learned_every_row_stays_until_a_person_decides(test, models):
    """No comparison, and one reason for all."""
    champion = served(None, test, left_out="it has learned all", is_unbeaten=True)
    found = with_champion(test, models, champion)
    assert {one.reasons[-1] for one in found.verdicts} == {"it has learned all"}
    assert (found.paired, found.choice.winner) == ({}, None)


def test_an_equal_model_of_no_newer_rows_does_not_replace_the_champion(test, models):
    """Its twin does, and so does one that learned newer rows."""
    better = models["good"].p_click + np.where(test.y_true == 1, 0.003, -0.003)
    models = {"good": models["good"]}
    models["good"] = dataclasses.replace(
        models["good"], model=SimpleNamespace(info={"learned": {"times": [[0, 50]]}})
    )
    stays = with_champion(test, models, served(better, test, until=50))
    assert stays.choice.winner is None or stays.verdicts[0].passed is False
    twin = with_champion(test, models, served(models["good"].p_click, test, until=50))
    assert twin.choice.winner == "good"


def test_intervals_by_cluster_are_wider_where_rows_hang_together(test, models):
    """Ten rows in a row have one fate."""
    ids = np.arange(test.n_rows) // 50
    together = dataclasses.replace(test, clusters=Clusters("site", ids, 4, 4.0))
    how = {"gates": Gates(), "n_resamples": 100, "seed": 1}
    rows, clusters = (compare(one, models, SMALL, **how).intervals for one in (test, together))
    assert not np.allclose(rows["low"], clusters["low"])
    record = evaluation_record(
        together, models, compare(together, models, SMALL, **how), SMALL, n_golden=3
    )
    assert record["drawn_by"].startswith("site, 4 clusters")
    assert set(record["paired"]["good"]) == {
        "n_rows", "n_clicks", "champion_loss", "difference", "low", "high", "half_by_rows",
    }  # fmt: skip


def test_fields_that_harm_the_model_to_serve_are_in_the_record(test, models, result):
    """With how to take them out."""
    table = pd.DataFrame(
        {"field": ["site", "pos"], "importance": [0.1, -0.1], "harms": [False, True]}
    )
    record = evaluation_record(
        test, models, result, SMALL, n_golden=3, importance={"good": table, "loud": table}
    )
    assert record["harm"][0].startswith("without pos, good would be better")
    assert record["importance"]["good"][1]["field"] == "pos"
