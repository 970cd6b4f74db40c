"""The OpenAPI document of the calls, derived from the schema inside the model's hash contract."""

from typing import Any

from tasks.hashing.contract import HashContract
from tasks.schema import Schema

_VALUE = {"anyOf": [{"type": "string", "nullable": True}, {"type": "number"}]}
_PREDICTION = {
    "type": "object",
    "required": ["prediction", "model", "version"],
    "properties": {
        "prediction": {
            "type": "number",
            "minimum": 0,
            "maximum": 1,
            "description": "probability of a click",
        },
        "model": {"type": "string", "description": "name of the model"},
        "version": {
            "type": "string",
            "description": "digest of the model's weights, contract and parameters",
        },
    },
}
_ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
_REFUSALS = {
    400: "not one JSON object",
    405: "not a POST",
    413: "larger than 64 kB",
    422: "a value is of the wrong type, or the time cannot be read; the message names the field",
    503: "no model is loaded",
}


def describe(base: dict[str, Any], contract: HashContract) -> dict[str, Any]:
    """Return the document `base` with the app's calls and their types added."""
    schemas = {"Impression": _impression(contract), "Prediction": _PREDICTION, "Refusal": _ERROR}
    paths = {"/predict": {"post": _predict(contract)}, "/healthcheck": {"get": _healthcheck()}}
    components = base.get("components") or {}
    return base | {
        "paths": {**base.get("paths", {}), **paths},
        "components": {**components, "schemas": {**(components.get("schemas") or {}), **schemas}},
    }


def _impression(contract: HashContract) -> dict[str, Any]:
    schema = Schema.from_dict(contract.schema)
    fields = {
        spec.name: {**_VALUE, "description": spec.about, "example": spec.example}
        for spec in schema.fields
    }
    if contract.time_features:
        form = "ISO 8601" if schema.time_format == "iso" else schema.time_format
        fields = {
            schema.time_column: {**_VALUE, "description": f"time of the impression, as {form}"}
        } | fields
    return {
        "type": "object",
        "description": "Every field may be left out or null: missing is a value like any other.",
        "properties": fields,
        "additionalProperties": True,
        "example": schema.example_row(),
    }


def _predict(contract: HashContract) -> dict[str, Any]:
    refusals = {str(status): _answer(text, "Refusal") for status, text in _REFUSALS.items()}
    return {
        "operationId": "predict",
        "summary": "Return the probability that an impression is clicked",
        "requestBody": {"required": True, "content": _json("Impression")},
        "responses": {"200": _answer("the prediction", "Prediction"), **refusals},
    }


def _healthcheck() -> dict[str, Any]:
    content = {"application/json": {"schema": {"type": "object"}}}
    return {
        "operationId": "healthcheck",
        "summary": "Return which model is served, and whether it reproduces its golden rows",
        "responses": {
            "200": {"description": "ready", "content": content},
            "503": {"description": "no usable model; `error` says why", "content": content},
        },
    }


def _answer(description: str, name: str) -> dict[str, Any]:
    return {"description": description, "content": _json(name)}


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
