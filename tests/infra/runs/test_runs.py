"""The verbs over runs, against an account whose state machines really run."""

import json
import re
import time
from datetime import UTC, datetime

import pytest
from moto.stepfunctions.parser.models import StepFunctionsParserBackend
from moto.stepfunctions.responses import StepFunctionResponse

from infra.runs import __main__ as runs
from infra.runs import executions
from infra.runs.executions import follow
from tests.infra.cloud import ACCOUNT, REGION, TRUST, account, aws, execute_machines, write_outputs

pytestmark = pytest.mark.slow
ARN = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:clicklab"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:notices"
RUN = "20261103T040000-ab12"


def _level(name, topic=TOPIC):
    """Return states called as those of the definition, whose task publishes to a topic."""
    publish = "arn:aws:states:::sns:publish"
    run = {
        "Type": "Task",
        "Resource": publish,
        "Parameters": {"TopicArn": topic, "Message": name},
        "ResultPath": None,
        "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "Failed"}],
        "End": True,
    }
    processor = {"StartAt": "Run", "States": {"Run": run, "Failed": {"Type": "Fail"}}}
    return {
        "Type": "Map",
        "ItemsPath": "$.tasks",
        "ItemSelector": {"task": {"name": name, "shard": ""}},
        "ItemProcessor": {"ProcessorConfig": {"Mode": "INLINE"}, **processor},
        "ResultPath": None,
    }


def _definition(*, topic=TOPIC, wait_s=0):
    """Return a machine of two levels; the second fails where its topic does not exist."""
    plan = {"levels": [[{"name": "ingest"}], [{"name": "train-fm"}]], "tasks": [1]}
    states = {
        "Plan": {"Type": "Pass", "Result": plan, "Next": "First"},
        "First": {**_level("ingest"), "Next": "Pause"},
        "Pause": {"Type": "Wait", "Seconds": wait_s, "Next": "Second"},
        "Second": {**_level("train-fm", topic), "End": True},
    }
    return json.dumps({"StartAt": "Plan", "States": states})


@pytest.fixture(scope="module")
def address():
    """One account for all tests of this file; each makes its own machine anew."""
    with account() as found:
        execute_machines(found)
        aws("sns").create_topic(Name="notices")
        aws("s3").create_bucket(
            Bucket="clicklab", CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        aws("iam").create_role(RoleName="machine", AssumeRolePolicyDocument=TRUST)
        yield found


@pytest.fixture
def machine(address, tmp_path, monkeypatch):
    """Yield a function that (re)makes the machine; nothing is polled slowly."""
    values = {
        "state_machine_arn": ARN,
        "bucket": "clicklab",
        "log_group": "/clicklab/pipeline",
        "schedule_name": "nightly",
        "schedule_group": "default",
    }
    monkeypatch.setenv("CLICKLAB_OUTPUTS", str(write_outputs(tmp_path / "outputs.json", values)))
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr(executions, "_POLL_S", 0.05)
    monkeypatch.setattr(executions, "_VISIBLE_S", 0.5)
    role = f"arn:aws:iam::{ACCOUNT}:role/machine"

    def make(definition):
        found = [one["name"] for one in aws("stepfunctions").list_state_machines()["stateMachines"]]
        if "clicklab" in found:
            aws("stepfunctions").update_state_machine(stateMachineArn=ARN, definition=definition)
        else:
            aws("stepfunctions").create_state_machine(
                name="clicklab", definition=definition, roleArn=role
            )

    make(_definition())
    return make


def _run(*words):
    return runs.main(list(words))


def _submitted(capsys, *words):
    """Submit a run, and return its id and what was said."""
    code = _run("submit", *words)
    out = capsys.readouterr().out
    return re.search(r"^run (\S+)$", out, re.M)[1], code, out


def test_a_run_is_submitted_and_followed_to_its_end(machine, capsys):
    """Each task is reported as it begins and ends, and the run's input names the run."""
    run, code, out = _submitted(capsys, "--data", "sim://avazu?rows=10")
    assert code == 0
    assert re.search(r"^ingest: done, \d+ s$", out, re.M)
    assert f"run {run}: succeeded" in out
    found = aws("stepfunctions").describe_execution(
        executionArn=f"{ARN.replace('stateMachine', 'execution')}:{run}"
    )
    assert json.loads(found["input"]) == {"run": run, "data": "sim://avazu?rows=10", "model": ""}


def test_a_local_file_is_uploaded_under_the_runs_id(machine, capsys, tmp_path):
    """A task reaches it there; another file of the same name does not replace it."""
    log = tmp_path / "log.csv"
    log.write_text("id,click\n")
    run, _, out = _submitted(capsys, "--data", str(log), "--model", "fm", "--detach")
    assert f"uploading {log}" in out
    key = f"data/{run}/log.csv"
    assert aws("s3").get_object(Bucket="clicklab", Key=key)["Body"].read() == b"id,click\n"


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (("submit", "--model", "none"), 3, "no model is called 'none'; the pipeline trains fm"),
        (("submit", "--data", "gone.csv"), 2, "gone.csv: no such file"),
        (("submit", "--data", "s3://clicklab/gone.csv"), 2, "nothing was found there"),
        (("submit", "--data", "s3://"), 2, "no bucket is named"),
        (("submit", "--data", "s3://no-such-bucket/x"), 2, "NoSuchBucket"),
        (("show", "20200101T000000-ffff"), 2, "there is no run 20200101T000000-ffff"),
        (("show", "../etc"), 2, "is not a run id"),
        (("logs", "20200101T000000-ffff"), 2, "there is no run"),
        (("resume", "20200101T000000-ffff"), 2, "there is no run"),
        (("stop", "20200101T000000-ffff"), 2, "there is no run"),
        (("schedule", "on"), 2, "ResourceNotFoundException"),
    ],
)
def test_a_mistake_is_one_line_and_starts_nothing(machine, capsys, words, code, line):
    """Non-zero, one line that says what was found; no execution more than before."""
    listing = aws("stepfunctions").list_executions
    before = len(listing(stateMachineArn=ARN)["executions"])
    assert _run(*words) == code
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert line in error
    assert len(listing(stateMachineArn=ARN)["executions"]) == before


def test_another_account_region_or_no_deployment_is_refused(machine, capsys, tmp_path, monkeypatch):
    """Before anything is asked for."""
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    assert _run("list") == 3
    assert "AWS_REGION is us-east-1, the deployment is in eu-west-1" in capsys.readouterr().err
    monkeypatch.setenv("AWS_REGION", REGION)
    values = {"account_id": "999999999999", "state_machine_arn": ARN, "bucket": "clicklab"}
    monkeypatch.setenv("CLICKLAB_OUTPUTS", str(write_outputs(tmp_path / "other.json", values)))
    assert _run("submit", "--detach") == 3
    assert f"account {ACCOUNT}, the deployment is in 999999999999" in capsys.readouterr().err
    monkeypatch.setenv("CLICKLAB_OUTPUTS", str(tmp_path / "none.json"))
    assert _run("list") == 3
    assert "nothing has been deployed from here" in capsys.readouterr().err


def test_a_failed_run_is_shown_with_the_task_that_failed(machine, capsys):
    """In the table of runs, in the run's own, and by the exit code."""
    machine(_definition(topic=TOPIC + "-gone"))
    run, code, out = _submitted(capsys)
    assert code == 1 and "train-fm: failed" in out
    assert _run("show", run) == 0
    assert re.search(r"train-fm\s*│\s*failed\s*│\s*1", capsys.readouterr().out)
    assert _run("list") == 0
    assert re.search(rf"{run}\s*│\s*failed.*train-fm failed", capsys.readouterr().out)


def test_a_changed_definition_begins_again_without_what_is_done(machine, capsys):
    """The next execution has the run's id and the tasks done; what is shown is the newest, once."""
    machine(_definition(topic=TOPIC + "-gone"))
    run, _, _ = _submitted(capsys, "--data", "sim://avazu?rows=10")
    machine(_definition())
    assert _run("resume", run) == 0
    assert "restarted; 1 tasks are done and not repeated: ingest" in capsys.readouterr().out
    again = executions.describe({"state_machine_arn": ARN}, run)
    assert again["name"] == f"{run}-again1"
    given = {"run": run, "data": "sim://avazu?rows=10", "model": "", "done": ["ingest"]}
    assert json.loads(again["input"]) == given
    assert [
        executions.run_of(one) for one in executions.executions({"state_machine_arn": ARN})
    ].count(run) == 1
    assert _run("resume", run) == 2
    assert f"run {run} is succeeded; there is nothing to resume" in capsys.readouterr().err


@pytest.fixture
def redriven(monkeypatch):
    """Let every execution be redrivable, and note which are; the emulator does not know the call."""
    asked = []

    def redrive(self):
        asked.append(json.loads(self.body)["executionArn"])
        return json.dumps({"redriveDate": datetime.now(UTC).timestamp()})

    find = executions.find_execution

    def redrivable(arn):
        found = find(arn)
        return found and found | {"redriveStatus": "REDRIVABLE", "redriveCount": len(asked)}

    monkeypatch.setattr(StepFunctionResponse, "redrive_execution", redrive, raising=False)
    monkeypatch.setattr(executions, "find_execution", redrivable)
    return asked


def _paused(capsys):
    """Submit a run and return its id once it waits between its levels.

    Stopped inside a Map, moto's interpreter ends the execution as FAILED where Step Functions says ABORTED.
    """
    run, _, _ = _submitted(capsys, "--detach")
    arn = f"{ARN.replace('stateMachine', 'execution')}:{run}"
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        events = aws("stepfunctions").get_execution_history(executionArn=arn)["events"]
        if any(event["type"] == "WaitStateEntered" for event in events):
            return run
        time.sleep(0.05)
    raise AssertionError(f"run {run} did not reach its pause")


def test_a_run_that_was_broken_off_is_redriven(machine, capsys, redriven):
    """Where Step Functions can, and the definition is still the same."""
    machine(_definition(wait_s=30))
    run = _paused(capsys)
    assert _run("stop", run) == 0
    assert _run("resume", run) == 1, "it is still stopped"
    assert "redriven from where it was stopped" in capsys.readouterr().out
    assert redriven == [f"{ARN.replace('stateMachine', 'execution')}:{run}"]


def test_a_run_that_failed_is_not_redriven_into_its_fail_state(machine, capsys, redriven):
    """Another execution continues instead."""
    machine(_definition(topic=TOPIC + "-gone"))
    run, _, _ = _submitted(capsys)
    assert _run("resume", run) == 1, "it fails again"
    assert "restarted" in capsys.readouterr().out
    assert redriven == []


def test_what_was_seen_before_a_redrive_is_no_end(machine, capsys, monkeypatch):
    """An answer that is still the old one is waited out, and a run that never shows up is an error."""
    run, _, _ = _submitted(capsys)
    arn = f"{ARN.replace('stateMachine', 'execution')}:{run}"
    find, count = executions.find_execution, iter([0, 0, 1])
    monkeypatch.setattr(
        executions, "find_execution", lambda arn: find(arn) | {"redriveCount": next(count)}
    )
    assert follow(arn, str, n_redrives=1) == "SUCCEEDED"
    assert list(count) == []


def test_a_run_that_does_not_show_up_is_an_error(machine):
    """After a while; not a loop for ever."""
    with pytest.raises(ValueError, match="has not appeared"):
        follow(f"{ARN.replace('stateMachine', 'execution')}:gone", str)


def test_a_run_is_stopped_and_can_be_resumed(machine, capsys):
    """One that has ended cannot be stopped."""
    machine(_definition(wait_s=30))
    run = _paused(capsys)
    assert _run("resume", run) == 2
    assert f"run {run} is running" in capsys.readouterr().err
    assert _run("stop", run) == 0
    assert f"make resume RUN={run}" in capsys.readouterr().out
    assert _run("stop", run) == 2
    assert "is not running, it is aborted" in capsys.readouterr().err


def test_logs_are_those_of_the_run_and_the_task(machine, capsys):
    """Other runs' lines, and lines that are no JSON, stay out."""
    run, _, _ = _submitted(capsys)
    logs = aws("logs")
    logs.create_log_group(logGroupName="/clicklab/pipeline")
    logs.create_log_stream(logGroupName="/clicklab/pipeline", logStreamName="task/1")
    now = int(datetime.now(UTC).timestamp() * 1000)
    records = [{"run": run, "task": "ingest", "line": 1}, {"run": run, "task": "train-fm"}]
    messages = [*map(json.dumps, [*records, {"run": "other", "task": "ingest"}]), "no JSON"]
    logs.put_log_events(
        logGroupName="/clicklab/pipeline",
        logStreamName="task/1",
        logEvents=[{"timestamp": now, "message": message} for message in messages],
    )
    assert _run("logs", run) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == records
    assert _run("logs", run, "--task", "ingest") == 0
    assert json.loads(capsys.readouterr().out) == records[0]
    assert _run("logs", run, "--task", "none") == 2
    assert "no task is called 'none'; the pipeline has ingest, train-fm" in capsys.readouterr().err


def test_the_schedule_is_turned_on_and_off_and_keeps_the_rest(machine, capsys):
    """An update replaces a schedule whole, so everything else is sent again."""
    scheduler = aws("scheduler")
    target = {"Arn": ARN, "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/machine", "Input": "{}"}
    scheduler.create_schedule(
        Name="nightly",
        GroupName="default",
        ScheduleExpression="rate(1 day)",
        ScheduleExpressionTimezone="Europe/Zurich",
        FlexibleTimeWindow={"Mode": "OFF"},
        Description="of the night",
        State="DISABLED",
        Target=target,
    )
    before = scheduler.get_schedule(Name="nightly", GroupName="default")
    assert _run("schedule", "on") == 0
    assert "the schedule rate(1 day) is on" in capsys.readouterr().out
    after = scheduler.get_schedule(Name="nightly", GroupName="default")
    assert after["State"] == "ENABLED"
    for key in ("Target", "Description", "ScheduleExpressionTimezone", "FlexibleTimeWindow"):
        assert after[key] == before[key]
    assert _run("schedule", "off") == 0
    assert scheduler.get_schedule(Name="nightly", GroupName="default")["State"] == "DISABLED"


def test_a_run_of_the_schedule_has_a_longer_name():
    """The scheduler's names are two UUIDs; a restarted run still fits into 80 characters."""
    name = f"{'0' * 8}-1111-2222-3333-{'4' * 12}_{'5' * 8}-6666-7777-8888-{'9' * 12}"
    assert executions._IS_RUN(name)
    assert len(executions.next_name(name, 1)) == 80


def test_ids_are_sane():
    """The emulator's parser is the one that runs; else these tests prove nothing."""
    assert StepFunctionsParserBackend.__name__
    assert executions._IS_RUN(RUN)
