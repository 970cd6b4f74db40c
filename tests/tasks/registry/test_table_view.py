"""The page that MLflow opens with: which table, and its address."""

import json
import types

from tasks.registry.table_view import comparison_of, experiment_tags, page_of


class Client:
    """A store with one experiment."""

    def get_experiment_by_name(self, name):
        return types.SimpleNamespace(experiment_id="7") if name == "ctr-sim-avazu" else None


def test_the_page_is_the_table_of_the_experiment():
    """With the columns of the project; the start page before the first run."""
    page = page_of(Client(), "ctr-sim-avazu")
    assert page.startswith("/#/experiments/7/runs?viewStateShareKey=clicklab&")
    assert page_of(Client(), "ctr") == ""


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
