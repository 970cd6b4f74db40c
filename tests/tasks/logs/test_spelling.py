"""One value has one text: the rule on texts, by value and by column."""

from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.logs.spelling import BOOLEANS, EXACT, Spelling, decimal_text
from tasks.logs.value_text import value_text

KEPT = ["007.0", "1.10", "1.0.0", "1e3", "0x10", "10.", ".0", "+5.0", "tRUE", "yes", "1 000.0", "9007199254740992.0", "１.0"]  # fmt: skip
ODD = st.sampled_from([*KEPT, *BOOLEANS, "-0.0", "0.00", "1.50", "-12.000", "1E5", "1e-400", "1e999", "", "x\n", "5.0\n"])  # fmt: skip
NUMBERS = st.floats().map(repr) | st.decimals().map(str) | st.integers().map("{}.0".format)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1005.0", "1005"), ("-3.00", "-3"), ("-0.0", "0"), ("10.0", "10"), ("9007199254740991.0", "9007199254740991"), ("True", "true"), ("FALSE", "false")],
)  # fmt: skip
def test_what_programs_write_for_one_value_is_one_text(text, expected):
    """By hand; `exact` changes nothing."""
    assert Spelling()(text) == Spelling("number")(text) == expected
    assert Spelling("exact")(text) == text


@pytest.mark.parametrize("text", KEPT)
def test_other_texts_stay_apart(text):
    """Leading zeros, versions, exponents, hex digits, and floats that no longer tell integers apart."""
    assert Spelling()(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1.50", "1.5"), ("1e3", "1000"), ("0.00001", "1e-05"), ("9007199254740992.0", "9007199254740992"), ("007.0", "007.0"), ("0.10000000000000000001", "0.10000000000000000001"), ("1e999", "1e999")],
)  # fmt: skip
def test_a_schema_may_take_all_spellings_of_a_number_for_one(text, expected):
    """Text with leading zeros is no number; what would take a thousand digits stays as it is."""
    assert Spelling("number")(text) == expected


@given(st.lists(st.text(max_size=6) | ODD | NUMBERS | st.none()), st.integers(0, 3))
@pytest.mark.parametrize("rule", ["whole", "exact", "number"])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_a_column_has_the_texts_of_its_values(kind, rule, values, start):
    """Also from the middle of an array; twice is once."""
    spelling = Spelling(rule)
    found = spelling.texts(pa.array(values, kind).slice(start)).to_pylist()
    assert found == [None if text is None else spelling(text) for text in values[start:]]
    assert all(spelling(text) == text for text in found if text is not None)


@given(st.integers(-EXACT + 1, EXACT - 1), st.integers(1, 4))
@example(EXACT - 1, 1)
def test_whole_numbers_of_every_size_have_their_digits(number, n_zeros):
    """As long as a float holds them exactly, in text, float and decimal."""
    text = f"{number}.{'0' * n_zeros}"
    found = {Spelling()(text), value_text(float(number)), value_text(Decimal(text))}
    assert found == {str(number)}


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_decimal_has_the_text_of_the_float_of_its_value(number):
    """Fractions as floats write them."""
    text = decimal_text(Decimal(repr(number)))
    assert text == value_text(number) or float(text) == number >= EXACT or number <= -EXACT


def test_an_array_without_such_texts_is_returned_itself():
    """No text is copied."""
    values = pa.array(["1fbe01fe", "a.b", None, "1.5"])
    assert Spelling().texts(values) is values
