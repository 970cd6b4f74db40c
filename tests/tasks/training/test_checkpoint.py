"""Checkpoints: a training that was stopped ends with the bits of one that was not."""

import logging
import math
import signal
import subprocess
import sys

import numpy as np
import pytest

from tasks.errors import DiskFullError
from tasks.models import KINDS, make_learner
from tasks.training import checkpoint
from tasks.training.checkpoint import Checkpoint, learned_state
from tasks.training.fit import fit_stream
from tests.conftest import ROOT
from tests.tasks.models.rows import MemoryRows, learnable_rows, small_contract


class Digested(MemoryRows):
    """Rows that know the digest of their plan, as a feature set does."""

    manifest: dict


def digested(seed, n_rows):
    rows = learnable_rows(np.random.default_rng(seed), n_rows=n_rows, contract=small_contract())
    rows = Digested(rows.codes, rows.label, rows.contract)
    rows.manifest = {"digest": f"{seed}-{n_rows}"}
    return rows


@pytest.fixture(scope="module")
def parts():
    return [digested(4, 3000), digested(5, 1000)]


@pytest.fixture
def always(monkeypatch):
    """Checkpoints after every batch, whatever they cost."""
    monkeypatch.setattr(checkpoint, "EVERY_S", 0)
    monkeypatch.setattr(checkpoint, "MAX_SHARE", math.inf)


class Stopped(Exception):
    pass


def stop_at(epoch, n_done):
    def progress(*where):
        if where[:2] == (epoch, n_done):
            raise Stopped

    return progress


OPTIONS = {"max_epochs": 6, "patience": 2, "negative_rate": 0.6, "seed": 3}
PARAMS = {
    "sgd": {"average": True, "eta0": 0.8},
    "ftrl": {"alpha": 0.9},
    "ftrl_pairs": {"pair_alpha": 0.1, "pair_bits": 10},
    "fm": {"min_evidence": 5},
}


def train(kind, parts, path=None, **options):
    learner = make_learner(kind, 256, random_state=1, **PARAMS[kind])
    history = fit_stream(learner, *parts, checkpoint=path, **OPTIONS, **options)
    return learner, history


def losses(history):
    return [(e.epoch, e.train_log_loss, e.valid_log_loss, e.valid_roc_auc) for e in history.epochs]


def same(one, other):
    """Tell whether two learners hold the same bits under the same names."""
    one, other = learned_state(one), learned_state(other)
    return set(one) == set(other) and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", [(1, 256), (2, 1536), (2, 3000), (3, 768)])
def test_a_stopped_training_ends_with_the_same_bits(always, parts, tmp_path, kind, where):
    """Weights, all other learned state, losses of every epoch, and the best one."""
    path = tmp_path / "deep" / "c.npz"
    whole, history = train(kind, parts)
    with pytest.raises(Stopped):
        train(kind, parts, path, progress=stop_at(*where))
    seen = []
    learner, again = train(kind, parts, path, progress=lambda *where: seen.append(where[:2]))
    assert seen[0] > where
    assert same(learner, whole)
    assert losses(again) == losses(history)
    assert (again.best_epoch, again.best_log_loss) == (history.best_epoch, history.best_log_loss)


@pytest.mark.parametrize("kind", KINDS)
def test_a_finished_training_is_not_repeated(always, parts, tmp_path, kind):
    """A run killed afterwards finds the learner at its best epoch, without learning a row."""
    whole, history = train(kind, parts, tmp_path / "c.npz")
    learner, again = train(kind, parts, tmp_path / "c.npz", progress=stop_at(1, 256))
    assert again == history
    assert same(learner, whole)


def stopped(parts, path, **params):
    learner = make_learner("ftrl", 256, **params)
    with pytest.raises(Stopped):
        fit_stream(learner, *parts, checkpoint=path, seed=3, progress=stop_at(2, 1024))


@pytest.mark.parametrize("other", ["rows", "params", "seed", "code", "start", "rate"])
def test_a_checkpoint_of_something_else_is_ignored_with_one_line(
    always, parts, tmp_path, caplog, monkeypatch, other
):
    """Training starts over, and ends as if it had not been there."""
    path = tmp_path / "c.npz"
    stopped(parts, path)
    rows = [digested(6, 3000), parts[1]] if other == "rows" else parts
    params = {"alpha": 0.2} if other == "params" else {}
    seed = 4 if other == "seed" else 3
    if other == "code":
        monkeypatch.setattr(checkpoint, "_code_digest", lambda: "another")
    learner, plain = (make_learner("ftrl", 256, **params) for _ in range(2))
    if other == "start":
        for one in (learner, plain):
            one.partial_fit_codes(parts[1].codes, parts[1].label)
    options = {"seed": seed, "negative_rate": 0.5 if other == "rate" else 1.0}
    with caplog.at_level(logging.WARNING):
        fit_stream(learner, *rows, checkpoint=path, **options)
    assert len(caplog.messages) == 1
    assert "for other rows, knobs or code" in caplog.messages[0]
    fit_stream(plain, *rows, **options)
    assert same(learner, plain)


@pytest.mark.parametrize("n_bytes", [0, 100, 4000])
def test_a_cut_checkpoint_is_ignored_with_one_line(always, parts, tmp_path, caplog, n_bytes):
    """Half a file is no file."""
    path = tmp_path / "c.npz"
    stopped(parts, path)
    path.write_bytes(path.read_bytes()[:n_bytes])
    learner = make_learner("ftrl", 256)
    with caplog.at_level(logging.WARNING):
        assert Checkpoint(path, of={}).load(learner) is None
    assert len(caplog.messages) == 1
    assert "not readable" in caplog.messages[0]
    assert not hasattr(learner, "state_")


def test_a_write_that_fails_leaves_the_last_checkpoint(always, parts, tmp_path, monkeypatch):
    """A full disk is one line, and a partial file of a killed process is removed."""
    path = tmp_path / "c.npz"
    stopped(parts, path)
    before = path.read_bytes()
    (tmp_path / ".c.npz.x.partial").write_bytes(b"left by a killed run")

    def full(handle, **arrays):
        handle.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(DiskFullError, match=r"c\.npz: cannot be written \(No space left"):
        fit_stream(make_learner("ftrl", 256), *parts, checkpoint=path, seed=3)
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["c.npz"]


def test_checkpoints_take_their_share_of_the_time_and_no_more(tmp_path, monkeypatch):
    """Half a second each: at most one in 25 s, one in 30 s within an epoch."""
    now, saved = [0.0], []
    monkeypatch.setattr(checkpoint.time, "perf_counter", lambda: now[0])
    kept = Checkpoint(tmp_path / "c.npz", of={})

    def save(learner, position):
        now[0] += 0.5
        saved.append(now[0])
        kept._saved, kept._cost_s, kept._spent_s = now[0], 0.5, 0.5 * len(saved)

    monkeypatch.setattr(kept, "save", save)
    learner = make_learner("ftrl", 256)
    for within in [False] * 1000 + [True] * 1000:
        now[0] += 0.1
        kept.save_if_due(learner, {"state": np.zeros(10_000_000)}, within_epoch=within)
    gaps = np.diff(saved)
    assert saved[0] >= 80e6 / 100e6 / 0.02
    assert 0.5 * len(saved) <= 0.021 * now[0]
    assert gaps[-1] >= 30
    assert len(saved) == 7


def test_a_short_training_leaves_no_checkpoint(parts, tmp_path):
    """A run of milliseconds is not worth a file."""
    train("ftrl", parts, tmp_path / "c.npz")
    assert list(tmp_path.iterdir()) == []


def test_trees_come_back_as_they_were():
    """Arrays in every place, numbers to the bit, texts, nothing."""
    tree = {"a": (np.arange(3), [1.1, math.inf]), "b": {"c": None, "d": "é", "e": np.float64(0.1)}}
    arrays = []
    packed = checkpoint.pack(tree, arrays)
    back = checkpoint.unpack(packed, {str(i): array for i, array in enumerate(arrays)})
    assert back["a"][0] is tree["a"][0]
    assert back["a"][1] == [1.1, math.inf]
    assert back["b"] == tree["b"]


def test_what_cannot_be_kept_is_a_defect():
    """Another object in a learner would be lost silently."""
    with pytest.raises(TypeError, match="found <class 'object'>"):
        checkpoint.pack({"a": object()}, [])


SCRIPT = """
import math, os, signal, sys
from tasks.training import checkpoint
from tests.tasks.training.test_checkpoint import digested, train
import numpy as np

kind, path, out, kill = sys.argv[1:]
checkpoint.EVERY_S, checkpoint.MAX_SHARE = 0, math.inf

def progress(epoch, n_done, n_rows):
    if (epoch, n_done) == (2, 1792) and kill == "kill":
        os.kill(os.getpid(), signal.SIGKILL)

learner, history = train(kind, [digested(4, 3000), digested(5, 1000)], path, progress=progress)
held = {f"learned_{name}": value for name, value in checkpoint.learned_state(learner).items() if value is not None}
np.savez(out, losses=[[e.train_log_loss, e.valid_log_loss, e.valid_roc_auc] for e in history.epochs], **held)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_process_resumes_to_the_same_bits(tmp_path, kind):
    """SIGKILL in the middle of the second epoch; the next process ends where an undisturbed one does."""

    def run(path, out, kill="no"):
        command = [sys.executable, "-c", SCRIPT, kind, path, out, kill]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)

    paths = [tmp_path / name for name in ("killed", "whole", "killed.npz", "whole.npz")]
    assert run(paths[0], paths[2], "kill").returncode == -signal.SIGKILL
    done = run(paths[0], paths[2])
    assert "training resumes from here" in done.stderr
    assert run(paths[1], paths[3]).returncode == done.returncode == 0
    with np.load(paths[2]) as one, np.load(paths[3]) as other:
        assert one.files == other.files
        assert all(one[name].tobytes() == other[name].tobytes() for name in one.files)
