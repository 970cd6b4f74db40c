"""Assignment follows the weights, is permanent, and moves no unit without need."""

import doctest
import json
from fractions import Fraction
from hashlib import blake2b
from math import sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bentos.ctr.experiment import assignment
from bentos.ctr.experiment.assignment import REQUEST_ID, Experiment, Variant
from tasks.errors import ConfigError

UNITS = [f"{number:08x}" for number in range(100_000)]


def experiment(
    *weights: float, name="trial", salt="pepper", unit=("device_id", "device_ip"), **more
):
    """Return an experiment with variants a, b, c ... of these weights."""
    arms = zip("abcdef", weights, strict=False)
    variants = [Variant(letter, weight, f"model_{letter}") for letter, weight in arms]
    return Experiment(name, salt, unit, variants, **more)


def assigned(trial: Experiment, units=UNITS) -> list[str]:
    return [trial.assign({"device_id": unit}, fallback="").variant.name for unit in units]


def naive_variant(trial: Experiment, field: str, value: str) -> str:
    """Return the winner of the race by exact arithmetic: u ** (1 / weight), the largest wins."""
    draws = {}
    for variant in trial.variants:
        begin = json.dumps([trial.salt, trial.name, variant.name]).encode()
        number = int(blake2b(begin + f"{field}={value}".encode(), digest_size=8).hexdigest(), 16)
        draws[variant] = Fraction(2 * number + 1, 2 * 2**64)
    best, *others = draws
    for other in others:
        if draws[other] ** int(best.weight) > draws[best] ** int(other.weight):
            best = other
    return best.name


# ---- the numbers


def test_assignment_agrees_with_exact_arithmetic():
    """A second implementation, with fractions instead of logarithms, draws the same variants."""
    trial = experiment(5, 3, 1)
    expected = [naive_variant(trial, "device_id", unit) for unit in UNITS[:3_000]]
    assert assigned(trial, UNITS[:3_000]) == expected
    assert set(expected) == {"a", "b", "c"}


@pytest.mark.parametrize("weights", [(0.99, 0.01), (70, 20, 10, 0)])
def test_shares_are_those_of_the_weights(weights):
    """Over 100,000 units each variant's share is within five standard errors."""
    found = assigned(experiment(*weights))
    for name, weight in zip("abcd", weights, strict=False):
        share = weight / sum(weights)
        error = sqrt(share * (1 - share) / len(UNITS))
        assert abs(found.count(name) / len(UNITS) - share) <= 5 * error


@pytest.mark.parametrize("other", [{"name": "trial2"}, {"salt": "pepper2"}])
def test_experiments_are_independent(other):
    """Being in a variant of one says nothing about another, if name or salt differs."""
    pairs = list(zip(assigned(experiment(7, 3)), assigned(experiment(7, 3, **other)), strict=True))
    for pair in [("a", "a"), ("a", "b"), ("b", "a"), ("b", "b")]:
        share = {"a": 0.7, "b": 0.3}[pair[0]] * {"a": 0.7, "b": 0.3}[pair[1]]
        error = sqrt(share * (1 - share) / len(UNITS))
        assert abs(pairs.count(pair) / len(UNITS) - share) <= 5 * error


def test_raising_a_weight_moves_units_into_that_variant_only():
    """Nobody else changes sides, and no more move than the shares ask for."""
    units = UNITS[:20_000]
    before, after = assigned(experiment(80, 10, 10), units), assigned(experiment(80, 10, 30), units)
    moved = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert {b for _, b in moved} == {"c"}
    expected = 30 / 120 - 10 / 100
    assert len(moved) / len(units) == pytest.approx(expected, abs=5 * sqrt(0.25 / len(units)))


@settings(max_examples=60, deadline=None)
@given(
    weights=st.lists(st.floats(0.01, 100), min_size=2, max_size=5),
    place=st.integers(0, 4),
    factor=st.floats(1, 100),
)
def test_whatever_the_weights_a_raised_one_only_gains(weights, place, factor):
    """For any weights: who moves, moves into the raised variant."""
    place %= len(weights)
    raised = [w * factor if i == place else w for i, w in enumerate(weights)]
    before, after = (
        assigned(experiment(*weights), UNITS[:200]),
        assigned(experiment(*raised), UNITS[:200]),
    )
    assert {b for a, b in zip(before, after, strict=True) if a != b} <= {"abcde"[place]}


def test_only_the_ratio_of_weights_counts():
    """9 : 1 and 0.9 : 0.1 are one experiment, and the order in the file is none."""
    variants = [Variant("a", 9, "m"), Variant("b", 1, "m")]
    turned = Experiment("trial", "pepper", ("device_id",), variants[::-1])
    tenths = experiment(0.9, 0.1)
    units = UNITS[:5_000]
    assert assigned(experiment(9, 1), units) == assigned(tenths, units) == assigned(turned, units)


def test_removing_a_variant_moves_only_those_who_were_in_it():
    """Everybody else stays where they were."""
    units = UNITS[:5_000]
    before, after = assigned(experiment(5, 3, 2), units), assigned(experiment(5, 3), units)
    assert {a for a, b in zip(before, after, strict=True) if a != b} == {"c"}


def test_assignments_of_released_versions_stay():
    """Pinned values: another process, machine or version of Python must find the same."""
    trial = experiment(7, 3)
    found = trial.assign({"device_id": "0a1b2c3d"}, fallback="r")
    assert (found.variant.name, found.unit_hash) == ("a", "763026fd6ae8911b")
    assert "".join(assigned(trial, UNITS[:24])) == "aaaaaababababbbbaaaaaaab"
    assert trial.digest == "4e8a3b4e644a"


# ---- the unit


def test_the_unit_is_the_first_field_that_is_known():
    """Null, absent, empty and listed values are unknown; then the next field is used."""
    trial = experiment(1, 1, unknown={"device_id": frozenset(["a99f214a"])})
    by_ip = trial.assign({"device_ip": "ddd2926e"}, fallback="r1")
    assert by_ip.unit_field == "device_ip"
    for nobody in (None, "", "a99f214a", float("nan")):
        row = {"device_id": nobody, "device_ip": "ddd2926e"}
        assert trial.assign(row, fallback="r2") == by_ip


def test_without_any_unit_the_request_itself_is_drawn():
    """Half of such requests go either way, and one request always the same."""
    trial = experiment(1, 1)
    found = [trial.assign({}, fallback=unit) for unit in UNITS[:2_000]]
    assert {one.unit_field for one in found} == {REQUEST_ID}
    assert found[0] == trial.assign({"device_id": None}, fallback=UNITS[0])
    assert 800 < sum(one.variant.name == "a" for one in found) < 1_200


def test_numbers_and_texts_are_the_same_unit():
    """A client that sends 1005, 1005.0 or "1005" is one and the same."""
    trial = experiment(1, 1)
    assert (
        len({trial.assign({"device_id": unit}, fallback="") for unit in (1005, 1005.0, "1005")})
        == 1
    )


def test_the_same_value_in_another_field_is_another_unit():
    """A device id that looks like an address is not that address."""
    trial = experiment(1, 1)
    by_id, by_ip = ({name: "ffff"} for name in ("device_id", "device_ip"))
    assert trial.assign(by_id, fallback="").unit_hash != trial.assign(by_ip, fallback="").unit_hash


@settings(max_examples=200, deadline=None)
@given(
    value=st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.lists(st.integers()),
    fallback=st.text(),
)
def test_any_value_gets_a_variant(value, fallback):
    """Whatever a request holds, lone surrogates and lists too, a variant answers."""
    found = experiment(1, 1).assign({"device_id": value, "other": value}, fallback=fallback)
    assert found.variant.name in "ab"
    assert len(found.unit_hash) == 16


def test_the_hash_does_not_show_the_unit():
    """Another salt gives another hash; the value is not in it."""
    hashes = {
        experiment(1, salt=salt).assign({"device_id": "0a1b2c3d"}, fallback="").unit_hash
        for salt in ("pepper", "salt")
    }
    assert len(hashes) == 2
    assert not any("0a1b" in found for found in hashes)


# ---- forced


def test_a_forced_variant_answers_and_the_unit_stays():
    """Also one of weight 0, which no unit gets otherwise."""
    trial = experiment(1, 0)
    plain = trial.assign({"device_id": "x"}, fallback="")
    forced = trial.assign({"device_id": "x"}, fallback="", forced="b")
    assert (plain.variant.name, forced.variant.name) == ("a", "b")
    assert forced.unit_hash == plain.unit_hash


def test_an_unknown_forced_variant_is_said():
    """One line that names what there is."""
    with pytest.raises(ConfigError, match=r"no variant is called 'z'; experiment 'trial' has a, b"):
        experiment(1, 1).assign({}, fallback="", forced="z")


def test_the_digest_follows_what_decides():
    """Weights, salt, name and unit count; the order of variants does not."""
    base = experiment(9, 1)
    others = [
        experiment(8, 2),
        experiment(9, 1, salt="s"),
        experiment(9, 1, name="n"),
        experiment(9, 1, unit=("device_id",)),
        experiment(9, 1, unknown={"device_id": frozenset(["x"])}),
        experiment(9, 1, shadows=("fm",)),
    ]
    assert len({base.digest, *(other.digest for other in others)}) == len(others) + 1
    turned = Experiment("trial", "pepper", base.unit, base.variants[::-1])
    assert turned.digest == base.digest


def test_the_examples_of_the_docstrings_hold():
    """They are documentation that people copy."""
    assert doctest.testmod(assignment) == doctest.TestResults(0, 5)
