"""The hash contract: what it declares, how it travels, what it refuses."""

import json

import numpy as np
import pytest

from tasks.errors import ConfigError, ContractError
from tasks.hashing.codes import split_codes
from tasks.hashing.contract import HashContract
from tasks.schema import Schema, load_schema


def make_contract(bits=12, seed=0, **changes):
    raw = {
        "name": "tiny",
        "label": "click",
        "time": {"column": "hour", "format": "%y%m%d%H"},
        "features": ["hour_of_day"],
        "fields": {"site": {}, "size": {}},
        "crosses": [["site", "hour_of_day"]],
    }
    return HashContract.from_schema(Schema.from_dict(raw | changes), bits=bits, seed=seed)


def test_tokens_come_in_the_declared_order():
    """Fields, then time features, then crosses."""
    contract = make_contract()
    assert contract.token_fields == ("site", "size", "hour_of_day", "site*hour_of_day")
    assert (contract.n_tokens, contract.n_features) == (4, 4096)


def test_a_contract_survives_its_file(tmp_path):
    """What is loaded equals what was saved, schema and field order included."""
    contract = HashContract.from_schema(load_schema("avazu"), bits=20, seed=3)
    contract.save(tmp_path / "contract.json")
    loaded = HashContract.load(tmp_path / "contract.json")
    assert loaded == contract
    assert loaded.digest == contract.digest
    assert Schema.from_dict(loaded.schema).field_names == contract.fields


@pytest.mark.parametrize(
    "other",
    [
        make_contract(bits=13),
        make_contract(seed=1),
        make_contract(fields={"size": {}, "site": {}}),
        make_contract(crosses=[]),
        make_contract(features=["hour_of_day", "weekday"]),
    ],
)
def test_every_part_counts(other):
    """Bits, seed, field order, crosses and time features each make another contract."""
    contract = make_contract()
    assert other.digest != contract.digest
    with pytest.raises(ContractError, match="the model holds another hash contract"):
        contract.require_same(other, where="the model")


FEATURE = '@feature("site"{more})\ndef made(site):\n    return {value}\n'


@pytest.mark.parametrize(
    ("more", "value"), [("", "2"), (", buckets=[1, 2]", "1"), (", values=['a']", "1")]
)
def test_a_feature_is_part_of_the_contract_and_another_one_is_refused(make_feature, more, value):
    """Its source, its buckets, its columns; with one line that names it."""
    make_feature("made", FEATURE.format(more="", value="1"))
    before = make_contract(features=["made"], crosses=[])
    make_feature("made", FEATURE.format(more=more, value=value))
    assert make_contract(features=["made"], crosses=[]).digest != before.digest
    with pytest.raises(
        ContractError, match="feature 'made' of the hash contract has the source"
    ) as found:
        HashContract.from_dict(before.to_dict())
    assert "restore tasks/features/made.py" in str(found.value)


def test_a_feature_that_this_code_lacks_is_named(make_feature):
    """A model of a colleague who has one file more."""
    make_feature("made", FEATURE.format(more="", value="1"))
    raw = make_contract(features=["made"], crosses=[]).to_dict()
    raw["features"][0][0] = "elsewhere"
    with pytest.raises(
        ContractError, match="a feature that this code lacks: feature 'elsewhere' is"
    ):
        HashContract.from_dict(raw)


@pytest.mark.parametrize(
    "features", [3, "abc", [3], [["made"]], [[1, [], [], None, "x"]], {"a": 1}]
)
def test_features_of_another_form_are_no_contract(features):
    """Whatever stands there, the answer is one line."""
    with pytest.raises(
        ContractError, match=r"not a hash contract|that this code lacks|changed by hand"
    ):
        HashContract.from_dict(make_contract().to_dict() | {"features": features})


def test_the_columns_of_features_stand_between_fields_and_crosses(make_feature):
    """One per value; crosses may name each."""
    make_feature("made", FEATURE.format(more=", values=['a', 'b']", value="(1, 2)"))
    contract = make_contract(features=["made", "hour_of_day"], crosses=[["made.b", "hour_of_day"]])
    columns = ("made.a", "made.b", "hour_of_day")
    assert contract.token_fields == ("site", "size", *columns, "made.b*hour_of_day")
    assert contract.reads_time and not make_contract(features=["made"], crosses=[]).reads_time


def test_the_same_contract_passes():
    """Two built from the same declaration are one."""
    make_contract().require_same(make_contract(), where="the model")
    assert hash(make_contract()) == hash(make_contract())


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("bits", 13, "changed by hand"),
        ("token_form", "value", "tokens of the form"),
        ("bits", 77, "not a hash contract"),
        ("schema", {}, "not a hash contract"),
    ],
)
def test_a_doctored_file_is_refused(tmp_path, key, value, message):
    """A contract that no longer fits its digest, or this version, is not used."""
    path = tmp_path / "contract.json"
    path.write_text(json.dumps(make_contract().to_dict() | {key: value}))
    with pytest.raises(ContractError, match=message):
        HashContract.load(path)


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}"])
def test_no_contract_is_a_contract_error(tmp_path, content):
    """A missing, empty or foreign file gives one line."""
    path = tmp_path / "contract.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ContractError):
        HashContract.load(path)


@pytest.mark.parametrize(
    "knobs",
    [{"bits": 0}, {"bits": 31}, {"bits": 2.0}, {"bits": True}, {"seed": -1}, {"seed": 2**32}],
)
def test_impossible_knobs_are_named(knobs):
    """Bits and seed have a range."""
    with pytest.raises(ConfigError, match=next(iter(knobs))):
        make_contract(**knobs)


def test_a_field_name_that_would_make_tokens_ambiguous_is_refused():
    """`=` and `*` are the token form's own."""
    with pytest.raises(ConfigError, match="rename the column"):
        make_contract(fields={"a=b": {}}, crosses=[])


def test_codes_come_apart_into_index_and_sign():
    """The code keeps both, at the ends of the range too."""
    codes = np.array([[0, -1], [2**30 - 1, -(2**30)]], dtype=np.int32)
    index, sign = split_codes(codes)
    assert index.tolist() == [[0, 0], [2**30 - 1, 2**30 - 1]]
    assert sign.tolist() == [[1, -1], [1, -1]]


@pytest.mark.parametrize(
    "label",
    [
        "click",
        {"column": "click", "click": ["yes"]},
        {"column": "click", "impressions": "shown"},
    ],
)
def test_the_label_has_its_columns_name_however_it_is_declared(label):
    """Words and counts are the raw log's; in the canonical one the column holds 0 and 1."""
    schema = Schema.from_dict({"name": "shop", "label": label, "fields": {"page": {}}})
    contract = HashContract.from_schema(schema, bits=4)
    again = HashContract.from_dict(contract.to_dict())
    assert contract.declared.label == again.declared.label == "click"
