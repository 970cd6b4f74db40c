"""The declaration of a log: what it accepts, what it refuses in one line."""

import pytest
import yaml

from tasks.errors import ConfigError
from tasks.hashing.contract import HashContract
from tasks.schema import Schema, load_schema


def declaration(**changes) -> dict:
    base = {
        "name": "shop",
        "label": "bought",
        "time": {"column": "at", "format": "iso"},
        "fields": {"page": {"example": "home"}, "campaign": {"missing": "none"}},
    }
    return base | changes


def test_avazu_declares_all_24_columns():
    """The bundled schema covers Kaggle's file: id, click, hour and 21 fields."""
    schema = load_schema("avazu")
    assert len(schema.required_columns) == 24
    assert schema.missing_values["device_id"] == "a99f214a"


def test_a_schema_survives_the_trip_through_json():
    """What travels inside the contract is the whole declaration."""
    schema = load_schema("avazu")
    again = Schema.from_dict(schema.to_dict())
    assert again == schema
    assert again.digest == schema.digest


def test_the_digest_changes_with_the_field_order():
    """Field order is part of the contract, so it is part of the digest."""
    swapped = declaration(fields={"campaign": {"missing": "none"}, "page": {"example": "home"}})
    first, second = Schema.from_dict(declaration()), Schema.from_dict(swapped)
    assert first.field_names != second.field_names
    assert first.digest != second.digest


def test_unknown_fields_are_ignored_unless_the_schema_refuses_them():
    """To write the default out changes no digest, so no model goes stale; the other policy travels along."""
    silent, ignoring, refusing = (
        Schema.from_dict(declaration(**changes))
        for changes in ({}, {"unknown_fields": "ignore"}, {"unknown_fields": "refuse"})
    )
    assert silent.unknown_fields == ignoring.unknown_fields == "ignore"
    assert silent.digest == ignoring.digest != refusing.digest
    assert silent.to_dict() == ignoring.to_dict()
    contract = HashContract.from_schema(refusing, bits=4)
    served = HashContract.from_dict(contract.to_dict()).schema
    assert Schema.from_dict(served).unknown_fields == "refuse"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": "x"}, "unknown key 'labels'"),
        ({"fields": {}}, "`fields` is empty"),
        ({"label": "page"}, "'page' has two roles"),
        ({"features": ["minute"]}, "feature 'minute' is unknown"),
        (
            {"features": ["weekday"], "unit": ["weekday"]},
            "unit names the feature 'weekday'; name a field, or",
        ),
        ({"features": "weekday"}, "expected a list of names, found 'weekday'"),
        (
            {"features": ["ad_format"]},
            "feature 'ad_format' reads the field 'C15', which is not declared",
        ),
        ({"time_features": ["weekday"], "features": []}, "the old name of `features`; keep one"),
        ({"crosses": [["page", "city"]]}, "cross names the field 'city'"),
        ({"crosses": [["page"]]}, "needs two fields"),
        ({"unit": ["user"]}, "unit names the field 'user'"),
        (
            {"fields": {"page": {"pattern": "["}}},
            "fields.page cannot be read: pattern: unterminated",
        ),
        ({"fields": {"page": {"color": "red"}}}, "unknown key 'color'; known keys are"),
        ({"time": {"column": "at"}}, "expected `format`: iso, epoch"),
        ({"unknown_fields": "drop"}, "unknown_fields is 'drop'; choose from"),
        ({"unknown_fields": None}, "unknown_fields is None; choose from"),
    ],
)
def test_a_contradiction_is_named(changes, message):
    """Each mistake in a declaration gets a line that names it."""
    with pytest.raises(ConfigError, match=message):
        Schema.from_dict(declaration(**changes))


def test_an_unknown_schema_lists_the_known_ones():
    """A wrong name is answered with the right ones."""
    with pytest.raises(ConfigError, match="one of: avazu"):
        load_schema("absent")


@pytest.mark.parametrize("text", ["a: [", "- a\n- b\n"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text):
    """Broken YAML and a list are both named as such."""
    path = tmp_path / "log.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"log\.yaml"):
        load_schema(path)


@pytest.mark.parametrize(
    ("text", "utc"), [("2024-05-01T12:00:00", "12:00"), ("2024-05-01T12:00:00+02:00", "10:00")]
)
def test_iso_times_become_utc(text, utc):
    """A zone is honoured, a time without one is taken as UTC."""
    assert Schema.from_dict(declaration()).parse_time(text).strftime("%H:%M") == utc


def test_the_example_row_can_be_asked_for_in_any_schema(tmp_path):
    """Every declaration yields a request a service could take."""
    path = tmp_path / "shop.yaml"
    path.write_text(yaml.safe_dump(declaration(), sort_keys=False))
    assert load_schema(path).example_row() == {
        "at": "2014-10-21T00:00:00+00:00",
        "page": "home",
        "campaign": "",
    }
