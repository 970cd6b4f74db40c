"""The protocol of learners: what follows from four methods, and how a kind is found by its name."""

import re

import numpy as np
import pytest

from tasks.errors import ConfigError, ContractError, InputError
from tasks.models import KINDS, learner_class, make_learner, scorer_of
from tasks.models.artifact import ScoringModel, freeze, load_model, save_model
from tasks.models.learner import Learner, copied, param_defaults
from tests.conftest import ROOT
from tests.tasks.models.rows import small_contract


class Constant(Learner):
    """The one logit it is given."""

    def __init__(self, *, value: float = 0.5, n_features: int | None = None):
        self.value, self.n_features = value, n_features

    def arrays(self):
        return {"value": np.array([self.value])}

    @staticmethod
    def logits(codes, value):
        return np.full(len(codes), value[0])


class Odd(Constant):
    """No number for one token."""

    @staticmethod
    def logits(codes, value):
        return np.where(codes[:, 0] == 7, np.nan, value[0])


def test_parameters_are_those_of_the_signature():
    """With defaults, changed by name, and no others."""
    assert param_defaults(Constant) == {"value": 0.5, "n_features": None}
    learner = Constant(n_features=4).set_params(value=2.0)
    assert learner.get_params() == {"value": 2.0, "n_features": 4}
    with pytest.raises(ConfigError, match="no parameter 'valve'"):
        learner.set_params(valve=1)


def test_codes_need_a_size():
    """A learner made by hand without one says what to do."""
    with pytest.raises(ConfigError, match="n_features"):
        Constant().predict_codes(np.zeros((1, 2), dtype=np.int32))


def test_a_copy_shares_nothing():
    """Arrays in mappings, lists and tuples."""
    tree = {"a": np.zeros(2), "b": [np.zeros(1), (np.zeros(1), "x")], "c": 3}
    other = copied(tree)
    other["a"][0] = other["b"][0][0] = other["b"][1][0][0] = 1
    assert (tree["a"].sum(), tree["b"][0].sum(), tree["b"][1][0].sum()) == (0, 0, 0)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [({"value": np.zeros((0, 2))}, "index 0"), ({"valve": np.zeros(1)}, "unexpected keyword")],
)
def test_arrays_that_do_not_fit_are_refused_before_a_request_meets_them(arrays, message):
    """Of another shape, or another name."""
    with pytest.raises(ContractError, match=message):
        Constant.scorer(arrays, 0.0, small_contract())


def test_a_class_that_is_not_in_the_library_yet_is_frozen_but_not_loaded(tmp_path):
    """A notebook compares it with others; a saved model of it is refused, as no service would have the class."""
    learner, codes = Constant(n_features=256), np.zeros((2, 3), dtype=np.int32)
    model = freeze(learner, small_contract(), name="mine")
    np.testing.assert_allclose(model.predict_codes(codes), learner.predict_codes(codes), atol=1e-7)
    save_model(tmp_path, learner, small_contract(), name="mine")
    with pytest.raises(ConfigError, match="only classes of"):
        load_model(tmp_path)


def test_a_logit_that_is_no_number_is_an_error_not_an_answer():
    """A kind that divides by zero for one row does not send NaN to a client."""
    scorer = Odd.scorer({"value": np.array([0.5])}, 0.0, small_contract())
    row = np.array([[7, 0, 0]], dtype=np.int32)
    assert scorer.predict_row(row[0] + 1) == pytest.approx(1 / (1 + np.exp(-0.5)))
    with pytest.raises(InputError, match="no finite logit"):
        scorer.predict_row(row[0])
    with pytest.raises(InputError, match="no finite logit"):
        scorer.decision(row, np.empty(1))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("ftlr", "did you mean ftrl"),
        ("forest", "choose from sgd, ftrl, ftrl_pairs, fm"),
        ("tasks.models.neural_nett:NeuralNet", r"did you mean tasks\.models\.neural_net:NeuralNet"),
        ("tasks.models.neural_net:NeuralNets", r"did you mean tasks\.models\.neural_net:NeuralNet"),
        ("tasks.models.neural_net:_TINY", "no class '_TINY'"),
        ("no_such_package.x:Y", "there is no module 'no_such_package.x'"),
    ],
)
def test_a_misspelt_kind_names_the_nearest(kind, message):
    """The package, the module, the class."""
    with pytest.raises(ConfigError, match=message):
        learner_class(kind)


@pytest.mark.parametrize(
    ("text", "message"),
    [("import no_such_thing\n", "needs 'no_such_thing'"), ("1 / 0\n", "ZeroDivisionError")],
)
def test_a_module_that_cannot_be_imported_is_one_line(tmp_path, monkeypatch, text, message):
    """What it lacks, or what it raised."""
    name = f"broken_{len(text)}"
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=message):
        learner_class(f"{name}:Any")


@pytest.mark.parametrize(
    "kind", ["os:system", "subprocess:Popen", "tasks.models.golden:Golden", "tasks.cli:app", "x"]
)
def test_a_model_file_imports_nothing_but_learners_of_the_library(kind):
    """A registry is no place for code."""
    with pytest.raises(ConfigError, match=r"only classes of|is not a learner"):
        ScoringModel(
            {"a": np.zeros(1, dtype=np.float32)},
            0.0, small_contract(), name="m", kind=kind, params={},
        )  # fmt: skip


def test_a_kind_by_its_path_is_the_kind_by_its_short_name():
    """Trained, saved and served alike."""
    for short, path in KINDS.items():
        assert type(make_learner(path, 8)) is type(make_learner(short, 8))
        assert make_learner(path, 8).kind == short
    arrays = {"weights": np.zeros(256, dtype=np.float32)}
    assert scorer_of("ftrl", arrays, 0.5, small_contract(), {}).inputs[1] == 0.5


def test_the_learner_of_the_documents_is_that_of_the_docstring():
    """docs/models.md has it as a whole file; what it does is doctested here."""
    page = (ROOT / "docs" / "models.md").read_text()
    example = re.search(r"```python\n(.*?)```", page, re.S)[1]
    lines = [line.strip() for line in (Learner.__doc__ or "").splitlines()]
    told = [line[4:].strip() for line in lines if line.startswith("...") and "return" in line]
    assert len(told) == 3
    assert all(line in example for line in told)
