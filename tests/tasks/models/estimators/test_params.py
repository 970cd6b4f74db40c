"""Estimators made from parameters as they stand in env.yaml."""

import subprocess
import time

import pytest
from lightgbm import LGBMClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from tasks.errors import ConfigError
from tasks.models.estimators.params import build, is_lightgbm, one_line, param_names


def test_a_mapping_with_a_kind_is_an_estimator():
    """In a list of steps, with parameters of its own, and set by the names of scikit-learn."""
    steps = [
        ["scale", {"kind": "sklearn.preprocessing:MaxAbsScaler"}],
        ["model", {"kind": "sklearn.linear_model:LogisticRegression", "params": {"C": 0.5}}],
    ]
    made = build("p", Pipeline, {"steps": steps, "model__tol": 0.1})
    assert [name for name, _ in made.steps] == ["scale", "model"]
    assert (made["model"].C, made["model"].tol) == (0.5, 0.1)


def test_lightgbm_is_quiet_and_repeatable_unless_told_otherwise():
    """What is given wins."""
    assert build("l", LGBMClassifier, {}).get_params()["deterministic"] is True
    assert build("l", LGBMClassifier, {"verbose": 1}).get_params()["verbose"] == 1


def test_the_parameters_of_lightgbm_are_those_it_knows():
    """It takes any name, and only warns of those that it does not know."""
    assert {"num_leaves", "cat_smooth", "min_data_in_leaf"} <= set(param_names(LGBMClassifier))
    assert "num_leafs" not in param_names(LGBMClassifier)
    assert "C" in param_names(LogisticRegression)


@pytest.mark.parametrize(
    ("cls", "params", "message"),
    [
        (Pipeline, {}, "cannot be made with these parameters"),
        (LogisticRegression, {"D": 1}, "unexpected keyword argument 'D'"),
        (dict, {}, "no get_params"),
    ],
)
def test_what_cannot_be_made_is_one_line(cls, params, message):
    """Whatever the class raises."""
    with pytest.raises(ConfigError, match=message):
        build("k", cls, params)


@pytest.mark.parametrize("inside", [True, False])
def test_what_is_no_estimator_is_not_even_made(tmp_path, inside):
    """Making it may be all that it does: a program would run."""
    args = {"args": ["touch", str(tmp_path / "started")]}
    nested = {"C": {"kind": "subprocess:Popen", "params": args}}
    with pytest.raises(ConfigError, match="subprocess:Popen is no estimator"):
        build("k", *((LogisticRegression, nested) if inside else (subprocess.Popen, args)))
    time.sleep(0.1)
    assert not (tmp_path / "started").exists()


def test_an_error_of_lightgbms_does_not_name_its_source():
    """On one line."""
    error = RuntimeError("Check\nfailed: (num_leaves) > (1) at /a/b/config_auto.cpp, line 352 .")
    assert one_line(error) == "RuntimeError: Check failed: (num_leaves) > (1)"
    assert not is_lightgbm(error)
