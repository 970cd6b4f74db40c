"""What a schema drops gives no token, and stays in the log."""

import numpy as np
import pyarrow as pa
import pytest

from tasks.errors import ConfigError
from tasks.hashing.contract import HashContract
from tasks.hashing.encode import encode_batch
from tasks.hashing.row_encoder import RowEncoder
from tasks.schema import Schema
from tasks.serving.lookup import CodeLookup

RAW = {
    "name": "shop",
    "label": "click",
    "time": {"column": "at", "format": "iso"},
    "features": ["hour_of_day"],
    "fields": {
        "site": {},
        "ip": {},
        "floor": {"type": "number"},
        "tags": {"type": "list", "separator": "|"},
    },
    "crosses": [["site", "ip"]],
}


def schema(*drop: str) -> Schema:
    """Return the shop's declaration without some of it."""
    return Schema.from_dict(RAW | {"drop": list(drop)})


def test_what_is_dropped_has_no_token():
    """A field with its cross, a feature, a number, a list; the rest keeps its order and its fields stay in the log."""
    edges = {"floor": (1.0, 2.0)}
    whole = HashContract.from_schema(schema(), bits=8, edges=edges)
    assert whole.token_fields[:3] == ("site", "ip", "floor")
    less = HashContract.from_schema(schema("ip", "site*ip", "hour_of_day"), bits=8, edges=edges)
    assert set(less.token_fields) == {"site", "floor", "tags"}
    assert HashContract.from_schema(schema("floor", "tags"), bits=8).token_fields == (
        "site", "ip", "hour_of_day", "site*ip",
    )  # fmt: skip
    assert schema("ip", "site*ip").field_names == schema().field_names
    assert less.digest != whole.digest
    assert HashContract.from_dict(less.to_dict()) == less


def test_a_row_and_a_batch_still_agree():
    """At every door; the token of what stays is the one that it was."""
    contracts = [HashContract.from_schema(schema(*drop, "floor", "tags"), bits=12)
                 for drop in ((), ("ip", "site*ip"))]  # fmt: skip
    row = {"site": "a", "ip": "9", "at": "2014-10-21T05:00:00"}
    whole, less = (RowEncoder(contract).encode_row(row) for contract in contracts)
    assert less.tolist() == [whole[0], whole[2]]
    batch = pa.record_batch(
        {"site": ["a"], "at": pa.array(np.array(["2014-10-21T05:00:00"], "datetime64[us]"))}
    )
    assert encode_batch(batch, contracts[1]).tolist() == [less.tolist()]
    lookup = CodeLookup(contracts[1], cache_size=8)
    assert lookup.codes(lookup.texts(row)) == less.tolist()


@pytest.mark.parametrize(
    ("drop", "why"),
    [
        (["ips"], "drop names 'ips', which is no field, feature or cross; did you mean 'ip'"),
        (["ip"], r"drop names 'ip', but 'site\*ip' is made of it; drop 'site\*ip' too"),
        (["ip", "ip"], "'ip' is listed twice"),
        (["site", "ip", "floor", "tags", "site*ip"], "drop leaves no field to learn from"),
        ("ip", "expected a list of names"),
    ],
)
def test_what_cannot_be_dropped_is_one_line(drop, why):
    """When the schema is read."""
    with pytest.raises(ConfigError, match=why):
        Schema.from_dict(RAW | {"drop": drop})


def test_a_field_that_a_feature_reads_is_dropped_with_it(make_feature):
    """Or not at all."""
    make_feature("made", '@feature("ip")\ndef made(ip):\n    return ip\n')
    raw = RAW | {"features": ["made"], "crosses": []}
    with pytest.raises(ConfigError, match="'ip', but 'made' is made of it"):
        Schema.from_dict(raw | {"drop": ["ip"]})
    assert Schema.from_dict(raw | {"drop": ["ip", "made"]}).learned.features == ()
