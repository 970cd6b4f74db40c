"""A declaration says what a function reads and gives; one that contradicts itself is refused in one line."""

import pytest

from tasks.errors import ConfigError
from tasks.features import DAY, HOUR, TIME, feature, statistic
from tasks.features.kinds.declaration import declared
from tasks.features.kinds.past import Past


def one(text):
    return text


def two(text, other):
    return text, other


def test_a_feature_stays_the_function_that_it_is():
    """It can be called, and carries its declaration."""
    function = feature("site", HOUR, values=["a", "b"])(two)
    assert function is two and two("x", None) == ("x", None)
    found = declared(two)
    assert (found.name, found.inputs, found.fields) == ("two", ("site", HOUR), ("site",))
    assert found.columns == ("two.a", "two.b") and found.reads_time
    assert declared(lambda: 1) is None


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: feature()(one), "at least one, found \\(\\)"),
        (lambda: feature(one), "@feature stands alone"),
        (lambda: feature("site", "n")(one), "has 2 inputs, but its function does not take so many"),
        (lambda: feature("@minute")(one), "no time '@minute'; use TIME, HOUR or DAY"),
        (lambda: statistic(two), "@statistic stands alone"),
        (lambda: statistic("site")(one), "has 2 inputs, but its function does not take so many"),
        (lambda: statistic("@minute")(two), "no time '@minute'"),
        (lambda: statistic("site", buckets=[2, 1])(two), "`buckets` are ascending numbers"),
        (lambda: feature(TIME, 3)(two), "inputs are names of fields"),
        (lambda: feature("site")(len), "declares a plain function, found <built-in"),
        (lambda: feature(DAY, buckets=[])(one), "`buckets` are ascending numbers"),
        (lambda: feature(DAY, buckets=[1, 1])(one), "`buckets` are ascending numbers"),
        (lambda: feature(DAY, buckets=[1, float("nan")])(one), "`buckets` are ascending numbers"),
        (lambda: feature(DAY, buckets=[True, 2])(one), "`buckets` are ascending numbers"),
        (lambda: feature(DAY, values=["a", "a"])(one), "`values` are different names"),
        (lambda: feature(DAY, values="ab")(one), "`values` are different names"),
        (lambda: feature(DAY, values=["a*b"])(one), "`values` are different names"),
        (lambda: feature(DAY, values=[])(one), "`values` are different names"),
        (lambda: feature(DAY, values=["a"], buckets=[1])(one), "keep one of them"),
    ],
)  # fmt: skip
def test_a_contradiction_is_named(declare, message):
    """With what to write."""
    with pytest.raises(ConfigError, match=message):
        declare()


def test_a_statistic_reads_its_field_and_the_day():
    """Its function gets counts, and nothing else; of a value without a past it gives nothing."""

    @statistic("site", values=["rows", "rate"])
    def so_far(impressions, clicks):
        return impressions, clicks / impressions

    found = declared(so_far)
    assert (found.inputs, found.is_statistic, so_far(4, 1)) == (("site", DAY), True, (4, 0.25))
    with_past = found.with_past(Past({"a": [(0, 4, 1)]}))
    assert [with_past.function(value, None) for value in ("a", "b")] == [(4, 0.25), (None, None)]


def test_a_statistic_of_a_time_is_refused():
    """Its values are those of a field."""
    with pytest.raises(ConfigError, match="counts the values of a field, found '@hour'"):
        statistic(HOUR)(two)


def test_a_coroutine_is_no_feature():
    """It would give another object at every call."""

    async def later(text):
        return text

    with pytest.raises(ConfigError, match="declares a plain function"):
        feature("site")(later)
