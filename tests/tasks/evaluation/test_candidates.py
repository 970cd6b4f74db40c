"""What there is to compare: the test rows, every model on them, and the rows that hang together."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest

from tasks.errors import ConfigError
from tasks.evaluation import candidates
from tasks.evaluation.candidates import CHAMPION, collect
from tasks.evaluation.champion import Champion
from tasks.hashing.contract import HashContract
from tasks.hashing.split_features import write_split
from tasks.ingest import ingest_log
from tasks.logs.log import Log
from tasks.logs.split import split_log
from tasks.models import make_learner
from tasks.models.artifact import save_model
from tests.logs import SMALL, hours_of, rows, write_lines

CONTRACT = HashContract.from_schema(SMALL, bits=6)


@pytest.fixture(scope="module")
def upstream(tmp_path_factory):
    """A log of three days, its hashed parts, a model that learned two of them, and one without predictions."""
    folder = tmp_path_factory.mktemp("candidates")
    source = write_lines(folder / "raw.csv", rows(600, hours=hours_of(3)))
    ingest_log(str(source), folder / "log", schema=SMALL)
    log = Log.open(folder / "log")
    split = split_log(log)
    parts = write_split(log, split, CONTRACT, folder / "features")
    summary = {"split": split.to_dict()}
    (folder / "features" / "manifest.json").write_text(json.dumps(summary))
    learner = make_learner("ftrl", CONTRACT.n_features)
    for name in ("train", "valid"):
        for batch in parts[name].batches():
            learner.partial_fit_codes(batch.codes, batch.label)
    save_model(folder / "models" / "good", learner, CONTRACT, name="good")
    tasks = {}
    for name, result in (("good", {"name": "good"}), ("wild", {"name": "wild", "refused": "it diverged"})):  # fmt: skip
        path = folder / f"train-{name}.json"
        path.write_text(json.dumps(result))
        model = str(folder / "models" / name / "model.json")
        tasks[f"train-{name}"] = {"result": str(path), "model": model}
    return {
        "ingest": {"log": str(folder / "log" / "manifest.json")},
        "hash_features": {"manifest": str(folder / "features" / "manifest.json")},
        "train-*": tasks,
    }


@pytest.fixture
def gather(upstream, monkeypatch):
    """Return what is collected with a champion."""

    def run(champion=None, **more):
        monkeypatch.setattr(candidates, "find_champion", lambda *args: champion)
        return collect(upstream, SMALL, {}, **more)

    return run


def test_every_model_is_scored_on_the_test_rows_and_those_without_are_named(gather):
    """The rows that models of this run have learned are those of training and validation."""
    found = gather()
    assert set(found.scored) == {"good"}
    assert found.test.span[0] == found.test.learned_span[1]
    assert found.test.learned_span[0] == 0
    assert len(found.scored["good"].p_click) == found.test.n_rows == found.features.n_rows
    assert found.notes[0] == "wild has no predictions: it diverged"
    assert found.notes[-1].startswith("intervals are drawn by ")


def test_a_champion_brings_the_rows_that_it_has_not_learned(gather):
    """And the line that says how many it has."""
    n_rows = gather().test.n_rows
    fresh = np.arange(n_rows) > 3
    known = SimpleNamespace(registry_version="3", origin="here")
    champion = Champion(None, known, np.full(n_rows, 0.3), fresh=fresh, note="it has learned 4")
    found = gather(champion)
    assert found.scored[CHAMPION].fresh is fresh
    assert "it has learned 4" in found.notes
    assert CHAMPION not in gather(dataclasses.replace(champion, p_click=None)).scored


def test_clusters_are_those_that_the_knob_names(gather):
    """Null takes rows one by one; what is no field is told before any model is scored."""
    assert gather(cluster="site").test.clusters.field == "site"
    assert gather(cluster=None).test.clusters is None
    with pytest.raises(ConfigError, match=r"evaluation\.cluster: 'hour' is no field"):
        gather(cluster="hour")
