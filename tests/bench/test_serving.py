"""The serving bench: what it sends, what it counts, what it holds against targets."""

import asyncio
import csv
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.data import MIN_ROWS, prepare
from bench.serving import __main__ as command_line
from bench.serving import contestants, load, soak, targets
from bench.serving.apps import reference
from bench.serving.request_steps import time_steps
from bench.serving.rounds import Record
from bench.serving.scoring import time_scoring
from bench.serving.servers import Server
from bench.serving.soak_figure import draw
from bench.serving.versions import installed
from bench.serving.workload import CANDIDATE_FIELDS, Workload, make_workload, rankings, read_rows
from tasks.errors import ClicklabError, ConfigError


def write_csv(path, n_rows, **columns):
    """Write rows with an id, a label and columns given as functions of the row's number."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["id", "click", *columns])
        writer.writeheader()
        for number in range(n_rows):
            values = {name: value(number) for name, value in columns.items()}
            writer.writerow({"id": number, "click": number % 2} | values)


def test_requests_are_distinct_rows_with_integers_where_all_are(tmp_path):
    """Ids and labels are not sent; hexadecimal text stays text even where one value looks like a number."""
    path = tmp_path / "test.csv"
    ids = {0: "00000012", 1: "a9f1"}
    write_csv(path, 60, C1=lambda n: n, C20=lambda n: -n, site_id=lambda n: ids.get(n, f"{n}e"))
    rows = read_rows(path, 50, n_rows=60)
    assert len({json.dumps(row) for row in rows}) == 50
    assert rows[1] == {"C1": 1, "C20": -1, "site_id": "a9f1"}
    assert rows[0]["site_id"] == "00000012"


def test_a_day_with_too_few_distinct_rows_is_one_line(tmp_path):
    """Equal rows count once."""
    write_csv(tmp_path / "test.csv", 30, C1=lambda n: n % 3)
    with pytest.raises(ConfigError, match="has 3 distinct rows, 10 are needed"):
        read_rows(tmp_path / "test.csv", 10, n_rows=30)


def test_a_ranking_is_one_context_with_the_ads_of_other_rows():
    """No field is in both, and the candidates differ."""
    rows = [{"site_id": f"s{n}", **dict.fromkeys(CANDIDATE_FIELDS, n)} for n in range(30)]
    bodies = rankings(rows, n_rankings=3, n_candidates=20)
    assert [body["context"] for body in bodies] == [{"site_id": f"s{n}"} for n in range(3)]
    for body in bodies:
        assert len(body["candidates"]) == 20 == len({str(ad) for ad in body["candidates"]})
        assert set(body["candidates"][0]) == set(CANDIDATE_FIELDS)


def test_the_reference_answers_what_its_parts_say(tmp_path, monkeypatch):
    """A row through hasher and classifier by hand gives the same probability."""
    names = {"hour": "int", "site_id": "str"}
    (tmp_path / "fields.json").write_text(json.dumps(names))
    draw_ = np.random.default_rng(3)
    np.savez(tmp_path / "reference.npz", coef=draw_.normal(size=(1, 2**6)), intercept=[0.1])
    monkeypatch.setenv(reference.MODEL_VARIABLE, str(tmp_path))
    app = reference.create_app()
    route = next(route for route in app.routes if route.path == "/predict")
    row = {"hour": 14103000, "site_id": "a9f1"}
    kind = route.body_field.field_info.annotation
    answer = asyncio.run(route.endpoint(kind(**row)))
    hasher, model = reference._load(tmp_path)
    logit = hasher.transform([["14103000", "a9f1"]]) @ model.coef_[0] + 0.1
    assert answer["prediction"] == pytest.approx(float(1 / (1 + np.exp(-logit[0]))), abs=1e-12)


def records(**speeds):
    """Return records of saturated runs at these speeds."""
    return {
        key: Record(saturated=[{"requests_per_s": speed} for speed in runs])
        for key, runs in speeds.items()
    }


def test_a_ratio_is_the_median_over_rounds_of_the_same_round():
    """Each round is compared with itself."""
    found = targets.outcomes(records(ours=[100, 1000, 80], reference=[20, 250, 10]), {})
    (outcome,) = found
    assert (outcome.value, outcome.low, outcome.high) == (5, 4, 8)
    assert outcome.is_reached
    assert outcome.to_dict()["target"]["minimum"] == 4


@pytest.mark.parametrize(
    ("target", "value", "is_reached"),
    [
        (targets.P99, 10.0, True),
        (targets.P99, 10.1, False),
        (targets.P99, float("nan"), False),
        (targets.RANKED, 199_999, False),
        (targets.SOAK_MEMORY, 1.05, True),
        (targets.DROPPED, 1, False),
    ],
)
def test_a_bound_is_kept_or_not(target, value, is_reached):
    """The bound itself is allowed; what was not measured is not."""
    assert targets.outcome(target, [value]).is_reached is is_reached


def test_every_figure_of_a_full_run_has_an_outcome():
    """Nothing that is to be reached goes unmentioned."""
    run = {"p99_ms": 2.0, "n_failed": 0}
    full = records(ours=[9], reference=[1], typed=[1], tuned=[3], floor=[20])
    full["floor"].paced = [{"p99_ms": 1.0}]
    full["ours"].paced, full["ours"].rank_paced, full["ours"].n_dropped = [run], [run], 0
    full["ours"].rank_saturated = [{"requests_per_s": 3_000}]
    found = {outcome.target.label: outcome for outcome in targets.outcomes(full, {"score_us": 9.0})}
    assert len(found) == 10
    assert all(outcome.is_reached for outcome in found.values())
    assert found[targets.RANKED.label].value == 300_000


def soaked(**changes):
    """Return what a soak finds, as far as tables and figure read it."""
    sample = {"rss_bytes": 3e8, "pss_bytes": 2e8}
    times = {"p50_ms": 0.5, "p99_ms": 2.0, "max_ms": 9.0, "n_failed": 0}
    return {
        "n_failed": 0, "n_dropped": 0, "n_lost": 0, "n_swaps": 2, "n_swaps_counted": 2, "rate": 300,
        "rss_bytes": (3e8, 3e8), "pss_bytes": (2e8, 2e8),
        "samples": [sample | {"second": s} for s in range(60)],
        "timeline": [times | {"second": s} for s in range(60)],
    } | changes  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({}, []),
        ({"n_failed": 1}, [targets.SOAK_FAILED]),
        ({"n_lost": 1}, [targets.SOAK_DROPPED]),
        ({"n_dropped": None}, [targets.SOAK_DROPPED]),
        ({"n_swaps_counted": 1}, [targets.SOAK_SWAPS]),
        ({"pss_bytes": (2e8, 2.2e8)}, [targets.SOAK_MEMORY]),
    ],
)
def test_a_soak_misses_what_it_misses(changes, missed):
    """Failed requests, lost exposures, a swap that did not come, memory that grew."""
    found = soak.soak_outcomes(soaked(**changes))
    assert [outcome.target for outcome in found if not outcome.is_reached] == missed


def test_memory_is_compared_over_a_window_after_a_tenth_and_before_the_end():
    """What the start-up held does not count."""
    line = [(second, 50.0 if second < 10 else 100.0 + second / 10) for second in range(101)]
    assert soak.ends(line, window_s=10) == (101.5, 109.5)


def test_a_link_shows_one_model_or_the_other(tmp_path):
    """Pointing again replaces the link and leaves nothing behind."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        soak.point_to(tmp_path / "champion", tmp_path / name)
        assert (tmp_path / "champion").resolve().name == name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["champion", "one", "two"]


def test_exposures_are_counted_in_files_and_parts(tmp_path):
    """A file that is still being written counts too."""
    (tmp_path / "a.jsonl").write_bytes(b"{}\n{}\n")
    (tmp_path / "b.jsonl.part").write_bytes(b"{}\n")
    assert soak.count_lines(tmp_path) == 3


@pytest.mark.slow
def test_the_soak_figure_is_the_same_file_each_time(tmp_path):
    """It is committed, so the same numbers must give the same bytes."""
    for name in ("one.svg", "two.svg"):
        draw(soaked(), tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_a_thinned_line_keeps_the_worst_of_each_stretch():
    """A second without responses does not count as zero."""
    line = [{"second": s, "max_ms": float(s % 4)} for s in range(8)] + [{"second": 8}]
    found = soak.thinned(line, n_points=3)
    assert [at["second"] for at in found] == [0, 3, 6]
    assert [at["max_ms"] for at in found] == [2, 3, 3]


def test_metrics_are_summed_over_labels(monkeypatch):
    """Workers and variants add up; comments are no samples."""
    text = b'# HELP a b\na_total{x="1, 2"} 3.0\na_total{x="3"} 4.0\nb 1e-3\n'
    monkeypatch.setattr(Server, "request", lambda *_: (200, text))
    assert Server(1, None, Path()).metrics() == {"a_total": 7.0, "b": 0.001}


def test_versions_of_an_environment_leave_out_what_is_missing():
    """The environment is asked by its own Python."""
    found = installed(Path(sys.executable), ("numpy", "no-such-package"))
    assert found == {"numpy": np.__version__}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--rounds", "0"], "error: rounds must be at least 1, got 0\n"),
        (["--soak", "1"], "error: a soak of 1 minutes is too short to swap every 60 s; at least three swaps are needed\n"),
    ],
)  # fmt: skip
def test_a_mistake_at_the_command_line_is_one_line(arguments, line, capsys):
    """A known error is a line and an exit code, no traceback."""
    assert command_line.main(arguments) == 3
    assert capsys.readouterr().err == line


def test_without_wrk_the_line_says_how_to_install_it(monkeypatch):
    """It comes from the system's packages, not from Python's."""
    monkeypatch.setattr(load.shutil, "which", lambda _: None)
    with pytest.raises(ClicklabError, match="apt-get install wrk"):
        load.find_wrk()


def test_every_contestant_has_a_label(tmp_path):
    """No server can take part that the tables do not know."""
    made = Workload(tmp_path, (tmp_path, tmp_path), tmp_path, tmp_path, [], ("", ""))
    found = contestants.peer_commands(made, peers_python=Path("python"))
    assert {"ours", *found} == set(contestants.LABELS)


@pytest.fixture(scope="module")
def served_workload(tmp_path_factory):
    """Models and requests from the smallest log, the reference trained by our own Python."""
    data = prepare(MIN_ROWS, folder=tmp_path_factory.mktemp("bench"))
    python = Path(sys.executable)
    return make_workload(data, kind="ftrl", bits=14, n_requests=200, peers_python=python)


@pytest.mark.slow
def test_peers_serve_and_are_loaded(served_workload):
    """Reference, typed endpoints and the empty route answer; no request fails at the constant rate."""
    commands = contestants.peer_commands(served_workload, peers_python=Path(sys.executable))
    call = load.Call("/predict", served_workload.impressions)
    with contestants.serve_all(commands, served_workload) as servers:
        contestants.check_answers(servers, served_workload)
        for server in servers.values():
            found = load.pace(server.port, call, rate=50, seconds=1)
            assert (found["n_requests"], found["n_failed"]) == (50, 0)
            assert server.memory().pss_bytes > 2**23
    assert all(server.process.poll() is not None for server in servers.values())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("wrk") is None, reason="needs wrk (apt-get install wrk)")
def test_wrk_sends_bodies_in_turn_and_counts_what_fails(served_workload):
    """A path that the server does not have is an error, not a fast answer."""
    commands = contestants.peer_commands(served_workload, peers_python=Path(sys.executable))
    with contestants.serve(commands["reference"], "reference", served_workload) as server:
        call = load.Call("/predict", served_workload.impressions)
        assert load.saturate(server.port, call, seconds=1, n_connections=2)["requests_per_s"] > 1
        with pytest.raises(ClicklabError, match="requests to /nowhere failed under load"):
            load.saturate(server.port, replace(call, path="/nowhere"), seconds=1, n_connections=2)


@pytest.mark.slow
def test_a_short_soak_swaps_models_and_loses_nothing(served_workload, tmp_path):
    """Every request is answered and logged while the folder changes; both versions answer."""
    command = contestants.build_ours(
        served_workload, home=tmp_path / "home", exposures=tmp_path / "exposures"
    )
    plan = soak.SoakPlan(minutes=0.4, rate=100, swap_s=6)
    found = soak.soak(command, served_workload, plan, lambda _: None)
    missed = [
        outcome.target.label for outcome in soak.soak_outcomes(found)[:3] if not outcome.is_reached
    ]
    assert missed == []
    assert set(found["versions"]) == set(served_workload.versions)


@pytest.mark.slow
def test_scoring_and_each_step_are_timed(served_workload):
    """Every step has a time, and the whole is no less than its parts."""
    scoring = time_scoring(served_workload.models[0], served_workload.rows)
    assert all(value > 0 for value in scoring.values())
    for steps in time_steps(served_workload).values():
        assert steps["all"] >= steps["decode"] + steps["score"] > 0
