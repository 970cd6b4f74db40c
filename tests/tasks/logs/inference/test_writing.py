"""The files that `clicklab schema` writes, and what it never overwrites."""

import pytest
import yaml
from typer.testing import CliRunner

from tasks.cli import app
from tasks.errors import ConfigError
from tasks.knobs.reading import read_env
from tasks.logs.inference.writing import write_first_schema
from tasks.schema import load_schema
from tests.conftest import ROOT
from tests.public_logs import write_public


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with env.yaml and a log."""
    (tmp_path / "env.yaml").write_text((ROOT / "env.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    write_public(tmp_path / "my clicks.csv", "taobao", 300)
    return tmp_path


def test_one_command_writes_a_schema_and_the_knobs_that_name_it(project):
    """What it says last is the command that runs them."""
    said = CliRunner().invoke(app, ["schema", "my clicks.csv"])
    assert said.exit_code == 0, said.output
    assert said.output.splitlines()[-1] == "3. make run ENV=env.my_clicks.yaml"
    assert load_schema(project / "tasks/schemas/my_clicks.yaml").label == "clk"
    knobs = read_env("env.my_clicks.yaml", ask_models=False)
    assert knobs["schema"] == "tasks/schemas/my_clicks.yaml"
    assert knobs["data"] == "my clicks.csv"
    assert knobs["products"] == "products/my_clicks"
    assert knobs["bento"]["name"] == "ctr_my_clicks"


def test_nothing_is_overwritten_unasked(project):
    """Neither the schema that somebody edited, nor the knobs; FORCE=1 does."""
    write_first_schema("my clicks.csv", out="shop.yaml")
    (project / "shop.yaml").write_text("edited")
    with pytest.raises(ConfigError, match=r"shop\.yaml is there already; .* FORCE=1"):
        write_first_schema("my clicks.csv", out="shop.yaml")
    (project / "shop.yaml").unlink()
    with pytest.raises(ConfigError, match=r"env\.shop\.yaml is there already"):
        write_first_schema("my clicks.csv", out="shop.yaml")
    write_first_schema("my clicks.csv", out="shop.yaml", force=True)
    assert yaml.safe_load((project / "shop.yaml").read_text())["name"] == "shop"


@pytest.mark.parametrize("out", ["shop.txt", "my shop.yaml", "-.yaml"])
def test_a_name_that_no_model_can_have_is_refused(project, out):
    """Models are registered under it."""
    with pytest.raises(ConfigError, match="must be a name of letters"):
        write_first_schema("my clicks.csv", out=out)


def test_a_log_without_a_label_leaves_no_file(project):
    """One line, a code, and the way to name the column."""
    (project / "log.csv").write_text("page,price\n" + "a,1.5\nb,2.5\n" * 9)
    said = CliRunner().invoke(app, ["schema", "log.csv"])
    assert said.exit_code == 2
    assert said.stderr.startswith("error: log.csv: no column looks like a label")
    assert not (project / "tasks").exists() and not (project / "env.log.yaml").exists()


def test_a_simulated_log_has_its_schema(project):
    """It is Avazu's."""
    with pytest.raises(ConfigError, match="avazu"):
        write_first_schema("sim://avazu?rows=10")
