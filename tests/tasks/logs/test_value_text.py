"""How a value becomes text: the same from Python, from Arrow, and from a request's JSON."""

import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.hashing.columns import read_column
from tasks.logs.value_text import FieldText, is_integer, is_number, number_texts, value_text
from tasks.schema import Schema


def texts_of(column: pa.Array) -> list[str]:
    """Return the text of each row as the hashing of training rows reads it."""
    (offsets, data), indices = read_column(column, name="field")
    texts = [bytes(data[a:b]).decode() for a, b in pairwise(offsets)]
    rows = range(len(column)) if indices is None else indices
    return [[*texts, ""][row] for row in rows]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1fbe01fe", "1fbe01fe"), (0, "0"), (-3, "-3"), (1005, "1005"), (1005.0, "1005"), (-0.0, "0"),
        (0.5, "0.5"), (1e15, "1000000000000000"), (2.0**53, "9007199254740992.0"), (1e20, "1e+20"),
        (np.float32(0.1), "0.1"), (np.int8(7), "7"), (True, "true"), (np.bool_(False), "false"),
        (None, ""), (float("nan"), ""), (pd.NA, ""), (pd.NaT, ""),
    ],
)  # fmt: skip
def test_a_value_has_one_canonical_text(value, text):
    """Written out by hand; a number is its shortest decimal, whatever type held it."""
    assert value_text(value) == text


def test_what_is_no_value_has_no_text():
    """A list in a request must not become a token by accident."""
    with pytest.raises(TypeError, match="expected text, a number or nothing, found list"):
        value_text([1])


@given(st.lists(st.integers(-(2**63), 2**63 - 1)) | st.lists(st.booleans()) | st.lists(st.floats()))
def test_an_arrow_column_has_the_texts_of_its_values(values):
    """Training rows are hashed by column, live requests by value."""
    column = pa.array(values) if values else pa.array([], pa.int64())
    expected = [value_text(value) for value in values]
    assert number_texts(column).to_pylist() == expected
    assert texts_of(column) == expected


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_survives_the_way_through_json(value):
    """The text of what a client sends is the text of what was logged."""
    assert value_text(json.loads(json.dumps(value))) == value_text(value)


@pytest.mark.parametrize("value", [1, 0.5, np.int64(1), np.float32(0.5)])
def test_numbers_are_numbers(value):
    """Python's and NumPy's; only those without a fraction in their type are integers."""
    assert is_number(value)
    assert is_integer(value) == isinstance(value, int | np.integer)


@pytest.mark.parametrize("value", [True, np.bool_(True), "1", None, 1j, [1]])
def test_nothing_else_is_a_number(value):
    """A boolean in a knob is a mistake: Python would count it as 1."""
    assert not is_number(value)
    assert not is_integer(value)


def rule_of(kind: str, **more) -> FieldText:
    """Return the rule of a field; its constant for missing is `none`, the log's words are NULL and -."""
    keys = {key: more.pop(key) for key in ("keep_spaces",) if key in more}
    field = {"type": kind, "missing": "none"} | more
    raw = {"name": "x", "label": "y", "missing": ["NULL", "-"], "fields": {"a": field}} | keys
    schema = Schema.from_dict(raw)
    return FieldText(schema, schema.fields[0])


@pytest.mark.parametrize("value", [None, "", "  ", "none", " none ", "NULL", "-", float("nan")])
@pytest.mark.parametrize("kind", ["category", "number", "list"])
def test_missing_is_one_value(kind, value):
    """Nothing, blanks, the log's words and the field's own constant."""
    assert rule_of(kind)(value) == ""


@given(
    st.lists(
        st.text() | st.sampled_from(["none", " a", "NULL ", "a|b", "\x1f", "|", "a||a", "\u2003x"])
    )
)
@pytest.mark.parametrize("kind", ["category", "list"])
@pytest.mark.parametrize("keep_spaces", [False, True])
def test_a_column_of_texts_has_the_texts_of_its_values(kind, keep_spaces, values):
    """Logs are read by column, requests by value; what comes out once comes out again."""
    rule = rule_of(kind, keep_spaces=keep_spaces)
    expected = [rule(value) for value in values]
    assert [
        text or "" for text in rule.texts(pa.array(values, pa.string())).to_pylist()
    ] == expected
    assert kind == "list" or [rule(text) for text in expected] == expected


def test_blanks_can_be_kept():
    """Only if the schema says so."""
    assert rule_of("category")(" a ") == "a"
    assert rule_of("category", keep_spaces=True)(" a ") == " a "


def test_items_of_a_list_are_distinct_and_in_order():
    """From text or from a request's list; missing items are none."""
    rule = rule_of("list", separator=",")
    assert rule.items("b, a,,b,NULL,c") == ["b", "a", "c"]
    assert rule.items(["b", 1, None, "b", "x,y"]) == ["b", "1", "x,y"]
    assert rule(rule(["b", "a"])) == "b\x1fa"


@given(
    st.lists(
        st.floats()
        | st.integers(-(2**60), 2**60)
        | st.sampled_from(["1e3", "+.5", "1_0", "x", " 2 ", "inf"])
    )
)
def test_a_column_of_numbers_has_the_numbers_of_its_values(values):
    """Whatever is no finite number is unreadable, and not missing."""
    rule = rule_of("number")
    numbers, unreadable = rule.numbers(
        pa.array([value_text(value) for value in values], pa.string())
    )
    for value, number, wrong in zip(values, numbers.to_pylist(), unreadable, strict=True):
        if wrong:
            assert number is None
            with pytest.raises(ValueError, match="is not a finite number"):
                rule.number(value)
        else:
            found = rule.number(value)
            assert (number is None and np.isnan(found)) or number == found
            assert rule(value) == value_text(number)


def test_floats_of_parquet_are_taken_as_they_are():
    """Without words for missing no text is made of them; NaN is missing, infinity unreadable."""
    raw = {"name": "x", "label": "y", "fields": {"a": {"type": "number"}}}
    schema = Schema.from_dict(raw)
    numbers, unreadable = FieldText(schema, schema.fields[0]).numbers(
        pa.array([1.5, None, float("nan"), float("inf")])
    )
    assert numbers.to_pylist() == [1.5, None, None, None]
    assert unreadable.tolist() == [False, False, False, True]


@pytest.mark.parametrize("kind", ["category", "number", "list"])
def test_a_boolean_that_means_missing_does_so_in_every_spelling(kind):
    """As text, as a word of Python or R, and as the boolean itself; the other one stays a value."""
    rule = rule_of(kind, missing="false")
    assert {rule(value) for value in ("false", "False", "FALSE", False)} == {""}
    assert rule(True) == rule("True") != ""
