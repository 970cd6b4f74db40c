"""The answer of ``explore``: what is new tomorrow, and which fields matter."""

import pandas as pd
import pytest

from tasks.figures import explore


def gains(**by_field):
    table = pd.DataFrame({"gain": by_field}).sort_values("gain", ascending=False)
    return table.assign(share=table["gain"] / 0.5)


@pytest.fixture
def facts():
    sizes = pd.DataFrame({"n_distinct": [7, 900]}, index=["size", "site"])
    new_values = pd.DataFrame({"d2": [0.0, 0.3], "d3": [0.0, 0.2]}, index=["size", "site"])
    gain = gains(site=0.02, size=-0.001)
    return {"overall": 0.17, "n_rows": 1000, "gain": gain, "new_values": new_values, "sizes": sizes}


def test_the_answer_names_fields_new_values_and_sizes(facts):
    """Each number is the one of the tables."""
    text = explore.answer(**facts)
    assert "17.0% of 1,000 rows were clicked" in text
    assert "lower log loss on later rows most: site (by 4.0%)." in text
    assert "New on the last day (d3), as a share of its rows: site 20%." in text
    assert "2 fields have 907 distinct values" in text
    assert "Alone, size predicts later clicks no better" in text


def test_a_single_day_says_nothing_about_tomorrow(facts):
    """No day came before."""
    text = explore.answer(**facts | {"new_values": pd.DataFrame(index=["size", "site"])})
    assert "cannot say what is new tomorrow" in text


def test_a_day_without_anything_new_says_so(facts):
    """Zero is not listed as a share."""
    text = explore.answer(**facts | {"new_values": facts["new_values"] * 0})
    assert "every value of every field had been seen before" in text


@pytest.mark.parametrize("gain", [gains(site=-0.1, size=0.0), gains(site=float("nan"))])
def test_fields_that_predict_nothing_are_not_praised(facts, gain):
    """Also if there were too few rows to tell."""
    assert "No field alone predicts later clicks noticeably." in explore.answer(
        **facts | {"gain": gain}
    )
