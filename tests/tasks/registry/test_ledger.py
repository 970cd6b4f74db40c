"""The ledger keeps every decision in order and notices a changed past."""

import subprocess
import sys

import pytest

from tasks.errors import InputError
from tasks.registry.ledger import append_decision, ledger_place, read_ledger


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


def test_a_last_line_without_its_break_stays_a_line_of_its_own(ledger):
    """An editor took it off; the next decision must not become a part of that line."""
    ledger.write_bytes(ledger.read_bytes().rstrip(b"\n"))
    append_decision(ledger, {"decision": "promoted", "model": "fm"})
    assert [entry["model"] for entry in read_ledger(ledger)] == ["sgd", "ftrl", "sgd", "fm"]


def test_several_writers_keep_one_chain(tmp_path):
    """Each waits until the others' lines are there."""
    path = tmp_path / "ledger.jsonl"
    code = "import sys; from tasks.registry.ledger import append_decision as a; [a(sys.argv[1], {'model': sys.argv[2]}) for _ in range(20)]"
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), str(n)]) for n in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert len(read_ledger(path)) == 60


@pytest.mark.parametrize("content", [b"\x80\x00\xff", b"[]\n", b'{"previous": []}\n', b"null\n"])
def test_what_is_no_ledger_is_one_line(tmp_path, content):
    """Whatever a damaged disk or a mistaken copy left there."""
    (tmp_path / "ledger.jsonl").write_bytes(content)
    with pytest.raises(InputError, match=r"line 1 was changed, cut or removed"):
        read_ledger(tmp_path / "ledger.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    for call in (read_ledger, lambda place: append_decision(place, {"model": "fm"})):
        with pytest.raises(InputError, match=r"cannot be read \(Is a directory\)"):
            call(tmp_path / "folder.jsonl")


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


def test_the_ledger_of_a_knob_is_an_object_or_a_file_of_the_project(tmp_path, monkeypatch):
    """An address of S3 stays one; a relative path starts at the project, wherever it is asked from."""
    (tmp_path / "pipeline.yaml").touch()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert ledger_place("s3://bucket/ledger.jsonl") == "s3://bucket/ledger.jsonl"
    assert ledger_place("store/ledger.jsonl") == tmp_path / "store/ledger.jsonl"
