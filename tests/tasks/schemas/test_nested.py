"""Fields of nested requests are found by their paths."""

import pytest

from tasks.schemas.nested import NestedFields, path_of

BID = {"id": "1", "imp": [{"banner": {"pos": 3}}], "site": {"cat": ["a", "b"], "domain": "x.org"}}
PATHS = {
    "pos": "imp[0].banner.pos",
    "cat": "site.cat",
    "second": "imp[1].banner.pos",
    "site": "site.domain",
}


def test_values_are_found_and_missing_paths_are_missing_values():
    """Lists stay lists, an object under a field's name is looked through, other keys stay."""
    flat = NestedFields(PATHS).flat(BID)
    assert flat == {"id": "1", "pos": 3, "cat": ["a", "b"], "site": "x.org"}


def test_flat_names_win():
    """Where a request gives both."""
    assert NestedFields(PATHS).flat(BID | {"pos": "7"})["pos"] == "7"


@pytest.mark.parametrize(
    "nested", [{"imp": {}}, {"imp": []}, {"imp": [1]}, {"imp": None}, {"site": "x"}]
)
def test_other_shapes_are_missing_values(nested):
    """Nothing is raised."""
    assert "pos" not in NestedFields(PATHS).flat(nested)


@pytest.mark.parametrize("path", ["", "a..b", "a[x]", "[0]", "a.b[1000]", ".".join("a" * 20)])
def test_what_is_no_path_is_refused(path):
    """When the schema is read."""
    with pytest.raises(ValueError, match="from "):
        path_of(path)
