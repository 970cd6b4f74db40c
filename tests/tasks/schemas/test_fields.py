"""Fields and slices as a schema declares them."""

import pytest

from tasks.schemas.fields import Field


def test_the_default_is_a_category():
    """Scalars of YAML become texts."""
    assert Field.from_raw("page", None) == Field("page")
    assert Field.from_raw("pos", {"missing": -1, "example": 0}).missing == "-1"


def test_numbers_and_lists_have_their_keys():
    """`type` and `from` are words that Python keeps for itself."""
    floor = Field.from_raw("floor", {"type": "number", "buckets": "log", "from": "imp[0].bidfloor"})
    assert (floor.kind, floor.buckets, floor.source) == ("number", "log", "imp[0].bidfloor")
    assert Field.from_raw("tags", {"type": "list", "separator": ",", "max_items": 3}).max_items == 3


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("a=b", None, "which tokens need"),
        ("", None, "is empty"),
        ("a", {"type": "float"}, "type is 'float'; choose from"),
        ("a", {"kind": "number"}, "unknown key 'kind'"),
        ("a", {"name": "b"}, "the name stands before the colon"),
        ("a", {"buckets": "equal"}, "choose from"),
        ("a", {"n_buckets": True}, "n_buckets must be an integer"),
        ("a", {"max_items": 0}, "max_items must be an integer"),
        ("a", {"pattern": "["}, "pattern: unterminated"),
        ("a", {"example": ["x"]}, "expected text or a number"),
        ("a", "category", "expected a mapping or nothing"),
    ],
)
def test_a_field_that_cannot_be_is_refused(name, raw, message):
    """In one sentence; the schema adds the line."""
    with pytest.raises(ValueError, match=message):
        Field.from_raw(name, raw)
