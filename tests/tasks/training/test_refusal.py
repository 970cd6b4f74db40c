"""A training that can have no model ends as a result with a reason; a defect stays a failure."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from tasks.errors import DegenerateError, DivergenceError
from tasks.training import refusal
from tasks.training.refusal import refused_without_model, require_both_labels


@pytest.fixture
def product(tmp_path):
    """Return the products of a training task."""
    return {"result": str(tmp_path / "r.json"), "model": str(tmp_path / "models/a/model.json")}


def test_a_learner_that_diverges_leaves_its_reason(product, monkeypatch):
    """In both products; the notebook ends there, without an error."""
    monkeypatch.setattr(refusal, "is_scratch", lambda path: False)
    with pytest.raises(SystemExit) as end, refused_without_model("a", product):
        raise DivergenceError("a weight is not finite")
    assert end.value.code == 0
    result = json.loads(Path(product["result"]).read_text())
    assert (result["refused"], result["run_id"]) == ("a weight is not finite", None)
    stub = json.loads(Path(product["model"]).read_text())
    assert stub["refused"] == "a weight is not finite"


def test_a_defect_is_raised(product, monkeypatch):
    """Nothing is written."""
    monkeypatch.setattr(refusal, "is_scratch", lambda path: False)
    with pytest.raises(ZeroDivisionError), refused_without_model("a", product):
        raise ZeroDivisionError
    assert not Path(product["result"]).exists()


def test_by_hand_the_error_is_shown(product, monkeypatch):
    """A notebook that ends would be a riddle."""
    monkeypatch.setattr(refusal, "is_scratch", lambda path: True)
    with pytest.raises(DivergenceError), refused_without_model("a", product):
        raise DivergenceError("a weight is not finite")


@pytest.mark.parametrize(("rate", "found"), [(0.0, "no click"), (1.0, "nothing but clicks")])
def test_rows_of_one_label_teach_nothing(rate, found):
    """They say what was found."""
    with pytest.raises(DegenerateError, match=f"{found} among the 1,000 training rows"):
        require_both_labels(SimpleNamespace(label_rate=rate, n_rows=1000))
    require_both_labels(SimpleNamespace(label_rate=0.001, n_rows=1000))
