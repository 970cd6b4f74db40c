"""The variables file: JSON that Terraform takes as it is, with everything that the verbs read."""

import json
import re

import pytest

from infra.release.terraform_cli import FOLDER, minimum_version
from infra.release.variables import NEEDED, read_variables, variables_file
from tasks.errors import ConfigError
from tests.conftest import ROOT


@pytest.mark.parametrize("name", ["small", "production"])
def test_a_shipped_file_is_complete(name):
    """It has everything that the verbs read, and only variables that Terraform declares."""
    values = read_variables(variables_file(name))
    declared = re.findall(r'^variable "(\w+)"', (ROOT / FOLDER / "variables.tf").read_text(), re.M)
    assert set(NEEDED) <= set(values) <= set(declared)
    assert values["environment"] == name


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{", "not a JSON object"),
        ("7", "not a JSON object"),
        ("{}", "does not set architecture, .* copy those lines from small.tfvars.json"),
    ],
)
def test_a_malformed_or_incomplete_file_is_refused(tmp_path, text, line):
    """With what to do."""
    path = tmp_path / "mine.tfvars.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=line):
        read_variables(path)


def test_a_missing_value_is_named(tmp_path):
    """A value of false counts as set, an empty text does not."""
    values = read_variables(variables_file("small")) | {"serving": False, "region": ""}
    path = tmp_path / "mine.tfvars.json"
    path.write_text(json.dumps(values))
    with pytest.raises(ConfigError, match="does not set region;"):
        read_variables(path)


def test_a_file_in_terraforms_own_syntax_is_refused():
    """The verbs read JSON only."""
    with pytest.raises(ConfigError, match="a file named"):
        variables_file("mine.tfvars")


def test_what_was_pushed_is_not_taken_for_an_environment():
    """images.auto.tfvars.json has the same ending."""
    with pytest.raises(ConfigError, match=r"there are production, small, smoke$"):
        variables_file("huge")


def test_the_oldest_terraform_is_the_same_everywhere():
    """In versions.tf, the doctor and the documentation; the workflows use a newer one."""
    versions = (ROOT / FOLDER / "versions.tf").read_text()
    assert f'required_version = ">= {minimum_version()}.0,' in versions
    documents = [ROOT / "docs" / "aws.md", ROOT / FOLDER / "README.md"]
    said = re.findall(r"Terraform (\d+\.\d+)", "\n".join(path.read_text() for path in documents))
    assert said and set(said) == {minimum_version()}
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        for used in re.findall(r'terraform_version: "(\d+)\.(\d+)\.', path.read_text()):
            assert tuple(map(int, used)) >= tuple(map(int, minimum_version().split(".")))
