"""The simulated log: same rows from the same seed, the real log's shape, and a probability that is true."""

import gzip
import io
import itertools
import os
import tracemalloc

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tasks.errors import ConfigError
from tasks.simulation.draws import PowerLaw, Tables, assign, hex_strings, mix32, stream
from tasks.simulation.simulate import (
    FIELDS,
    FULL_ROWS,
    parse_uri,
    schema,
    simulate_batches,
    write_csv,
)

REAL_LOG = os.environ.get("CLICKLAB_REAL_LOG")


def _table(n_rows, **knobs):
    return pa.Table.from_batches(simulate_batches(n_rows, **knobs)).unify_dictionaries()


def _plain(table):
    """Return the table with text in place of dictionary codes, so that values are compared and not codes."""
    return pa.table([column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
                     for column in table.columns], names=table.column_names)  # fmt: skip


@pytest.fixture(scope="module")
def log():
    """Ten days in 400,000 rows, as text."""
    return _plain(_table(400_000)).to_pandas()


@pytest.fixture(scope="module")
def first_hour():
    """The first 10,000 rows of a log as large as the real one."""
    batch = next(simulate_batches(FULL_ROWS, batch_rows=10_000))
    return _plain(pa.Table.from_batches([batch])).to_pandas()


def test_same_seed_gives_the_same_rows():
    """Two runs agree to the last bit; another seed, another number of rows or of days does not."""
    one = _plain(_table(3000))
    assert one.equals(_plain(_table(3000)))
    for other in ({"seed": 8}, {"days": 9}):
        assert not one.equals(_plain(_table(3000, **other))), other


@pytest.mark.parametrize("batch_rows", [1000, 65_535, 100_000, 200_000])
def test_batch_size_does_not_change_the_rows(batch_rows):
    """Batches are cut from fixed blocks: exact sizes, the last one shorter, the same rows."""
    batches = list(simulate_batches(140_000, batch_rows=batch_rows))
    sizes = [batch.num_rows for batch in batches]
    assert set(sizes[:-1]) <= {batch_rows} and 0 < sizes[-1] <= batch_rows
    joined = _plain(pa.Table.from_batches(batches).unify_dictionaries())
    assert joined.equals(_plain(_table(140_000)))


def test_layout_is_the_raw_log_and_the_truth_comes_last():
    """Column order and types are those of the raw file; `p_true` can be left out."""
    batch = next(simulate_batches(100))
    assert batch.schema == schema() and batch.schema.names == [
        "id",
        "click",
        "hour",
        *FIELDS,
        "p_true",
    ]
    assert batch.schema.field("device_ip").type == pa.dictionary(pa.int32(), pa.string())
    bare = next(simulate_batches(100, with_truth=False))
    assert bare.equals(batch.select(bare.schema.names))


def test_rows_are_in_time_order_and_span_the_days(log):
    """Hours never go back, and each of the 240 is there; a longer log starts on the day asked for."""
    assert log["hour"].is_monotonic_increasing
    assert (log["hour"].iloc[0], log["hour"].iloc[-1], log["hour"].nunique()) == (
        "14102100",
        "14103023",
        240,
    )
    hours = _table(5000, days=31, start="2015-01-15")["hour"].to_pylist()
    assert (hours[0], hours[-1]) == ("15011500", "15021423")


def test_ids_are_unique_decimals(log):
    """An id is an unsigned 64-bit number in decimal, as in Kaggle's file."""
    assert log["id"].is_unique and log["id"].str.fullmatch("[0-9]{1,20}").all()


def test_each_row_is_an_app_or_a_site_impression(log):
    """Exactly one of the two constants, with the domains and categories that go with it."""
    app = log["site_id"] == "85f751fd"
    assert (app ^ (log["app_id"] == "ecad2386")).all()
    assert (log.loc[app, "site_domain"] == "c4e18dd6").all()
    assert (log.loc[app, "site_category"] == "50e219e0").all()
    assert (log.loc[~app, "app_domain"] == "7801e8d9").all()
    assert (log.loc[~app, "app_category"] == "07d7df22").all()


@pytest.mark.parametrize(
    ("of", "field"),
    [("site_id", "site_domain"), ("site_id", "site_category"), ("app_id", "app_domain"), ("app_id", "app_category"),
     ("C14", "C17"), ("C14", "C15"), ("C14", "C16"), ("C17", "C18"), ("C17", "C19"), ("C17", "C21")],
)  # fmt: skip
def test_one_field_decides_another(log, of, field):
    """Domains and categories follow the publisher, campaign and size the creative, the rest the campaign."""
    usual = log.groupby([of, field]).size().groupby(level=of).max().sum() / len(log)
    least = 0.994 if field == "site_domain" else 1.0
    assert usual >= least, f"{of} decides {field} in {usual:.4f} of rows"


def test_ten_days_have_the_known_shares(log, first_hour):
    """Shares over the whole log are those published for the real one."""
    last_c14 = first_hour["C14"].astype(int).max()
    shares = {
        "app impressions": ((log["site_id"] == "85f751fd").mean(), 0.36, 0.02),
        "banner_pos 0": ((log["banner_pos"] == "0").mean(), 0.71, 0.02),
        "banner_pos 1": ((log["banner_pos"] == "1").mean(), 0.29, 0.02),
        "unknown device_id": ((log["device_id"] == "a99f214a").mean(), 0.82, 0.01),
        "C20 is -1": ((log["C20"] == "-1").mean(), 0.47, 0.02),
        "C14 above the first hour's": ((log["C14"].astype(int) > last_c14).mean(), 0.35, 0.03),
        "C17 not in the first hour": ((~log["C17"].isin(first_hour["C17"])).mean(), 0.46, 0.04),
        "clicks": (log["click"].mean(), 0.1698, 0.003),
        "p_true": (log["p_true"].mean(), 0.1698, 0.002),
    }
    wrong = {name: found for name, found in shares.items() if abs(found[0] - found[1]) > found[2]}
    assert not wrong, f"share, expected, tolerance: {wrong}"


def test_clicks_follow_the_known_probability(log):
    """In each of twenty bins of `p_true`, clicks deviate by chance only; the truth tells clicks apart."""
    order = np.argsort(log["p_true"].to_numpy(), kind="stable")
    for rows in np.array_split(order, 20):
        p, clicks = log["p_true"].to_numpy()[rows], log["click"].to_numpy()[rows].sum()
        z = (clicks - p.sum()) / np.sqrt((p * (1 - p)).sum())
        assert abs(z) < 4, (
            f"z = {z:.2f} at p = {p.mean():.4f}: {clicks} clicks, {p.sum():.1f} expected"
        )


def test_the_log_is_about_as_hard_as_the_real_one(log):
    """Log loss of the truth leaves a logistic regression near the published marks; see the module's notes."""
    p, y = log["p_true"].to_numpy(), log["click"].to_numpy()
    log_loss = -np.mean(np.where(y == 1, np.log(p), np.log1p(-p)))
    rank = pd.Series(p).rank().to_numpy()
    auc = (rank[y == 1].mean() - (y.sum() + 1) / 2) / (y == 0).sum()
    assert 0.362 < log_loss < 0.385, log_loss
    assert 0.775 < auc < 0.805, auc


def test_new_creatives_take_over_day_by_day(log):
    """The share of creatives that the first day did not have grows all the time, as do their numbers."""
    day, seen = log["hour"].str[4:6], set(log.loc[log["hour"] < "14102200", "C14"])
    new = (~log["C14"].isin(seen)).groupby(day).mean()
    assert (new.diff().iloc[1:] > -0.03).all() and 0.5 < new.iloc[-1] < 0.95, new.to_dict()


def test_first_batch_of_forty_million_rows_builds_little():
    """The full log starts within a few tens of megabytes, most of them the tables of the world itself."""
    batches = simulate_batches(FULL_ROWS, seed=11)
    tracemalloc.start()
    first = [batch.num_rows for batch in itertools.islice(batches, 3)]
    peak_mb = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    assert first == [65_536] * 3
    assert peak_mb < 150, f"{peak_mb:.0f} MB"


# Real values of the first 10,000 rows: distinct values, share of the most frequent one.
REAL = {
    "C1": (6, 0.926), "banner_pos": (4, 0.8055), "site_id": (381, 0.3582), "site_domain": (317, 0.3582),
    "site_category": (14, 0.3846), "app_id": (313, 0.7825), "app_domain": (31, 0.8306), "app_category": (14, 0.7887),
    "device_id": (1075, 0.8724), "device_ip": (7302, 0.0086), "device_model": (1168, 0.0718), "device_type": (4, 0.9273),
    "device_conn_type": (4, 0.9055), "C14": (271, 0.0717), "C15": (4, 0.9528), "C16": (5, 0.9568), "C17": (111, 0.3908),
    "C18": (4, 0.6971), "C19": (32, 0.5660), "C20": (108, 0.6229), "C21": (29, 0.3908),
}  # fmt: skip


def _distinct_allowed(n):
    return (0.7 * n, 1.4 * n) if n > 10 else (n - 2, n + 2)


@pytest.mark.parametrize("field", FIELDS)
def test_first_hour_matches_the_known_aggregates(first_hour, field):
    """Distinct values and the top share of every field are near those of the real first hour."""
    distinct, top = REAL[field]
    counts = first_hour[field].value_counts()
    low, high = _distinct_allowed(distinct)
    assert low <= len(counts) <= high, f"{field}: {len(counts)} distinct simulated, {distinct} real"
    share = counts.iloc[0] / len(first_hour)
    assert abs(share - top) < 0.03, f"{field}: top share {share:.4f} simulated, {top:.4f} real"


@pytest.mark.skipif(not REAL_LOG, reason="CLICKLAB_REAL_LOG names no file with the real first hour")
def test_first_hour_matches_the_real_log(first_hour):
    """Against the rows themselves: click-through rate, constants, top shares, distinct values, single values."""
    real = pd.read_csv(REAL_LOG, dtype=str, nrows=10_000)
    ctr = first_hour["p_true"].mean(), real["click"].astype(int).mean()
    found = {"click-through rate": (*ctr, 0.006)}
    constants = {
        "site_id": "85f751fd",
        "app_id": "ecad2386",
        "device_id": "a99f214a",
        "C20": "-1",
        "banner_pos": "0",
    }
    for field, value in constants.items():
        found[f"{field} = {value}"] = (
            *((log[field] == value).mean() for log in (first_hour, real)),
            0.02,
        )
    wrong = {}
    for field in FIELDS:
        sim, counts = first_hour[field].value_counts(), real[field].value_counts()
        found[f"top share of {field}"] = (
            sim.iloc[0] / len(first_hour),
            counts.iloc[0] / len(real),
            0.03,
        )
        low, high = _distinct_allowed(len(counts))
        if not low <= len(sim) <= high:
            wrong[f"distinct values of {field}"] = (len(sim), len(counts))
    wrong |= {name: value for name, value in found.items() if abs(value[0] - value[1]) > value[2]}
    assert not wrong, f"simulated, real, tolerance: {wrong}"


@pytest.mark.parametrize(
    ("uri", "message"),
    [("sim://avazu?rows=5&colour=red", "unknown knob 'colour'"), ("sim://avazu?rows=0", "rows must be between 1"),
     ("sim://avazu?rows=5&days=61", "days must be between 1 and 60"), ("sim://avazu?rows=many", "whole number"),
     ("sim://avazu?seed=1", "rows is missing"), ("sim://criteo?rows=5", "not a simulated log"),
     ("sim://avazu?rows=5&rows=6", "given twice"), ("sim://avazu?rows=5&seed=-1", "seed must be between 0"),
     ("s3://avazu?rows=5", "not a simulated log")],
)  # fmt: skip
def test_bad_addresses_are_one_line_errors(uri, message):
    """Every mistake in an address is named in one line."""
    with pytest.raises(ConfigError, match=message) as caught:
        parse_uri(uri)
    assert "\n" not in str(caught.value)


def test_an_address_names_the_arguments():
    """What the address says is what the simulator gets."""
    assert parse_uri("sim://avazu?rows=400000&seed=7&days=10") == {
        "n_rows": 400_000,
        "seed": 7,
        "days": 10,
    }


@pytest.mark.parametrize("knobs", [{"n_rows": 0}, {"n_rows": 5, "days": 61}, {"n_rows": 5, "batch_rows": 0},
                                   {"n_rows": 5, "start": "21.10.2014"}, {"n_rows": 5, "seed": -1}])  # fmt: skip
def test_arguments_out_of_range_are_refused_at_once(knobs):
    """The mistake is raised by the call, before any batch is asked for."""
    with pytest.raises(ConfigError):
        simulate_batches(**knobs)


def test_csv_is_in_the_layout_of_the_raw_file(tmp_path):
    """Plain, compressed and to an open file: the same 24 columns, and pandas reads back the same values."""
    out, plain, packed = io.BytesIO(), tmp_path / "log.csv", tmp_path / "log.csv.gz"
    for target in (out, plain, packed):
        write_csv(target, 500, seed=3, batch_rows=200)
    assert out.getvalue() == plain.read_bytes() == gzip.decompress(packed.read_bytes())
    back = pd.read_csv(plain, dtype=str)
    assert [*back] == ["id", "click", "hour", *FIELDS]
    expected = _plain(_table(500, seed=3, with_truth=False)).to_pandas().astype(str)
    assert (back == expected).all(axis=None)


def test_a_log_of_one_row_or_one_day_works():
    """The smallest logs: one row; one day."""
    assert _table(1).num_rows == 1
    assert set(_table(2000, days=1)["hour"].to_pylist()) == {
        f"141021{hour:02d}" for hour in range(24)
    }


def test_mixing_never_maps_two_ranks_to_one_value():
    """The mixer is a bijection, and its text is that of Python's own formatting."""
    mixed = mix32(np.arange(200_000), salt=5)
    assert len(np.unique(mixed)) == 200_000
    assert hex_strings(mixed[:50]).to_pylist() == [f"{value:08x}" for value in mixed[:50]]


def test_tables_draw_in_proportion_to_their_weights():
    """Stacked tables: each state has its own distribution; values without weight never come."""
    tables = Tables(np.array([[1.0, 3.0, 0.0], [0.0, 0.0, 2.0]]))
    u = stream(1).random(40_000)
    assert np.bincount(tables.draw(u, 0), minlength=3) / 40_000 == pytest.approx(
        [0.25, 0.75, 0], abs=0.01
    )
    assert set(tables.draw(u, np.ones(40_000, int))) == {2}


def test_assigned_shares_come_out_as_asked():
    """Heavy values are placed so that the categories' shares are met, and every category occurs."""
    weights = 1 / np.arange(1, 2001) ** 1.1
    shares = np.array([0.6, 0.3, 0.0999, 0.0001])
    got = np.bincount(assign(weights, shares, stream(2)), weights, 4) / weights.sum()
    assert got == pytest.approx(shares, abs=0.01) and got.min() > 0


def test_large_pools_grow_like_heaps_law():
    """Ten times the rows show about 10^(1 / power) times the addresses."""
    u = stream(3).random(1_000_000)
    few, many = (
        len(np.unique(PowerLaw(shift=250, power=1.2).draw(u[:n]))) for n in (100_000, 1_000_000)
    )
    assert many / few == pytest.approx(10 ** (1 / 1.2), rel=0.1)


@pytest.mark.parametrize("ctr", [0.0005, 0.02, 0.9])
def test_the_click_rate_is_a_knob(ctr):
    """The true probabilities have that mean, and values still differ."""
    p_true = np.concatenate(
        [batch["p_true"].to_numpy() for batch in simulate_batches(60_000, ctr=ctr)]
    )
    assert p_true.mean() == pytest.approx(ctr, rel=0.05)
    logit = np.log(p_true) - np.log1p(-p_true)
    assert logit.std() > 1


def test_the_default_click_rate_changes_no_byte():
    """The same log as without the knob."""
    one, other = io.BytesIO(), io.BytesIO()
    write_csv(one, 500)
    write_csv(other, 500, ctr=0.1698)
    assert one.getvalue() == other.getvalue()
    assert parse_uri("sim://avazu?rows=10&ctr=0.0005") == {"n_rows": 10, "ctr": 0.0005}


@pytest.mark.parametrize("text", ["0", "1", "nan", "half", "0.00001"])
def test_an_impossible_click_rate_is_refused(text):
    """With what it may be."""
    with pytest.raises(ConfigError, match="ctr must be"):
        parse_uri(f"sim://avazu?rows=10&ctr={text}")
