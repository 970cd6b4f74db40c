"""The contest: child processes measured, judged on one day, held against targets."""

import sys
import time

import numpy as np
import pytest

from bench import peers, throughput
from bench.contest import CONTESTANTS, Contest, Record
from bench.data import MIN_ROWS, prepare
from bench.process import run_child
from bench.stopwatch import Stopwatch, peak_rss_bytes
from bench.targets import TARGETS, outcomes
from tasks.errors import ClicklabError


def chosen(*keys):
    """Return contestants by key."""
    return [contestant for contestant in CONTESTANTS if contestant.key in keys]


def record(*rows_per_s, log_loss=0.4, progressive=0.4):
    """Return a record of runs at these speeds."""
    quality = {"log_loss": log_loss, "progressive_log_loss": progressive}
    return Record(quality, {}, [{"rows_per_s": speed} for speed in rows_per_s])


def test_a_stopwatch_adds_up_phases_and_leaves_out_the_rest():
    """Time before the start is not measured; the same phase twice is one sum."""
    watch = Stopwatch()
    time.sleep(0.05)
    watch.start()
    for _ in range(2):
        with watch.phase("sleep"):
            time.sleep(0.02)
    watch.stop(n_rows=7)
    assert watch.measured["n_rows"] == 7
    assert 0.04 <= watch.measured["phases"]["sleep"] <= watch.measured["wall_s"]
    assert watch.measured["cpu_s"] < 0.04


def test_peak_memory_is_at_least_what_was_held():
    """A large array that was touched shows."""
    held = np.ones(8 << 20)
    assert peak_rss_bytes() > held.nbytes


def test_a_child_is_measured_as_a_whole():
    """Wall time covers the whole process, processor time counts what it used."""
    code = "import time; time.sleep(0.3); sum(range(10**6))"
    whole = run_child([sys.executable, "-c", code], name="sleeper", timeout_s=60)
    assert whole.wall_s >= 0.3
    assert 0 < whole.cpu_s < whole.wall_s


def test_a_child_that_fails_is_one_line():
    """The last line of its traceback says why."""
    with pytest.raises(ClicklabError, match=r"^bench: dud failed: ValueError: too bad$"):
        run_child([sys.executable, "-c", "raise ValueError('too bad')"], name="dud", timeout_s=60)
    with pytest.raises(ClicklabError, match="exit code 3, no output"):
        run_child([sys.executable, "-c", "raise SystemExit(3)"], name="dud", timeout_s=60)


def test_a_child_that_takes_too_long_is_stopped():
    """The bench does not hang with a contestant."""
    since = time.monotonic()
    with pytest.raises(ClicklabError, match="sleeper was stopped after 1 s"):
        run_child(
            [sys.executable, "-c", "import time; time.sleep(60)"], name="sleeper", timeout_s=1
        )
    assert time.monotonic() - since < 20


def test_a_ratio_is_the_median_over_rounds_of_the_same_run():
    """Each round is compared with itself, so that a slow minute of the machine hits both sides."""
    records = {"ours_csv": record(100, 1000, 80), "reference": record(2, 20, 1)}
    (outcome,) = outcomes(records)
    assert (outcome.ratio, outcome.low, outcome.high) == (50, 50, 80)
    assert outcome.is_reached


@pytest.mark.parametrize(
    ("quality", "worse"),
    [
        ({"log_loss": 0.41}, ("log_loss",)),
        ({"progressive": 0.41}, ("progressive_log_loss",)),
        ({"log_loss": float("nan")}, ("log_loss",)),
    ],
)
def test_speed_without_quality_is_not_enough(quality, worse):
    """A target with a higher loss (or none) is not reached, however fast."""
    (outcome,) = outcomes({"ours_features": record(100, **quality), "vw_cache": record(1)})
    assert outcome.worse == worse
    assert not outcome.is_reached


def test_every_target_names_contestants():
    """No target can go unmeasured for a typing error."""
    keys = {contestant.key for contestant in CONTESTANTS}
    assert {name for target in TARGETS for name in (target.ours, target.theirs)} <= keys


def test_a_mistake_at_the_command_line_is_one_line(capsys):
    """A known error is a line and an exit code, no traceback."""
    assert throughput.main(["--runs", "0"]) == 3
    assert capsys.readouterr().err == "error: runs must be at least 1, got 0\n"


def test_peers_without_uv_are_one_line(monkeypatch, tmp_path):
    """The line says what to run."""
    monkeypatch.setattr(peers, "ROOT", tmp_path)
    monkeypatch.setattr(peers.shutil, "which", lambda _: None)
    with pytest.raises(ClicklabError, match="run `make setup` first"):
        peers.find_uv()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The smallest data that the bench takes."""
    return prepare(MIN_ROWS, folder=tmp_path_factory.mktemp("bench"))


@pytest.mark.slow
def test_contestants_of_our_own_environment_take_part(small):
    """Ours from each source, and both of scikit-learn's ways, run and predict better than the click rate."""
    keys = ("ours_csv", "ours_log", "ours_features", "reference", "sklearn")
    contest = Contest(small, bits=18, peers_python=sys.executable, timeout_s=120)
    statuses = []
    records = contest.run(chosen(*keys), 1, statuses.append)
    assert list(records) == list(keys)
    assert len(statuses) == 10
    for found in records.values():
        assert found.quality["log_loss"] < 0.52
        assert found.runs[0]["rows_per_s"] > 0
        assert found.runs[0]["process_wall_s"] > found.runs[0]["wall_s"]
    losses = [records[key].quality["log_loss"] for key in keys[:3]]
    assert losses == [losses[0]] * 3, "the source of the rows must not change the model"
    assert records["reference"].runs[0]["n_rows"] == small.n_train


@pytest.mark.slow
def test_peers_of_the_other_environment_take_part(small):
    """Vowpal Wabbit from text and from its cache learns the same; River runs."""
    try:
        python = peers.peers_python()
    except ClicklabError as error:
        pytest.skip(f"the peers' environment cannot be installed: {error}")
    contest = Contest(small, bits=18, peers_python=python, timeout_s=120)
    records = contest.run(chosen("vw_cache", "vw_text", "river"), 1, lambda _: None)
    cache, text = records["vw_cache"].quality, records["vw_text"].quality
    assert cache == text
    assert 0.3 < text["progressive_log_loss"] < 0.52
    assert records["river"].quality["log_loss"] < 0.6
