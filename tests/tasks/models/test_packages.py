"""What a model needs where it is served follows from its files and from what its module imports."""

import tomllib

import pytest

from tasks.models.packages import packages_of
from tasks.serving.requirements import SERVING, serving_requirements
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("module", "parts", "expected"),
    [
        ("tasks.models.scoring", {"weights": None}, ["numba", "numpy"]),
        ("tasks.models.neural_net", {"weights": None}, ["numpy"]),
        ("tasks.models.sgd", {}, ["numpy", "scikit-learn"]),
        ("lightgbm", {"lightgbm.txt": b"tree"}, ["lightgbm", "scikit-learn"]),
        ("os", {}, []),
    ],
)
def test_packages_are_named_as_the_lock_names_them(module, parts, expected):
    """Modules outside the library are not looked into."""
    assert packages_of(module, parts) == expected


def test_a_bento_of_a_linear_model_has_no_scikit_learn_and_one_of_lightgbm_has():
    """Every one of them is pinned."""
    lock = (ROOT / "requirements.lock").read_text()
    linear = serving_requirements(lock, (*SERVING, *packages_of("tasks.models.scoring", {})))
    assert linear == serving_requirements(lock)
    assert not [line for line in linear if line.startswith(("scikit-learn", "lightgbm", "scipy"))]
    boosted = serving_requirements(lock, (*SERVING, *packages_of("x", {"lightgbm.txt": b""})))
    names = {line.partition("==")[0] for line in boosted}
    assert {"lightgbm", "scikit-learn", "scipy"} <= names
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert any(one.startswith("skops") for one in wanted)
