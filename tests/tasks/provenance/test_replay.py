"""A training done again: its knobs from its record, and the words for what differs; the whole of it in tests/test_ideas.py."""

import json
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from tasks.errors import InputError
from tasks.provenance import replay
from tasks.provenance.replay import knobs_of, remove_worktree, worktree

SPEC = {
    "tasks": [
        {"name": "ingest", "params": {"data": "{{data}}", "max_bad_share": "{{ingest.max_bad_share}}", "n": 3}},
        {
            "name": "train-a",
            "params": {"model": {"dotted_path": "f", "name": "a", "models": "{{models}}"}, "tracking": "{{mlflow}}", "seed": "{{seed}}", "code": {"dotted_path": "g", "model": "a", "models": "{{models}}"}},
        },
        {"name": "evaluate", "params": {"gates": "{{gates}}"}},
    ]
}  # fmt: skip
MODEL = {"kind": "sgd", "params": {"alpha": 1e-5}, "search": {"method": "optuna", "n_trials": 2, "storage": "postgresql://db/x"}}  # fmt: skip


def record(**changes):
    """Return the record of a training with some of its parts changed."""
    tasks = {
        "ingest": {"params": {"data": "sim://avazu?rows=10", "max_bad_share": 0.5, "n": 3}, "source": "tasks/ingest.py", "source_digest": "a", "products": "p"},
        "train-a": {"params": {"model": MODEL, "tracking": {"experiment": "x", "tracking_uri": "http://away"}, "seed": 9, "name": "a"}, "source": "notebooks/train.ipynb", "source_digest": "b", "products": "q"},
    }  # fmt: skip
    return {
        "task": "train-a",
        "tasks": tasks,
        "files": {"tasks/a.py": "1", "tasks/b.py": "2"},
        "lock": "l",
    } | changes


def test_the_knobs_are_those_that_gave_the_tasks_their_parameters(tmp_path):
    """Also nested ones and the model's block; stores are the folder's own, and tasks that are not behind it do not matter."""
    (tmp_path / "pipeline.yaml").write_text(yaml.safe_dump(SPEC))
    assert knobs_of(record(), tmp_path) == {
        "data": "sim://avazu?rows=10",
        "ingest": {"max_bad_share": 0.5},
        "models": {"a": {**MODEL, "search": {**MODEL["search"], "storage": "sqlite:///products/store/optuna.db"}}},
        "seed": 9,
        "products": "products",
        "mlflow": {
            "experiment": "x",
            "tracking_uri": "sqlite:///products/store/mlflow.db",
            "artifact_root": "products/store/artifacts",
            "ledger": "products/store/ledger.jsonl",
        },
    }  # fmt: skip


def test_what_was_not_the_same_is_named(tmp_path, monkeypatch):
    """Files, a notebook, a parameter, the log, packages."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipeline.yaml").write_text("")
    (tmp_path / "requirements.lock").write_text("numpy==2.1.0 \\\nscipy==1.0 \\\n")
    folder = tmp_path / "worktree"
    folder.mkdir()
    (folder / "requirements.lock").write_text("numpy==2.0.0 \\\nscipy==1.0 \\\n")
    now = json.loads(json.dumps(record(files={"tasks/a.py": "1", "tasks/b.py": "3"})))
    now["tasks"]["ingest"] |= {"products": "other"}
    now["tasks"]["ingest"]["params"]["max_bad_share"] = 0.1
    now["tasks"]["train-a"]["source_digest"] = "c"
    assert list(replay._reasons(record(), now, folder)) == [
        "tasks/b.py was not as committed when the run was made",
        "ingest: max_bad_share was 0.5, is 0.1",
        "notebooks/train.ipynb was not as committed when the run was made",
        "the log that ingest made is another one (p then, other now)",
        "package numpy 2.0.0 then, 2.1.0 now",
    ]


def test_the_files_of_two_models_are_compared_to_the_bit(tmp_path, monkeypatch):
    """Values that differ are counted; how long it took is no difference."""
    then, now = tmp_path / "then", tmp_path / "products/models/a"
    for folder, weights, seconds in ((then, [1.0, 2.0, 3.0], 1), (now, [1.0, 2.0, 3.5], 2)):
        folder.mkdir(parents=True)
        np.save(folder / "weights.npy", np.array(weights, "float32"))
        np.save(folder / "same.npy", np.ones(3))
        (folder / "model.json").write_text(json.dumps({"version": "v", "seconds": seconds}))
    (now / "new.txt").write_text("1")
    monkeypatch.setattr(replay, "artifact", lambda found, path, folder: place if (place := then / path.split("/")[1]).is_file() else None)  # fmt: skip
    assert list(replay._compare(None, now)) == [
        "new.txt is there now only",
        "weights.npy: 1 of 3 values differ, by at most 5.0e-01",
    ]


@pytest.fixture
def clone(tmp_path):
    """A repository with one commit; and its id."""
    (tmp_path / "clone").mkdir()
    (tmp_path / "clone/a").write_text("1")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "a"]):
        subprocess.run([*git, *words], cwd=tmp_path / "clone", check=True, capture_output=True)
    done = subprocess.run([*git, "rev-parse", "HEAD"], cwd=tmp_path / "clone", check=True, capture_output=True, text=True)  # fmt: skip
    return tmp_path / "clone", done.stdout.strip()


def test_a_worktree_holds_the_commit_and_goes_without_a_trace(clone):
    """Changes of the clone are not in it."""
    root, commit = clone
    (root / "a").write_text("2")
    worktree(root, commit, root / "products/replay/x")
    assert (root / "products/replay/x/a").read_text() == "1"
    remove_worktree(root, root / "products/replay/x")
    assert not (root / "products/replay/x").exists()


def test_an_earlier_worktree_is_replaced_but_not_before_another_can_be_made(clone):
    """A person may have kept it."""
    root, commit = clone
    kept = root / "x/kept"
    worktree(root, commit, root / "x")
    kept.write_text("1")
    with pytest.raises(InputError, match="is not in this clone"):
        worktree(root, "0123456789abcdef0123456789abcdef01234567", root / "x")
    assert kept.is_file()
    worktree(root, commit, root / "x")
    assert not kept.exists()


def test_a_commit_that_is_not_here_is_one_line(clone):
    """It may be another clone's."""
    with pytest.raises(InputError, match=r"commit 0123456789ab is not in this clone; fetch it"):
        worktree(clone[0], "0123456789abcdef0123456789abcdef01234567", clone[0] / "x")


@pytest.mark.parametrize(
    ("found", "tags", "words"),
    [
        (None, {}, "has no lineage.json: it was made by hand or by an older release"),
        (record(), {}, "was made outside git"),
        (record(tasks={"ingest": {"params": {"data": "gone.csv"}}}), {"mlflow.source.git.commit": "c"}, "the data of run abc is gone: .*gone.csv"),
    ],
)  # fmt: skip
def test_what_cannot_be_made_again_says_why(tmp_path, monkeypatch, found, tags, words):
    """Before a worktree is made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(replay, "read_record", lambda run: found)
    run = SimpleNamespace(info=SimpleNamespace(run_id="abc"), data=SimpleNamespace(tags=tags))
    with pytest.raises(InputError, match=words):
        replay.replay(SimpleNamespace(run=run), tmp_path / "x")
    assert not (tmp_path / "x").exists()
