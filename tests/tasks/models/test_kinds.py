"""A model without tests of its own fails the suite."""

import ast

import pytest
import yaml

from tasks.models import KINDS
from tests.conftest import ROOT

HERE, THERE = ROOT / "tests/tasks/models", ROOT / "tasks/models"


def learners() -> set[str]:
    """Return the modules of tasks/models that define a learner, by the names of the classes they derive from."""
    bases = {"Learner"}
    trees = {path.stem: ast.parse(path.read_text()) for path in THERE.glob("*.py")}
    found: set[str] = set()
    while True:  # until no further class derives from one that is known
        more = {
            (module, node.name)
            for module, tree in trees.items()
            for node in tree.body
            if isinstance(node, ast.ClassDef)
            and module != "estimator"  # stands for any other class
            and bases & {getattr(base, "id", "") for base in node.bases}
        }
        if {name for _, name in more} <= bases:
            return found
        bases |= {name for _, name in more}
        found |= {module for module, _ in more}


def named_in_env_files() -> set[str]:
    """Return the modules of tasks/models that a file of knobs names."""
    paths = set()
    for file in ROOT.glob("env*.yaml"):
        for block in (yaml.safe_load(file.read_text()).get("models") or {}).values():
            paths.add(KINDS.get(block["kind"], block["kind"]))
    modules = {path.partition(":")[0] for path in paths}
    return {name.rpartition(".")[2] for name in modules if name.startswith("tasks.models.")}


@pytest.mark.parametrize("module", sorted(learners() | named_in_env_files()))
def test_every_kind_has_its_test_with_the_checks(module):
    """`tests/tasks/models/test_<module>.py` calls `check_learner` or `check_estimator`."""
    path = HERE / f"test_{module}.py"
    assert path.is_file(), f"write {path.relative_to(ROOT)}; docs/models.md says how"
    calls = {
        getattr(node.func, "id", "")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
    }
    assert calls & {"check_learner", "check_estimator"}, (
        f"{path.name}: call check_learner, or check_estimator for an estimator"
    )


def test_the_learners_are_found():
    """Those derived from others too."""
    assert {"ftrl", "ftrl_pairs", "fm", "sgd", "neural_net"} <= learners()
