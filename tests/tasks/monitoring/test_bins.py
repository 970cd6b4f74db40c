"""A value falls into one bin, whichever door it came by: the canonical log writes what an exposure holds as it was sent."""

from dataclasses import replace

import pyarrow as pa
import pytest

from tasks.logs.value_text import FieldText
from tasks.monitoring.bins import MISSING, REST, UNSEEN, FieldBins, SeenValues, text_hashes
from tasks.schema import Schema

SCHEMA = Schema.from_dict(
    {
        "name": "shop",
        "label": "click",
        "missing": ["NULL"],
        "fields": {"device": {"missing": "a99f214a"}, "floor": {"type": "number", "missing": "-1"}},
    }
)
DEVICE, FLOOR = (FieldText(SCHEMA, spec) for spec in SCHEMA.fields)


@pytest.fixture
def device():
    """Bins with one frequent value and one of the others."""
    seen = SeenValues()
    seen.add(text_hashes(pa.array(["x", "y"])))
    return FieldBins("device", "text", ["x"], [], seen)


def test_what_stands_for_a_missing_value_is_missing_in_exposures_too(device):
    """The service logs texts as they were sent; a constant for 'no device' was taken for a value that nobody had seen."""
    sent = pa.array(["x", " x ", "y", "a99f214a", "NULL", "", None, "z"])
    bins = replace(device, rule=DEVICE)
    expected = [0, 0, REST, MISSING, MISSING, MISSING, MISSING, UNSEEN]
    assert bins.codes(sent).tolist() == expected
    assert bins.codes(sent.dictionary_encode()).tolist() == expected
    logged = DEVICE.texts(pa.array([text or "" for text in sent.to_pylist()]))
    assert device.codes(logged).tolist() == expected


def test_numbers_of_exposures_are_those_of_the_log():
    """Their missing constant is no quantile."""
    bins = FieldBins("floor", "number", [], [1.0, 2.0], SeenValues(), FLOOR)
    found = bins.codes(pa.array(["0.5", "1.0", "7", "-1", "-1.0", "", None]))
    assert found.tolist() == [0, 1, 2, *[MISSING] * 4]
