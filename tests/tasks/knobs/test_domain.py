"""Domains in words, and the page that lists them."""

import pytest

from tasks.knobs.domain import all_knobs, declared, page
from tests.conftest import ROOT


def test_the_page_of_the_documents_is_the_one_that_the_code_writes():
    """`clicklab knobs > docs/knobs.md` brings it up to date."""
    assert (ROOT / "docs" / "knobs.md").read_text() == page()


@pytest.mark.parametrize("name", list(all_knobs()))
def test_every_knob_says_what_it_may_be_and_what_it_is_for(name):
    """In one line."""
    knob = declared(tuple(name.split(".")))
    assert knob.domain and knob.about
    assert "\n" not in knob.domain + knob.about
    assert "BaseModel" not in knob.about


@pytest.mark.parametrize(
    ("loc", "path", "domain"),
    [
        (("hash", "bits"), ("hash", "bits"), "an integer from 1 to 30"),
        (("engine", "name"), ("engine",), "local or dask"),
        (("engine", "cluster", "dask", "workers"), ("engine", "dask", "workers"), "an integer of at least 1"),
        (
            ("models", "search", "model", "search", "grid", "grid", "alpha"),
            ("models", "search", "search", "grid", "alpha"),
            "a list that is not empty",
        ),
        (
            ("models", "m", "model", "search", "optuna", "space", "span", "span", "low"),
            ("models", "m", "search", "space", "span", "low"),
            "a number",
        ),
        (("gates", "calibration_ratio", 1), ("gates", "calibration_ratio", 1), "a number"),
        (("models", "a/b", "[key]"), ("models", "a/b"), "text that matches [A-Za-z0-9][A-Za-z0-9_.-]{0,53}"),
    ],
)  # fmt: skip
def test_the_path_of_the_file_follows_from_pydantics(loc, path, domain):
    """Which also names the alternative that was taken, even where a key has that name too."""
    knob = declared(loc)
    assert (knob.path, knob.domain) == (path, domain)
