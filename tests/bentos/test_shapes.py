"""A decoder that knows what rankings look like reads the same as one that does not."""

import json

import pytest

from bentos.ctr import shapes
from bentos.ctr.impressions import _Row, _Value
from bentos.ctr.shapes import ShapedDecoder


def decoder(*names):
    shaped = ShapedDecoder(_Row, _Value)
    shaped.show([dict.fromkeys(names, 1)])
    return shaped


def body(*candidates, **more):
    return json.dumps({"context": {"a": 1}, "candidates": candidates} | more).encode()


def test_columns_come_out_at_once():
    """Names that are no words of Python, and keys in another order, are read too."""
    found = decoder("größe", "2").decode(body({"größe": "x", "2": 1}, {"2": None, "größe": 0.5}))
    assert found.context == {"a": 1}
    assert found.candidates.columns == {"größe": ("x", 0.5), "2": (1, None)}
    assert len(found.candidates) == 2


@pytest.mark.parametrize(
    "other",
    [
        body({"a": 1}, {"b": 1}),
        body({"a": 1, "b": 1}),
        body({"a": 1}, {}),
        body({"a": [1]}),
        body({"a": "x" * 5_000}),
        body({"a": 1}, more=1),
        b'{"candidates": [{"a": 1}]}',
        b"[",
    ],
)
def test_what_looks_otherwise_is_left_to_others(other):
    """Other fields, more or fewer of them, a value of another kind, no ranking at all."""
    assert decoder("a").decode(other) is None


def test_no_candidates_are_no_columns():
    """To refuse that is the reader's."""
    assert len(decoder("a").decode(body()).candidates) == 0


def test_before_anything_was_shown_nothing_is_read():
    """Nor when what was shown cannot be learnt: different candidates, or such without fields."""
    shaped = ShapedDecoder(_Row, _Value)
    assert shaped.decode(body({"a": 1})) is None
    shaped.show([{"a": 1}, {"b": 1}])
    shaped.show([{}])
    assert shaped.decode(body({"a": 1})) is None


def test_the_last_shape_shown_counts_and_their_number_is_bounded(monkeypatch):
    """A client that makes up fields cannot fill the memory with classes."""
    monkeypatch.setattr(shapes, "_MAX_SHAPES", 2)
    shaped = decoder("a")
    shaped.show([{"b": 1}])
    assert shaped.decode(body({"a": 1})) is None
    assert shaped.decode(body({"b": 1})).candidates.columns == {"b": (1,)}
    shaped.show([{"c": 1}])
    assert shaped.decode(body({"c": 1})) is None
    shaped.show([{"a": 1}])
    assert shaped.decode(body({"a": 1})).candidates.columns == {"a": (1,)}
