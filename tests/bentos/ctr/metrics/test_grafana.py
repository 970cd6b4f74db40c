"""The dashboard: it can be imported, and each of its queries finds what a running Bento really says."""

import json
import math
import re
import shutil
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from threading import Lock

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from bentos.ctr.metrics.series import Metrics
from tasks.models.artifact import load_model
from tasks.models.golden import GOLDEN
from tasks.schema import load_schema
from tests.bentos.ctr.prometheus import find_prometheus, label_values, query, scraping
from tests.bentos.ctr.serving import fetch, golden_rows, served, trained_model
from tests.conftest import ROOT

DASHBOARD = json.loads((ROOT / "bentos/ctr/grafana.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = {
    f"{panel['title']}, {target['refId']}": target["expr"]
    for panel in PANELS
    for target in panel["targets"]
} | {
    f"annotation {entry['name']}": entry["expr"]
    for entry in DASHBOARD["annotations"]["list"]
    if "expr" in entry
}
LEGENDS = {
    f"{panel['title']}, {target['refId']}": target["legendFormat"]
    for panel in PANELS
    for target in panel["targets"]
}
OF_PROMETHEUS = {"job", "instance"}  # labels that a scrape adds


def labels_by_sample():
    """Return the labels of every sample the service can expose, by its name."""
    families = vars(Metrics(CollectorRegistry())).values()
    suffixes = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}
    return {
        f"{family._name}{suffix}": {*family._labelnames, *(["le"] if suffix == "_bucket" else [])}
        for family in families
        for suffix in suffixes[family._type]
    }


def selectors(expression):
    """Yield the metrics of an expression, each with the labels it is selected by."""
    for name, inside in re.findall(r"\b(ctr_\w+)\{([^}]*)\}", expression):
        yield name, set(re.findall(r"(\w+)(?:=~|!=|!~|=)", inside))


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_names_metrics_and_labels_that_exist(name):
    """What is selected, grouped by, or shown in a legend is a label of every metric in the query."""
    known, expression = labels_by_sample(), QUERIES[name]
    found = list(selectors(expression))
    assert [metric for metric, _ in found] == re.findall(r"\bctr_\w+", expression)
    grouped = {
        label.strip()
        for group in re.findall(r"by \(([^)]*)\)", expression)
        for label in group.split(",")
    }
    for metric, selected in found:
        assert selected >= OF_PROMETHEUS, f"{metric} is not limited to the job and instance chosen"
        assert selected | grouped <= known[metric] | OF_PROMETHEUS, metric


def test_every_metric_is_shown_somewhere():
    """A metric without a panel goes unnoticed."""
    shown = {metric for expression in QUERIES.values() for metric, _ in selectors(expression)}
    assert set(labels_by_sample()) - shown == {"ctr_request_seconds_sum"}  # quantiles say more


def test_the_dashboard_can_be_imported_anywhere():
    """It asks which Prometheus to use, and its panels have numbers of their own and room."""
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD)))
    assert used - {"__rate_interval", "__all"} == variables == {"datasource", "job", "instance"}
    assert {panel["datasource"]["uid"] for panel in PANELS} == {"${datasource}"}
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)
    assert DASHBOARD.get("id") is None and DASHBOARD["schemaVersion"] >= 39


def test_no_panel_lies_on_another():
    """Grafana would move them, and the rows would come apart."""
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        apart = any(
            first[edge] + first[size] <= second[edge]
            for edge, size in (("x", "w"), ("y", "h"))
            for first, second in ((one, other), (other, one))
        )
        assert apart, (one, other)


# ---- against a running Bento

N_ROUNDS, N_CANDIDATES = 25, 20
ROW = load_schema("avazu").example_row()
EXPERIMENT = """
name: trial
salt: any
unit: [device_ip]
variants: [{name: champion, weight: 1, model: champion}, {name: twin, weight: 1, model: champion}]
"""
SETTINGS = """
models: {{champion: {{from: folder, path: {folder}/champion}}}}
poll_s: 0.2
exposures: {{sink: {folder}/exposures}}
"""


class Traffic:
    """Requests to a service, and what must be counted of them."""

    def __init__(self, address):
        self.address = address
        self.outcomes, self.scores, self._lock = Counter(), [], Lock()

    def send(self, call, body):
        """Send one request."""
        status, answer = fetch(f"{self.address}/{call}", body)
        found = json.loads(answer)
        with self._lock:
            self.outcomes[call, str(status)] += 1
            if status == 200:
                self.scores += found.get("predictions") or [found["prediction"]]

    def round(self, number, unseen):
        """Send some of everything: a missing field, an unseen value, an unknown key, bad requests."""
        row = ROW | {"device_ip": f"unit {number}"}
        for body in (row, row | {"C14": None}, row | {"site_id": unseen}, row | {"odd": 1}):
            self.send("predict", json.dumps(body).encode())
        candidates = [{"C14": str(price)} for price in range(N_CANDIDATES)]
        self.send("rank", json.dumps({"context": row, "candidates": candidates}).encode())
        for body in (b"{", b'{"hour": "late"}'):
            self.send("predict", body)

    def scrape(self):
        """Return what ``/metrics`` says: by name, a list of (labels, value)."""
        found = defaultdict(list)
        for family in text_string_to_metric_families(fetch(f"{self.address}/metrics")[1].decode()):
            for sample in family.samples:
                found[sample.name].append((sample.labels, sample.value))
        return found


@pytest.fixture(scope="module")
def unseen(model_dir):
    """A value of `site_id` that the model has no weight for."""
    model = load_model(model_dir)
    place = model.contract.token_fields.index("site_id")
    for number in range(10_000):
        code = model.encoder.encode_row({"site_id": f"new {number}"})[place]
        if model.weights[max(code, ~code)] == 0:
            return f"new {number}"
    raise AssertionError("the model has no weight of 0")


@pytest.fixture(scope="module")
def busy(bento, model_dir, tmp_path_factory):
    """A Bento that serves from a folder, and whom to tell what is sent: (traffic, folder)."""
    receipt, home = bento
    folder = tmp_path_factory.mktemp("busy")
    shutil.copytree(model_dir, folder / "champion")
    (folder / "experiment.yaml").write_text(EXPERIMENT)
    (folder / "serving.yaml").write_text(SETTINGS.format(folder=folder))
    said = {"CLICKLAB_SERVING": str(folder / "serving.yaml")}
    with served(_path(receipt, home), home=folder, log=folder / "serve.log", **said) as (
        address,
        _,
    ):
        yield Traffic(address), folder


def _path(receipt, store):
    """Return where the Bento lies; served from there, it does not share the store's metrics folder."""
    return str(store / "bentos" / receipt["bento"].replace(":", "/"))


def total(samples, **labels):
    """Return the sum of the values whose labels are these."""
    return sum(value for found, value in samples if labels.items() <= found.items())


@pytest.mark.slow
def test_a_scrape_counts_every_request_of_every_worker(busy, unseen):
    """Every request is counted, whichever worker answered it or reports the sum."""
    traffic, _ = busy
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: traffic.round(number, unseen), range(N_ROUNDS)))
    deadline = time.monotonic() + 10  # scores go out once a second
    while total(traffic.scrape()["ctr_scored_total"]) < len(traffic.scores):
        assert time.monotonic() < deadline, traffic.scrape()["ctr_scored_total"]
        time.sleep(0.2)
    found = traffic.scrape()
    for (call, outcome), n_requests in traffic.outcomes.items():
        assert total(found["ctr_requests_total"], call=call, outcome=outcome) == n_requests
    assert total(found["ctr_requests_total"]) == sum(traffic.outcomes.values())
    n_answers = sum(n for (_, outcome), n in traffic.outcomes.items() if outcome == "200")
    assert total(found["ctr_request_seconds_count"]) == n_answers == 5 * N_ROUNDS
    assert total(found["ctr_scored_total"]) == len(traffic.scores)
    clicks = total(found["ctr_predicted_clicks_total"])
    assert clicks == pytest.approx(math.fsum(traffic.scores), rel=1e-9)
    assert {labels["variant"] for labels, value in found["ctr_scored_total"] if value} == {
        "champion",
        "twin",
    }
    fields = found["ctr_field_values_total"]
    assert total(fields, field="C14", state="missing") == N_ROUNDS
    assert total(fields, field="site_id", state="unseen") >= N_ROUNDS
    assert total(fields, field="site_id") == len(traffic.scores)
    assert total(found["ctr_unknown_fields_total"]) == N_ROUNDS
    assert total(found["ctr_exposures_dropped_total"]) == 0


@pytest.fixture(scope="module")
def prometheus(busy, model_dir, unseen, tmp_path_factory):
    """A Prometheus that saw traffic, a swap, a refusal and a lost source: its address."""
    folder = tmp_path_factory.mktemp("prometheus")
    program = find_prometheus(folder)
    if program is None:
        pytest.skip("there is no `prometheus`, nor `apt-get` to take it from Debian's package")
    traffic, models = busy
    with scraping(program, traffic.address, folder) as address:
        for step, effect in EVENTS:
            step(models, model_dir)
            deadline = time.monotonic() + 60
            while not query(address, f"{effect} > 0"):
                assert time.monotonic() < deadline, effect
                traffic.round(len(traffic.scores), unseen)
        yield address


def _swap(folder, model_dir):
    model = trained_model(folder / "next", load_schema("avazu"), seed=8)
    (folder / "next" / GOLDEN).write_text(json.dumps(golden_rows(model)))
    (folder / "champion").rename(folder / "last")
    (folder / "next").rename(folder / "champion")


def _spoil(folder, model_dir):
    shutil.copytree(model_dir, folder / "spoilt")
    with (folder / "spoilt" / "weights.npy").open("r+b") as file:
        file.truncate(1000)
    (folder / "champion").rename(folder / "before last")
    (folder / "spoilt").rename(folder / "champion")


def _take_away(folder, model_dir):
    (folder / "champion").rename(folder / "away")


EVENTS = [  # and what Prometheus sees of them
    (lambda folder, model_dir: None, "count(increase(ctr_scored_total[5m]))"),
    (_swap, "sum(increase(ctr_model_swaps_total[5m]))"),
    (_spoil, "sum(ctr_model_refusals_total)"),
    (_take_away, "sum(increase(ctr_source_errors_total[5m]))"),
    (lambda folder, model_dir: None, "count(increase(ctr_model_refusals_total[5m]))"),
]


@pytest.mark.slow
@pytest.mark.parametrize("name", QUERIES)
def test_prometheus_answers_a_query_from_a_real_scrape(name, prometheus):
    """Every query has series, each with a number and with the labels that the legend wants."""
    found = query(prometheus, _filled_in(QUERIES[name]))
    of_lists = "ctr_items_left_out_total" in QUERIES[name]
    assert bool(found) is not of_lists, QUERIES[name]  # the model has no list field
    for series in found:
        assert math.isfinite(float(series["value"][1])), series
        assert set(re.findall(r"{{(\w+)}}", LEGENDS.get(name, ""))) <= set(series["metric"])


@pytest.mark.slow
def test_the_choices_of_job_and_instance_come_from_the_scrape(prometheus, busy):
    """The dashboard's variables find the Bento."""
    assert label_values(prometheus, "job", "ctr_requests_total") == ["ctr"]
    instance = busy[0].address.removeprefix("http://")
    assert label_values(prometheus, "instance", 'ctr_requests_total{job=~"ctr"}') == [instance]


@pytest.mark.slow
def test_prometheus_computes_what_was_sent(prometheus, busy):
    """Two witnesses: the dashboard's own queries, and the numbers that clients got."""
    traffic, _ = busy
    deadline = time.monotonic() + 60
    while not query(prometheus, f"sum(ctr_scored_total) == {len(traffic.scores)}"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    (mean,) = query(prometheus, "sum(ctr_predicted_clicks_total) / sum(ctr_scored_total)")
    assert float(mean["value"][1]) == pytest.approx(np.mean(traffic.scores), rel=1e-9)
    versions = query(prometheus, _filled_in(QUERIES["Workers by version, A"]))
    assert len(versions) == 1, "after the swap, one version serves in all workers"
    (failed,) = query(prometheus, _filled_in(QUERIES["Failed (5xx), A"]))
    assert float(failed["value"][1]) == 0


def _filled_in(expression):
    """Return an expression as Grafana would send it."""
    values = {"$__rate_interval": "5m", "$job": "ctr", "$instance": ".*"}
    for name, value in values.items():
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression
