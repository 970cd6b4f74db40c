"""Bodies become rows or a refusal of one line that names the fault; nothing else, whatever the bytes."""

import json
from functools import partial

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bentos.ctr.scoring import request_reader
from bentos.ctr.scoring.request_reader import MAX_CHARS, Refusal, RequestReader
from tasks.hashing.contract import HashContract
from tasks.hashing.row_encoder import RowEncoder
from tasks.logs.value_text import value_text
from tasks.schema import Schema

RAW = {
    "name": "shop",
    "label": "bought",
    "id": "id",
    "truth": "p_true",
    "time": {"column": "at", "format": "%Y%m%d%H"},
    "features": ["hour_of_day"],
    "fields": {"page": {}, "größe": {}},
}
CONTRACT = HashContract.from_schema(Schema.from_dict(RAW), bits=10)
REFUSING = HashContract.from_schema(Schema.from_dict(RAW | {"unknown_fields": "refuse"}), bits=10)
LONG = "x" * (MAX_CHARS + 1)


def read(body: bytes | str, contract=CONTRACT):
    return RequestReader(contract).read_impression(_bytes(body))


def rank(body: bytes | str, contract=CONTRACT, max_candidates=3):
    return ranking(RequestReader(contract, max_candidates=max_candidates), _bytes(body))


def ranking(reader, body: bytes):
    """Return the context and the candidates as rows."""
    context, candidates = reader.read_ranking(body)
    return context, list(candidates)


def _bytes(body: bytes | str) -> bytes:
    return body.encode() if isinstance(body, str) else body


def refusal_of(call, *args) -> Refusal:
    with pytest.raises(Refusal) as caught:
        call(*args)
    return caught.value


# ---- what is taken


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('"home"', "home"),
        ('"\\u00fc \\ud83d\\ude00"', "ü 😀"),
        ('"' + "x" * MAX_CHARS + '"', "x" * MAX_CHARS),
        ('"\\\\u0000"', "\\u0000"),
        ("1005", "1005"),
        ("-0", "0"),
        ("1e2", 100.0),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("null", None),
        ('1, "page": 2', "2"),
    ],
    ids=lambda text: str(text)[:20],
)
def test_text_numbers_and_null_are_values(value, expected):
    """As sent, integers as the text that is hashed; the last of two equal keys counts."""
    row = read(f'{{"page": {value}}}')
    assert row == {"page": expected}
    assert type(row["page"]) is type(expected)


def test_a_boolean_is_the_value_of_a_field():
    """In either call, but not of the time."""
    assert read('{"page": true}') == {"page": True}
    assert rank('{"context": {"page": false}, "candidates": [{}]}')[0] == {"page": False}
    refusal = refusal_of(read, '{"at": true}')
    assert (refusal.status, refusal.field) == (422, "at")
    assert "expected text, a finite number or null, found true or false" in str(refusal)


def test_columns_that_no_token_comes_from_are_known():
    """Label, id and truth pass through, and a boolean is a label."""
    row = {"id": "7", "bought": True, "p_true": 0.25, "page": "home", "at": 2026030112}
    assert read(json.dumps(row), REFUSING) == row
    assert rank(json.dumps({"context": row, "candidates": [{"bought": False}]}), REFUSING) == (
        row,
        [{"bought": False}],
    )


def test_unknown_keys_are_left_out_and_counted():
    """Whatever they hold, in either call."""
    reader = RequestReader(CONTRACT)
    odd = {"note": [1, {"a": LONG}], "nul": "\0", "lone": "\ud800", "\ud800": 1, "hour_of_day": "3"}
    assert reader.read_impression(json.dumps(odd | {"page": "x"}).encode()) == {"page": "x"}
    assert reader.unknown == 5
    assert reader.read_impression(b'{"a": 1, "page": 2, "inf": 1e999}') == {"page": "2"}
    assert reader.unknown == 7
    body = {"context": {"page": 1, "x": 2}, "candidates": [{}, {"y": 1, "page": 3}]}
    rows = [{"page": "1"}, {"page": "3"}]  # what the first lacks is the context's
    assert ranking(reader, json.dumps(body).encode()) == ({"page": "1"}, rows)
    assert reader.unknown == 9
    reader.read_ranking(json.dumps(body | {"top": {}}).encode())
    assert reader.unknown == 12


@pytest.mark.parametrize(
    ("call", "body", "named"),
    [
        (read, '{"page": 1, "note": 2}', "field 'note': is no column of the schema 'shop'"),
        (read, '{"page": 1, "note": [2]}', "field 'note': is no column"),
        (rank, '{"context": {"a": 1}, "candidates": [{}]}', "context: field 'a': is no column"),
        (rank, '{"context": {}, "candidates": [{}, {"a": 1}]}', "candidates[1]: field 'a'"),
        (rank, '{"context": {}, "candidates": [{}], "a": 1}', "field 'a': is no column"),
    ],
)
def test_a_schema_may_refuse_unknown_keys(call, body, named):
    """The refusal names the key, and the candidate that has it."""
    refusal = refusal_of(call, body, REFUSING)
    assert refusal.status == 422
    assert named in str(refusal)


def test_a_ranking_is_a_context_and_candidates():
    """In order; a candidate that lacks a field has the context's."""
    context, candidates = rank('{"candidates": [{"page": 1}, {}], "context": {"at": "2026030112"}}')
    assert context == {"at": "2026030112"}
    assert candidates == [{"page": "1"}, {"page": None}]


# ---- what is refused


NO_JSON = [
    (b"", "the body is not JSON"),
    (b"{", "the body is not JSON"),
    (b'{"page": 1}x', "the body is not JSON"),
    (b'{"page": NaN}', "NaN is not a JSON value"),
    (b'{"page": Infinity}', "Infinity is not a JSON value"),
    (b'{"page": "a\0b"}', "the body is not JSON"),
    (b'{"page": "\xff"}', "the body is not UTF-8"),
    (b'{"page": "\xed\xa0\x80"}', "the body is not UTF-8"),
    (b'\xef\xbb\xbf{"page": 1}', "the body is not JSON"),
    (b"[" * 100_000, "nested too deeply"),
    (b'{"note":' * 100_000, "nested too deeply"),
    (b'{"page": ' + b"1" * 5_000 + b"}", "the body is not JSON"),
    (b"null", "the body is null"),
    (b"[]", "the body is a list"),
    (b'"text"', "the body is text"),
    (b"1.5", "the body is a number"),
    (b"true", "the body is true or false"),
]
BAD_VALUES = [
    ("[1]", "found a list"),
    ('{"a": 1}', "found an object"),
    ("1e999", "found infinity"),
    ("-1e999", "found infinity"),
    (f'"{LONG}"', "1025 characters is too long; the maximum is 1024"),
    ('"' + "x" * 1_000_000 + '"', "1000000 characters is too long"),
    ("1" * 2_000, "2000 digits is too long"),
    ('"a\\u0000b"', "the character NUL"),
    ('"\\ud800"', "cannot be written as UTF-8"),
]


@pytest.mark.parametrize("call", [read, rank])
@pytest.mark.parametrize(("body", "named"), NO_JSON, ids=range(len(NO_JSON)))
def test_a_body_that_is_no_json_object_is_a_400(call, body, named):
    """The same for both calls."""
    refusal = refusal_of(call, body)
    assert refusal.status == 400
    assert named in str(refusal)


@pytest.mark.parametrize("name", ["page", "größe", "at"])
@pytest.mark.parametrize(("value", "named"), BAD_VALUES, ids=range(len(BAD_VALUES)))
def test_a_value_that_cannot_be_taken_is_a_422_that_names_the_field(name, value, named):
    """In an impression, a context and a candidate."""
    bad = f'{{"{name}": {value}}}'
    calls = [
        (read, bad, ""),
        (rank, f'{{"context": {bad}, "candidates": [{{}}]}}', "context: "),
        (rank, f'{{"context": {{}}, "candidates": [{{}}, {bad}]}}', "candidates[1]: "),
    ]
    for call, body, where in calls:
        refusal = refusal_of(call, body)
        assert (refusal.status, refusal.field) == (422, name)
        assert str(refusal).startswith(f"{where}field {name!r}: ")
        assert named in str(refusal)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ("{}", "field 'context': is missing"),
        ('{"context": {}}', "field 'candidates': is missing"),
        (
            '{"context": null, "candidates": [{}]}',
            "field 'context': expected an object, found null",
        ),
        ('{"context": {}, "candidates": {}}', "'candidates': expected a list of objects, found an"),
        ('{"context": {}, "candidates": []}', "expected 1 to 3 candidates, found 0"),
        ('{"context": {}, "candidates": [{}, {}, {}, {}]}', "expected 1 to 3 candidates, found 4"),
        ('{"context": {}, "candidates": [{}, 5]}', "'candidates[1]': expected an object, found a"),
    ],
)
def test_a_ranking_that_is_none_is_a_422(body, named):
    """What is missing, of the wrong type, or too many is named."""
    refusal = refusal_of(rank, body)
    assert refusal.status == 422
    assert named in str(refusal)


def test_a_hundred_thousand_candidates_are_refused():
    """They are counted, not scored."""
    body = json.dumps({"context": {}, "candidates": [{}] * 100_000})
    assert "found 100000" in str(refusal_of(rank, body))


def test_a_long_name_is_cut_in_the_message():
    """A message is one line of bounded length, even if the client's key is not."""
    refusal = refusal_of(read, json.dumps({"k" * 100_000: 1}), REFUSING)
    assert len(str(refusal)) < 200


# ---- anything

NAMES = st.sampled_from(["page", "größe", "at", "id", "bought"]) | st.text(max_size=4)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**40), 10**40)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["\0", "\ud800", "\\u0000", LONG, 2**63, 2**64, 10**1500, 10**16, 1e16])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
ROWS = st.dictionaries(NAMES, SCALARS, max_size=5) | st.dictionaries(NAMES, VALUES, max_size=5)
RANKINGS = st.fixed_dictionaries(
    {"context": ROWS | VALUES, "candidates": st.lists(ROWS, max_size=4) | VALUES},
    optional={"more": VALUES},
)
BODIES = (ROWS | RANKINGS | VALUES).map(lambda value: json.dumps(value).encode())
READERS = [RequestReader(CONTRACT, max_candidates=3), RequestReader(REFUSING, max_candidates=3)]


def outcome(call, body):
    """Return what a call gives for a body, or the status of its refusal; all else is a failure."""
    try:
        return repr(call(body))  # tells 1 from 1.0 and True, and NaN is itself
    except Refusal as refusal:
        message = str(refusal)
        assert 400 <= refusal.status < 500
        assert "\n" not in message
        assert len(message) < 300
        return refusal.status


def ranking_by_value(reader, body: bytes):
    """Return a ranking with the texts of its candidates' values: one that was cached holds those, such as none for null."""
    context, rows = ranking(reader, body)
    return context, [{name: value_text(value) for name, value in row.items()} for row in rows]


def check_anything(body):
    for reader in READERS:
        for call in (reader.read_impression, partial(ranking_by_value, reader)):
            quick = outcome(call, body)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(request_reader, "_fast", lambda decode, body: None)
                assert outcome(call, body) == quick


def test_a_candidate_that_was_cached_holds_texts():
    """Whatever was read before, a body has one meaning."""
    for body in (
        b'{"context": {}, "candidates": [{"page": "a"}]}',
        b'{"context": {}, "candidates": [{"page": null}, {"page": 0.0}]}',
    ) * 3:
        check_anything(body)


@given(body=BODIES)
@settings(max_examples=200, deadline=None)
def test_any_json_is_a_row_or_a_refusal_and_both_decoders_agree(body):
    """Nothing but Refusal is raised; the fast decoder takes nothing that the careful one would not."""
    check_anything(body)


@given(
    body=st.binary(max_size=100) | st.text('{}[]":,\\u0d8-1e.taflsnp ', max_size=60).map(str.encode)
)
@example(body=b'{"page": -}')
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_a_row_or_a_refusal_and_both_decoders_agree(body):
    """Bytes that are JSON, nearly, or not at all."""
    check_anything(body)


@given(body=BODIES, at=st.integers(0), found=st.binary(max_size=3), n_lost=st.integers(0, 3))
@settings(max_examples=200, deadline=None)
def test_any_damage_to_json_is_a_row_or_a_refusal_and_both_decoders_agree(body, at, found, n_lost):
    """A few bytes lost, found or changed."""
    at %= len(body) + 1
    check_anything(body[:at] + found + body[at + n_lost :])


@given(row=ROWS)
@settings(max_examples=150, deadline=None)
def test_whatever_is_taken_has_a_token(row):
    """But for the time, which the encoder reads, no value that passed is refused later."""
    try:
        taken = read(json.dumps(row))
    except Refusal:
        return
    assert RowEncoder(CONTRACT).encode_row(taken | {"at": None}).shape == (3,)
