"""The page that MLflow opens with: which table, and its address."""

import json
import types

import pytest

from tasks.registry.table_view import comparison_of, experiment_tags, page_of


def experiment(number, name):
    return types.SimpleNamespace(experiment_id=number, name=name)


class Client:
    """A store with experiments; the newest run is in the last of them."""

    def __init__(self, *names):
        self.experiments = [experiment(str(number), name) for number, name in enumerate(names, 1)]

    def search_experiments(self):
        return self.experiments

    def search_runs(self, ids, *, order_by, max_results):
        assert (order_by, max_results) == (["attributes.start_time DESC"], 1)
        return [types.SimpleNamespace(info=types.SimpleNamespace(experiment_id=ids[-1]))]


@pytest.mark.parametrize(
    ("names", "number"),
    [
        (["ctr"], "1"),
        (["Default", "ctr-sim-avazu"], "2"),
        (["ctr-sim-avazu", "ctr-mine", "ctrl", "other"], "2"),
    ],
)
def test_the_page_is_the_table_of_the_latest_run(names, number):
    """Among the project's experiments, one for each origin of rows."""
    page = page_of(Client(*names), "ctr")
    assert page.startswith(f"/#/experiments/{number}/runs?viewStateShareKey=clicklab&")


def test_before_the_first_run_it_is_the_list():
    """Nothing to show yet."""
    assert page_of(Client("Default"), "ctr") == "/#/experiments"


def test_the_table_shows_data_metrics_parameters_and_source():
    """And of the pipeline only: what a person ran is one click away."""
    view = json.loads(experiment_tags()["mlflow.sharedViewState.clicklab"])
    shown = view["selectedColumns"]
    for column in ("attributes.`Source`", "attributes.`Dataset`", "metrics.`test_log_loss`"):
        assert column in shown
    assert any(column.startswith("params.") for column in shown)
    assert view["columnOrder"] == shown and set(view["columnWidths"]) == set(shown)
    assert view["searchFilter"] == "tags.`clicklab.interactive` = 'false'"


def test_a_comparison_names_its_runs():
    """As JSON in the address."""
    assert comparison_of("3", ["a", "b"]) == (
        "#/compare-runs?runs=%5B%22a%22%2C%20%22b%22%5D&experiments=%5B%223%22%5D"
    )
