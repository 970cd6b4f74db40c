"""Truths of other shapes: probabilities that are true, each the same as row by row, all else unchanged."""

from collections.abc import Iterator
from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from tasks.errors import ConfigError
from tasks.simulation.draws import mix32, stream
from tasks.simulation.shapes import (
    _TABLES,
    HALF_LIFE_HOURS,
    MAX_VIEWS,
    NOVELTY_DAYS,
    SHAPES,
    VIEWS,
    Views,
)
from tasks.simulation.simulate import parse_uri, simulate_batches
from tasks.simulation.world import World

OTHERS = [name for name in SHAPES if name != "factors"]
N_ROWS = 120_000


def log_of(n_rows: int, **knobs) -> pa.Table:
    return pa.Table.from_batches(simulate_batches(n_rows, **knobs)).unify_dictionaries()


@pytest.fixture(scope="module", params=OTHERS)
def log(request) -> pa.Table:
    """Ten days of one shape."""
    return log_of(N_ROWS, truth=request.param)


@pytest.fixture(scope="module")
def factors() -> pa.Table:
    """The same rows with the default truth."""
    return log_of(N_ROWS)


def test_clicks_come_as_often_as_the_probability_says(log):
    """In twenty bins of equal numbers of rows, within four standard errors."""
    p_true, click = log["p_true"].to_numpy(), log["click"].to_numpy()
    for rows in np.array_split(np.argsort(p_true), 20):
        error = np.sqrt((p_true[rows] * (1 - p_true[rows])).sum())
        assert abs(click[rows].sum() - p_true[rows].sum()) < 4 * error


def test_each_day_has_clicks_as_often_as_its_probabilities_say(log):
    """Also where the truth depends on the time."""
    p_true, click = log["p_true"].to_numpy(), log["click"].to_numpy()
    day = np.array([hour[4:6] for hour in log["hour"].to_pylist()])
    for one in np.unique(day):
        rows = day == one
        error = np.sqrt((p_true[rows] * (1 - p_true[rows])).sum())
        assert abs(click[rows].sum() - p_true[rows].sum()) < 4 * error


def test_only_clicks_differ_from_the_default(log, factors):
    """The same impressions, the same click rate and the same spread; other probabilities."""
    for name in factors.column_names:
        if name not in ("click", "p_true"):
            assert log[name].cast(pa.string()).equals(factors[name].cast(pa.string())), name
    p, q = log["p_true"].to_numpy(), factors["p_true"].to_numpy()
    assert p.mean() == pytest.approx(q.mean(), rel=0.03)
    logit, other = (np.log(one) - np.log1p(-one) for one in (p, q))
    assert logit.std() == pytest.approx(other.std(), rel=0.1)
    assert 0.3 < np.corrcoef(logit, other)[0, 1] < 0.9


@pytest.mark.parametrize("shape", OTHERS)
def test_batches_change_nothing(shape):
    """Nor does a second pass over the same world, whose users have forgotten the first."""
    one, other = (log_of(3000, truth=shape, batch_rows=rows)["p_true"] for rows in (3000, 700))
    assert one.to_pylist() == other.to_pylist()


# ---- row by row


@pytest.fixture(scope="module")
def drawn() -> tuple[dict[str, World], dict[str, np.ndarray]]:
    """A world of each shape, and 3,000 rows that they share, in time order."""
    worlds = {name: World(seed=7, days=3, start=date(2024, 5, 1), truth=name) for name in OTHERS}
    hour = np.sort(stream(1).integers(0, 72, 3000)).astype(np.int32)
    return worlds, worlds["table"].draw(hour, stream(2))


def naive_table(shape, row, parts) -> float:
    """Return the sum of one number per pair, looked up by both names."""
    total = 0.0
    for place, (one, other, scale) in enumerate(_TABLES):
        pair = int(row[one]) * parts.sizes[other] + int(row[other])
        number = mix32(np.array([pair]), salt=7 * 16 + 12 + 7919 * place)[0]
        total += scale * (int(number) / 2**32 - 0.5)
    return total


def naive_trees(shape, row, parts) -> float:
    """Return the sum of the leaves, walked down question by question."""
    total = 0.0
    for asked, sides, leaves in shape._trees:
        leaves = list(leaves)
        for name, side in zip(asked, sides, strict=True):
            half = len(leaves) // 2
            leaves = leaves[half:] if side[row[name]] else leaves[:half]
        (leaf,) = leaves
        total += leaf
    return total


def naive_calendar(shape, row, parts) -> float:
    """Return the effects of weekday and age, from the hour's date; 1 May 2024 is a Wednesday."""
    weekday = (2 + row["absolute"] // 24) % 7
    born = 8 * parts.campaigns.born[row["campaign"]]
    age = (row["absolute"] - born) / 24 if born else shape.age_days[row["campaign"], 0] + row["absolute"] / 24  # fmt: skip
    gain = stream(7, 5, 96)
    week = gain.standard_normal((62, 7))
    gain.random(int((parts.campaigns.born == 0).sum()))
    gains = 1 + gain.standard_normal(435)
    new = 2 * gains[row["campaign"]] * np.exp(-max(age, 0) / NOVELTY_DAYS)
    return week[row["category"], weekday] + new


@pytest.mark.parametrize(
    ("name", "naive"),
    [("table", naive_table), ("trees", naive_trees), ("calendar", naive_calendar)],
)
def test_effects_are_those_of_each_row_alone(drawn, name, naive):
    """The slow twin."""
    worlds, rows = drawn
    shape = worlds[name].truth.shape
    parts = worlds["table"].truth.shape._parts
    codes = parts.codes(rows) | {"absolute": rows["hour"]}
    found = shape.effect(rows, Views(3000))
    each = [{key: values[place] for key, values in codes.items()} for place in range(300)]
    expected = [naive(shape, row, parts) for row in each]
    np.testing.assert_allclose(found[:300], expected, atol=1e-12)


def naive_views(user: np.ndarray, hour: np.ndarray, n_rows: int) -> Iterator[float]:
    """Yield what each row's user remembers, from the list of all its views."""
    seen: dict[int, list[int]] = {}
    for who, when in zip(user.tolist(), hour.tolist(), strict=True):
        past = seen.setdefault(who, [])
        yield VIEWS / n_rows * sum(0.5 ** ((when - then) / HALF_LIFE_HOURS) for then in past)
        past.append(when)


def test_users_remember_and_forget(drawn):
    """In blocks of any size; the effect is minus the logarithm, up to the most that counts."""
    worlds, rows = drawn
    user = mix32(rows["ip"], salt=7 * 16 + 13) % (1 << 20)
    expected = np.array([*naive_views(user, rows["hour"], 3000)])
    assert (expected > 0).mean() > 0.05
    views = Views(3000)
    found = [views.pass_by(user[a : a + 700], rows["hour"][a : a + 700]) for a in range(0, 3000, 700)]  # fmt: skip
    np.testing.assert_allclose(np.concatenate(found), expected, rtol=1e-9, atol=1e-9)
    effect = worlds["fatigue"].truth.shape.effect(rows, Views(3000))
    np.testing.assert_allclose(effect, -np.log1p(np.minimum(expected, MAX_VIEWS)), atol=1e-9)


def test_a_user_clicks_less_after_many_views():
    """Of fatigue: the addresses seen most are below the average of their single effects."""
    log = log_of(N_ROWS, truth="fatigue")
    frame = log.select(["device_ip", "p_true"]).to_pandas()
    before = frame.groupby("device_ip", observed=True).cumcount()
    assert frame["p_true"][before > 20].mean() < 0.7 * frame["p_true"][before == 0].mean()


@pytest.mark.parametrize("n_rows", [60_000, 400_000])
def test_the_click_rate_does_not_depend_on_the_size(n_rows):
    """A log is a sample: fewer rows show fewer views of the same user, each of which counts more."""
    found = log_of(n_rows, truth="fatigue")["p_true"].to_numpy().mean()
    assert found == pytest.approx(0.1698, rel=0.04)


def test_the_shape_is_a_knob_of_the_address():
    """With the others; an unknown one is refused with all that there are."""
    assert parse_uri("sim://avazu?rows=10&truth=trees") == {"n_rows": 10, "truth": "trees"}
    with pytest.raises(ConfigError, match="truth must be one of factors, table, trees, fatigue"):
        parse_uri("sim://avazu?rows=10&truth=forest")
    with pytest.raises(ConfigError, match="truth must be one of"):
        simulate_batches(10, truth="forest")


def test_further_columns_go_with_every_shape():
    """Numbers keep the click rate of a log of trees."""
    found = log_of(30_000, truth="trees", numbers=2, ctr=0.05)["p_true"].to_numpy().mean()
    assert found == pytest.approx(0.05, rel=0.06)
