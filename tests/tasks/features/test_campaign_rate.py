"""The click rate of a campaign so far."""

import pytest

from tasks.features.campaign_rate import campaign_rate


def test_few_impressions_say_little_and_many_decide():
    """One click in one impression is near the average; thousands are what they are."""
    assert campaign_rate(1, 1) == pytest.approx((1 + 50 * 0.17) / 51)
    assert campaign_rate(1_000_000, 20_000) == pytest.approx(0.02, abs=1e-4)
    assert campaign_rate(10, 0) < campaign_rate(1, 0) < 0.17
