"""The OpenAPI document is valid, its examples are requests, and what it allows is taken."""

import json
import re
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate  # comes with moto

from bentos.ctr.http import middleware
from bentos.ctr.http.openapi import describe
from bentos.ctr.scoring.request_reader import MAX_CHARS, Refusal, RequestReader
from tasks.hashing.contract import HashContract
from tasks.hashing.row_encoder import RowEncoder
from tasks.schema import Schema, load_schema

SHOP = {
    "name": "shop",
    "label": "bought",
    "id": "id",
    "time": {"column": "at", "format": "iso"},
    "features": ["hour_of_day"],
    "fields": {"page": {"example": "home", "about": "where"}, "country": {"example": "CH"}},
    "crosses": [["page", "country"]],
}
ONE_FIELD = {
    "name": "one",
    "label": "y",
    "time": {"column": "at", "format": "%b %d %Y"},
    "features": ["weekday"],
    "fields": {"page": {}},
}
# as BentoML's: it says 3.0.2 and has a type that only 3.1 knows
BASE = {
    "openapi": "3.0.2",
    "info": {"title": "ctr", "version": "1"},
    "paths": {"/livez": {"get": {"responses": {"200": {"description": "live"}}}}},
    "components": {"schemas": {"Task": {"anyOf": [{"type": "string"}, {"type": "null"}]}}},
}


def contract_of(raw: dict) -> HashContract:
    return HashContract.from_schema(Schema.from_dict(raw), bits=10)


AVAZU = HashContract.from_schema(load_schema("avazu"), bits=10)
CONTRACTS = [AVAZU, *map(contract_of, [SHOP, SHOP | {"unknown_fields": "refuse"}, ONE_FIELD])]
any_contract = pytest.mark.parametrize(
    "contract", CONTRACTS, ids=["avazu", "shop", "strict", "one"]
)


def request_schema(contract: HashContract, path: str, **limits) -> dict:
    """Return the schema of a call's request body, and check that its name leads there."""
    document = describe(BASE, contract, **limits)
    body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    return document["components"]["schemas"][body["$ref"].rsplit("/", 1)[1]]


@any_contract
def test_the_document_is_valid_and_keeps_what_was_there(contract):
    """OpenAPI 3.1, beside BentoML's own paths; what it is added to stays as it is."""
    before = json.dumps(BASE)
    document = describe(BASE, contract, variants=["a", "b"], needs_key=True)
    validate(document)
    assert list(document["paths"]) == ["/livez", "/predict", "/rank", "/healthcheck"]
    assert "Task" in document["components"]["schemas"]
    assert json.dumps(BASE) == before


@any_contract
def test_the_examples_are_requests(contract):
    """They fit their schemas, and are read and hashed."""
    reader, encoder = RequestReader(contract), RowEncoder(contract)
    impression, ranking = (request_schema(contract, path) for path in ("/predict", "/rank"))
    for schema in (impression, ranking):
        Draft202012Validator(schema).validate(schema["example"])
    row = reader.read_impression(json.dumps(impression["example"]).encode())
    assert row == Schema.from_dict(contract.schema).example_row()
    context, candidates = reader.read_ranking(json.dumps(ranking["example"]).encode())
    assert (
        encoder.encode_row(row).tolist()
        == encoder.encode_row(context | next(iter(candidates))).tolist()
    )
    assert len(candidates) == 2
    assert reader.unknown == 0


def test_types_and_fields_follow_the_schema():
    """Nothing of Avazu is in another team's document."""
    properties = request_schema(CONTRACTS[1], "/predict")["properties"]
    assert list(properties) == ["at", "page", "country"]
    assert properties["page"]["description"] == "where"
    assert properties["at"]["format"] == "date-time"
    assert "banner_pos" not in json.dumps(describe(BASE, CONTRACTS[1]))


def test_a_schema_that_refuses_unknown_fields_says_so():
    """And names the columns that are known although nothing reads them."""
    strict = request_schema(CONTRACTS[2], "/rank")
    assert strict["additionalProperties"] is False
    impression = request_schema(CONTRACTS[2], "/predict")
    assert impression["additionalProperties"] is False
    assert {"id", "bought"} <= set(impression["properties"])
    assert request_schema(CONTRACTS[1], "/predict")["additionalProperties"] is True


SCALARS = st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=4) | st.sampled_from(
    ["\0", "x" * MAX_CHARS, "x" * (MAX_CHARS + 1)]
)
ODD = st.booleans() | st.lists(SCALARS, max_size=2) | st.dictionaries(TEXTS, SCALARS, max_size=2)
ROWS = st.dictionaries(
    st.sampled_from(["page", "country", "note"]), SCALARS | TEXTS | ODD, max_size=3
)


@pytest.mark.parametrize("contract", CONTRACTS[1:3], ids=["ignore", "refuse"])
@given(context=ROWS, candidates=st.lists(ROWS, max_size=4))
@settings(max_examples=150, deadline=None)
def test_the_document_allows_what_the_service_takes_and_nothing_else(contract, context, candidates):
    """Times aside, of which the document knows the form only."""
    reader = RequestReader(contract, max_candidates=3)
    ranking = {"context": context, "candidates": candidates}
    for body, path, call in (
        (context, "/predict", reader.read_impression),
        (ranking, "/rank", reader.read_ranking),
    ):
        allowed = Draft202012Validator(request_schema(contract, path, max_candidates=3))
        try:
            call(json.dumps(body).encode())
        except Refusal:
            assert not allowed.is_valid(body)
        else:
            assert allowed.is_valid(body)


@given(moment=st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)))
@settings(deadline=None)
@pytest.mark.parametrize("form", ["%y%m%d%H", "%Y-%m-%d %H:%M:%S.%f", "%d.%m.%Y (%H%%)"])
def test_the_pattern_of_the_time_fits_every_time(form, moment):
    """And not what is no time."""
    contract = contract_of(SHOP | {"time": {"column": "at", "format": form}})
    pattern = request_schema(contract, "/predict")["properties"]["at"]["pattern"]
    text = moment.strftime(form)
    assert re.search(pattern, text)
    assert not re.search(pattern, text + "0x")
    assert not re.search(pattern, text[:-1] + "x")


def test_a_time_of_names_has_no_pattern():
    """Rather none than a wrong one."""
    at = request_schema(CONTRACTS[3], "/predict")["properties"]["at"]
    assert at["pattern"] == "^[^\\u0000]*$"
    assert "as %b %d %Y" in at["description"]


def test_limits_and_headers_are_those_of_the_service():
    """What a client must keep to is in the document."""
    document = describe(
        BASE, AVAZU, max_candidates=7, body_bytes=1234, variants=["a", "b"], needs_key=True
    )
    for path in ("/predict", "/rank"):
        call = document["paths"][path]["post"]
        headers = {header["name"]: header["schema"] for header in call["parameters"]}
        assert headers["X-Variant"]["enum"] == ["a", "b"]
        assert (
            headers["X-Request-Id"]["pattern"]
            == f"^{middleware._is_request_id.__self__.pattern.decode()}$"
        )
        assert "1234 bytes" in call["responses"]["413"]["description"]
        assert call["security"] == [{"key": []}]
        assert "401" in call["responses"]
    schemas = document["components"]["schemas"]
    assert schemas["Ranking"]["properties"]["candidates"]["maxItems"] == 7
    assert schemas["Predictions"]["properties"]["predictions"]["maxItems"] == 7
    open_to_all = describe(BASE, AVAZU)["paths"]["/predict"]["post"]
    assert "security" not in open_to_all
    assert [header["name"] for header in open_to_all["parameters"]] == ["X-Request-Id"]
