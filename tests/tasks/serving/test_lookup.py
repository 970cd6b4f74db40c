"""Codes by lookup are the encoder's, whatever is remembered, and what is remembered is bounded."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import InputError
from tasks.hashing.row_encoder import RowEncoder
from tasks.serving.lookup import MAX_CACHED_BYTES, CodeLookup
from tests.impressions import CONTRACT, rows, values

ENCODER = RowEncoder(CONTRACT)


def lookup(cache_size=100) -> CodeLookup:
    return CodeLookup(CONTRACT, cache_size=cache_size)


@given(several=st.lists(rows, max_size=30), cache_size=st.sampled_from([1, 2, 1000]))
@settings(max_examples=150, deadline=None)
def test_codes_by_lookup_are_the_encoders(several, cache_size):
    """One row after the other, whatever the rows before left behind."""
    found = lookup(cache_size)
    for row in several:
        assert found.codes(found.texts(row)) == ENCODER.encode_row(row).tolist()
        assert all(len(cache) <= cache_size for cache in (*found.caches, *found.features.memories))


@given(column=st.lists(values, max_size=30), cache_size=st.sampled_from([1, 3, 1000]))
@settings(max_examples=100, deadline=None)
def test_a_column_at_once_has_the_codes_of_its_values(column, cache_size):
    """Even if remembering one value makes the lookup forget another."""
    found = lookup(cache_size)
    codes = found.column_codes(2, found.column_texts("n", column))
    assert codes.tolist() == [int(ENCODER.encode_row({"n": value})[2]) for value in column]


def test_a_client_cannot_fill_the_memory():
    """The number of texts and their length are bounded."""
    found = lookup(cache_size=64)
    for number in range(1000):
        found.codes(found.texts({"site": f"s{number}", "n": "x" * MAX_CACHED_BYTES + "x"}))
    site, _, n, *_ = found.caches
    assert 0 < len(site) <= 64
    assert len(n) == 0
    for memory in found.features.memories:
        assert len(memory) <= 64


@pytest.mark.parametrize(
    "value", [["a"], {"a": 1}, b"a", object(), 10**5000], ids=lambda value: type(value).__name__
)
def test_a_value_without_text_is_named_as_the_encoder_names_it(value):
    """Alone and in a column of its like."""
    for ask in (lambda: lookup().texts({"n": value}), lambda: lookup().column_texts("n", [value])):
        with pytest.raises(InputError, match="field 'n': "):
            ask()


def test_text_that_is_not_unicode_is_named():
    """Every time: what cannot be hashed is not remembered either."""
    found = lookup()
    for _ in range(2):
        with pytest.raises(InputError, match="field 'größe': the text cannot be written as UTF-8"):
            found.codes(found.texts({"größe": "\ud800"}))
