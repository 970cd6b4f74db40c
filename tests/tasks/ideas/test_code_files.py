"""A function that becomes a feature, and a class that becomes a model: files, lists and faults."""

import pytest
import yaml

from tasks.errors import ConfigError
from tasks.ideas.code_files import write_feature, write_model
from tasks.ideas.edits import Changes
from tasks.ideas.notebook import read_notebook
from tasks.knobs.reading import read_env
from tests.conftest import ROOT
from tests.tasks.ideas.notebooks import write_notebook

ENV = read_env(ROOT / "env.yaml")
FEATURE_IMPORTS = "from tasks.features import feature"
AREA = '''
@feature("C15", "C16", buckets=[20_000, 80_000])
def area(width: str | None, height: str | None) -> int | None:
    """Return the area of an ad in square pixels.

    >>> area("320", "50")
    16000
    """
    return int(width) * int(height) if width and height else None

assert area("2", "3") == 6
'''
MODEL_IMPORTS = "import numpy as np\nfrom tasks.models.learner import Learner"
MODEL = '''
class ConstantRate(Learner):
    """The click rate of all rows.

    Parameters
    ----------
    n_features
        Not used.
    """

    def __init__(self, *, n_features: int | None = None):
        self.n_features = n_features

    def partial_fit_codes(self, codes, y):
        """Count."""
        return self

    def arrays(self):
        """Return nothing yet."""
        return {"rate": np.zeros(1)}

    @staticmethod
    def logits(codes, rate):
        """Return the same for each row."""
        return np.repeat(rate, len(codes))
'''


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch):
    """Read the project's own files; nothing is written."""
    monkeypatch.chdir(ROOT)


@pytest.fixture
def written(tmp_path):
    """Return a function that prepares a feature or model from cells, and returns its changes, name and faults."""

    def of(write, *cells, name="", parameters="a = 1"):
        path = write_notebook(tmp_path / "idea.ipynb", parameters, *cells)
        changes = Changes(ROOT)
        return changes, *write(changes, read_notebook(path), name, ENV)

    return of


def test_a_function_becomes_a_module_a_test_and_a_name_in_the_schema(written):
    """And a name in the table of modules; nothing else changes."""
    changes, name, faults = written(write_feature, FEATURE_IMPORTS, (AREA, ["feature"]))
    assert (name, faults) == ("area", [])
    assert set(changes.paths) == {
        "tasks/features/area.py", "tests/tasks/features/test_area.py", "tasks/schemas/avazu.yaml", "ARCHITECTURE.md",
    }  # fmt: skip
    module = changes.text("tasks/features/area.py")
    assert module.startswith('"""Return the area of an ad in square pixels."""\n\nfrom tasks.features import feature\n')  # fmt: skip
    assert "assert" not in module
    test = changes.text("tests/tasks/features/test_area.py")
    assert "from tasks.features.area import area\n" in test
    assert '    assert area("2", "3") == 6\n' in test
    before = yaml.safe_load((ROOT / "tasks/schemas/avazu.yaml").read_text())
    schema = yaml.safe_load(changes.text("tasks/schemas/avazu.yaml"))
    assert schema == before | {"features": [*before["features"], "area"]}
    row = next(line for line in changes.text("ARCHITECTURE.md").splitlines() if line.startswith("| `features/` |"))  # fmt: skip
    assert row.endswith(", `area` |")


@pytest.mark.parametrize(
    ("before", "after", "line", "words"),
    [
        ('@feature("C15", "C16", buckets=[20_000, 80_000])\n', "", 2, 'does not say what it reads; write @feature("C15", ...)'),
        ("width: str | None", "width", 3, "has parameters or a result without a type"),
        (" -> int | None", "", 3, "has parameters or a result without a type"),
        (">>> area", "area", 3, "needs a docstring with an example"),
        ('assert area("2", "3") == 6', "", 3, "nothing is asserted about area"),
        ("return int(width)", "import time\n    return int(width)", 9, "it imports 'time'; a feature's value follows from its inputs alone"),
        ("return int(width)", "print(width)\n    return int(width)", 9, "it calls 'print'"),
    ],
)  # fmt: skip
def test_what_a_feature_must_have_and_must_not_do(written, before, after, line, words):
    """Each with its line in the cell."""
    _, _, faults = written(
        write_feature, FEATURE_IMPORTS, (AREA.replace(before, after), ["feature"])
    )
    assert (faults[0].cell, faults[0].line) == (3, line)
    assert words in faults[0].text


def test_the_test_imports_the_constants_that_it_uses(written):
    """They are in the new module, with the function that needs them."""
    cell = AREA.replace("\n@feature", "UNIT = 1\n\n@feature").replace("return int(width)", "return UNIT * int(width)")  # fmt: skip
    changes, _, faults = written(
        write_feature, FEATURE_IMPORTS, (f"{cell}assert area('1', '1') == UNIT\n", ["feature"])
    )
    assert faults == []
    test = changes.text("tests/tasks/features/test_area.py")
    assert "from tasks.features.area import UNIT, area\n" in test


STATISTIC = '''
@statistic("C14", buckets=[0.1, 0.2])
def creative_rate(impressions: int, clicks: int) -> float | None:
    """Return the click rate of the creative on the days before.

    >>> creative_rate(10, 1)
    0.1
    """
    return clicks / impressions if impressions else None

assert creative_rate(0, 0) is None
'''


def test_a_statistic_of_the_past_becomes_a_feature_too(written):
    """It is declared in the schema as any other."""
    cells = ("from tasks.features import statistic", (STATISTIC, ["feature"]))
    changes, name, faults = written(write_feature, *cells)
    assert (name, faults) == ("creative_rate", [])
    assert "creative_rate]" in changes.text("tasks/schemas/avazu.yaml")


def test_a_feature_that_is_there_is_not_replaced(written):
    """The champion may use it."""
    cell = AREA.replace("area(", "ad_format(")
    with pytest.raises(
        ConfigError, match=r"tasks/features/ad_format.py is there already; rename the function"
    ):
        written(write_feature, FEATURE_IMPORTS, (cell, ["feature"]))


def test_a_test_of_the_project_is_not_replaced(written):
    """A function or class can be called as a test that has no module."""
    with pytest.raises(ConfigError, match=r"features/test_all_features\.py is there already"):
        written(
            write_feature, FEATURE_IMPORTS, (AREA.replace("area(", "all_features("), ["feature"])
        )
    with pytest.raises(
        ConfigError, match=r"models/test_kinds\.py is there already; rename the class"
    ):
        written(write_model, MODEL_IMPORTS, (MODEL.replace("ConstantRate", "Kinds"), ["model"]))


def test_a_class_becomes_a_module_a_test_a_block_and_a_task(written):
    """The test runs the checks of its kind, with the parameters for few rows."""
    parameters = 'params = {"rate": 1e-6}\ncheck_params = {"rate": 0.5}'
    changes, name, faults = written(
        write_model, MODEL_IMPORTS, (MODEL, ["model"]), name="average", parameters=parameters
    )
    assert (name, faults) == ("average", [])
    kind = "tasks.models.constant_rate:ConstantRate"
    block = yaml.safe_load(changes.text("env.yaml"))["models"]["average"]
    assert block == {"kind": kind, "params": {"rate": 1e-6}, "search": {"method": "fixed"}}
    names = [task["name"] for task in yaml.safe_load(changes.text("pipeline.yaml"))["tasks"]]
    assert names[names.index("train-average") - 1].startswith("train-")
    assert names[names.index("train-average") + 1] == "evaluate"
    assert f'check_learner("{kind}", rate=0.5)' in changes.text("tests/tasks/models/test_constant_rate.py")  # fmt: skip
    assert "import numpy as np\n" in changes.text("tasks/models/constant_rate.py")


ESTIMATOR = """class Prior(ClassifierMixin, BaseEstimator):
    \"\"\"The click rate of all rows.\"\"\"

    def fit(self, X, y):
        \"\"\"Count clicks.\"\"\"
        self.classes_, self.rate_ = [0, 1], float(y.mean())
        return self

    def predict_proba(self, X):
        \"\"\"Return two columns.\"\"\"
        return np.tile([1 - self.rate_, self.rate_], (X.shape[0], 1))
"""
ESTIMATOR_IMPORTS = (
    "import numpy as np\nfrom sklearn.base import BaseEstimator, ClassifierMixin",
    ["imports"],
)


def test_an_estimator_becomes_a_model_with_its_checks_and_how_it_gets_its_rows(written):
    """Both in its block and in its test."""
    changes, name, faults = written(
        write_model, ESTIMATOR_IMPORTS, (ESTIMATOR, ["model"]), parameters='model_input = "hashed"'
    )
    assert (name, faults) == ("prior", [])
    kind = "tasks.models.prior:Prior"
    block = yaml.safe_load(changes.text("env.yaml"))["models"]["prior"]
    assert block == {"kind": kind, "params": {}, "input": "hashed", "search": {"method": "fixed"}}
    test = changes.text("tests/tasks/models/test_prior.py")
    assert f'check_estimator("{kind}", input="hashed")' in test
    assert "from tests.tasks.models.checks import check_estimator" in test


def test_names_of_models_are_taken_once(written):
    """In env.yaml; the class's own name is the default."""
    with pytest.raises(ConfigError, match="has a model 'ftrl' already; name another with AS="):
        written(write_model, MODEL_IMPORTS, (MODEL, ["model"]), name="ftrl")
    assert written(write_model, MODEL_IMPORTS, (MODEL, ["model"]))[1] == "constant_rate"


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("class A:\n    'A.'\n    def fit(self, x, y): ...", "A has no predict_proba; derive it from tasks.models.learner.Learner"),
        ("class A:\n    'A.'\n    pass", "A has no fit; derive"),
        ("from sklearn.base import BaseEstimator\nclass A(BaseEstimator):\n    'A.'\n    def fit(self, x, y): ...\n    def predict_proba(self, x): ...", "A is no streaming learner; derive it from"),
        ("from tasks.models.learner import Learner\nclass A(Learner):\n    pass", "A has no docstring"),
        ("def f(): ...", "defines no class"),
    ],
)  # fmt: skip
def test_what_no_pipeline_could_train_is_a_fault(written, cell, words):
    """Before anything runs."""
    _, _, faults = written(write_model, (cell, ["model"]))
    assert words in str(faults[0])
    assert faults[0].cell == 2


def test_params_that_are_no_mapping_are_a_fault(written):
    """Of the parameters cell."""
    _, _, faults = written(write_model, MODEL_IMPORTS, (MODEL, ["model"]), parameters="params = 3")
    assert str(faults[0]).startswith("code cell 1: params and check_params must be mappings")


@pytest.mark.parametrize(
    ("name", "write", "own"),
    [
        ("new_feature", write_feature, ("category_daypart", "my_daypart")),
        ("new_model", write_model, ("ClickRate", "MyRate")),
    ],
)
def test_the_notebooks_where_ideas_begin_become_code(tmp_path, name, write, own):
    """As they stand, but for a name of their own."""
    text = (ROOT / f"notebooks/{name}.ipynb").read_text()
    (tmp_path / "idea.ipynb").write_text(text.replace(*own))
    changes = Changes(ROOT)
    _, faults = write(changes, read_notebook(tmp_path / "idea.ipynb"), "", ENV)
    assert [str(fault) for fault in faults] == []
    assert len(changes.created) == 2
