"""What each feature of the project keeps: its name, types, a sentence with examples, and a test of its own."""

import inspect
from pathlib import Path

import pytest

import tasks.features
from tasks.features.kinds.finding import find_feature
from tests.conftest import ROOT

FILES = sorted(Path(tasks.features.__file__).parent.glob("[!_]*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_feature_is_named_typed_explained_and_tested(path):
    """The function is called like its file, and so is its test."""
    function = find_feature(path.stem).feature.function
    signature = inspect.signature(function)
    kinds = [one.annotation for one in signature.parameters.values()] + [
        signature.return_annotation
    ]
    assert inspect.Signature.empty not in kinds
    assert ">>>" in (function.__doc__ or "")
    assert (ROOT / f"tests/tasks/features/test_{path.stem}.py").is_file()
