"""What is told when, and to whom: each day once, quiet days if asked, failures with the way to resume."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from tasks.cli import app
from tasks.cli_app import told_after
from tasks.errors import UnavailableError
from tasks.notices import telling
from tasks.notices.telling import tell_after, tell_day, tell_failure
from tasks.pipeline.executor import Failure
from tests.conftest import ROOT
from tests.tasks.notices.receivers import port_of, webhook

pytestmark = pytest.mark.slow  # servers


@pytest.fixture
def receiver(run, monkeypatch):
    """A webhook that the knobs name by its variable."""
    with webhook() as server:
        monkeypatch.setenv("HOOK", f"json://127.0.0.1:{port_of(server)}/secret-path")
        run.knobs["notices"]["addresses"] = ["HOOK"]
        yield server


def texts(server):
    """Return the texts that a webhook got."""
    return [body["message"] for _, body in server.received]


def told(run, **more):
    """Tell the day, quietly."""
    return tell_day(run.knobs, say=lambda _: None, **more)


def test_without_an_address_the_notice_is_shown_and_nothing_is_kept(run):
    """Nobody is told by default."""
    run.evaluate(1)
    said = []
    assert tell_day(run.knobs, say=said.append) == []
    assert said[0].startswith("ctr-shop: ftrl promoted, log loss 0.4300")
    assert "Nothing was sent" in said[1]
    assert not (run.products / "notices").exists()


def test_a_day_is_told_against_the_day_before(run, receiver):
    """Telling it again compares with the same day before, not with itself."""
    run.evaluate(1, loss=0.43)
    assert told(run, seconds=90) == []
    run.evaluate(2, loss=0.42, decision="refused", reasons=["calibration 1.4"])
    assert told(run) == []
    assert told(run) == []
    first, second, again = texts(receiver)
    assert "log loss 0.4300," in first
    assert "Cost: 90 s on" in first
    assert "log loss 0.4200 (-0.0100)" in second
    assert "ftrl: refused: calibration 1.4" in second
    assert "champion: ftrl, version 1" in second
    assert "log loss 0.4200 (-0.0100)" in again


def test_the_picture_goes_with_the_notice(run, receiver):
    """Beside the text, and kept below the products."""
    run.evaluate(1)
    run.monitor(1)
    told(run)
    (attached,) = receiver.received[0][1]["attachments"]
    assert attached["mimetype"] == "image/png"
    assert (run.products / "notices" / "day.png").read_bytes().startswith(b"\x89PNG")


def test_quiet_leaves_out_a_day_on_which_nothing_happened(run, receiver, monkeypatch):
    """Figures move every hour; a promotion, a refusal, an alert that opens or closes are told."""
    monkeypatch.setattr(telling, "_picture", lambda *_: None)
    run.knobs["notices"]["quiet"] = True
    run.evaluate(1)
    steps = [
        lambda: run.monitor(1),
        lambda: run.monitor(2, ratio=1.05),
        lambda: run.monitor(3, alerts=["page"]),
        lambda: run.monitor(4, alerts=["page"]),
        lambda: run.monitor(5),
        lambda: run.decide(1, "forced"),
    ]
    sent = []
    for step in steps:
        step()
        before = len(receiver.received)
        told(run)
        sent.append(len(receiver.received) > before)
    assert sent == [True, False, True, False, True, True]
    assert "closed: unseen page" in texts(receiver)[2]


def test_only_events_that_are_asked_for_are_told(run, receiver):
    """A list of alerts only sleeps through promotions."""
    run.knobs["notices"]["events"] = ["alert"]
    run.evaluate(1)
    told(run)
    run.monitor(1, alerts=["page"])
    told(run)
    (only,) = texts(receiver)
    assert "page: half of the values are new" in only


def test_what_did_not_arrive_is_told_again(run, receiver):
    """A receiver that was away on the day of an event hears of it later."""
    run.knobs["notices"]["quiet"] = True
    run.evaluate(1)
    receiver.status = 500
    assert told(run) == ["notice not sent: HOOK: the receiver answered 500"]
    receiver.status = 200
    assert told(run) == []
    assert len(texts(receiver)) == 2
    told(run)
    assert len(texts(receiver)) == 2


def test_a_failure_names_task_cell_and_the_command_to_resume(run, receiver):
    """And the log, which holds the rest."""
    failure = Failure("train-ftrl", "alpha is too high", 3, log="logs/train-ftrl.log", cell=7)
    assert tell_failure(run.knobs, [failure], resume="make run", say=lambda _: None) == []
    (body,) = [body for _, body in receiver.received]
    assert body["title"] == "Clicklab: train-ftrl failed"
    assert "train-ftrl, cell In [7]: alpha is too high" in body["message"]
    assert "log: logs/train-ftrl.log" in body["message"]
    assert "Resume with: make run" in body["message"]


def env_file(run, *addresses):
    """Write the knobs of the run beside a copy of env.yaml, and return their file."""
    folder = run.products.parent
    knobs = yaml.safe_load((ROOT / "env.yaml").read_text())
    knobs["schema"] = str(ROOT / knobs["schema"])
    knobs |= {"products": str(run.products)}
    knobs["mlflow"]["ledger"] = str(run.ledger)
    knobs["notices"]["addresses"] = list(addresses)
    path = folder / "env.yaml"
    path.write_text(yaml.safe_dump(knobs))
    return path


def test_make_tell_ends_with_8_if_a_receiver_fails(run, monkeypatch):
    """In one line that holds no part of the address."""
    run.evaluate(1)
    monkeypatch.setenv("HOOK", "secret-path")
    done = CliRunner().invoke(app, ["tell", "--env", str(env_file(run, "HOOK"))])
    assert done.exit_code == 8
    assert len(done.stderr.splitlines()) == 1
    assert "HOOK: its address is not one that apprise knows" in done.stderr
    assert "secret-path" not in done.output


def test_a_notice_that_fails_does_not_fail_a_run(run, monkeypatch, capsys):
    """Neither an address that is none, nor a ledger that was cut."""
    run.evaluate(1)
    monkeypatch.setenv("HOOK", "secret-path")
    path = env_file(run, "HOOK")
    tell_after([], path, verb="run", data=None, seconds=1.0)
    run.ledger.write_text("cut")
    tell_after([], path, verb="run", data=None, seconds=1.0)
    first, second = capsys.readouterr().err.splitlines()
    assert "notice not sent: HOOK" in first
    assert "was changed, cut or removed" in second


def test_nothing_that_is_kept_holds_an_address(run, receiver):
    """Products are shared; the environment is not."""
    run.evaluate(1)
    told(run)
    kept = [path for path in run.products.rglob("*") if path.is_file()]
    assert kept
    assert not [path for path in kept if b"secret-path" in path.read_bytes()]
    assert json.loads((run.products / "notices" / "told.json").read_text())["delivered"]


def test_a_failed_run_resumes_with_its_own_file_and_data(run, receiver):
    """The command can be pasted as it is."""
    failure = Failure("ingest", "no such column", 2)
    path = env_file(run, "HOOK")
    tell_after([failure], path, verb="run", data="my log.csv", seconds=1.0)
    assert f"make run ENV={path} DATA='my log.csv'" in texts(receiver)[0]
    assert Path(path).is_file()


def test_what_ends_a_run_before_its_tasks_is_a_failure_too(run, receiver):
    """A store that is away; but a person who stops a run knows of it."""
    path = env_file(run, "HOOK")
    with pytest.raises(UnavailableError), told_after(path, verb="run", started=0.0):
        raise UnavailableError("MLflow does not answer")
    with pytest.raises(KeyboardInterrupt), told_after(path, verb="run", started=0.0):
        raise KeyboardInterrupt
    (only,) = texts(receiver)
    assert "run: MLflow does not answer" in only
