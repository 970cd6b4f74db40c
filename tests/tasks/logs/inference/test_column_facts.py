"""What the values of one column are."""

import pytest

from tasks.logs.inference.column_facts import facts_of


def test_missing_words_are_counted_and_are_no_values():
    """In any case of letters; blanks are nothing."""
    facts = facts_of("os", ["ios", "NULL", "null", " ", None, "N/A", "ios ", "\\N"])
    assert facts.distinct == ["ios"]
    assert facts.missing_words == {"NULL": 1, "null": 1, "N/A": 1, "\\N": 1}
    assert facts.missing_share == 0.75


def test_na_among_countries_is_namibia():
    """And missing among anything else."""
    assert not facts_of("geo", ["DE", "NA", "FR"]).missing_words
    assert facts_of("floor", ["1.5", "NA"]).missing_words == {"NA": 1}


@pytest.mark.parametrize(
    ("texts", "numbers", "integers"),
    [
        (["1", "2.0"], True, True),
        (["1", "0.5"], True, False),
        (["007", "1"], True, False),
        (["4298118681424644510", "1"], True, False),
        (["1", "x"], False, False),
        ([None], False, False),
    ],
)
def test_numbers_and_integers_are_told_apart(texts, numbers, integers):
    """Leading zeros and more digits than a float holds are names."""
    facts = facts_of("x", texts)
    assert (facts.numbers is not None, facts.is_integer) == (numbers, integers)


@pytest.mark.parametrize(
    ("texts", "mark"),
    [
        (["a|b", "b", "a|c|b", "c"], "|"),
        (["10006,10024", "10024,10063", "10063,10006", "10006,10063"], ","),
        (["news sports", "two words", "news"], None),
        (["1,200", "3,400", "12,000"], None),
        (["300x250|top", "728x90|side", "300x600|foot"], None),
        (["http://a.com/x;y", "http://b.com"], None),
        (["Mozilla/5.0 (X; Linux)", "Mozilla/4.0 (Y; Windows)"], None),
        (["a", "b"], None),
        (["12 31", "31 44", "44 12 7", "7"], " "),
    ],
)
def test_lists_are_told_from_texts_that_hold_a_mark(texts, mark):
    """Items come again in other combinations and other places; sentences, amounts, addresses and keys are no lists."""
    assert facts_of("x", texts * 10).list_mark == mark


def test_a_column_of_its_own_for_each_row_is_an_identifier():
    """Unless the sample is too small to tell."""
    assert facts_of("id", [str(row) for row in range(100)]).is_identifier
    assert not facts_of("id", [str(row) for row in range(20)]).is_identifier
    assert not facts_of("id", [str(row % 50) for row in range(100)]).is_identifier
