"""A run's history, as Step Functions tells it, read back as what each task does."""

import json
from datetime import UTC, datetime, timedelta

from infra.runs.progress import read_progress, tasks_of
from infra.state_machine.dag import Task
from infra.state_machine.plan import make_plan
from infra.state_machine.retry import exit_names
from infra.state_machine.sizes import Size, Sizes
from tests.infra.machine import deployed

_START = datetime(2026, 11, 3, 4, 0, tzinfo=UTC)


class History:
    """A history made by hand: each event ten seconds after the one before."""

    def __init__(self):
        self.events = []

    def add(self, kind, state="", task="ingest", **data):
        """Append an event of a task's container, or of its shard as ``name/0``, and return the history."""
        number = len(self.events) + 1
        event = {"id": number, "previousEventId": number - 1, "type": kind}
        event["timestamp"] = _START + timedelta(seconds=10 * number)
        name, _, shard = task.partition("/")
        text = json.dumps({"task": {"name": name, "shard": shard}} | data)
        if state and "Entered" in kind:
            event["stateEnteredEventDetails"] = {"name": state, "input": text}
        elif state:
            event["stateExitedEventDetails"] = {"name": state, "output": text}
        self.events.append(event)
        return self

    def ran(self, task):
        """Append a container that succeeded."""
        self.add("TaskStateEntered", "Run", task).add("TaskScheduled").add("TaskSucceeded")
        return self.add("TaskStateExited", "Run", task)

    def failed(self, task, kind="TaskFailed"):
        """Append a container whose failure is caught: Step Functions leaves the state as it does after success."""
        self.add("TaskStateEntered", "Run", task).add(kind)
        self.add("TaskStateExited", "Run", task, error={"Error": "States.TaskFailed"})
        return self.add("ChoiceStateEntered", "Did it start?", task)


def _read(history, status="RUNNING", names=("ingest", "train-fm"), done=()):
    return read_progress(names, history.events, status, done)


def test_nothing_has_happened_yet():
    """Every task waits, and has no time."""
    tasks = _read(History())
    assert [task.state for task in tasks.values()] == ["waiting", "waiting"]
    assert tasks["ingest"].seconds is None


def test_a_task_runs_and_is_done():
    """From the container's start to its end, ten seconds an event."""
    history = History().add("PassStateEntered", "First attempt").add("TaskStateEntered", "Run")
    assert _read(history)["ingest"].state == "running"
    history.add("TaskSucceeded").add("TaskStateExited", "Run")
    ingest = _read(history)["ingest"]
    assert (ingest.state, ingest.attempts, ingest.seconds) == ("done", 1, 20.0)


def test_a_caught_failure_is_no_end():
    """Step Functions leaves a state whose failure was caught too; that is not `done`."""
    history = History().failed("ingest")
    assert _read(history)["ingest"].state == "running"
    assert _read(History().failed("ingest", "TaskTimedOut"))["ingest"].state == "running"


def test_a_task_is_tried_again():
    """An interrupted container waits, starts anew, and both starts count."""
    history = History().failed("ingest").add("WaitStateEntered", "Wait")
    assert _read(history)["ingest"].state == "waiting to retry"
    history.add("WaitStateExited", "Wait").ran("ingest")
    assert (_read(history)["ingest"].state, _read(history)["ingest"].attempts) == ("done", 2)


def test_a_task_fails_for_good():
    """The name of the end says why."""
    history = History().failed("train-fm").add("FailStateEntered", "Out of memory", "train-fm")
    task = _read(history, "FAILED")["train-fm"]
    assert (task.state, task.why, task.seconds) == ("failed", "out of memory", 40.0)


def test_what_another_failure_stopped_is_not_running():
    """When the run has ended, nothing runs any more."""
    history = History().add("TaskStateEntered", "Run").failed("train-fm")
    tasks = _read(history.add("FailStateEntered", "Interrupted", "train-fm"), "FAILED")
    assert (tasks["ingest"].state, tasks["train-fm"].state) == ("stopped", "failed")
    waiting = History().failed("ingest").add("WaitStateEntered", "Wait")
    assert _read(waiting, "ABORTED")["ingest"].state == "stopped"


def test_shards_are_counted_apart_and_belong_to_their_task():
    """A shard that is through does not make the task done; one that fails fails it."""
    history = History().ran("ingest/0").ran("ingest/0")
    assert _read(history)["ingest"].state == "running"
    ingest = _read(history.ran("ingest"))["ingest"]
    assert (ingest.state, ingest.attempts, ingest.shards) == ("done", 1, 2)
    history = History().failed("ingest/0").add("FailStateEntered", "Failed", "ingest/0")
    assert _read(history)["ingest"].state == "failed"


def test_a_skipped_task_and_one_done_before():
    """Of another model: skipped. Finished by an earlier execution of the run: done."""
    history = History().add("SucceedStateEntered", "Not needed", "train-fm")
    assert _read(history)["train-fm"].state == "skipped"
    assert _read(history, done=["train-fm"])["train-fm"].state == "done"


def test_a_redriven_run_begins_its_failed_task_anew():
    """The failure of before is forgotten once the task is started again."""
    history = History().failed("ingest").add("FailStateEntered", "Failed")
    history.add("ExecutionFailed").add("ExecutionRedriven").add("TaskStateEntered", "Run")
    ingest = _read(history)["ingest"]
    assert (ingest.state, ingest.why, ingest.attempts) == ("running", "", 2)


def test_states_that_are_no_tasks_are_passed_over():
    """The machine's own states, and tasks the pipeline no longer has."""
    history = History().add("TaskStateEntered", "Notify success").ran("gone")
    assert [task.state for task in _read(history).values()] == ["waiting", "waiting"]


def test_the_tasks_are_read_from_a_compiled_definition():
    """By level, each once, sharded ones too."""
    tasks = [Task("a", (), 0), Task("b", ("a",), 1), Task("c", ("a",), 1)]
    names = ("a", "b", "c")
    size = Size(1024, 4096)
    sizes = Sizes(
        by_task=dict.fromkeys(names, size),
        time_limit_s=dict.fromkeys(names, 60),
        shards={"b": 2},
        attempts=2,
        attempts_unavailable=5,
        spot=True,
    )
    assert tasks_of(deployed(make_plan(tasks, sizes))) == ["a", "b", "c"]


def test_a_refusal_is_named():
    """By the class that has the exit code."""
    given, error = {"exit_names": exit_names()}, {"container": {"ExitCode": 4}}
    history = History().failed("ingest")
    history.add("FailStateEntered", "Failed by name", given=given, error=error)
    assert _read(history, "FAILED")["ingest"].why == "DataCheckError"


def test_data_that_cannot_be_read_is_passed_over():
    """Step Functions may cut it off."""
    history = History().ran("ingest").add("TaskStateEntered", "Run", "train-fm")
    history.events[-1]["stateEnteredEventDetails"]["input"] = '{"task": {'
    assert _read(history)["train-fm"].state == "waiting"
