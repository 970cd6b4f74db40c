"""The OpenAPI document of the calls, derived from the schema inside the model's hash contract."""

import re
from collections.abc import Collection
from typing import Any

from bentos.ctr.scoring.value_faults import MAX_CHARS, MAX_ITEMS
from tasks.hashing.contract import HashContract
from tasks.schema import Schema
from tasks.schemas.fields import Field

_TEXT = {"maxLength": MAX_CHARS, "pattern": "^[^\\u0000]*$"}
_TIME: dict[str, Any] = {"type": ["string", "number", "null"], **_TEXT}
_VALUE: dict[str, Any] = {"type": ["string", "number", "boolean", "null"], **_TEXT}
_NUMBER = (
    r"^\s*([+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,2})?|[Tt]rue|TRUE|[Ff]alse|FALSE)?\s*$"
)
_PROBABILITY = {"type": "number", "minimum": 0, "maximum": 1}
_ANSWERED_BY = {
    "model": {"type": "string", "description": "name of the model"},
    "version": {
        "type": "string",
        "description": "digest of the model's weights, contract and parameters",
    },
    "variant": {"type": "string", "description": "variant of the experiment that answered"},
    "n_missing": {
        "type": "integer",
        "minimum": 0,
        "description": "fields without a value; of a ranking, those that the context and a candidate lack",
    },
    "request_id": {"type": "string", "description": "as sent in X-Request-Id, or generated"},
}
_ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
_HEALTH = {"type": "object", "required": ["status"], "properties": {"status": {"type": "string"}}}
_DIRECTIVES = {  # directives of strptime whose texts a regular expression can match
    "%Y": "[1-9][0-9]{3}",
    "%y": "[0-9]{2}",
    "%m": "(0[1-9]|1[0-2])",
    "%d": "(0[1-9]|[12][0-9]|3[01])",
    "%H": "([01][0-9]|2[0-3])",
    "%M": "[0-5][0-9]",
    "%S": "[0-5][0-9]",
    "%f": "[0-9]{1,6}",
    "%%": "%",
}


def describe(
    base: dict[str, Any],
    contract: HashContract,
    *,
    max_candidates: int = 1_000,
    body_bytes: int = 262_144,
    head_bytes: int = 16_384,
    variants: Collection[str] = (),
    needs_key: bool = False,
) -> dict[str, Any]:
    """Return an OpenAPI 3.1 document with the two calls, the health check and their types added.

    3.1, because BentoML says 3.0.2 and has types in its own document that only 3.1 knows.

    Parameters
    ----------
    base
        The document to add to; it is not modified.
    contract
        Its schema gives the fields and the examples.
    max_candidates, body_bytes, head_bytes
        Upper limits of a request.
    variants
        Names allowed in the header ``X-Variant``; if empty, the header is not described.
    needs_key
        Whether the calls require the header ``X-Api-Key``.
    """
    schema = Schema.from_dict(contract.schema)
    paths = {
        "/predict": {"post": _call(_PREDICT, (body_bytes, head_bytes), variants, needs_key)},
        "/rank": {"post": _call(_RANK, (body_bytes, head_bytes), variants, needs_key)},
        "/healthcheck": {"get": _healthcheck()},
    }
    schemas = {
        "Impression": _impression(schema, contract, schema.example_row()) | _some_field(schema),
        "Ranking": _ranking(schema, contract, max_candidates) | _some_field_of_ranking(schema),
        "Prediction": _answer("prediction", _PROBABILITY | {"description": "of a click"}),
        "Predictions": _answer("predictions", _probabilities(max_candidates)),
        "Refusal": _ERROR,
    }
    components = {**(base.get("components") or {})}
    components["schemas"] = {**(components.get("schemas") or {}), **schemas}
    if needs_key:
        key = {"type": "apiKey", "in": "header", "name": "X-Api-Key"}
        components["securitySchemes"] = {**(components.get("securitySchemes") or {}), "key": key}
    return base | {
        "openapi": "3.1.0",
        "paths": {**base.get("paths", {}), **paths},
        "components": components,
    }


_DIGITS = re.compile("(%[YymdHMS])+")
_PREDICT = ("predict", "Return the probability that an impression is clicked", "Impression")
_RANK = ("rank", "Return the probability of a click for each candidate, in their order", "Ranking")


def _impression(schema: Schema, contract: HashContract, example: dict[str, Any]) -> dict[str, Any]:
    properties = {spec.name: _value_of(spec) for spec in schema.fields}
    if contract.reads_time:
        properties = {schema.time_column: _time(schema)} | properties
    refuses = schema.unknown_fields == "refuse"
    if refuses:
        known = [*schema.required_columns, *([schema.truth] if schema.truth else [])]
        text = "known, but not used to predict"
        unread = {name: {**_VALUE, "description": text} for name in known}
        properties |= {name: spec for name, spec in unread.items() if name not in properties}
    return {
        "type": "object",
        "description": "Fields may be omitted or null, all but one of them: missing is a value like any other.",
        "properties": properties,
        "additionalProperties": not refuses,
        "example": example,
    }


def _some_field(schema: Schema) -> dict[str, Any]:
    """Return that one field at least is there, which a nested request may hold elsewhere."""
    if any(spec.source is not None for spec in schema.fields):
        return {}
    return {"anyOf": [{"required": [name]} for name in schema.field_names]}


def _some_field_of_ranking(schema: Schema) -> dict[str, Any]:
    """Return the same of a ranking: the context or a candidate has one."""
    some = _some_field(schema)
    places = ({"context": some}, {"candidates": {"contains": some}})
    return {"anyOf": [{"properties": place} for place in places]} if some else {}


def _value_of(spec: Field) -> dict[str, Any]:
    about = spec.about
    if spec.source is not None:
        about = f"{about + '; ' if about else ''}also read from {spec.source}"
    described = {"description": about, "example": spec.example}
    if spec.kind == "number":
        return {
            "type": ["string", "number", "boolean", "null"],
            "pattern": _NUMBER,
            "maxLength": MAX_CHARS,
            **described,
        }
    if spec.kind == "list":
        items = {"type": "array", "items": _VALUE, "maxItems": MAX_ITEMS}
        return {"anyOf": [_VALUE, items], **described}
    return {**_VALUE, **described}


def _ranking(schema: Schema, contract: HashContract, max_candidates: int) -> dict[str, Any]:
    own = schema.field_names[-1]
    shared = {name: value for name, value in schema.example_row().items() if name != own}
    candidates = [{own: schema.fields[-1].example}, {own: None}]
    item = _impression(schema, contract, candidates[0])
    about = "the fields that differ; they override those of the context"
    return {
        "type": "object",
        "required": ["context", "candidates"],
        "properties": {
            "context": _impression(schema, contract, shared),
            "candidates": {
                "type": "array",
                "minItems": 1,
                "maxItems": max_candidates,
                "items": item | {"description": about},
            },
        },
        "additionalProperties": schema.unknown_fields != "refuse",
        "example": {"context": shared, "candidates": candidates},
    }


def _time(schema: Schema) -> dict[str, Any]:
    form = "ISO 8601" if schema.time.format == "iso" else schema.time.format
    digits = ", in text or as a number" if _DIGITS.fullmatch(form) else ""
    about = {
        "description": f"time of the impression, as {form}{digits}; UTC unless it names a zone",
        "example": schema.example_row()[schema.time_column],
    }
    if schema.time.format == "iso":
        return {"type": ["string", "null"], "format": "date-time", **about}
    pattern = _time_pattern(schema.time.format)
    if pattern is None:
        return {**_TIME, **about}
    return {"type": ["string", "null"], "pattern": pattern, **about}


def _time_pattern(time_format: str) -> str | None:
    """Return a regular expression for the texts of a strptime format, None if a directive has none."""
    parts = re.findall("%.|[^%]", time_format, flags=re.DOTALL)
    if any(len(part) == 2 and part not in _DIRECTIVES for part in parts):
        return None
    return f"^{''.join(_DIRECTIVES.get(part, re.escape(part)) for part in parts)}$"


def _answer(name: str, probability: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": [name, "model", "version"],
        "properties": {name: probability, **_ANSWERED_BY},
    }


def _probabilities(max_candidates: int) -> dict[str, Any]:
    bounds = {"minItems": 1, "maxItems": max_candidates}
    return {"type": "array", "items": _PROBABILITY, **bounds, "description": "one per candidate"}


def _call(
    call: tuple[str, str, str],
    n_bytes: tuple[int, int],
    variants: Collection[str],
    needs_key: bool,
) -> dict[str, Any]:
    name, summary, request = call
    body_bytes, head_bytes = n_bytes
    answer = "Prediction" if name == "predict" else "Predictions"
    refusals = {
        400: "not JSON, not an object, or an invalid header",
        **({401: "the API key is missing or wrong"} if needs_key else {}),
        403: "a variant may not be forced",
        405: "not a POST",
        408: "the body did not arrive in time",
        413: f"the body is larger than {body_bytes} bytes, once decoded",
        415: "a Content-Encoding other than gzip",
        422: "no field is given, a value is of the wrong type or too long, or the time cannot be read; the message names the field",
        431: f"the head is larger than {head_bytes} bytes",
        503: "no model is loaded",
    }
    return {
        "operationId": name,
        "tags": ["Service APIs"],  # BentoML's own headings
        "summary": summary,
        "parameters": _headers(variants),
        "requestBody": {"required": True, "content": _json(request)},
        "responses": {
            "200": {"description": "the answer", "content": _json(answer)},
            **{
                str(status): {"description": text, "content": _json("Refusal")}
                for status, text in refusals.items()
            },
        },
        **({"security": [{"key": []}]} if needs_key else {}),
    }


def _headers(variants: Collection[str]) -> list[dict[str, Any]]:
    request_id = {"type": "string", "pattern": "^[A-Za-z0-9._:/=+@-]{1,128}$"}
    headers = [_header("X-Request-Id", "returned in the answer and logged", request_id)]
    if variants:
        names = {"type": "string", "enum": [*variants]}
        headers.append(_header("X-Variant", "forces a variant, for tests", names))
    return headers


def _header(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": description, "schema": schema}


def _healthcheck() -> dict[str, Any]:
    content = {"application/json": {"schema": _HEALTH}}
    return {
        "operationId": "healthcheck",
        "tags": ["Infrastructure"],
        "summary": "Return whether requests get predictions; with the key, also which models serve and any problems",
        "responses": {
            "200": {"description": "ready", "content": content},
            "503": {
                "description": "no usable model; with the key, `error` says why",
                "content": content,
            },
        },
    }


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
