"""A ranking of known candidates reads the same as one that is read in full, whatever it looks like."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bentos.ctr.scoring import candidate_cache
from bentos.ctr.scoring.candidate_cache import CachedRankingDecoder
from bentos.ctr.scoring.request_reader import _Row

FIELDS = ["a", "b", "größe"]
COMPACT = (",", ":")
USUAL = (", ", ": ")


def body(*candidates, separators=COMPACT, context=None, **more):
    whole = {"context": context or {"c": 1}, "candidates": candidates} | more
    return json.dumps(whole, separators=separators, ensure_ascii=False).encode()


def decoder():
    return CachedRankingDecoder(_Row, FIELDS)


def rows_of(found):
    return None if found is None else list(found.candidates)


@pytest.mark.parametrize("separators", [COMPACT, USUAL])
def test_values_become_texts_and_known_candidates_are_not_read_again(separators):
    """Integers, numbers, null and text; in any order, with repeats, and new ones among them."""
    reads = decoder()
    one, other, third = {"a": 1, "b": "x"}, {"b": None, "a": 0.5}, {"a": "ü", "b": 2}
    for candidates in ([one], [one, other, one], [third, one]):
        found = reads.decode(body(*candidates, separators=separators))
        assert found.context == {"c": 1}
        texts = [{"a": "1", "b": "x"}, {"a": "0.5", "b": ""}, {"a": "ü", "b": "2"}]
        expected = [texts[[one, other, third].index(candidate)] for candidate in candidates]
        assert rows_of(found) == expected
        assert found.candidates.texts == {"a", "b"}
    assert len(found.candidates.catalogue) == 3
    assert found.candidates.numbers == (2, 0)


def test_the_context_may_come_last():
    """And may hold what looks like the end of a list."""
    reads = decoder()
    found = reads.decode(b'{"candidates":[{"a":1},{"a":2}],"context":{"c":"x"}}')
    assert (found.context, rows_of(found)) == ({"c": "x"}, [{"a": "1"}, {"a": "2"}])
    assert reads.decode(b'{"candidates":[{"a":1},{"a":2}],"context":{"c":"}]"}}') is None


LEFT_TO_OTHERS = [
    body({"a": 1}, {"b": 1}),
    body({"a": 1, "b": 1}, {"a": 1}),
    body({"a": 1}, {}),
    body({}),
    body(),
    body({"other": 1}),
    body({"a": [1]}),
    body({"a": True}),
    body({"a": "x" * 2_000}),
    body({"a": 1}, more=1),
    body({"a": 1}, context={"c": "\\"}),
    body({"a": "},{"}),
    body({"a": 'x"}]'}),
    b'{"candidates": [{"a": 1}]}',
    b'{"context": {}, "candidates": [{"a": 1}], "candidates": []}',
    b'{"context": {}, "candidates": [{"a": 1}], "candid\\u0061tes": []}',
    b'{"context": {}, "candidates": [{"a": 1}] ]',
    b'{"context": {}, "candidates": [{"a": 1}}]}',
    b'{"context": {"candidates": [{"a": 1}]}}',
    b'{"context": {"candidates": [{"a": 1}]}, "candidates": [{"a": 1}]}',
    b'{"context": {}, "candidates": [{"a": 1},{"a": "\xff"}]}',
    b'{"context": {"c": "\xff"}, "candidates": [{"a": 1}]}',
    b"[",
    b"}]",
]


@pytest.mark.parametrize("other", LEFT_TO_OTHERS)
def test_what_looks_otherwise_is_left_to_others(other):
    """Even where its candidates are known."""
    reads = decoder()
    reads.decode(body({"a": 1}, {"a": 2}))
    try:
        assert reads.decode(other) is None
    except UnicodeDecodeError:
        assert b"\xff" in other


def test_no_row_is_lost_to_a_text_that_looks_like_a_cut():
    """A piece too many and one too few would otherwise add up."""
    reads = decoder()
    assert reads.decode(b'{"context":{},"candidates":[{"a":1},\n{"a":2},{"a":"},{"}]}') is None


def test_other_fields_have_a_catalogue_of_their_own_and_their_number_is_bounded(monkeypatch):
    """A client that makes up fields cannot fill the memory; the others go on."""
    monkeypatch.setattr(candidate_cache, "MAX_FIELD_SETS", 2)
    reads = decoder()
    first = reads.decode(body({"a": 1}))
    other = reads.decode(body({"b": 1}))
    assert first.candidates.catalogue is not other.candidates.catalogue
    for _ in range(2):
        assert reads.decode(body({"a": 1})).candidates.catalogue is first.candidates.catalogue
    both = reads.decode(body({"a": 1, "b": 1}))
    assert rows_of(both) == [{"a": "1", "b": "1"}]
    assert reads.decode(body({"a": 1})).candidates.catalogue is first.candidates.catalogue
    assert reads.decode(body({"b": 1})).candidates.catalogue is not other.candidates.catalogue


def test_eight_small_requests_take_no_place_from_those_that_come_later():
    """A client that sends every set of fields once does not decide for the others until the next model."""
    names = [f"f{number}" for number in range(candidate_cache.MAX_FIELD_SETS)]
    reads = CachedRankingDecoder(_Row, [*names, *FIELDS])
    for name in names:
        reads.decode(body({name: 1}))
    ads = body({"a": 1, "b": 2}, {"a": 3, "b": 4})
    first = reads.decode(ads)
    assert first is not None
    reads.decode(ads)
    for name in names:
        reads.decode(body({name: 1}))
    assert reads.decode(ads).candidates.catalogue is first.candidates.catalogue


def test_what_was_used_long_ago_gives_way(monkeypatch):
    """Uses count for half after a while."""
    monkeypatch.setattr(candidate_cache, "MAX_FIELD_SETS", 2)
    monkeypatch.setattr(candidate_cache, "_AGE_EVERY", 8)
    reads = decoder()
    for _ in range(40):
        old = reads.decode(body({"a": 1}))
    for _ in range(80):
        new = reads.decode(body({"b": 1}))
    reads.decode(body({"a": 1, "b": 1}))
    assert reads.decode(body({"b": 1})).candidates.catalogue is new.candidates.catalogue
    assert reads.decode(body({"a": 1})).candidates.catalogue is not old.candidates.catalogue


def test_a_set_of_fields_is_bounded_in_bytes(monkeypatch):
    """Long candidates fill it before many short ones would."""
    monkeypatch.setattr(candidate_cache, "MAX_SET_BYTES", 2_000)
    reads = decoder()
    for number in range(12):
        found = reads.decode(body({"a": f"{number}" * 400}))
    assert len(found.candidates.catalogue) < 6


def test_a_full_catalogue_is_replaced_by_an_empty_one(monkeypatch):
    """What was read before keeps its rows; the candidates that come again are learnt again."""
    monkeypatch.setattr(candidate_cache, "MAX_ROWS", 3)
    reads = decoder()
    first = reads.decode(body({"a": 1}, {"a": 2}))
    assert reads.decode(body({"a": 2}, {"a": 3}, {"a": 4})) is None
    second = reads.decode(body({"a": 2}, {"a": 3}, {"a": 4}))
    assert second.candidates.catalogue is not first.candidates.catalogue
    assert rows_of(first) == [{"a": "1"}, {"a": "2"}]
    assert rows_of(second) == [{"a": "2"}, {"a": "3"}, {"a": "4"}]
    for _ in range(2):
        assert reads.decode(body(*({"a": n} for n in range(4)))) is None, "more than there is room"


def test_of_many_new_candidates_a_few_are_learnt_at_a_time():
    """So that a client whose candidates never come again does not pay for those of others."""
    reads = decoder()
    many = [{"a": number} for number in range(candidate_cache.MAX_NEW + 3)]
    assert reads.decode(body(*many)) is None
    assert reads.decode(body(*many)) is None
    assert rows_of(reads.decode(body(*many))) == [{"a": str(row["a"])} for row in many]
    assert len(reads.decode(body(*many)).candidates.catalogue) == len(many)


def test_what_is_forgotten_is_learnt_again():
    """Column by column, between requests."""
    reads = decoder()
    catalogue = reads.decode(body({"a": 1})).candidates.catalogue
    assert len(list(reads.forget())) == 2
    assert catalogue.columns == {"a": []}
    assert rows_of(reads.decode(body({"a": 2}, {"a": 1}))) == [{"a": "2"}, {"a": "1"}]


# ---- anything

TEXTS = st.sampled_from(["", "x", "},{", "}, {", "}]", '"', "\\", "candidates", '"candidates":[{'])
VALUES = TEXTS | st.none() | st.integers(-3, 3) | st.just(0.5) | st.just([1]) | st.just({"a": 1})
CANDIDATES = st.lists(
    st.dictionaries(st.sampled_from(["a", "b"]), VALUES, min_size=1, max_size=2), max_size=3
)
CONTEXTS = st.dictionaries(st.sampled_from(["c", "candidates"]), VALUES, max_size=2)


@st.composite
def bodies(draw):
    """Return rankings in any style of writing, some of them damaged."""
    whole = {"context": draw(CONTEXTS), "candidates": draw(CANDIDATES)}
    if draw(st.booleans()):
        whole = dict(reversed(whole.items()))
    written = json.dumps(
        whole,
        separators=draw(st.sampled_from([COMPACT, USUAL])),
        indent=draw(st.sampled_from([None, None, 1])),
    )
    at, n_lost = draw(st.integers(0, len(written))), draw(st.sampled_from([0, 0, 1]))
    added = draw(st.sampled_from(["", "", "}", "]", ",", '"', "},{", " "]))
    return (written[:at] + added + written[at + n_lost :]).encode()


@given(several=st.lists(bodies(), min_size=1, max_size=5))
@example(several=[b'{"candidates":[{"a":1}],"context":{}}'] * 2)
@settings(max_examples=200)
def test_whatever_is_taken_is_what_json_says(several):
    """Requests of one client after the other, so that candidates are known."""
    reads = decoder()
    for one in [*several, *several]:
        found = reads.decode(one)
        if found is not None:
            whole = json.loads(one)
            assert found.context == whole["context"]
            assert rows_of(found) == [
                {name: "" if value is None else str(value) for name, value in row.items()}
                for row in whole["candidates"]
            ]
