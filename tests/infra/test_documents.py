"""What docs/aws.md and the READMEs of infra/ name exists: verbs, their variables, files, and environment variables."""

import re

import pytest

from tests.conftest import ROOT

DOCUMENTS = ["docs/aws.md", "infra/terraform/README.md", "infra/images/README.md"]
MAKEFILE = (ROOT / "Makefile").read_text()


@pytest.fixture(params=DOCUMENTS)
def text(request):
    """Each document in turn."""
    return (ROOT / request.param).read_text()


def test_every_verb_and_its_variables_exist(text):
    """As a target and as variables of the Makefile."""
    calls = re.findall(r"(?:`|^ {4})make ([a-z][a-z-]*)((?: [A-Z_]+=\S*)*)", text, re.M)
    assert calls
    for verb, variables in calls:
        assert re.search(rf"^{verb}:", MAKEFILE, re.M), verb
        for name in re.findall(r"([A-Z_]+)=", variables):
            assert re.search(rf"\$\({name}\)|\$\(if \$\({name}\)", MAKEFILE), (verb, name)


def test_every_module_that_is_called_exists(text):
    """By `python -m`, of this project."""
    for module in re.findall(r"python -m ((?:infra|tests|tasks)[\w.]*)", text):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module


def test_every_file_exists(text):
    """With its path from the root, or linked from a document."""
    for path in re.findall(
        r"(?:infra|docs|tests|\.github)/[\w./-]+\.(?:tf|py|md|yml|json)(?![\w.])", text
    ):
        if path != "infra/terraform/outputs.json" and "STAGE" not in path:
            assert (ROOT / path).is_file(), path


def test_links_lead_to_files():
    """Relative to the document."""
    for name in DOCUMENTS:
        for link in re.findall(r"\]\(([^)#:]+)\)", (ROOT / name).read_text()):
            assert ((ROOT / name).parent / link).exists(), (name, link)


def test_every_variable_of_terraform_that_is_named_exists():
    """In quotes, as in a variables file."""
    declared = re.findall(
        r'^variable "(\w+)"', (ROOT / "infra/terraform/variables.tf").read_text(), re.M
    )
    named = re.findall(r'`"(\w+)"(?:: |`)', (ROOT / "docs/aws.md").read_text())
    assert named and set(named) - {"ssmmessages"} <= set(declared)


def test_every_environment_variable_of_infra_is_documented():
    """All that the code reads, and nothing else."""
    files = [*(ROOT / "infra").rglob("*.py"), *(ROOT / "infra/terraform/modules").rglob("*.tf")]
    read = {
        name
        for path in files
        for name in re.findall(r"\bCLICKLAB_[A-Z_]*[A-Z]\b", path.read_text())
    }
    table = (ROOT / "docs/aws.md").read_text().partition("## Environment variables")[2]
    documented = set(re.findall(r"`(CLICKLAB_[A-Z_]+)`", table.partition("\n## ")[0]))
    composed = {"CLICKLAB_SHARDS"}  # from CLICKLAB_SHARD
    assert documented - composed == read - composed
