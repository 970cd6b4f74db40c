"""Each gate opens and shuts where its limit says, and tells why."""

import pytest

from tasks.errors import ConfigError
from tasks.evaluation.gates import Gates, judge

GOOD = {"normalized_entropy": 0.9, "calibration_ratio": 1.02}


def part(ratio: float, n_rows: int = 10_000) -> dict:
    return {"slice": "traffic", "value": "app", "n_rows": n_rows, "calibration_ratio": ratio}


def test_a_good_model_passes_without_a_champion():
    """The first model needs only the absolute conditions."""
    assert judge("ftrl", GOOD, [part(1.1)], gates=Gates()).passed


@pytest.mark.parametrize(
    ("changes", "slices", "reason"),
    [
        ({"normalized_entropy": 1.0}, [], r"normalized entropy 1\.0000, must be below 1"),
        ({"normalized_entropy": float("nan")}, [], "normalized entropy nan"),
        ({"calibration_ratio": 1.4}, [], r"calibration ratio 1\.400"),
        (
            {},
            [part(2.0), part(0.4, n_rows=5000)],
            r"slice traffic=app \(10,000 rows\).*1 more slices",
        ),
    ],
)
def test_each_limit_refuses_with_its_reason(changes, slices, reason):
    """A refusal says what was measured and what was allowed."""
    import re

    verdict = judge("sgd", GOOD | changes, slices, gates=Gates())
    assert not verdict.passed
    assert re.search(reason, verdict.reasons[0])


def test_few_rows_refuse_nobody_by_chance():
    """Only an interval that lies wholly outside shows that the calibration is off."""
    off = GOOD | {"calibration_ratio": 1.3}
    assert judge("sgd", off | {"calibration_interval": (1.1, 1.5)}, [], gates=Gates()).passed
    verdict = judge("sgd", off | {"calibration_interval": (1.26, 1.34)}, [], gates=Gates())
    assert "95% interval 1.260 to 1.340" in verdict.reasons[0]


def test_a_small_slice_is_not_judged():
    """A ratio over few rows is noise."""
    assert judge("sgd", GOOD, [part(3.0, n_rows=1999)], gates=Gates(min_slice_rows=2000)).passed


def test_a_model_as_good_as_the_champion_passes_and_a_worse_one_does_not():
    """No worse means equal is enough; the tolerance is a share of the champion's value."""
    champion = {"normalized_entropy": 0.9}
    worse = GOOD | {"normalized_entropy": 0.905}
    assert judge("a", GOOD, [], gates=Gates(), champion=champion).passed
    assert not judge("a", worse, [], gates=Gates(), champion=champion).passed
    assert judge("a", worse, [], gates=Gates(max_relative_loss=0.01), champion=champion).passed


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"max_entropy": 1}, "unknown limit 'max_entropy'"),
        ({"calibration_ratio": [1.1, 1.2]}, "around 1"),
        ({"slice_calibration_ratio": [0.9]}, "around 1"),
        ({"max_normalized_entropy": 2}, r"in \(0, 1\]"),
        ({"max_relative_loss": -1}, ">= 0"),
    ],
)
def test_impossible_limits_are_refused(raw, message):
    """A gate that cannot shut, or never opens, is a mistake in env.yaml."""
    with pytest.raises(ConfigError, match=message):
        Gates.from_dict(raw)


def test_a_model_of_other_data_replaces_no_champion_unless_allowed():
    """However good it is; on purpose it may, and the check says so."""
    other = ("sim://avazu", "s3://bucket/clicks")
    verdict = judge("fm", GOOD, [], gates=Gates(), champion=GOOD, origins=other)
    assert verdict.reasons == [
        "it learned from sim://avazu, the champion from s3://bucket/clicks; to replace it on purpose, "
        "set ALLOW_OTHER_DATA=1"
    ]
    on_purpose = judge(
        "fm", GOOD, [], gates=Gates(allow_other_data=True), champion=GOOD, origins=other
    )
    assert on_purpose.passed
    assert "allowed by ALLOW_OTHER_DATA=1" in str(on_purpose.to_dict())
    assert judge("fm", GOOD, [], gates=Gates(), champion=GOOD, origins=("a", "a")).passed


def test_allow_other_data_is_true_or_false():
    """A text would be true by accident."""
    with pytest.raises(ConfigError, match="allow_other_data must be true or false, found 'no'"):
        Gates.from_dict({"allow_other_data": "no"})
