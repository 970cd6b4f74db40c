"""The ledger keeps every decision in order and notices a changed past."""

import pytest

from tasks.errors import InputError
from tasks.registry.ledger import append_decision, read_ledger


@pytest.fixture
def ledger(tmp_path):
    path = tmp_path / "deep" / "ledger.jsonl"
    for model in ("sgd", "ftrl", "sgd"):
        append_decision(path, {"decision": "promoted", "model": model})
    return path


def test_decisions_come_back_in_order(ledger):
    """What was written last is read last."""
    assert [entry["model"] for entry in read_ledger(ledger)] == ["sgd", "ftrl", "sgd"]


def test_an_absent_ledger_is_empty(tmp_path):
    """Before the first decision there is nothing to read and nothing wrong."""
    assert read_ledger(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda lines: [lines[0].replace("sgd", "fm"), *lines[1:]],
        lambda lines: [lines[0], lines[2]],
        lambda lines: [*lines[:2], lines[2][:20]],
    ],
    ids=["edited", "removed", "cut"],
)
def test_a_changed_past_is_noticed(ledger, spoil):
    """Editing, removing or cutting a line breaks the chain of digests."""
    ledger.write_text("\n".join(spoil(ledger.read_text().splitlines())) + "\n")
    with pytest.raises(InputError, match=r"line \d was changed, cut or removed"):
        read_ledger(ledger)


def test_nothing_is_appended_to_a_spoilt_ledger(ledger):
    """A broken chain is not continued."""
    ledger.write_text(ledger.read_text()[:-30])
    with pytest.raises(InputError, match="line 3"):
        append_decision(ledger, {"decision": "promoted", "model": "fm"})


@pytest.mark.slow
def test_two_people_append_to_one_ledger_on_s3(monkeypatch):
    """The second finds the first one's line and goes after it; the chain stays intact."""
    from tasks.registry import ledger as module
    from tests.stores import s3_server

    address, write, rivals = "s3://bucket/team/ledger.jsonl", module.write_shared, ["rival"]

    def late(*arguments, **knobs):
        if rivals:
            append_decision(address, {"model": rivals.pop()})
        return write(*arguments, **knobs)

    with s3_server(monkeypatch):
        assert read_ledger(address) == []
        append_decision(address, {"model": "first"})
        monkeypatch.setattr(module, "write_shared", late)
        append_decision(address, {"model": "second"})
        assert [entry["model"] for entry in read_ledger(address)] == ["first", "rival", "second"]
