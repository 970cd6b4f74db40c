"""Each model of the env file has its training task, and each training task its model."""

import re

import pytest
import yaml

from tasks.errors import ConfigError
from tasks.knobs.model_tasks import check_models, model_block, model_problems, task_lines
from tasks.knobs.reading import read_env
from tasks.models.learner import Learner
from tasks.pipeline.build import load_dag
from tests.conftest import ROOT, copy_project


def test_blocks_and_tasks_that_agree_pass():
    """In any order."""
    check_models({"a": {}, "b": {}}, ["b", "a"])


def test_a_model_without_a_task_is_reported_with_the_lines_to_add():
    """Pasting them is all that is needed."""
    with pytest.raises(ConfigError, match="model 'extra' has no task") as caught:
        check_models({"a": {}, "extra": {}}, ["a"])
    assert task_lines("extra") in str(caught.value)


def test_a_task_without_a_model_is_reported_with_the_block_to_add():
    """The lines are YAML for env.yaml."""
    with pytest.raises(ConfigError, match="task train-b has no model") as caught:
        check_models({"a": {}}, ["a", "b"])
    block = yaml.safe_load("models:\n" + str(caught.value).split("\n", 1)[1])
    assert set(block["models"]["b"]) == {"kind", "params", "search"}


@pytest.mark.slow
def test_the_lines_that_are_reported_load_when_pasted(tmp_path, monkeypatch):
    """A new block in env.yaml, and those lines after the other trainings: the task is there."""
    project = copy_project(tmp_path / "project")
    pipeline = (project / "pipeline.yaml").read_text()
    before, after = pipeline.split("  - <<: *notebook\n    name: evaluate\n")
    pasted = f"{before}{task_lines('extra')}\n\n  - <<: *notebook\n    name: evaluate\n{after}"
    (project / "pipeline.yaml").write_text(pasted)
    monkeypatch.chdir(project)
    env = read_env("env.tiny.yaml")
    env["models"]["extra"] = {"kind": "ftrl", "params": {}, "search": {"method": "fixed"}}
    dag = load_dag(env)
    assert dag["train-extra"].params["model"]["kind"] == "ftrl"
    assert "train-extra" in dag["evaluate"].upstream


def test_a_training_with_the_code_of_another_model_is_refused(tmp_path, monkeypatch):
    """It would not train again when its own kind changes; with the lines to add."""
    text, models = (ROOT / "pipeline.yaml").read_text(), read_env(ROOT / "env.yaml")["models"]
    own = ", code: {<<: *code, model: fm}"
    assert own in text
    (tmp_path / "pipeline.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert model_block("fm", models) == models["fm"]
    (tmp_path / "pipeline.yaml").write_text(text.replace(own, ""))
    with pytest.raises(
        ConfigError, match="the `code` of task train-fm is that of model 'sgd'"
    ) as caught:
        model_block("fm", models)
    assert str(caught.value).endswith(own.removeprefix(", "))


@pytest.mark.parametrize("models", [None, ["a"], "a", 3])
def test_models_that_are_no_mapping_are_one_line(models):
    """An emptied or mistyped section, with what was found."""
    with pytest.raises(ConfigError, match="must be a mapping of names to blocks, found") as caught:
        check_models(models, ["a"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("block", [None, "ftrl", ["ftrl"]])
def test_a_block_that_is_no_mapping_is_one_line(block):
    """`models: {fm: null}` removes nothing; it is an error that names the model."""
    with pytest.raises(ConfigError, match="model 'a' must be a block with kind") as caught:
        check_models({"a": block}, ["a"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", ["add", "remove"])
def test_a_mismatch_stops_the_load_before_anything_runs(tmp_path, monkeypatch, change):
    """Whether `ploomber build` or `make run` loads the pipeline."""
    monkeypatch.chdir(copy_project(tmp_path / "project"))
    env = read_env(ROOT / "env.tiny.yaml")
    if change == "add":
        env["models"]["extra"] = env["models"]["fm"]
    else:
        del env["models"]["fm"]
    with pytest.raises(ConfigError, match=r"has no (task|model)"):
        load_dag(env)


class Elsewhere(Learner):
    """A learner that no service would find."""


class Demanding(Learner):
    """Cannot be made without a parameter."""

    kind = "tasks.models.demanding:Demanding"

    def __init__(self, *, rate, n_features=None):
        self.rate, self.n_features = rate, n_features


class Careless(Learner):
    """Its own check of its parameters fails."""

    kind = "tasks.models.careless:Careless"

    def __init__(self, *, rate=0.5, n_features=None):
        self.rate, self.n_features = rate, n_features

    def check_params(self):
        raise KeyError({}["rate"])


@pytest.mark.parametrize(
    ("name", "place", "message"),
    [
        ("Elsewhere", "kind", "outside tasks.models, which no service imports; move its module"),
        ("Demanding", "kind", "argument: 'rate'.*give each parameter a default"),
        ("Careless", "params", "cannot be made with these parameters .KeyError: 'rate'"),
    ],
)
def test_a_learner_that_cannot_be_made_or_served_is_one_line(name, place, message):
    """Before the first row is learned, whatever its class raises."""
    block = {"kind": f"{__name__}:{name}", "params": {}, "search": {"method": "fixed"}}
    ((path, problem),) = model_problems({"mine": block})
    assert path == ("models", "mine", place)
    assert re.search(message, problem) and "\n" not in problem


class Plain(Learner):
    """Takes no weights."""

    kind = "tasks.models.plain:Plain"

    def __init__(self, *, n_features=None):
        self.n_features = n_features

    def partial_fit_codes(self, codes, y):
        return self


def test_a_kind_without_weights_is_one_line_where_rows_have_them():
    """And none where they do not."""
    block = {"kind": f"{__name__}:Plain", "params": {}, "search": {"method": "fixed"}}
    assert list(model_problems({"mine": block})) == []
    ((path, problem),) = model_problems({"mine": block}, weighted=True)
    assert path == ("models", "mine", "kind")
    assert "takes no weights of rows" in problem and "\n" not in problem
    assert list(model_problems({"mine": block | {"kind": "ftrl"}}, weighted=True)) == []
