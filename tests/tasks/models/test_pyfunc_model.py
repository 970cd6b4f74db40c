"""Data frames of any kind get what requests get; what would silently be another token is refused."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from tasks.errors import InputError
from tasks.hashing.contract import HashContract
from tasks.models.artifact import ScoringModel
from tasks.models.pyfunc_model import FrameModel, _load_pyfunc
from tasks.schema import Schema
from tests.bentos.ctr.artifacts import artifact
from tests.impressions import CONTRACT


@pytest.fixture(scope="module")
def model():
    weights = np.random.default_rng(4).normal(size=CONTRACT.n_features).astype(np.float32)
    return ScoringModel({"weights": weights}, -1.0, CONTRACT, name="any", kind="ftrl", params={})


MOMENT = datetime(2026, 11, 27, 18, 5)
COLUMNS = {
    "text": {"site": ["a", "ü*=", ""]},
    "integers": {"site": ["a", "b", "c"], "n": [1, -2, 2**53]},
    "floats for integers with gaps": {"n": [1.0, float("nan"), 3.0]},
    "fractions": {"n": [0.1, 0.5, -0.0]},
    "single precision": {"n": np.array([0.1, 0.5, 7], dtype=np.float32)},
    "booleans": {"n": [True, False, True]},
    "nullable integers": {"n": pd.array([2**60, None, 1], dtype="Int64")},
    "mixed": {"n": [1, "1", None], "site": ["x", None, 1.0]},
    "categories": {"site": pd.Categorical(["a", None, "a"])},
    "all missing": {"site": [None, None, None]},
    "other columns too": {"site": ["a", "b", "c"], "price": [1, 2, 3]},
    "times as text": {"when": ["2026-11-27T18:05:00", "2026-11-28", None]},
    "moments": {"when": pd.to_datetime([MOMENT, None, MOMENT])},
    "moments of another zone": {
        "when": pd.to_datetime(pd.Series([MOMENT] * 3)).dt.tz_localize("Asia/Tokyo")
    },
    "one moment among texts": {"when": [MOMENT.replace(tzinfo=UTC), "2026-11-27T18:05:00", None]},
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_a_frame_gets_what_its_rows_get_as_requests(model, kind):
    """Row by row, to the last bit or nearly; the index does not matter."""
    frame = pd.DataFrame(COLUMNS[kind], index=[7, 7, 3])
    rows = [
        {name: None if pd.isna(value) else value for name, value in zip(frame, row, strict=True)}
        for row in zip(*(frame[name].to_numpy() for name in frame), strict=True)
    ]
    if "when" in frame:
        rows = [{"when": None if pd.isna(value) else value} for value in frame["when"]]
    np.testing.assert_allclose(
        FrameModel(model).predict(frame), model.predict_rows(rows), rtol=0, atol=1e-12
    )


def test_a_number_may_be_large_and_a_list_may_be_one():
    """A number's bucket needs no digits; lists are those of requests, arrays included."""
    schema = Schema.from_dict(
        {
            "name": "x",
            "label": "y",
            "fields": {"n": {"type": "number"}, "tags": {"type": "list", "max_items": 3}},
        }
    )
    contract = HashContract.from_schema(schema, bits=10, edges={"n": [0.0, 1.0, 1e18]})
    weights = np.random.default_rng(4).normal(size=contract.n_features).astype(np.float32)
    model = ScoringModel({"weights": weights}, -1.0, contract, name="any", kind="ftrl", params={})
    tags = [["a", "b", None, "a"], np.array(["a", "b"]), None, "a|b"]
    rows = [{"n": 1e17, "tags": ["a", "b"]}, {"tags": ["a", "b"]}, {"n": 2e300}, {"tags": "a|b"}]
    frame = pd.DataFrame({"n": [1e17, np.nan, 2e300, np.nan], "tags": tags})
    found = FrameModel(model).predict(frame)
    np.testing.assert_allclose(found, model.predict_rows(rows), rtol=0, atol=1e-12)


def test_a_time_that_pandas_read_as_a_float_is_the_integer_that_it_was(tmp_path):
    """A column of hours with a gap; the form ``14102100.0`` would not be a time."""
    found = _load_pyfunc(str(artifact(tmp_path / "model")))
    frame = pd.DataFrame({"hour": [14102105.0, float("nan")]})
    expected = found.model.predict_rows([{"hour": "14102105"}, {}])
    np.testing.assert_allclose(found.predict(frame), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"price": [1]}, "none of the model's columns"),
        ({"n": [1e17]}, "digits are lost; give the column as text"),
        ({"site": [b"a"]}, "field 'site': expected text, a number or nothing, found bytes"),
        ({"site": pd.Series(["\ud800"], dtype=object)}, "field 'site'"),
        ({"when": ["yesterday"]}, "'yesterday' is not a time"),
        ({"when": [["2026"]]}, "not a time"),
    ],
)
def test_what_has_no_token_is_refused_by_name(model, columns, message):
    """One line, whatever the value."""
    with pytest.raises(InputError, match=message):
        FrameModel(model).predict(pd.DataFrame(columns))


def test_a_frame_without_rows_has_no_predictions(model):
    """The shape still says what they are."""
    assert FrameModel(model).predict(pd.DataFrame({"site": []})).shape == (0,)
