"""How often the campaign of an impression was clicked on earlier days."""

from tasks.features import statistic

_PRIOR_ROWS, _PRIOR_RATE = 50, 0.17  # a new campaign is an average one


@statistic("C17", buckets=[0.02, 0.05, 0.08, 0.11, 0.14, 0.17, 0.2, 0.25, 0.3, 0.4])
def campaign_rate(impressions: int, clicks: int) -> float:
    """Return the click rate, as if the campaign had had 50 average impressions before.

    Examples
    --------
    >>> round(campaign_rate(950, 292), 2), round(campaign_rate(2, 2), 2)
    (0.3, 0.2)
    """
    return (clicks + _PRIOR_ROWS * _PRIOR_RATE) / (impressions + _PRIOR_ROWS)
