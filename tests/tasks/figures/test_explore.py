"""What ``explore`` shows: what is new tomorrow, and which fields matter; of any log."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from tasks.figures import explore
from tasks.logs import exploration
from tasks.logs.field_gain import field_gain
from tasks.schema import Schema


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


N = 300


def drawn(values: list, rng: np.random.Generator) -> pd.Categorical:
    """Return a column of these values at random."""
    return pd.Categorical(rng.choice(np.array(values, dtype=object), N))


LOGS = {
    "dollars": {"a": ["$x$", "a$b", "$\\frac{"], "$f$": ["u", "v"]},
    "other scripts": {"a": ["日本語", "ünï", "🙂", "\u202eabc"]},
    "long values": {"a": ["q" * 5000, "line\nbreak"]},
    "names of columns": {"day": ["u", "v"], "hour": ["1", "2"], "label": ["x", "y"], "n_rows": ["1"]},
    "one value": {"a": ["v"]},
    "many fields": {f"f{number}": ["u", "v"] for number in range(300)},
}  # fmt: skip


@pytest.mark.parametrize("one_hour", [False, True])
@pytest.mark.parametrize("fields", LOGS.values(), ids=LOGS)
def test_any_log_is_drawn(fields, one_hour):
    """Every figure and sentence of the notebook; an always-empty column as well. Warnings are errors."""
    rng = np.random.default_rng(0)
    names = [*fields, "nothing"]
    schema = Schema.from_dict(
        {"name": "x", "label": "click", "time": {"column": "ts", "format": "iso"}, "fields": {name: {} for name in names}}
    )  # fmt: skip
    frame = pd.DataFrame({name: drawn(values, rng) for name, values in fields.items()})
    frame["nothing"] = pd.Categorical([None] * N)
    frame["click"] = (rng.random(N) < 0.2).astype("int8")
    step = "0h" if one_hour else "1h"
    frame["ts"] = pd.date_range("2024-05-01", periods=1, tz="UTC")[0] + np.arange(N) * pd.Timedelta(step)  # fmt: skip
    by_day = exploration.ctr_table(frame, frame["ts"].dt.date.rename("day"), label="click")
    explore.rate_over(by_day, title="t", x_label="day", overall=0.2)
    for name in names[:4]:
        table = exploration.ctr_table(frame, name, label="click").nlargest(8, "n_rows")
        explore.rate_of(table, title=f"Click rate by {name}", overall=0.2)
    sizes, new = exploration.field_table(frame, schema), exploration.novelty_table(frame, schema)
    explore.field_sizes(sizes, title="sizes")
    if not new.empty:
        explore.novelty(new, title="new")
    gain = field_gain(frame, schema)
    explore.gains(gain, title="gains")
    assert explore.answer(overall=0.2, n_rows=N, gain=gain, new_values=new, sizes=sizes)
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()
    plt.close("all")
