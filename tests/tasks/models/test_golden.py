"""Golden rows: read back as written, and refused where they cannot prove anything."""

import json

import numpy as np
import pytest

from tasks.errors import ContractError, InputError
from tasks.models.golden import (
    GOLDEN,
    Golden,
    check_golden_rows,
    load_golden,
    read_golden,
    read_part,
)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no golden rows"),
        ("{", "no golden rows"),
        ("[" * 100_000, "no golden rows"),
        ("[]", "no golden rows"),
        ("{}", "KeyError: 'rows'"),
        ('{"rows": [{}]}', "KeyError: 'p_click'"),
        ('{"rows": 3, "p_click": [0.5]}', "TypeError"),
        ('{"rows": [], "p_click": []}', "0 golden rows and 0 predictions"),
        ('{"rows": [{}], "p_click": []}', "1 golden rows and 0 predictions"),
        ('{"rows": [{}], "p_click": ["high"]}', "could not convert"),
        (
            '{"rows": [{}, 7], "p_click": [0.5, 0.5]}',
            "golden row 1 is not a JSON object, found int",
        ),
    ],
)
def test_golden_rows_that_prove_nothing_are_refused(tmp_path, content, reason):
    """Missing, truncated, empty or without predictions: one line names the file and the reason."""
    if content is not None:
        (tmp_path / GOLDEN).write_text(content)
    with pytest.raises(ContractError, match=reason) as caught:
        read_golden(tmp_path)
    assert str(tmp_path / GOLDEN) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "key", ["../other", "/etc/other", "a/weights", "..", "", "Weights", "weights\n"]
)
def test_a_part_outside_the_models_folder_is_not_read(tmp_path, key):
    """Nor one by a path from the root; the message names the key."""
    folder = tmp_path / "model"
    folder.mkdir()
    np.save(tmp_path / "other.npy", np.zeros(3))
    key = str(tmp_path / "other") if key.startswith("/") else key
    with pytest.raises(InputError, match="is no part of a model") as caught:
        read_part(folder, key)
    assert repr(key) in str(caught.value)


def test_golden_rows_are_read_back_as_written(tmp_path):
    """Folder, bytes and mapping give the same rows and numbers."""
    raw = {"rows": [{"a": "1"}, {"a": None}], "p_click": [0.25, 1]}
    (tmp_path / GOLDEN).write_text(json.dumps(raw))
    expected = Golden([{"a": "1"}, {"a": None}], [0.25, 1.0])
    assert read_golden(tmp_path) == expected
    assert load_golden(json.dumps(raw).encode(), source="bytes") == expected
    assert check_golden_rows(raw, source="mapping") == expected


def test_a_prediction_that_is_not_a_number_is_kept_for_the_comparison_to_refuse():
    """Python reads NaN from JSON; it fails every comparison within the tolerance."""
    golden = load_golden(b'{"rows": [{}], "p_click": [NaN]}', source="bytes")
    assert golden.p_click[0] != golden.p_click[0]
