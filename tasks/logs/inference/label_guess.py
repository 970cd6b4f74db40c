"""Which column says whether there was a click, and in which words."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from tasks.errors import InputError
from tasks.logs.inference.column_facts import ColumnFacts

_CLICK = {"click", "clicks", "clicked", "clk", "isclick", "isclicked", "nclick", "nclicks", "tapped", "tap"}  # fmt: skip
_LABEL = {"label", "target", "y", "response", "outcome"}
_LATER = {"converted", "conversion", "isattributed", "bought", "purchase", "purchased", "installed"}
_SHOWN = {"impression", "impressions", "imp", "imps", "shown", "views", "displays", "nimpressions"}
_YES = ("click", "clicked", "clk", "tap", "yes", "y", "t", "true", "1")
_PLAIN = {"0": 0, "1": 1, "false": 0, "true": 1}
_MAX_WORDS = 30


@dataclass(frozen=True)
class LabelGuess:
    """The label: what the schema says, why, and for each row the clicks and the impressions, float64."""

    column: str
    declared: str | dict[str, Any]
    why: str
    clicks: np.ndarray
    shown: np.ndarray

    @property
    def columns(self) -> set[str]:
        """The columns that are taken."""
        more = self.declared.get("impressions") if isinstance(self.declared, dict) else None
        return {self.column} | ({more} if more else set())

    @property
    def rate(self) -> float:
        """Clicks per impression."""
        return float(self.clicks.sum() / max(1.0, self.shown.sum()))


def guess_label(
    columns: Mapping[str, ColumnFacts], source: str, *, named: str | None = None
) -> LabelGuess:
    """Return the label: counts of clicks and impressions, two values, or a word among a few.

    Parameters
    ----------
    columns
        By name, in the order of the file.
    source
        For messages.
    named
        The column, if somebody knows it.

    Raises
    ------
    InputError
        If no column can be one.
    """
    if named is not None:
        if named not in columns:
            raise InputError(
                f"{source}: no column {named!r} for the label; found {', '.join([*columns][:20])}"
            )
        columns = {named: columns[named]} | {
            name: facts for name, facts in columns.items() if _plain(name) in _SHOWN
        }
    if counts := _counts(columns):
        return counts
    found = [
        (_rank(facts, named), guess) for facts in columns.values() if (guess := _of_column(facts))
    ]
    if not found:
        raise InputError(
            f"{source}: no column looks like a label (0 and 1, or click among a few words); name it: "
            "make schema DATA=... LABEL=column"
        )
    rank, best = min(found, key=lambda one: one[0])
    others = [guess.column for other, guess in found if other == rank == 4 and guess is not best]
    if others:
        note = f"; no name says click, and {', '.join(others[:5])} have two values as well: is it the right one?"
        return LabelGuess(best.column, best.declared, best.why + note, best.clicks, best.shown)
    return best


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _rank(facts: ColumnFacts, named: str | None) -> int:
    name = _plain(facts.name)
    ranks = ({_plain(named)} if named else set(), _CLICK, _LABEL, _LATER)
    return next((place for place, names in enumerate(ranks) if name in names), 4)


def _counts(columns: Mapping[str, ColumnFacts]) -> LabelGuess | None:
    """Return counts of clicks among impressions, if two columns are such."""
    numeric = [facts for facts in columns.values() if facts.is_integer]
    pairs = [
        (clicked, shown)
        for clicked in numeric
        for shown in numeric
        if _plain(clicked.name) in _CLICK and _plain(shown.name) in _SHOWN
    ]
    pairs += [
        (clicked, shown)
        for clicked, shown in pairwise(columns.values())
        if re.fullmatch(r"c\d", clicked.name) and clicked.is_integer and shown.is_integer
    ]
    for clicked, shown in pairs:
        n_clicks, n_shown = _rows(clicked, 0.0), _rows(shown, 0.0)
        few = n_clicks.min() >= 0 and 1 <= np.median(n_shown) <= 100
        named = _plain(clicked.name) in _CLICK
        if (
            (n_clicks <= n_shown).mean() > 0.99
            and n_shown.max() > 1
            and (named or (few and n_clicks.max() > 1 and n_clicks.mean() < 1))
        ):
            declared = {"column": clicked.name, "impressions": shown.name}
            why = "counts: a row stands for that many impressions"
            if not named:
                why += "; guessed from the numbers, as no column has a name"
            return LabelGuess(clicked.name, declared, why, n_clicks, n_shown)
    return None


def _rows(facts: ColumnFacts, missing: float) -> np.ndarray:
    numbers = facts.numbers
    if numbers is None:
        return np.full(facts.n_rows, missing)
    return np.append(numbers, missing)[facts.codes]


def _of_column(facts: ColumnFacts) -> LabelGuess | None:
    """Return the column as a label, if its values can be one."""
    if not facts.distinct or facts.n_values > _MAX_WORDS:
        return None
    known = [_PLAIN.get(_word(text)) for text in facts.distinct]
    if all(value is not None for value in known):
        shown = ", ".join(
            f"{text} in {count:,} rows"
            for text, count in zip(facts.distinct, facts.counts, strict=True)
        )
        return _guess(facts, [value == 1 for value in known], facts.name, shown)
    numbers = facts.numbers
    if numbers is not None:
        if {*numbers.tolist()} == {-1.0, 1.0}:
            yes = next(
                text for text, number in zip(facts.distinct, numbers, strict=True) if number > 0
            )
            return _words(facts, yes)
        return None
    said = next((text for one in _YES for text in facts.distinct if text.lower() == one), None)
    return _words(facts, said) if said else None


def _word(text: str) -> str:
    try:
        return f"{float(text):g}"
    except ValueError:
        return text.lower()


def _words(facts: ColumnFacts, yes: str) -> LabelGuess:
    counts = [
        f"{text} in {count:,}"
        for text, count in zip(facts.distinct, facts.counts.tolist(), strict=True)
    ]
    declared: dict[str, Any] = {"column": facts.name, "click": [yes]}
    declared["no_click"] = [text for text in facts.distinct if text != yes]
    why = f"{', '.join(counts[:6])} rows; take out what is no impression"
    return _guess(facts, [text == yes for text in facts.distinct], declared, why)


def _guess(
    facts: ColumnFacts, yes: list[bool], declared: str | dict[str, Any], why: str
) -> LabelGuess:
    clicks = np.array([*map(float, yes), 0.0])[facts.codes]
    return LabelGuess(facts.name, declared, why, clicks, np.ones(facts.n_rows))
