"""The format of an ad."""

import pytest

from tasks.features.ad_format import ad_format


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        ("320", "50", "wide 320x50"),
        ("100", "50", "wide 100x50"),
        ("99", "50", "box 99x50"),
        ("50", "100", "tall 50x100"),
        ("250", "250", "box 250x250"),
        (None, "50", None),
        ("320", None, None),
    ],
)
def test_a_format_has_its_shape_and_size(width, height, expected):
    """At the limits of each shape, and of nothing without both."""
    assert ad_format(width, height) == expected
