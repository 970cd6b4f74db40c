"""Telemetry: every request is counted once, whatever happens to workers and models; labels are bounded."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from bentos.ctr.metrics.telemetry import MAX_LABELS, Telemetry
from tasks.hashing.contract import HashContract
from tasks.schema import load_schema
from tests.bentos.ctr.serving import fetch, served
from tests.conftest import ROOT

CONTRACT = HashContract.from_schema(load_schema("avazu"), bits=10)
SINGLE = (*CONTRACT.fields, *CONTRACT.feature_columns)
WORKER = """
import sys, time
from types import SimpleNamespace
from bentos.ctr.metrics.telemetry import Telemetry

telemetry = Telemetry(variants=["a"], models=["champion"])
for _ in range(int(sys.argv[1])):
    telemetry.answered("predict", "a", 60e-6, 0.25, 1)
telemetry.refused("rank", 422)
log = SimpleNamespace(depth=int(sys.argv[1]), n_dropped=1, n_written=2, n_failed=3, n_set_aside=0)
telemetry.flush(None, log)
print("counted", flush=True)
time.sleep(60)
"""
SCRAPE = """
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from bentos.ctr.metrics.telemetry import forget_dead_workers

forget_dead_workers()
registry = CollectorRegistry()
MultiProcessCollector(registry)
print(generate_latest(registry).decode())
"""


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def telemetry(registry):
    return Telemetry(variants=["champion"], models=["champion"], registry=registry)


def loaded(
    version="v1", *, n_rows=0, missing=None, unseen=None, failed=None, unknown=0, trained_at=None
):
    """A model of a state, as far as it is counted."""
    scorer = SimpleNamespace(
        model=SimpleNamespace(contract=CONTRACT),
        n_rows=n_rows,
        missing=np.array([(missing or {}).get(name, 0) for name in SINGLE]),
        missing_lists={},
        left_out={},
        failed=failed or {},
        unseen=np.array([(unseen or {}).get(name, 0) for name in CONTRACT.token_fields]),
    )
    reader = SimpleNamespace(unknown=unknown)
    return SimpleNamespace(
        scorer=scorer, reader=reader, version=version, loaded_at=1000.0, trained_at=trained_at
    )


def state(variants=("champion",), **models):
    experiment = SimpleNamespace(variants=[SimpleNamespace(name=name) for name in variants])
    return SimpleNamespace(models=models, experiment=experiment)


def field_values(registry, field, model="champion"):
    """Return (missing, unseen, seen) of a field."""
    return tuple(
        registry.get_sample_value(
            "ctr_field_values_total", {"model": model, "field": field, "state": state}
        )
        for state in ("missing", "unseen", "seen")
    )


def samples(registry, name):
    """Return the values of a metric by its labels' values."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == name
    }


# ---- requests


def test_series_of_known_names_begin_at_zero(registry, telemetry):
    """A rate over the first request is only seen if the series was there before."""
    assert samples(registry, "ctr_requests_total") == {
        ("predict", "champion", "200"): 0,
        ("rank", "champion", "200"): 0,
    }
    assert samples(registry, "ctr_model_swaps_total") == {("champion",): 0}
    assert samples(registry, "ctr_source_errors_total") == {("champion",): 0}


def test_an_answer_counts_as_request_latency_and_scores(registry, telemetry):
    """Requests and latency at once, scores with the next flush; mean predicted CTR is their ratio."""
    telemetry.answered("rank", "champion", 0.003, 0.6, 4)
    telemetry.answered("rank", "champion", 0.001, 0.2, 2)
    latency = {"call": "rank"}
    assert samples(registry, "ctr_requests_total")["rank", "champion", "200"] == 2
    assert registry.get_sample_value("ctr_request_seconds_count", latency) == 2
    assert registry.get_sample_value("ctr_request_seconds_sum", latency) == pytest.approx(0.004)
    assert registry.get_sample_value("ctr_request_seconds_bucket", latency | {"le": "0.001"}) == 1
    for _ in range(2):  # the second flush has nothing to add
        telemetry.flush(None)
    assert samples(registry, "ctr_scored_total") == {("champion",): 6}
    assert samples(registry, "ctr_predicted_clicks_total")["champion",] == pytest.approx(0.8)


def test_a_refusal_counts_by_status_and_has_no_variant(registry, telemetry):
    """It is in no latency and in no prediction."""
    telemetry.refused("predict", 422)
    telemetry.refused("predict", 422)
    telemetry.refused("rank", 503)
    found = samples(registry, "ctr_requests_total")
    assert found["predict", "none", "422"] == 2
    assert found["rank", "none", "503"] == 1
    assert samples(registry, "ctr_request_seconds_count") == {("predict",): 0, ("rank",): 0}


def test_a_variant_that_came_later_is_counted(registry, telemetry):
    """The experiment can change while the service runs."""
    telemetry.flush(state(variants=["champion", "late"]))
    assert samples(registry, "ctr_requests_total")["predict", "late", "200"] == 0
    telemetry.answered("predict", "late", 1e-4, 0.1, 1)
    assert samples(registry, "ctr_requests_total")["predict", "late", "200"] == 1


def test_no_label_has_more_values_than_its_bound(registry, telemetry):
    """Whatever comes beyond counts as "other", and nothing is lost."""
    for number in range(3 * MAX_LABELS):
        telemetry.answered("predict", f"variant-{number}", 1e-4, 0.5, 1)
        telemetry.refused(f"call-{number}", 400)
        telemetry.model_refused("champion", f"reason-{number}")
        telemetry.swapped("champion", f"version-{number}")
    telemetry.flush(None)
    for name in ("ctr_requests_total", "ctr_model_refusals_total", "ctr_model_info"):
        assert len(samples(registry, name)) <= 2 * (MAX_LABELS + 1), name
    assert sum(samples(registry, "ctr_requests_total").values()) == 6 * MAX_LABELS
    assert sum(samples(registry, "ctr_scored_total").values()) == 3 * MAX_LABELS
    assert sum(samples(registry, "ctr_model_refusals_total").values()) == 3 * MAX_LABELS
    assert samples(registry, "ctr_model_info")["champion", "other"] == 1


# ---- models


def test_the_values_of_a_field_are_missing_unseen_or_seen(registry, telemetry):
    """The three add up to the rows, of fields and of features."""
    counts = {"missing": {"C14": 3, "hour_of_day": 1}, "unseen": {"C14": 2, "hour_of_day": 4}}
    model = loaded(n_rows=10, **counts)
    telemetry.flush(state(champion=model))
    assert field_values(registry, "C14") == (3, 2, 5)
    assert field_values(registry, "hour_of_day") == (1, 4, 5)
    assert field_values(registry, "site_id") == (0, 0, 10)


def test_failures_of_a_feature_are_counted(registry, telemetry):
    """By feature; a second flush adds what is new."""
    model = loaded(n_rows=10, failed={"hour_of_day": 3})
    telemetry.flush(state(champion=model))
    model.scorer.failed = {"hour_of_day": 5}
    telemetry.flush(state(champion=model))
    assert samples(registry, "ctr_feature_failures_total") == {("champion", "hour_of_day"): 5}


def test_only_what_is_new_is_added_at_each_flush(registry, telemetry):
    """A scorer counts up; the counters follow it."""
    model = loaded(n_rows=10, missing={"C14": 3}, unknown=2)
    telemetry.flush(state(champion=model))
    model.scorer.n_rows, model.reader.unknown = 15, 7
    model.scorer.missing += 1
    telemetry.flush(state(champion=model))
    assert field_values(registry, "C14") == (4, 0, 11)
    assert samples(registry, "ctr_unknown_fields_total") == {("champion",): 7}


def test_a_swap_loses_nothing_that_the_old_model_counted(registry, telemetry):
    """What came in after the last flush is read from the old scorer, then the new one counts from 0."""
    old, new = loaded("v1", n_rows=10), loaded("v2", n_rows=2, missing={"C14": 2})
    telemetry.flush(state(champion=old))
    old.scorer.n_rows = 14
    telemetry.flush(state(champion=new))
    assert field_values(registry, "C14") == (2, 0, 14)


def test_info_names_the_version_that_serves_and_no_other(registry, telemetry):
    """Also when an old version comes back."""
    for version in ("v1", "v2", "v1"):
        telemetry.flush(state(champion=loaded(version)))
    telemetry.swapped("champion", "v3")
    assert samples(registry, "ctr_model_info") == {
        ("champion", "v1"): 0,
        ("champion", "v2"): 0,
        ("champion", "v3"): 1,
    }
    assert samples(registry, "ctr_model_swaps_total") == {("champion",): 1}


def test_age_counts_from_the_training_or_else_from_the_loading(registry, telemetry):
    """A model that does not say when it was trained is at least as old as it was loaded."""
    now = time.time()
    telemetry.flush(state(champion=loaded(trained_at=now - 3600), other=loaded()))
    ages = samples(registry, "ctr_model_age_seconds")
    assert ages["champion",] == pytest.approx(3600, abs=60)
    assert ages["other",] == pytest.approx(now - 1000, abs=60)


def test_refused_models_and_silent_sources_are_counted(registry, telemetry):
    """By model and by kind of reason."""
    telemetry.model_refused("champion", "corrupt")
    telemetry.model_refused("champion", "corrupt")
    telemetry.source_unreachable("champion")
    assert samples(registry, "ctr_model_refusals_total") == {("champion", "corrupt"): 2}
    assert samples(registry, "ctr_source_errors_total") == {("champion",): 1}


def test_the_exposure_logs_totals_become_counters(registry, telemetry):
    """Queue depth is what waits now; the others follow the log's own totals."""
    log = SimpleNamespace(depth=5, n_dropped=1, n_written=10, n_failed=0, n_set_aside=2)
    telemetry.flush(None, log)
    log.depth, log.n_written = 0, 25
    telemetry.flush(None, log)
    assert registry.get_sample_value("ctr_exposures_queued") == 0
    assert registry.get_sample_value("ctr_exposures_written_total") == 25
    assert registry.get_sample_value("ctr_exposures_dropped_total") == 1
    assert registry.get_sample_value("ctr_exposures_failed_total") == 0
    assert registry.get_sample_value("ctr_exposures_set_aside_total") == 2


# ---- several workers


def run(code, *words, folder, **options):
    env = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(folder), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", "-c", code, *map(str, words)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True, **options)


def scrape(folder):
    """Return what ``/metrics`` would say, by name and the values of the labels."""
    text = run(SCRAPE, folder=folder).communicate()[0]
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_workers_add_up_and_a_dead_ones_counters_stay(tmp_path):
    """After SIGKILL its requests still count; its queue does not."""
    workers = [run(WORKER, number, folder=tmp_path) for number in (30, 12)]
    try:
        assert [worker.stdout.readline() for worker in workers] == ["counted\n"] * 2
        before = scrape(tmp_path)
        workers[0].send_signal(signal.SIGKILL)
        workers[0].wait()
        after = scrape(tmp_path)
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    assert (before["ctr_exposures_queued",], after["ctr_exposures_queued",]) == (42, 12)
    for found in (before, after):
        assert found["ctr_requests_total", "200", "a", "predict"] == 42
        assert found["ctr_requests_total", "422", "none", "rank"] == 2
        assert found["ctr_request_seconds_count", "predict"] == 42
        assert found["ctr_predicted_clicks_total", "a"] == 42 * 0.25
        assert found["ctr_exposures_failed_total",] == 6


@pytest.mark.slow
def test_a_killed_worker_of_a_bento_takes_no_count_with_it(bento, tmp_path):
    """Another one comes, the gauges count those that live, and the requests so far are still there."""
    receipt, store = bento
    path = str(store / "bentos" / receipt["bento"].replace(":", "/"))
    with served(path, home=tmp_path, log=tmp_path / "serve.log") as (address, process):
        _wait_for(lambda: _n_serving(address) == len(_workers(process)) > 0)
        before = _workers(process)
        for _ in range(40):
            assert fetch(f"{address}/predict", b'{"C1": 1005}')[0] == 200
        os.kill(before[0], signal.SIGKILL)
        _wait_for(lambda: len(set(_workers(process)) - set(before)) == 1)
        assert list(tmp_path.glob("prometheus-*/gauge_live*.db"))
        _wait_for(lambda: not list(tmp_path.glob(f"prometheus-*/gauge_live*_{before[0]}.db")))
        _wait_for(lambda: _n_serving(address) == len(before))
        text = fetch(f"{address}/metrics")[1].decode()
    counted = re.findall(r'ctr_requests_total{.*outcome="200".*} ([0-9.]+)', text)
    assert sum(map(float, counted)) == 40


def _n_serving(address):
    """Return how many workers say that they serve a model."""
    try:
        text = fetch(f"{address}/metrics")[1].decode()
    except OSError:  # the one that was killed had taken this request
        return None
    return sum(map(float, re.findall(r"ctr_model_info{.*} ([0-9.]+)", text)))


def _workers(process):
    """Return the process ids of the workers that live."""
    found = []
    for child in psutil.Process(process.pid).children():
        with suppress(psutil.Error):
            if any("worker" in word for word in child.cmdline()):
                found.append(child.pid)
    return found


def _wait_for(is_so):
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.2)
