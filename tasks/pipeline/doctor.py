"""Version pairs that are known to break each other, checked against what is installed.

Each rule names what goes wrong, so that a person who must move a version knows what to try.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from packaging.specifiers import SpecifierSet


@dataclass(frozen=True)
class Rule:
    """A package, the versions that work here, and what happens with others."""

    package: str
    works: str
    otherwise: str


@dataclass(frozen=True)
class Finding:
    """One rule held against this environment."""

    ok: bool
    line: str


RULES = (
    Rule("ploomber", ">=0.23.3,<0.24", "other releases were not tried"),
    Rule(
        "jupytext", ">=1.16.7,<1.17", "every JupyterLab contents request answers 500 under Ploomber"
    ),
    Rule("networkx", ">=3.2,<3.6", "`ploomber plot` and `ploomber report` crash"),
    Rule("bentoml", ">=1.4.30,<2", "the service needs the class-based API"),
    Rule("mlflow", ">=3.5,<4", "model files and aliases are kept another way"),
    Rule("papermill", ">=2.6,<3", "parameter injection was not tried"),
    Rule("scikit-learn", ">=1.7,<2", "the estimator checks were not tried"),
    Rule("numba", ">=0.61", "NumPy 2 is not supported"),
    Rule("pyarrow", ">=20", "dictionary columns are read another way"),
    Rule("jupyterlab", ">=4.4,<5", "Ploomber's contents manager was not tried"),
    Rule("optuna", ">=4.5", "the study storage was not tried"),
    Rule("pandera", ">=0.26", "pandas 3 is not supported"),
)


def examine(installed: Callable[[str], str] = version) -> list[Finding]:
    """Return one finding a rule, Python's version first.

    Parameters
    ----------
    installed
        Returns the version of a package or raises ``PackageNotFoundError``.
    """
    return [_python(sys.version_info[:3]), *(_check(rule, installed) for rule in RULES)]


def _python(found: tuple[int, ...]) -> Finding:
    text = ".".join(map(str, found))
    if found >= (3, 11):
        return Finding(True, f"ok    python {text}")
    return Finding(
        False,
        f"BAD   python {text}: 3.11 or newer is needed; fix: make PYTHON=/path/to/python3.11 setup",
    )


def _check(rule: Rule, installed: Callable[[str], str]) -> Finding:
    fix = "fix: make setup (after `rm -rf .venv` if that changes nothing)"
    try:
        found = installed(rule.package)
    except PackageNotFoundError:
        return Finding(False, f"BAD   {rule.package} is not installed; {fix}")
    if SpecifierSet(rule.works).contains(found, prereleases=True):
        return Finding(True, f"ok    {rule.package} {found}")
    return Finding(
        False, f"BAD   {rule.package} {found}, works with {rule.works}: {rule.otherwise}; {fix}"
    )
