"""A ledger that lost its end is found by what the registry knows of it; on a real MLflow store."""

import pytest

from tasks.errors import InputError
from tasks.registry.anchor import append_anchored, read_anchored, read_with_knobs, tag_of
from tasks.registry.ledger import append_decision, read_ledger
from tests.stores import mlflow_client

pytestmark = pytest.mark.slow  # MLflow makes a database


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """The address of a store, and its client."""
    address = f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"
    return address, mlflow_client(address)


@pytest.fixture
def ledger(store, request, tmp_path):
    """A registered model per test, and its ledger of three lines."""
    name, place = f"ctr-{abs(hash(request.node.name))}", tmp_path / "ledger.jsonl"
    store[1].create_registered_model(name)
    for model in ("sgd", "ftrl", "fm"):
        append_anchored(store[1], name, place, [{"model": model, "registered_name": name}])
    return name, place


def test_the_registry_knows_where_the_ledger_ends(store, ledger):
    """How many lines, and the digest of the last."""
    name, place = ledger
    last = read_anchored(store[1], name, place)[-1]
    assert store[1].get_registered_model(name).tags[tag_of(place)] == f"3:{last['digest']}"


@pytest.mark.parametrize("n_left", [0, 2, None])
def test_a_cut_ledger_is_found(store, ledger, n_left):
    """Its last line, all lines or the file are gone; one line says what is known, and what to do; accepted, it goes on."""
    name, place = ledger
    lines = place.read_bytes().splitlines(keepends=True)
    if n_left is None:
        place.unlink()
    else:
        place.write_bytes(b"".join(lines[:n_left]))
    assert len(read_ledger(place)) == (n_left or 0)
    found = f"2:{read_ledger(place)[-1]['digest']}" if n_left else "nothing"
    expected = rf"as far as 3:\w{{16}} \(.*\), the file holds {found}; restore it .*ACCEPT=1"
    with pytest.raises(InputError, match=expected):
        read_anchored(store[1], name, place)
    tracking = {"tracking_uri": store[0], "ledger": str(place)}
    assert len(read_with_knobs(tracking, name, accept=True)) == (n_left or 0)
    append_anchored(store[1], name, place, [{"model": "sgd", "registered_name": name}])
    assert len(read_with_knobs(tracking, name)) == (n_left or 0) + 1


def test_another_ledger_of_the_same_length_is_found(store, ledger):
    """The line that the registry knows is not in it."""
    name, place = ledger
    place.unlink()
    for model in ("sgd", "ftrl", "sgd"):
        append_decision(place, {"model": model})
    with pytest.raises(InputError, match="the file holds 3:"):
        read_anchored(store[1], name, place)


def test_a_ledger_ahead_of_the_registry_is_right(store, ledger):
    """Lines are written first: a run was killed before it told the registry, or another model has the same ledger."""
    name, place = ledger
    append_decision(place, {"model": "fm"})
    assert len(read_anchored(store[1], name, place)) == 4


def test_a_model_without_the_tag_has_any_ledger(store, ledger):
    """An older release did not write it; a name that nobody registered has none."""
    name, place = ledger
    store[1].delete_registered_model_tag(name, tag_of(place))
    place.unlink()
    assert read_anchored(store[1], name, place) == []
    assert read_anchored(store[1], "nobody", place) == []


def test_reading_makes_no_store(tmp_path):
    """Where nothing was trained there is nothing to compare with."""
    place = tmp_path / "ledger.jsonl"
    append_decision(place, {"model": "fm"})
    tracking = {"tracking_uri": f"sqlite:///{tmp_path}/mlflow.db", "ledger": str(place)}
    assert len(read_with_knobs(tracking, "ctr-avazu")) == 1
    assert list(tmp_path.glob("mlflow.db*")) == []


def test_two_ledgers_of_one_registered_model_do_not_disturb_each_other(ledger, store):
    """As two clones have that share a store, and keep their decisions to themselves."""
    name, place = ledger
    other = place.with_name("other.jsonl")
    append_anchored(store[1], name, other, [{"model": "fm", "registered_name": name}])
    assert len(read_anchored(store[1], name, place)) == 3
    assert len(read_anchored(store[1], name, other)) == 1
