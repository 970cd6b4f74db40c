"""What a model needs where it is served follows from its files and from what its module imports."""

import tomllib

import pytest

from tasks.models import KINDS, packages, scorer_module
from tasks.models.packages import packages_of
from tasks.serving.requirements import SERVING, serving_requirements
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("module", "parts", "expected"),
    [
        ("tasks.models.scoring", {"weights": None}, ["numba", "numpy"]),
        ("tasks.models.neural_net", {"weights": None}, ["numba", "numpy", "pyarrow"]),
        ("tasks.models.sgd", {}, ["numba", "numpy", "scikit-learn"]),
        ("lightgbm", {"lightgbm.txt": b"tree"}, ["lightgbm", "scikit-learn"]),
        ("os", {}, []),
    ],
)
def test_packages_are_named_as_the_lock_names_them(module, parts, expected):
    """Modules outside the library are not looked into."""
    assert packages_of(module, parts) == expected


@pytest.mark.parametrize(
    "how",
    [
        "from tasks.models.part import count",
        "import tasks.models.part",
        "from tasks.models import part",
        "from .part import count",
        "from tasks.models.between import count",
        "def predict():\n    from tasks.models.part import count",
    ],
)
def test_what_is_imported_indirectly_counts(tmp_path, monkeypatch, how):
    """By whichever way below `tasks`; what functions of others import is for training."""
    part = "import scipy.stats\nimport json\nif TYPE_CHECKING:\n    import pandas\n\ndef fit():\n    import optuna\n"
    files = {"own": how, "part": part, "between": "from tasks.models.part import count"}
    folder = tmp_path / "tasks/models"
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(f"{text}\n")
    monkeypatch.setattr(packages, "_TASKS", tmp_path / "tasks")
    assert packages_of("tasks.models.own", {}) == ["scipy"]


@pytest.mark.parametrize("kind", [*KINDS, "tasks.models.neural_net:NeuralNet"])
def test_what_serves_a_kind_takes_no_package_of_an_estimator(kind):
    """Their modules are imported within functions."""
    needed = packages_of(scorer_module(kind), {"weights": None})
    assert not {"scikit-learn", "scipy", "skops", "lightgbm"} & set(needed)


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
