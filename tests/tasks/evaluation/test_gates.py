"""Each gate opens and shuts where its limit says, and tells why."""

import re

import pytest

from tasks.errors import ConfigError
from tasks.evaluation.evidence import Promise
from tasks.evaluation.gates import Gates, few_clicks, judge, refused
from tasks.evaluation.succession import Paired

GOOD = {
    "normalized_entropy": 0.9,
    "calibration_ratio": 1.02,
    "n_impressions": 100_000.0,
    "n_clicks": 10_000.0,
    "n_expected": 10_200.0,
}


def whole(ratio: float, n_clicks: float = 10_000.0) -> dict:
    """Return good metrics with another calibration ratio and number of clicks."""
    return GOOD | {"calibration_ratio": ratio, "n_clicks": n_clicks, "n_expected": ratio * n_clicks}


def part(ratio: float, n_clicks: float = 1000.0, value: str = "app") -> dict:
    """Return a slice with so many clicks and a calibration ratio."""
    return {
        "slice": "traffic", "value": value, "n_rows": 10_000, "n_impressions": 10_000.0,
        "n_clicks": n_clicks, "n_expected": ratio * n_clicks if n_clicks else ratio,
    }  # fmt: skip


def test_a_good_model_passes_without_a_champion():
    """The first model needs only the absolute conditions."""
    assert judge("ftrl", GOOD, [part(1.1)], gates=Gates()).passed


@pytest.mark.parametrize(
    ("metrics", "slices", "reason"),
    [
        (GOOD | {"normalized_entropy": 1.0}, [], r"normalized entropy 1\.0000, must be below 1"),
        (GOOD | {"normalized_entropy": float("nan")}, [], "normalized entropy nan"),
        (whole(1.4), [], r"calibration ratio 1\.400 \(95% interval 1\.37\d to 1\.42\d\)"),
        (GOOD, [part(2.0), part(0.4, 500)], r"slice traffic=app \(10,000 rows, 1,000 clicks, 2,000\.0 predicted\).*1 more slice"),
    ],
)  # fmt: skip
def test_each_limit_refuses_with_its_reason(metrics, slices, reason):
    """A refusal says what was measured and what was allowed."""
    verdict = judge("sgd", metrics, slices, gates=Gates())
    assert not verdict.passed
    assert re.search(reason, verdict.reasons[0])


def test_few_clicks_refuse_nobody_by_chance():
    """The same ratio passes with 20 clicks and is refused with 2,000; in a slice as well."""
    assert judge("sgd", whole(1.4, 20), [], gates=Gates()).passed
    assert not judge("sgd", whole(1.4, 2000), [], gates=Gates()).passed
    assert judge("sgd", GOOD, [part(1.5, 12)], gates=Gates()).passed
    assert not judge("sgd", GOOD, [part(1.5, 600)], gates=Gates()).passed


def test_a_slice_needs_more_evidence_among_many():
    """What 60 clicks show of a single slice is chance for the worst of 400."""
    off = part(1.5, 60)
    assert not judge("sgd", GOOD, [off], gates=Gates()).passed
    others = [part(1.0, value=str(number)) for number in range(400)]
    assert judge("sgd", GOOD, [off, *others], gates=Gates()).passed


def test_a_slice_without_a_click_is_refused_where_many_were_predicted():
    """There is no ratio, but there is evidence."""
    verdict = judge("sgd", GOOD, [part(30.0, 0)], gates=Gates())
    assert "0 clicks, 30.0 predicted) has calibration ratio inf" in verdict.reasons[0]
    assert judge("sgd", GOOD, [part(2.0, 0)], gates=Gates()).passed


def test_a_slice_is_not_blamed_for_the_error_of_the_whole():
    """A model that is 20% too high passes as a whole; so do its slices, which scatter around that."""
    assert judge("sgd", whole(1.2), [part(1.27, 500)], gates=Gates()).passed
    assert not judge("sgd", whole(1.0), [part(1.27, 500)], gates=Gates()).passed


@pytest.mark.parametrize(
    ("promised", "passed", "reason"),
    [
        (Promise(0.9, 0.3), True, "right predictions do no better in 30% of cases"),
        (Promise(0.9, 0.001), False, "right predictions do so badly in 0.1% of cases"),
        (Promise(0.9999, 0.6), False, "the predictions hardly differ from each other"),
    ],
)
def test_an_entropy_above_its_limit_may_be_chance(promised, passed, reason):
    """Only where right predictions would often look as bad, and promise anything at all."""
    verdict = judge("a", GOOD | {"normalized_entropy": 1.01}, [], gates=Gates(), promised=promised)
    assert verdict.passed == passed
    assert reason in verdict.checks[0].reason


@pytest.mark.parametrize(("n_clicks", "found"), [(0.0, "no click"), (600.0, "nothing but clicks")])
def test_labels_of_one_kind_are_nothing_to_judge_by(n_clicks, found):
    """One reason, which says how many clicks are needed."""
    nothing = {"n_impressions": 600.0, "n_clicks": n_clicks, "n_expected": 3.0}
    nan = dict.fromkeys(("normalized_entropy", "calibration_ratio"), float("nan"))
    (reason,) = judge("a", nothing | nan, [part(1.0)], gates=Gates()).reasons
    assert reason.startswith(f"{found} among the 600 test impressions")
    assert "about 120 clicks are needed" in reason


def test_few_clicks_are_said_to_be_few():
    """With how many impressions would hold enough; enough clicks, or none, need no sentence."""
    assert "20 clicks among the 40,000 test impressions" in few_clicks(20, 40_000, Gates())
    assert "(here 240,000 impressions)" in few_clicks(20, 40_000, Gates())
    assert few_clicks(120, 40_000, Gates()) is few_clicks(0, 10, Gates()) is None


def test_a_model_without_predictions_is_refused_with_its_reason():
    """As its training, or its rows, told it."""
    assert refused("a", "it diverged").reasons == ["it diverged"]


def against(difference: float, half: float = 0.001, n_clicks: float = 10_000.0) -> Paired:
    """Return a comparison with a champion of log loss 0.4, with an interval of that half width."""
    return Paired(100_000, n_clicks, 0.4, difference, difference - half, difference + half, half)


def test_a_model_is_refused_where_it_is_worse_than_the_champion_beyond_the_interval():
    """Equal is enough, and so is what chance explains; the tolerance is a share of the champion's loss."""
    for difference, passed in ((0.0, True), (0.0009, True), (0.002, False)):
        verdict = judge("a", GOOD, [], gates=Gates(), paired=against(difference))
        assert verdict.passed == passed
    tolerant = Gates(max_relative_loss=0.01)
    assert judge("a", GOOD, [], gates=tolerant, paired=against(0.002)).passed


def test_too_few_clicks_replace_no_champion():
    """A model that nothing else refuses; without a champion they need not be many."""
    few = against(0.0, half=0.02, n_clicks=170)
    verdict = judge("a", whole(1.02, 170), [], gates=Gates(), paired=few)
    assert re.search("too few to replace a champion by.*about 4,250 clicks", verdict.reasons[0])
    wide = Gates(max_undetected_loss=0.1)
    assert judge("a", whole(1.02, 170), [], gates=wide, paired=few).passed
    assert judge("a", whole(1.02, 170), [], gates=Gates()).passed


def test_a_champion_that_learned_the_test_rows_is_not_replaced():
    """There is nothing to compare it on; the reason says so."""
    verdict = judge("a", GOOD, [], gates=Gates(), unbeaten="it has learned all 90 test rows")
    assert verdict.reasons == ["it has learned all 90 test rows"]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"max_entropy": 1}, "unknown limit 'max_entropy'"),
        ({"calibration_ratio": [1.1, 1.2]}, "around 1"),
        ({"slice_calibration_ratio": [0.9]}, "around 1"),
        ({"max_normalized_entropy": 2}, r"in \(0, 1\]"),
        ({"max_relative_loss": -1}, ">= 0"),
        ({"max_undetected_loss": 0}, "> 0"),
        ({"max_false_refusals": 0}, "between 0 and 1"),
        ({"min_slice_rows": 500}, "min_slice_rows: slices are judged by their clicks"),
    ],
)
def test_impossible_limits_are_refused(raw, message):
    """A gate that cannot shut, or never opens, is a mistake in env.yaml."""
    with pytest.raises(ConfigError, match=message):
        Gates.from_dict(raw)


def test_a_model_of_other_data_replaces_no_champion_unless_allowed():
    """However good it is; on purpose it may, and the check says so."""
    other = ("sim://avazu", "s3://bucket/clicks")
    verdict = judge("fm", GOOD, [], gates=Gates(), paired=against(0), origins=other)
    assert verdict.reasons == [
        "it learned from sim://avazu, the champion from s3://bucket/clicks; to replace it on purpose, "
        "set ALLOW_OTHER_DATA=1"
    ]
    on_purpose = judge(
        "fm", GOOD, [], gates=Gates(allow_other_data=True), paired=against(0), origins=other
    )
    assert on_purpose.passed
    assert "allowed by ALLOW_OTHER_DATA=1" in str(on_purpose.to_dict())
    assert judge("fm", GOOD, [], gates=Gates(), paired=against(0), origins=("a", "a")).passed


def test_allow_other_data_is_true_or_false():
    """A text would be true by accident."""
    with pytest.raises(ConfigError, match="allow_other_data must be true or false, found 'no'"):
        Gates.from_dict({"allow_other_data": "no"})


def test_values_that_no_model_has_learned_have_bounds_of_their_own():
    """A campaign of the day is predicted from the rest of its rows alone; far off is refused all the same."""
    new = {"unseen": True}
    for ratio, more, passed in ((0.7, {}, False), (0.7, new, True), (0.4, new, False)):
        verdict = judge("a", GOOD, [part(ratio) | more], gates=Gates())
        assert verdict.passed == passed
    (reason,) = verdict.reasons
    assert "must lie in [0.6, 1.7]" in reason
    narrow = Gates(unseen_calibration_ratio=(0.8, 1.25))
    assert not judge("a", GOOD, [part(0.7) | new], gates=narrow).passed


def test_a_value_that_is_called_unseen_is_a_value_like_others():
    """In a plain slice it is the log's own word."""
    assert not judge("a", GOOD, [part(0.7, value="unseen")], gates=Gates()).passed
