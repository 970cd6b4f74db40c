"""Which column is the label, and in which words."""

import numpy as np
import pytest

from tasks.errors import InputError
from tasks.logs.inference.column_facts import facts_of
from tasks.logs.inference.label_guess import guess_label


def label(named=None, **columns):
    facts = {name: facts_of(name, texts) for name, texts in columns.items()}
    return guess_label(facts, "log.csv", named=named)


@pytest.mark.parametrize("texts", [["0", "1"], ["0.0", "1.000"], ["FALSE", "TRUE"], ["false", "1"]])
def test_numbers_and_booleans_need_no_words(texts):
    """However they are written: ingest reads them without being told."""
    found = label(page=["a", "b"], click=texts)
    assert (found.declared, found.clicks.tolist()) == ("click", [0, 1])


@pytest.mark.parametrize(
    ("texts", "click", "no_click"),
    [
        (["view", "click", "view", "skip"], ["click"], ["view", "skip"]),
        (["-1", "1", "-1"], ["1"], ["-1"]),
        (["Y", "N", "N"], ["Y"], ["N"]),
    ],
)
def test_words_are_declared(texts, click, no_click):
    """All that were seen, so that a new word is noticed."""
    found = label(event=texts)
    assert found.declared == {"column": "event", "click": click, "no_click": no_click}
    assert found.clicks.sum() == 1


def test_clicks_among_impressions_are_counts():
    """The rate is that of the impressions."""
    found = label(Click=["0", "2", "1"], Impression=["1", "3", "4"], page=["a", "b", "c"])
    assert found.declared == {"column": "Click", "impressions": "Impression"}
    assert found.columns == {"Click", "Impression"}
    assert found.rate == 3 / 8


def test_counts_without_names_are_guessed_with_a_word_of_warning():
    """Two columns side by side of which the first is never more than the second."""
    found = label(
        c1=["0", "2", "0", "0", "1"], c2=["1", "3", "1", "2", "1"], c3=["7", "8", "9", "7", "8"]
    )
    assert found.declared == {"column": "c1", "impressions": "c2"}
    assert "guessed" in found.why


@pytest.mark.parametrize(
    ("columns", "chosen"),
    [
        ({"is_mobile": ["0", "1"], "is_click": ["0", "1"], "converted": ["0", "0"]}, "is_click"),
        ({"is_mobile": ["0", "1"], "label": ["0", "1"]}, "label"),
        ({"c1": ["0", "1"], "c2": ["1", "0"]}, "c1"),
    ],
)
def test_a_name_decides_between_columns_of_two_values(columns, chosen):
    """Without one it is the first, and the reason asks."""
    found = label(**columns)
    assert found.column == chosen
    assert ("is it the right one?" in found.why) == (chosen == "c1")


def test_a_person_may_name_it():
    """Another column of two values is then one of the others."""
    assert label(named="won", click=["0", "1"], won=["1", "0"]).column == "won"
    with pytest.raises(InputError, match=r"no column 'gone' for the label; found click, won"):
        label(named="gone", click=["0", "1"], won=["1", "0"])


def test_a_log_without_a_label_is_one_line():
    """It says how to name one."""
    with pytest.raises(InputError, match=r"no column looks like a label .*LABEL=column"):
        label(page=["a", "b"], price=["1.5", "2.5"])


def test_a_row_without_a_label_is_no_click():
    """Ingest will say what is wrong with it."""
    assert np.array_equal(label(click=["1", None, "0"]).clicks, [1, 0, 0])
