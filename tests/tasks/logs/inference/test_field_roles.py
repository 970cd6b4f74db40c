"""What each column is to a model."""

import random

import numpy as np
import pytest

from tasks.logs.inference.column_facts import facts_of
from tasks.logs.inference.field_roles import id_of, roles_of
from tasks.logs.inference.label_guess import guess_label

N = 2_000
DRAW = random.Random(3)
CLICKS = [int(DRAW.random() < 0.2) for _ in range(N)]


def role(name, texts, *, clicks=CLICKS, times=()):
    columns = {name: facts_of(name, texts)}
    label = guess_label({"click": facts_of("click", list(map(str, clicks)))}, "log.csv")
    (found,) = roles_of(columns, label, times=list(times))
    return found


@pytest.mark.parametrize(
    ("name", "texts", "entry"),
    [
        ("page", [f"p{row % 7}" for row in range(N)], {}),
        ("floor", [f"{DRAW.random():.3f}" for _ in range(N)], {"type": "number"}),
        ("n_visits", [str(row % 90) for row in range(N)], {"type": "number"}),
        ("I5", [str(int(DRAW.expovariate(1) ** 4 * 9)) for _ in range(N)], {"type": "number", "buckets": "log"}),
        ("position", [str(row % 5) for row in range(N)], {}),
        ("creative", [str(15_000 + 37 * (row % 60)) for row in range(N)], {}),
        ("adgroup_id", [str(int(DRAW.expovariate(0.1))) for _ in range(N)], {}),
        ("segments", ["|".join(DRAW.sample("abcdef", 1 + row % 3)) for row in range(N)], {"type": "list"}),
    ],
)  # fmt: skip
def test_categories_numbers_and_lists_are_told_apart(name, texts, entry):
    """Fractions and counts are numbers; integers that are names stay categories, however many they are."""
    found = role(name, texts)
    assert found.kept
    assert {key: value for key, value in found.entry.items() if key != "example"} == entry


@pytest.mark.parametrize(
    ("name", "texts", "reason"),
    [
        ("nonclk", [str(1 - click) for click in CLICKS], "lowers the log loss by"),
        (
            "x",
            ["far" if click else f"near{row % 3}" for row, click in enumerate(CLICKS)],
            "lowers the log loss by",
        ),
        ("x", [f"{click + DRAW.random() / 2:.4f}" for click in CLICKS], "lowers the log loss by"),
        (
            "x",
            [f"v{row}" if click else None for row, click in enumerate(CLICKS)],
            "known after the click",
        ),
        ("payprice", [str(row % 70) for row in range(N)], "by its name"),
        ("n_conversions", [str(row % 2) for row in range(N)], "by its name"),
        ("request", [f"{row:x}" for row in range(N)], "an identifier"),
        ("url", [None] * N, "empty"),
    ],
)
def test_what_a_model_must_not_see_is_left_out(name, texts, reason):
    """What says what happened, and what never comes again; each with its reason."""
    found = role(name, texts)
    assert not found.kept
    assert reason in found.why


def test_another_time_is_left_out():
    """The moment never comes again."""
    found = role(
        "loaded_at", [f"2024-05-{1 + row % 28:02d}" for row in range(N)], times=["loaded_at"]
    )
    assert (found.kept, found.entry) == (False, {})


def test_a_strong_honest_field_stays():
    """A page that is clicked four times as often as others is no leak."""
    pages = [f"p{int(DRAW.random() < (0.7 if click else 0.2))}" for click in CLICKS]
    assert role("page", pages).kept


def test_few_clicks_tell_no_leak():
    """Chance alone would make one of any field; the names still count."""
    clicks = [int(row in (5, 700)) for row in range(N)]
    assert role("x", [str(click) for click in clicks], clicks=clicks).kept
    assert not role("conversion", [str(click) for click in clicks], clicks=clicks).kept


def test_a_value_that_may_mean_missing_is_asked_about():
    """Only the team knows."""
    assert "-1 means missing" in role("C20", ["-1", "100084"] * (N // 2)).why


def test_examples_are_nobodys_own():
    """Addresses, and values that belong to a row each, are not written into a file that is shared."""
    assert "example" not in role("mail", ["a@b.ch", "c@d.ch"] * (N // 2)).entry
    assert role("os", ["ios", "ios", "android", "ios"] * (N // 4)).entry["example"] == "ios"


def test_the_impressions_id_is_found():
    """All values differ, and the name says so; a user's is none."""
    unique = [f"{row:08x}" for row in range(N)]
    assert id_of({"bidid": facts_of("bidid", unique)}) == "bidid"
    assert id_of({"user_id": facts_of("user_id", unique)}) is None
    assert id_of({"id": facts_of("id", [*unique[:-1], unique[0]])}) is None


def test_gains_do_not_depend_on_the_order_of_the_rows():
    """A sample sorted by the label would make everything a leak, or nothing."""
    order = np.argsort(CLICKS, kind="stable")
    pages = [f"p{row % 7}" for row in range(N)]
    found = role("page", [pages[row] for row in order], clicks=[CLICKS[row] for row in order])
    assert found.kept
