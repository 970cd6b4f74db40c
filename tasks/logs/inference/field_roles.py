"""What each column is to a model: a category, a number, a list, an identifier, or something it must not see."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from tasks.logs.field_gain import field_gain
from tasks.logs.inference.column_facts import ColumnFacts
from tasks.logs.inference.label_guess import LabelGuess
from tasks.logs.value_text import ITEM_MARK
from tasks.schema import Schema

_LATER_WORDS = {
    "conversion", "conversions", "converted", "purchase", "purchased", "purchases", "revenue", "attributed", "payprice",
    "installed", "winprice", "clearing", "dwell",
}  # fmt: skip
_LATER_NAMES = {
    "conv", "order", "orders", "paid", "paying", "won", "win", "install", "bounce", "nonclk", "clk", "click", "clicks", "clicked",
    "nclick", "nconversation", "isclick", "payingprice",
}  # fmt: skip
_IDENTIFIES = {
    "id", "ids", "uid", "uuid", "guid", "code", "zip", "zipcode", "postcode", "ip", "user", "device", "app", "os",
    "site", "ad", "campaign", "creative", "channel", "page", "product", "item", "category", "cat", "brand", "region",
    "city", "country", "domain", "publisher", "advertiser", "adgroup", "segment", "version", "type", "model", "hash",
}  # fmt: skip
_MEASURES = {
    "price", "floor", "bid", "bidfloor", "bidprice", "amount", "count", "n", "num", "number", "cnt", "age", "duration", "length",
    "score", "rate", "ctr", "distance", "cost", "budget", "seconds", "ms", "days", "hours", "lat", "lon", "latitude",
    "longitude", "recency", "frequency", "freq", "views", "size", "slotprice", "income", "rank",
}  # fmt: skip
_FEW_NUMBERS = 20  # integers of fewer values are categories
_LEAK, _FEW_CLICKS = 0.5, 20
_BINS = 20


@dataclass(frozen=True)
class Role:
    """What is suggested for one column: the entry of ``fields``, and why; `kept` is false where it is left out."""

    name: str
    entry: dict[str, Any] = field(default_factory=dict)
    why: str = ""
    kept: bool = True


def roles_of(
    columns: Mapping[str, ColumnFacts], label: LabelGuess, *, times: list[str]
) -> list[Role]:
    """Return the role of every column that is neither the label nor the time, in the order of the file."""
    shares = _gains(columns, label)
    roles = []
    for facts in columns.values():
        if not facts.distinct:
            roles.append(Role(facts.name, {}, "empty in the sample", kept=False))
            continue
        role = _role(facts)
        if reason := _left_out(facts, label, shares.get(facts.name, 0.0), times):
            entry = {} if facts.name in times else role.entry
            role = Role(facts.name, entry, reason, kept=False)
        roles.append(role)
    return roles


def _gains(columns: Mapping[str, ColumnFacts], label: LabelGuess) -> dict[str, float]:
    """Return by how much of the log loss each column alone lowers it; nothing if the clicks are too few to say."""
    clicked = (label.clicks > 0).astype(int)
    if min(clicked.sum(), (1 - clicked).sum()) < _FEW_CLICKS:
        return {}
    frame = pd.DataFrame({str(place): _bins(facts) for place, facts in enumerate(columns.values())})
    schema = Schema.from_dict(
        {"name": "sample", "label": "label", "fields": {name: {} for name in frame.columns}}
    )
    # in a drawn order: the sample may be sorted by anything
    order = np.random.default_rng(0).permutation(len(frame))
    shares = field_gain(frame.assign(label=clicked).iloc[order], schema)["share"]
    return {name: float(shares[str(place)]) for place, name in enumerate(columns)}


def _bins(facts: ColumnFacts) -> np.ndarray:
    """Return a category per row: the value, or the bin of a number of many values; -1 where it is missing."""
    if facts.numbers is None or facts.n_values <= 5 * _BINS:
        return facts.codes
    edges = np.quantile(facts.numbers, np.linspace(0, 1, _BINS + 1)[1:-1])
    return np.append(np.searchsorted(edges, facts.numbers), -1)[facts.codes]


def _left_out(facts: ColumnFacts, label: LabelGuess, share: float, times: list[str]) -> str:
    """Return why a column is not learned from; empty if it is."""
    clicked, filled = label.clicks > 0, facts.codes >= 0
    n_clicks = int(clicked.sum())
    if n_clicks >= 3 and filled.any() and not filled.all() and (clicked == filled).mean() >= 0.995:
        return "filled where there is a click and empty elsewhere: it is known after the click"
    if share >= _LEAK:
        return f"alone it lowers the log loss by {share:.0%}: it says what happened, rather than what is known before"
    joined = "".join(facts.words)
    if joined in _LATER_NAMES or {*facts.words, joined} & _LATER_WORDS:
        return "by its name known only after the impression is shown"
    if facts.name in times:
        return "a time: features such as hour_of_day are made of the declared one, the moment itself never comes again"
    if facts.is_identifier and facts.list_mark is None and not _is_measure(facts):
        found = f"{facts.n_values:,} values in {facts.n_filled:,} rows: an identifier, of which nothing can be learned"
        return (
            found
            if facts.n_rows >= 1000
            or {*facts.words} & {"id", "uuid", "guid"}
            or joined.endswith("id")
            else ""
        )
    return ""


def _is_measure(facts: ColumnFacts) -> bool:
    return facts.numbers is not None and (not facts.is_integer or bool({*facts.words} & _MEASURES))


def _role(facts: ColumnFacts) -> Role:
    example = _example(facts)
    if mark := facts.list_mark:
        return _list(facts, mark)
    if (facts.numbers is not None) and (why := _why_number(facts)):
        numbers = facts.numbers
        entry: dict[str, Any] = {"type": "number"}
        rows = np.repeat(numbers, facts.counts)
        middle = float(np.median(rows[rows > 0])) if (rows > 0).any() else 0.0
        if numbers.min() >= 0 and middle and numbers.max() > 100 * middle:
            entry["buckets"] = "log"
            why += f"; up to {numbers.max():g} where the middle value is {middle:g}"
        return Role(facts.name, entry | example, why)
    why = f"{facts.n_values:,} values"
    if facts.n_values == 1:
        why = "one value only in the sample"
    elif facts.is_identifier:
        why = f"nearly as many values as rows ({facts.n_values:,} of {facts.n_filled:,}); in a larger sample an identifier?"
    elif facts.is_integer and facts.n_values > _FEW_NUMBERS:
        why += "; integers that are names, it seems: a category"
    if facts.missing_share > 0.005:
        why += f", {facts.missing_share:.0%} missing"
    if (facts.distinct[0] == "-1" and facts.numbers is not None) or "-1" in facts.distinct[:3]:
        why += '; if -1 means missing, say {missing: "-1"}'
    return Role(facts.name, example, why)


def _why_number(facts: ColumnFacts) -> str:
    """Return why a column of numbers is a number and no category; empty if it is a category."""
    if facts.n_values <= 2:
        return ""
    named, words = bool({*facts.words} & _MEASURES), {*facts.words, "".join(facts.words)}
    identifies = bool(words & _IDENTIFIES) or "".join(facts.words).endswith("id")
    if not facts.is_integer:
        decimals = any("." in text or "e" in text.lower() for text in facts.distinct[:100])
        return "" if (identifies and not named) or not decimals else "numbers with fractions"
    if facts.n_values <= _FEW_NUMBERS or (identifies and not named):
        return ""
    if named:
        return "an amount by its name"
    return "integers that count: the smaller, the more frequent" if _counts(facts) else ""


def _counts(facts: ColumnFacts) -> bool:
    """Return whether small values are the frequent ones, as of counts; names are drawn from anywhere."""
    numbers = np.abs(facts.numbers) if facts.numbers is not None else np.empty(0)
    size = pd.Series(numbers).corr(pd.Series(facts.counts), method="spearman")
    return bool(size < -0.4 and np.median(np.repeat(numbers, facts.counts)) < 0.1 * numbers.max())


def _list(facts: ColumnFacts, mark: str) -> Role:
    lengths = np.array([len(_items(text, mark)) for text in facts.distinct[:2000]])
    most = int(lengths.max())
    entry: dict[str, Any] = {"type": "list"}
    if mark not in (ITEM_MARK, "|"):
        entry["separator"] = mark
    if most > 20:
        entry["max_items"] = min(1000, int(np.quantile(lengths, 0.99)))
    entry |= {"example": facts.distinct[0].strip(ITEM_MARK).replace(ITEM_MARK, "|")[:200]}
    names = {ITEM_MARK: "the file's own lists", " ": "blanks"}
    between = names.get(mark, f"several values with {mark!r} between them")
    return Role(facts.name, entry, f"{between}, at most {most}: a token for each")


def _items(text: str, mark: str) -> list[str]:
    return [item for item in text.split(mark) if item.strip()]


def _example(facts: ColumnFacts) -> dict[str, Any]:
    """Return the most frequent value, unless it may be a person's own."""
    personal = not facts.distinct or facts.is_identifier or "@" in facts.distinct[0]
    return {} if personal or len(facts.distinct[0]) > 200 else {"example": facts.distinct[0]}


def id_of(columns: Mapping[str, ColumnFacts]) -> str | None:
    """Return the column that names the impression: all values distinct, and a name that says so."""
    for facts in columns.values():
        joined = re.sub(r"[^a-z]", "", facts.name.lower())
        named = {"id", "uuid", "guid"} & {*facts.words} or joined.endswith(("id", "uuid"))
        person = {"user", "device", "session", "cookie", "visitor"} & {*facts.words}
        is_unique = facts.n_values == facts.n_rows and facts.n_rows > 50
        if named and not person and is_unique and not joined.startswith(("user", "device")):
            return facts.name
    return None
