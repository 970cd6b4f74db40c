"""Statistics of the past: what a row sees of it, that nothing of its future leaks, and that a request sees the same."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from tasks.errors import ConfigError, ContractError
from tasks.evaluation.metrics import roc_auc
from tasks.features.kinds.finding import find_feature
from tasks.hashing.columns import rows_of, text_list
from tasks.hashing.contract import HashContract
from tasks.hashing.encode import columns_of, encode_batch, single_columns
from tasks.hashing.features import past_counts
from tasks.hashing.features.columns import with_features
from tasks.hashing.features.past_counts import contract_for, count_past
from tasks.hashing.row_encoder import RowEncoder
from tasks.ingest import ingest_log
from tasks.logs.log import Log
from tasks.logs.split import split_log
from tasks.schema import Schema, load_schema

N_DAYS, PER_DAY = 6, 1500
STATISTIC = '@statistic("{field}")\ndef {name}(impressions, clicks):\n    return f"{{impressions}}/{{clicks}}"\n'
HEAD = "from tasks.features import statistic\n"
RAW = {
    "name": "tiny",
    "label": "click",
    "time": {"column": "when", "format": "iso"},
    "features": ["noise_past"],
    "fields": {"noise": {}, "real": {}},
}


class MemoryLog:
    """A log in memory, as far as it is counted and hashed; `noise` says nothing about clicks, `real` does."""

    def __init__(self, seed=3, order=None, flip_from_day=N_DAYS):
        draw = np.random.default_rng(seed)
        n_rows = N_DAYS * PER_DAY
        day = np.arange(n_rows) // PER_DAY
        real = draw.integers(0, 50, n_rows)
        click = draw.random(n_rows) < 0.05 + 0.4 * (real % 2)
        click = click ^ (day >= flip_from_day)
        when = (
            np.datetime64("2014-10-21", "ms")
            + day * 86_400_000
            + draw.integers(0, 86_400_000, n_rows)
        )
        self.table = pa.table(
            {
                "noise": pa.array(
                    [f"n{i}" for i in draw.integers(0, 1000, n_rows)]
                ).dictionary_encode(),
                "real": pa.array(real),
                "click": pa.array(click.astype(np.int8)),
                "when": pa.array(when).cast(pa.timestamp("ms", "UTC")),
            }
        )
        if order is not None:
            self.table = self.table.take(pa.array(order))
        self.n_rows = n_rows

    def batches(self, columns, start=0, stop=None, batch_rows=1000):
        stop = self.n_rows if stop is None else stop
        for begin in range(start, stop, batch_rows):
            part = self.table.select(columns).slice(begin, min(batch_rows, stop - begin))
            yield part.combine_chunks().to_batches()[0]


@pytest.fixture
def schema(make_feature):
    make_feature("noise_past", STATISTIC.format(field="noise", name="noise_past"), head=HEAD)
    make_feature("real_past", STATISTIC.format(field="real", name="real_past"), head=HEAD)
    return Schema.from_dict(RAW | {"features": ["noise_past", "real_past"]})


def texts_of(log, contract, name):
    """Return the text of a feature in each row of a log."""
    (batch,) = log.batches(columns_of(contract), batch_rows=log.n_rows)
    column = single_columns(batch, contract)[name]
    return text_list(column.texts, rows_of(column))


def contract_of(log, schema, n_days=N_DAYS):
    past = count_past(log, schema, (0, n_days * PER_DAY))
    return HashContract.from_schema(schema, bits=16, past=past)


def test_a_row_sees_the_days_before_its_own(schema):
    """Counted by hand, value by value, from another reading of the log."""
    log = MemoryLog()
    frame = log.table.to_pandas()
    frame["day"] = frame["when"].dt.floor("D")
    found = texts_of(log, contract_of(log, schema), "noise_past")
    for number in (0, PER_DAY - 1, PER_DAY, 3 * PER_DAY + 7, log.n_rows - 1):
        row = frame.iloc[number]
        before = frame[(frame["noise"] == row["noise"]) & (frame["day"] < row["day"])]
        expected = f"{len(before)}/{before['click'].sum()}" if len(before) else ""
        assert found[number] == expected


def test_nothing_of_a_rows_future_is_in_its_statistic(schema):
    """All clicks of a day and of every later one are turned round: no row up to that day changes."""
    log, turned = MemoryLog(), MemoryLog(flip_from_day=3)
    for name in ("noise_past", "real_past"):
        ours = texts_of(log, contract_of(log, schema), name)
        theirs = texts_of(turned, contract_of(turned, schema), name)
        assert ours[: 4 * PER_DAY] == theirs[: 4 * PER_DAY]
        assert ours[4 * PER_DAY :] != theirs[4 * PER_DAY :]


def test_the_order_of_rows_does_not_matter(schema):
    """Shuffled, each row has the statistic that it had."""
    order = np.random.default_rng(5).permutation(N_DAYS * PER_DAY)
    log, shuffled = MemoryLog(), MemoryLog(order=order)
    ours = texts_of(log, contract_of(log, schema), "noise_past")
    theirs = texts_of(shuffled, contract_of(shuffled, schema), "noise_past")
    assert theirs == [ours[number] for number in order]


def rates(texts, default):
    """Return the click rate that each text states."""
    pairs = [text.split("/") if text else None for text in texts]
    return np.array(
        [default if p is None else (int(p[1]) + 2 * default) / (int(p[0]) + 2) for p in pairs]
    )


def test_a_field_of_noise_gains_nothing_and_a_real_one_does(schema):
    """A table that held a row's own day would: the same noise, counted with it, seems to predict clicks."""
    log = MemoryLog()
    contract, y_true = contract_of(log, schema), log.table.column("click").to_numpy()
    overall = y_true.mean()
    auc = {
        name: roc_auc(y_true, rates(texts_of(log, contract, name), overall))
        for name in ("noise_past", "real_past")
    }
    error = 0.5 / np.sqrt(y_true.sum())  # of an AUC of one half, from above
    assert abs(auc["noise_past"] - 0.5) < 3 * error
    assert auc["real_past"] > 0.6
    past = contract.past["noise_past"]
    whole = [past.before(value, None) for value in log.table.column("noise").to_pylist()]
    leaking = roc_auc(y_true, rates([f"{shown}/{clicked}" for shown, clicked in whole], overall))
    assert leaking > 0.5 + 20 * error


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """A simulated log, its schema with one statistic, and the rows in memory."""
    schema = Schema.from_dict(
        load_schema("avazu").to_dict() | {"features": ["hour_of_day", "campaign_rate"]}
    )
    folder = tmp_path_factory.mktemp("past") / "log"
    ingest_log("sim://avazu?rows=12000&seed=7", folder, schema=schema)
    log = Log.open(folder)
    table = pa.Table.from_batches(log.batches(columns=["click", "hour", *schema.field_names]))
    return schema, log, table.unify_dictionaries()


def test_on_the_simulator_a_campaign_gains_and_a_shuffled_one_does_not(simulated):
    """The same column in another order: its past is as rich, and says nothing."""
    schema, log, table = simulated
    at, campaigns = table.schema.names.index("C17"), table.column("C17").combine_chunks()
    order = pa.array(np.random.default_rng(8).permutation(log.n_rows))
    y_true = table.column("click").to_numpy()
    found = {}
    for name, column in (("real", campaigns), ("shuffled", campaigns.take(order))):
        memory = MemoryLog()
        memory.table, memory.n_rows = table.set_column(at, "C17", column), log.n_rows
        past = count_past(memory, schema, (0, log.n_rows))
        contract = HashContract.from_schema(schema, bits=8, past=past)
        texts = texts_of(memory, contract, "campaign_rate")
        found[name] = roc_auc(y_true, np.array([float(text.split("..")[0] or 0) for text in texts]))
    error = 0.5 / np.sqrt(y_true.sum())
    assert abs(found["shuffled"] - 0.5) < 3 * error
    assert found["real"] > 0.5 + 6 * error


def test_later_rows_and_requests_see_the_frozen_table(schema):
    """Those after the counted days: their own clicks never enter it, in whichever way they come."""
    log = MemoryLog()
    contract = contract_of(log, schema, n_days=4)
    found = texts_of(log, contract, "noise_past")
    past = contract.past["noise_past"]
    values = log.table.column("noise").to_pylist()
    for number in range(4 * PER_DAY, log.n_rows, 97):
        counts = past.before(values[number], None)
        assert found[number] == ("" if counts is None else f"{counts[0]}/{counts[1]}")
    (batch,) = log.batches(columns_of(contract), batch_rows=log.n_rows)
    rows = [batch.slice(number, 1).to_pylist()[0] for number in range(0, log.n_rows, 29)]
    codes = encode_batch(batch, contract)[::29]
    assert (RowEncoder(contract).encode_rows(rows) == codes).all()
    now = {"noise": values[0], "when": "2031-01-01T00:00:00"}
    assert (
        RowEncoder(contract).encode_row(now)[2:]
        == RowEncoder(contract).encode_row({"noise": values[0]})[2:]
    ).all()


def test_a_frame_gets_a_statistic_that_has_its_table(schema):
    """The same as rows do; without a table it would be missing in each row, so it is refused."""
    log = MemoryLog()
    contract, frame = contract_of(log, schema), log.table.to_pandas()
    found = with_features(frame, contract.derived, time_column="when")["noise_past"]
    expected = texts_of(log, contract, "noise_past")
    assert ["" if one is np.nan else one for one in found.astype(object)] == expected
    bare = find_feature("noise_past").feature
    with pytest.raises(ConfigError, match="'noise_past' is a statistic of the past and needs its"):
        with_features(frame, [bare], time_column="when")


def test_a_value_never_seen_has_no_statistic(schema):
    """It is missing, which is a token of its own."""
    contract = contract_of(MemoryLog(), schema)
    never, missing = (
        RowEncoder(contract).encode_row({"noise": value}) for value in ("never", None)
    )
    at = contract.token_fields.index("noise_past")
    assert never[at] == missing[at]


def test_the_table_is_part_of_the_contract(schema, tmp_path):
    """It travels with it; another table is another contract, and a changed one is refused."""
    log = MemoryLog()
    contract = contract_of(log, schema)
    contract.save(tmp_path / "contract.json")
    loaded = HashContract.load(tmp_path / "contract.json")
    assert loaded == contract and loaded.digest == contract.digest
    assert texts_of(log, loaded, "noise_past") == texts_of(log, contract, "noise_past")
    assert contract_of(log, schema, n_days=4).digest != contract.digest
    raw = contract.to_dict()
    text = raw["past"]["noise_past"]["n1"]
    raw["past"]["noise_past"]["n1"] = text.replace(" ", " 1", 1)  # impressions of the first day
    with pytest.raises(ContractError, match="changed by hand"):
        HashContract.from_dict(raw)
    for past in (
        None,
        {},
        {"noise_past": 3},
        {"noise_past": {"a": [[1, 2]]}},
        [1],
        {"noise_past": {"a": "1 2"}},
    ):
        with pytest.raises(ContractError, match="not a hash contract"):
            HashContract.from_dict(raw | {"past": past})


def test_a_statistic_without_a_log_and_a_slice_of_one_are_refused(schema):
    """Where no past is known, nothing can be hashed."""
    with pytest.raises(
        ConfigError, match="feature 'noise_past' is a statistic of the past, so its contract"
    ):
        HashContract.from_schema(schema, bits=4)
    with pytest.raises(ConfigError, match="slice names the feature 'noise_past'; name a field, or"):
        Schema.from_dict(RAW | {"slices": [{"name": "s", "field": "noise_past"}]})


def test_a_table_is_bounded(schema, monkeypatch):
    """The most frequent values are kept; a field that would never come back is refused."""
    log = MemoryLog()
    monkeypatch.setattr(past_counts, "MAX_VALUES", 10)
    past = count_past(log, schema, (0, log.n_rows))["noise_past"]
    counts = log.table.column("noise").to_pandas().value_counts()
    least = min(past.before(value, None)[0] for value in counts.index if past.before(value, None))
    assert (len(past), least) == (10, counts.iloc[9])
    monkeypatch.setattr(past_counts, "MAX_PAIRS", 4 * N_DAYS + 1)
    fewer = count_past(log, schema, (0, log.n_rows))["noise_past"]
    assert [*fewer.to_dict()] == sorted(counts.index[:4])
    monkeypatch.setattr(past_counts, "_MAX_COUNTED", 100)
    with pytest.raises(ConfigError, match="'noise' has too many values for a statistic"):
        count_past(log, schema, (0, log.n_rows))


def test_statistics_of_one_field_are_counted_once(schema, make_feature):
    """And have the same table."""
    make_feature("again", STATISTIC.format(field="noise", name="again"), head=HEAD)
    raw = RAW | {"features": ["again", "real_past", "noise_past"]}
    log, read = MemoryLog(), []
    log.batches = lambda **options: read.append(options) or MemoryLog.batches(log, **options)
    past = count_past(log, Schema.from_dict(raw), (0, log.n_rows))
    assert [*past] == raw["features"]
    assert past["again"] is past["noise_past"]
    assert [options["columns"][-1] for options in read] == ["noise", "real"]


def test_a_logs_contract_counts_up_to_the_test_rows(simulated):
    """From an ingested log; a schema without statistics reads nothing."""
    (schema, log, _), avazu = simulated, load_schema("avazu")
    split = split_log(log)
    contract = contract_for(log, schema, split, bits=10)
    frame = log.to_pandas(["C17", "click"], 0, split.valid[1])
    value = frame["C17"].value_counts().index[0]
    rows = frame[frame["C17"] == value]
    assert contract.past["campaign_rate"].before(value, None) == (len(rows), rows["click"].sum())
    assert contract_for(log, avazu, split, bits=10) == HashContract.from_schema(avazu, bits=10)


def test_rows_count_by_their_weights(schema):
    """Impressions and clicks of a value are those that its rows stand for, in whole numbers."""
    log = MemoryLog()
    weight = np.random.default_rng(5).integers(1, 30, log.n_rows) / 3
    log.table = log.table.append_column("n", pa.array(weight))
    weighted = Schema.from_dict(RAW | {"features": ["real_past"], "weight": "n"})
    past = count_past(log, weighted, (0, PER_DAY))["real_past"]
    real, click = (log.table[name].to_numpy()[:PER_DAY] for name in ("real", "click"))
    for value in range(50):
        shown, clicked = past.before(str(value), datetime(2030, 1, 1, tzinfo=UTC))
        of_value = weight[:PER_DAY] * (real == value)
        assert shown == pytest.approx(of_value.sum(), abs=0.5 + 1e-9)
        assert clicked == pytest.approx((of_value * click).sum(), abs=0.5 + 1e-9)
