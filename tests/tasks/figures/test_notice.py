"""The chart of a notice draws what there is, and is a PNG."""

from tasks.figures.notice import day, png


def test_each_panel_needs_something_to_draw():
    """Models, fields and drift side by side; a project without monitoring has two panels."""
    losses, fields = {"ftrl": (0.43, 0.44), "gone": (None, None)}, [("page", 0.02)]
    whole = day(losses, fields, [("page", 0.3, 0.04), ("ad", 0.1, None)], title="a day")
    assert [axes.get_xlabel() for axes in whole.axes] == [
        "log loss on test rows (nats)",
        "log loss that it saves (nats)",
        "PSI on the last day (nats)",
    ]
    assert [text.get_text() for text in whole.axes[0].get_yticklabels()] == ["ftrl"]
    assert len(day(losses, fields, []).axes) == 2


def test_the_chart_is_a_png_even_of_nothing():
    """As receivers take it."""
    assert png(day({}, [], [])).startswith(b"\x89PNG")
