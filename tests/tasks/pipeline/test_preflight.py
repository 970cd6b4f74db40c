"""What is checked before anything starts; the mistakes themselves are those of test_ploomber_cli.py."""

import pytest

from tasks.errors import ClicklabError
from tasks.knobs.reading import read_env
from tasks.pipeline.preflight import check_project
from tests.conftest import ROOT, copy_project


@pytest.mark.parametrize("name", ["env.yaml", "env.tiny.yaml", "env.aws.yaml"])
def test_the_project_passes(monkeypatch, name):
    """From its folder, and from one below."""
    for folder in (ROOT, ROOT / "notebooks"):
        monkeypatch.chdir(folder)
        check_project(read_env(ROOT / name))


def test_a_schema_may_go_by_its_name(monkeypatch):
    """As everywhere."""
    monkeypatch.chdir(ROOT)
    check_project(read_env("env.yaml") | {"schema": "avazu"})


def test_a_cluster_is_a_field_of_the_schema(monkeypatch):
    """Told before anything is read, not after all training."""
    monkeypatch.chdir(ROOT)
    env = read_env("env.yaml")
    env = env | {"evaluation": env["evaluation"] | {"cluster": "campaign"}}
    with pytest.raises(ClicklabError, match="'campaign' is no field of the schema; name one of C1"):
        check_project(env)


def test_each_notebook_is_held_against_the_names_of_all_its_tasks(tmp_path, monkeypatch):
    """A parameter that only one of them gets counts for the notebook."""
    project = copy_project(tmp_path / "project")
    monkeypatch.chdir(project)
    pipeline = project / "pipeline.yaml"
    pipeline.write_text(
        pipeline.read_text().replace("name: fm, model:", "name: fm, contract: 1, model:")
    )
    with pytest.raises(
        ClicklabError, match=r"train\.ipynb: code cell 3, line 4: assigns 'contract'"
    ):
        check_project(read_env("env.yaml"))
