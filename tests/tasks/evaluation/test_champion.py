"""The model that serves, scored on another log's rows, or left out of the comparison."""

from types import SimpleNamespace

import numpy as np
import pytest

from tasks.errors import ContractError
from tasks.evaluation import champion
from tasks.evaluation.champion import difference, find_champion, score_log
from tasks.hashing.contract import HashContract
from tasks.ingest import ingest_log
from tasks.logs.log import Log
from tasks.models import make_learner
from tasks.models.artifact import freeze, load_model, save_model
from tasks.schema import Schema
from tests.bentos.ctr.artifacts import artifact
from tests.logs import SMALL, hours_of, rows, write_lines


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """A log of two days."""
    folder = tmp_path_factory.mktemp("champion")
    source = write_lines(folder / "raw.csv", rows(600, hours=hours_of(2)))
    ingest_log(str(source), folder / "log", schema=SMALL)
    return Log.open(folder / "log")


def test_a_log_is_scored_with_the_models_own_contract(log):
    """Row by row as the service would; another number of bits than today's does not matter."""
    contract = HashContract.from_schema(SMALL, bits=6)
    learner = make_learner("ftrl", 64).partial_fit_codes(
        np.arange(contract.n_tokens, dtype=np.int32)[None, :].repeat(9, axis=0), [1, 0, 1] * 3
    )
    model = freeze(learner, contract, name="m")
    expected = [model.predict_row(log.raw_row(row, SMALL)) for row in range(395, 405)]
    np.testing.assert_array_equal(score_log(model, log, (395, 405)), expected)


def test_a_champion_that_this_code_cannot_score_is_named_with_the_ways_on(
    monkeypatch, tmp_path, make_feature
):
    """A feature of it was edited since: restore it, or take the alias away."""
    body = '@feature("site")\ndef made(site):\n    return {}\n'
    make_feature("made", body.format("site"))
    schema = Schema.from_dict(SMALL.to_dict() | {"features": ["made"]})
    found = SimpleNamespace(
        folder=artifact(tmp_path / "model", schema=schema), registry_version="3", origin=None
    )
    monkeypatch.setattr(champion.mlflow_store, "connect", lambda uri: None)
    monkeypatch.setattr(champion.mlflow_store, "find_alias", lambda *args, **kwargs: found)
    tracking = {"tracking_uri": ""}
    monkeypatch.setattr(champion, "score_log", lambda *args: np.array([0.5]))
    monkeypatch.setattr(champion, "unlearned", lambda *args: None)
    assert find_champion(None, (0, 0), schema, tracking, tmp_path).found is found
    make_feature("made", body.format("site or 1"))
    with pytest.raises(
        ContractError, match=r"^the champion, version 3, .*feature 'made'.*alias 'champion'"
    ):
        find_champion(None, (0, 0), schema, tracking, tmp_path)


def changed(**changes) -> Schema:
    """Return the small log's declaration with some keys replaced."""
    return Schema.from_dict(SMALL.to_dict() | changes)


@pytest.mark.parametrize(
    ("theirs", "why"),
    [
        ({"label": "bought"}, "its label is 'bought', that of this log is 'click'"),
        ({"time": {"column": "at", "format": "iso"}}, "its time column is 'at'"),
        ({"fields": {"site": {}, "gone": {}}}, "it reads the field 'gone'"),
        ({"fields": {"site": {"type": "number"}}}, "it reads 'site' as a number"),
    ],
)
def test_a_champion_of_another_declaration_is_told_from_this_one(theirs, why):
    """Rows of one say nothing about a model of the other."""
    assert difference(changed(**theirs), SMALL).startswith(why)


def test_a_champion_of_fewer_fields_can_be_compared():
    """It has its own contract; the fields that it reads are there."""
    assert difference(changed(fields={"site": {}}, features=[]), SMALL) is None


def test_a_champion_that_cannot_be_compared_is_left_out_with_its_version(monkeypatch, tmp_path):
    """It is found all the same, so that it can be replaced."""
    found = SimpleNamespace(
        folder=artifact(tmp_path / "model", schema=changed(label="bought")),
        registry_version="3",
        origin=None,
    )
    monkeypatch.setattr(champion.mlflow_store, "connect", lambda uri: None)
    monkeypatch.setattr(champion.mlflow_store, "find_alias", lambda *args, **kwargs: found)
    one = find_champion(None, (0, 0), SMALL, {"tracking_uri": ""}, tmp_path)
    assert one.p_click is None
    assert one.left_out.startswith(
        "the champion, version 3, is left out of the comparison: its label"
    )


@pytest.mark.parametrize(
    ("fresh", "left_out", "note"),
    [
        ([False] * 4, "has learned all 4 test rows", None),
        ([False, True, True, True], None, "has learned 1 of the 4 test rows and is judged by the other 3"),
        ([True] * 4, None, None),
        (None, None, "does not say which rows it has learned"),
    ],
)  # fmt: skip
def test_a_champion_says_which_test_rows_it_has_learned(
    monkeypatch, tmp_path, fresh, left_out, note
):
    """One line; with none left there is no comparison, and nobody takes its place unasked."""
    found = SimpleNamespace(
        folder=artifact(tmp_path / "model", schema=SMALL), registry_version="3", origin="here", judged=None
    )  # fmt: skip
    monkeypatch.setattr(champion.mlflow_store, "connect", lambda uri: None)
    monkeypatch.setattr(champion.mlflow_store, "find_alias", lambda *args, **kwargs: found)
    monkeypatch.setattr(champion, "score_log", lambda *args: np.full(4, 0.5))
    mask = None if fresh is None else np.array(fresh)
    monkeypatch.setattr(champion, "unlearned", lambda *args: mask)
    one = find_champion(None, (10, 14), SMALL, {"tracking_uri": ""}, tmp_path)
    assert one.is_unbeaten == (one.p_click is None) == (left_out is not None)
    for said, expected in ((one.left_out, left_out), (one.note, note)):
        assert said is None if expected is None else expected in said


def test_a_renewed_champion_that_has_learned_all_test_rows_is_judged_by_its_former_self(
    monkeypatch, tmp_path, log
):
    """The model that it was renewed from has not learned them; what it says of time is that model's, too."""
    contract = HashContract.from_schema(SMALL, bits=6)
    for name, end in (("judged", 500), ("served", 600)):
        learner = make_learner("ftrl", 64).partial_fit_codes(
            np.arange(contract.n_tokens, dtype=np.int32)[None, :].repeat(end, axis=0), [1, 0] * (end // 2)
        )  # fmt: skip
        learned = {"log_digest": log.digest, "rows": [[0, end]], "times": [[0, end]]}
        before = {"judged": {"version": "v", "learned": learned | {"times": [[0, 500]]}}}
        info = {"learned": learned} | (before if name == "served" else {})
        save_model(tmp_path / name, learner, contract, name="ftrl", info=info)
    found = SimpleNamespace(
        folder=tmp_path / "served", judged=tmp_path / "judged", registry_version="3", origin="here"
    )
    monkeypatch.setattr(champion.mlflow_store, "connect", lambda uri: None)
    monkeypatch.setattr(champion.mlflow_store, "find_alias", lambda *args, **kwargs: found)
    one = find_champion(log, (500, 600), SMALL, {"tracking_uri": ""}, tmp_path)
    assert one.left_out is None
    assert one.fresh.all()
    assert one.note.startswith("the champion, version 3, has learned all 100 test rows since")
    expected = score_log(load_model(tmp_path / "judged"), log, (500, 600))
    np.testing.assert_array_equal(one.p_click, expected)
    assert one.learned_until == 500
    both = find_champion(log, (400, 500), SMALL, {"tracking_uri": ""}, tmp_path)
    assert both.is_unbeaten
