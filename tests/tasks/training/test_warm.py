"""What a learner keeps goes on to the same bits, and a training begins at the champion only where it may."""

from types import SimpleNamespace

import numpy as np
import pytest

from tasks.errors import InputError
from tasks.models import make_learner
from tasks.models.artifact import save_model
from tasks.registry import mlflow_store, runs
from tasks.registry.mlflow_store import SERVED_PATH
from tasks.training import warm
from tasks.training.warm import (
    RECIPE,
    STATE,
    GoingOn,
    NewRows,
    find_start,
    learner_of,
    restore_state,
    save_state,
)
from tests.stores import mlflow_client
from tests.tasks.models.rows import MemoryRows, learnable_rows, small_contract

DAY_US = 86_400_000_000
KINDS = ("sgd", "ftrl", "fm", "tasks.models.neural_net:NeuralNet")


class TimedRows(MemoryRows):
    """Rows that have times, ten to a day, from the day `first` on."""

    first = 0

    def batches(self):
        """Yield the batches with a time per row, and no weights."""
        n_read = 0
        for batch in super().batches():
            day = self.first + (n_read + np.arange(len(batch.label))) // 10
            n_read += len(batch.label)
            time = day.astype("datetime64[D]").astype("datetime64[ms]")
            yield SimpleNamespace(codes=batch.codes, label=batch.label, time=time, weight=None)


def timed(first, n_days, seed=0):
    """Return a feature set of so many days."""
    contract = small_contract()
    rows = learnable_rows(np.random.default_rng(seed), n_rows=10 * n_days, contract=contract)
    found = TimedRows(rows.codes, rows.label, contract)
    found.first, found.manifest = first, {
        "digest": f"{first}-{n_days}",
        "times": [first * DAY_US, (first + n_days) * DAY_US - 1],
        "log_digest": "new",
        "span": [10 * first, 10 * (first + n_days)],
        "origin": "here",
    }  # fmt: skip
    return found


def learned(kind, *sets):
    """Return a learner that has learned some sets, one after the other."""
    learner = make_learner(kind, small_contract().n_features, random_state=3)
    learner.meet(small_contract())
    for rows in sets:
        for batch in rows.batches():
            learner.partial_fit_codes(batch.codes, batch.label)
    return learner


@pytest.mark.parametrize("kind", KINDS)
def test_a_learner_that_goes_on_ends_with_the_bits_of_one_that_never_stopped(kind, tmp_path):
    """All that further learning depends on is kept, in float64 where it is float64."""
    first, second = timed(0, 30), timed(30, 30, seed=1)
    assert save_state(tmp_path, learned(kind, first))
    again = make_learner(kind, small_contract().n_features, random_state=3)
    assert restore_state(tmp_path, again)
    for batch in second.batches():
        again.partial_fit_codes(batch.codes, batch.label)
    whole = learned(kind, first, second)
    codes = second.codes
    np.testing.assert_array_equal(again.decision_codes(codes), whole.decision_codes(codes))


def test_the_file_is_the_same_for_the_same_learner(tmp_path):
    """To the byte: a replay compares files."""
    for place in ("one", "two"):
        save_state(tmp_path / place, learned("ftrl", timed(0, 9)))
    assert (tmp_path / "one" / STATE).read_bytes() == (tmp_path / "two" / STATE).read_bytes()


def test_what_fits_all_rows_at_once_keeps_nothing(tmp_path):
    """And a model without the file has nothing to go on from."""
    forest = SimpleNamespace(learns_at_the_end=True)
    assert not save_state(tmp_path, forest)
    assert not restore_state(tmp_path, learned("ftrl"))


def test_a_damaged_file_is_one_line(tmp_path):
    """It names the file and the way out."""
    save_state(tmp_path, learned("ftrl", timed(0, 3)))
    path = tmp_path / STATE
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"learned\.npz: not readable .*way: anew"):
        restore_state(tmp_path, learned("ftrl"))


@pytest.mark.parametrize(("day", "n_rows"), [(-1, 60), (0, 50), (3, 20), (5, 0)])
def test_new_rows_are_those_after_a_moment(day, n_rows):
    """The moment is the end of a day, whose rows are known."""
    rows = NewRows(timed(0, 6), (day + 1) * DAY_US - 1)
    assert rows.n_rows == n_rows == sum(len(batch.label) for batch in rows.batches())


def champion_folder(folder, *, name="ftrl", until=5, **changes):
    """Write the model of a log that ended with the day before `until`, with all that it needs to go on."""
    rows = timed(0, until)
    recipe = {
        "model": {"kind": "ftrl"}, "params": {}, "n_tokens": 24, "n_epochs": 2, "negative_rate": 1.0, "seed": 0,
    }  # fmt: skip
    times = {"log_digest": "old", "rows": [[0, 10 * until]], "times": [rows.manifest["times"]]}
    info = {"learned": times, RECIPE: recipe} | changes
    learner = learned("ftrl", rows)
    save_model(folder, learner, rows.contract, name=name, info=info)
    save_state(folder, learner)
    return folder


def start_from(monkeypatch, folder, *, origin="here", way="warm", train=(0, 5), valid=(5, 1)):
    """Return where a training begins whose champion lies in `folder`."""
    found = SimpleNamespace(
        folder=folder, registry_version="4", run_id="r", origin=origin, is_renewed=True
    )
    there = [SimpleNamespace(path=f"{SERVED_PATH}/{STATE}")] if (folder / STATE).is_file() else []
    client = SimpleNamespace(
        list_artifacts=lambda run_id, path: there, download_artifacts=lambda *args: None
    )
    monkeypatch.setattr(warm.mlflow_store, "connect", lambda uri: client)
    monkeypatch.setattr(warm.mlflow_store, "find_alias", lambda *args, **kwargs: found)
    return find_start(
        "ftrl", {"kind": "ftrl"}, timed(*train), timed(*valid), way=way, tracking={"tracking_uri": ""},
        folder=folder,
    )  # fmt: skip


def test_a_training_goes_on_with_what_is_new_only(monkeypatch, tmp_path):
    """Its bits are those of the champion's learner that learns the new day as often as the champion learned its own."""
    start = start_from(monkeypatch, champion_folder(tmp_path / "model"))
    assert start.line.startswith("ftrl goes on from the champion, version 4,")
    assert start.block({"kind": "ftrl", "params": {"alpha": 1}})["search"] == {"method": "fixed"}
    train, valid = timed(0, 5), timed(5, 1)
    run = start.training(learner_of(start.recipe, train.contract.n_features), train, valid)
    assert isinstance(run, GoingOn)
    assert list(run.epochs()) == []
    with run.anew(valid) as again:
        for epoch in again.epochs():
            for rows in epoch.batches():
                again.learner.partial_fit_codes(*rows)
            epoch.finish()
    by_hand = learned("ftrl", timed(0, 5), valid, valid)
    np.testing.assert_array_equal(
        again.learner.decision_codes(valid.codes), by_hand.decision_codes(valid.codes)
    )


def test_where_nothing_is_new_the_champion_is_the_candidate(monkeypatch, tmp_path):
    """A log that grew by the test's day only: it is judged as it is, and learns that day afterwards."""
    start = start_from(monkeypatch, champion_folder(tmp_path / "model", until=6))
    train, valid = timed(0, 5), timed(5, 1)
    run = start.training(learner_of(start.recipe, train.contract.n_features), train, valid)
    assert run.anew(valid) is run
    assert run.history.best_epoch == 1
    assert start.n_epochs(run.history) == 2
    notes = start.notes(
        {}, {"log_digest": "new", "rows": [[0, 60]], "times": [[0, 6 * DAY_US - 1]]}
    )
    assert notes["started_from"] == start.version
    assert notes["learned"]["times"] == [[0, 6 * DAY_US - 1]]


@pytest.mark.parametrize(
    ("champion", "options", "why"),
    [
        ({"name": "fm"}, {}, "the champion, version 4, is fm"),
        ({"recipe": None}, {}, "does not say how it was trained"),
        ({}, {"origin": "there"}, "learned from there"),
        ({"until": 9}, {}, "has learned the rows that it would be judged by"),
    ],
)
def test_a_mismatch_is_trained_anew_and_says_so(monkeypatch, tmp_path, champion, options, why):
    """In a line; the training is as if there were no champion."""
    start = start_from(monkeypatch, champion_folder(tmp_path / "model", **champion), **options)
    assert start.line.startswith("ftrl is trained anew: ")
    assert why in start.line
    assert start.recipe is None
    block = {"kind": "ftrl", "params": {}}
    assert start.block(block) is block


def test_without_the_file_it_is_trained_anew(monkeypatch, tmp_path):
    """A champion of an older release kept none."""
    folder = champion_folder(tmp_path / "model")
    (folder / STATE).unlink()
    assert "keeps nothing to go on from" in start_from(monkeypatch, folder).line


def test_anew_looks_for_no_champion(tmp_path):
    """Nothing is asked, and nothing said."""
    start = find_start("ftrl", {}, None, None, way="anew", tracking={}, folder=tmp_path)
    assert start.line is None


@pytest.mark.slow
def test_what_it_goes_on_from_is_fetched_from_the_store(tmp_path):
    """From beside the model that serves, in the run of the one that was judged."""
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = mlflow_client(uri)
    folder = champion_folder(tmp_path / "made")
    with runs.training_run(client, "ctr", "ftrl", artifact_root=tmp_path / "files") as run_id:
        runs.log_model(client, run_id, folder, path=SERVED_PATH)
    version = mlflow_store.register(client, "ctr-small", run_id, tags={}, path=SERVED_PATH)
    mlflow_store.set_alias(client, "ctr-small", "champion", version)
    start = find_start(
        "ftrl", {"kind": "ftrl"}, timed(0, 5), timed(5, 1), way="warm", tracking={"tracking_uri": uri},
        folder=tmp_path / "start",
    )  # fmt: skip
    assert start.line.startswith("ftrl goes on from the champion, version 1,")
    assert (start.folder / STATE).read_bytes() == (folder / STATE).read_bytes()
