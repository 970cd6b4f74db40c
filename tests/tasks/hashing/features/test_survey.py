"""Before all rows are hashed: what features cost, where they fail, whether two calls agree."""

from collections import Counter

import pytest

from tasks.errors import ConfigError
from tasks.hashing.contract import HashContract
from tasks.hashing.encode import encode_batch
from tasks.hashing.feature_set import FeatureSet
from tasks.hashing.features.survey import failed_inputs, survey_features
from tasks.hashing.parts import MANIFEST
from tasks.hashing.store import write_features
from tasks.schema import Schema
from tests.tasks.hashing.test_store import RAW, FakeLog

STATE = "kept = []\n\n\ndef state():\n    return kept\n\n\n"


def contract_of(*names):
    return HashContract.from_schema(Schema.from_dict(RAW | {"features": names}), bits=16)


def test_a_survey_counts_combinations_and_costs(make_feature):
    """Of the rows that it reads: the last ones of the span."""
    make_feature("made", '@feature("site", "size")\ndef made(site, size):\n    return size\n')
    found = survey_features(FakeLog(), contract_of("hour_of_day", "made"), (0, 1000), max_rows=300)
    assert found.index.tolist() == ["hour_of_day", "made"]
    assert found["reads"].tolist() == ["hour", "site, size"]
    frame = FakeLog().table.slice(700, 300).to_pandas()
    assert found.loc["made", "combinations"] == len(frame[["site", "size"]].drop_duplicates())
    assert found.loc["hour_of_day", "combinations"] == frame["when"].dt.floor("h").nunique()
    per_row = found["us_per_call"] * 1000 * found["combinations"] / 300
    assert found["ns_per_row"].to_numpy() == pytest.approx(per_row.to_numpy(), rel=0.1, abs=20)
    assert found["failed_rows"].tolist() == [0, 0]
    assert survey_features(FakeLog(), contract_of(), (0, 1000)).empty


@pytest.mark.parametrize(("limit", "is_slow"), [(0, True), (1e9, False)])
def test_a_feature_above_the_limit_is_named_slow(monkeypatch, limit, is_slow):
    """By its cost per row, not per call."""
    monkeypatch.setattr("tasks.hashing.features.survey.SLOW_NS", limit)
    found = survey_features(FakeLog(), contract_of("hour_of_day"), (0, 1000))
    assert found["slow"].tolist() == [is_slow]


@pytest.mark.parametrize(
    "body",
    [
        "n.append(site)\n    return len(n)\n",  # counts its calls
        "n.append(site)\n    return n[len(n) - 2]\n",  # the row before
        "n.append(site)\n    return 1 / (len(n) % 2)\n",  # fails in turn
        "n.extend({site} - {*n})\n    return n.index(site)\n",  # the number of a value as they come
    ],
)
def test_a_feature_that_depends_on_the_order_of_rows_is_refused(make_feature, body):
    """Its text hides it; a copy that is called in the opposite order shows it."""
    make_feature("made", f'{STATE}@feature("site")\ndef made(site):\n    n = state()\n    {body}')
    with pytest.raises(ConfigError, match=r"feature 'made' (gives .* and then|raises)"):
        survey_features(FakeLog(), contract_of("made"), (0, 1000))


def test_a_feature_that_mostly_fails_is_refused_at_once(make_feature):
    """With one of its inputs."""
    make_feature("made", '@feature("size")\ndef made(size):\n    return 1 / (int(size) - 3)\n')
    with pytest.raises(
        ConfigError, match="raises ZeroDivisionError: division by zero, for size='3'; it"
    ):
        survey_features(FakeLog(), contract_of("made"), (0, 1000))


def failing_on(make_feature, site):
    """Make a feature that returns a list for one site, and return its contract."""
    body = f'@feature("site")\ndef made(site):\n    return [site] if site == "{site}" else "x"\n'
    make_feature("made", body)
    return contract_of("made")


SITES = Counter(FakeLog().table.column("site").to_pylist()).most_common()


def test_a_feature_that_rarely_fails_is_missing_there_and_recorded(make_feature, tmp_path):
    """Rows stay; their token is that of a missing value; input, reason and rows are in the manifest."""
    site, n_rows = SITES[-1]
    contract, log = failing_on(make_feature, site), FakeLog()
    write_features(log, (0, 1000), contract, tmp_path, 128)
    features = FeatureSet(tmp_path)
    found = failed_inputs([features])
    reason = "feature 'made' returns a list instead of text, a number, a truth value or None, for"
    assert found.to_dict("records") == [
        {"feature": "made", "reason": f"{reason} site={site!r}", "n_rows": n_rows}
    ]
    at = contract.token_fields.index("made")
    missing = encode_batch(log.table.slice(0, 1), contract_of("made"))[0, at]
    codes = features.load().codes[:, at]
    assert (codes != missing).sum() == n_rows
    again = write_features(log, (0, 1000), contract, tmp_path, 128)
    assert again.n_skipped == again.n_parts
    assert failed_inputs([FeatureSet(tmp_path)]).equals(found)


def test_a_feature_that_fails_too_often_leaves_no_complete_set(make_feature, tmp_path):
    """One in a hundred rows is the limit; the parts stay for after the correction of another."""
    site, n_rows = SITES[0]
    contract = failing_on(make_feature, site)
    with pytest.raises(ConfigError, match=f"it fails in {n_rows} of 1,000 rows, more than 1%"):
        write_features(FakeLog(), (0, 1000), contract, tmp_path, 128)
    assert not (tmp_path / MANIFEST).exists()
