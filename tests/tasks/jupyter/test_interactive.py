"""The parameters of a notebook that a person runs."""

import ast
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tasks.jupyter.interactive import (
    as_defaults,
    assignments,
    differences,
    forget_injected,
    parameters_by_hand,
)

ROOT = Path("/home/ann/project")
GIVEN = {
    "product": {
        "nb": "/home/ann/project/products/tiny/train-fm.ipynb",
        "html": "/home/ann/project/products/tiny/train-fm.html",
        "model": "/home/ann/project/products/tiny/models/fm/model.json",
    },
    "upstream": {
        "hash_features": {
            "nb": "/home/ann/project/products/tiny/h.ipynb",
            "manifest": "/data/m.json",
        },
        "explore": {"nb": "/home/ann/project/products/tiny/explore.ipynb"},
        "ingest": "/home/ann/project/products/tiny/log/manifest.json",
    },
    "bits": 16,
    "code": "0123456789abcdef",
}


def by_hand(given):
    return parameters_by_hand(given, root=ROOT, products=ROOT / "products/tiny", notebook="train")


def test_products_go_to_scratch_and_inputs_stay_the_pipelines():
    """Relative to the project, without what only Ploomber writes, and without the digest of the code."""
    assert by_hand(GIVEN) == {
        "upstream": {
            "hash_features": {"manifest": "/data/m.json"},
            "explore": None,
            "ingest": "products/tiny/log/manifest.json",
        },
        "product": {"model": "products/tiny/scratch/train/models/fm/model.json"},
        "bits": 16,
    }


def test_a_notebook_without_products_or_inputs_has_none():
    """And a product that is a single path, or a list, is redirected as well."""
    assert by_hand({"product": None, "upstream": None}) == {"upstream": None, "product": None}
    products = [f"{ROOT}/products/tiny/a.csv", "/elsewhere/b.csv"]
    assert by_hand({"product": products})["product"] == [
        "products/tiny/scratch/train/a.csv",
        "products/tiny/scratch/train/b.csv",
    ]
    assert by_hand({"product": products[0]})["product"] == "products/tiny/scratch/train/a.csv"


_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(
    st.dictionaries(st.sampled_from(["upstream", "model", "a_long_name_of_a_parameter"]), _values)
)
def test_assignments_are_read_back_as_they_were(parameters):
    """Whatever the values are; so no difference is found."""
    code = assignments(parameters)
    namespace = {}
    exec(code, namespace)
    assert {name: namespace[name] for name in parameters} == parameters
    assert differences(parameters, {"source": code.splitlines(keepends=True)}) == {}


def test_only_what_differs_from_the_cell_is_shown():
    """A name that the cell computes, or does not have, is shown; code that is no Python assigns nothing."""
    cell = {"source": "a = 1\nb = [1, 2]\nc = 1 + 1\n"}
    assert differences({"a": 1, "b": [1, 3], "c": 2, "d": 4}, cell) == {"b": [1, 3], "c": 2, "d": 4}
    assert differences({"a": 1}, {"source": "<<<<<<< ours"}) == {"a": 1}
    assert differences({"a": 1}, None) == {"a": 1}


def test_the_defaults_declare_what_the_pipeline_fills():
    """`code` is a name that the pipeline injects, so the cell has it."""
    names = [
        target.targets[0].id for target in ast.parse(assignments(as_defaults(by_hand(GIVEN)))).body
    ]
    assert names == ["upstream", "product", "code", "bits"]


def test_saving_forgets_what_was_injected():
    """Cell, metadata of tools, and the empty tags that Ploomber adds; nothing else."""
    mine = {"metadata": {"tags": ["parameters"]}, "source": "a = 1"}
    content = {
        "cells": [
            mine,
            {"metadata": {"tags": ["injected-parameters"]}, "source": "a = 2"},
            {"metadata": {"tags": []}, "source": "b"},
        ],
        "metadata": {"papermill": {"x": 1}, "ploomber": {}, "kernelspec": {}},
    }
    forget_injected(content)
    assert content == {
        "cells": [mine, {"metadata": {}, "source": "b"}],
        "metadata": {"kernelspec": {}},
    }
