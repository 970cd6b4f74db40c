"""The state machine, run by moto's interpreter: how a run proceeds, and how it ends, by how its containers end."""

import json
import logging

import pytest

from infra.state_machine.dag import order
from infra.state_machine.plan import make_plan
from infra.state_machine.retry import exit_names
from infra.state_machine.sizes import read_sizes
from tests.infra.machine import Containers, account, deployed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:moto"),
]
NEEDS = {
    "ingest": (),
    "hash_features": ("ingest",),
    "train-a": ("hash_features",),
    "train-b": ("hash_features",),
    "report": ("train-a", "train-b"),
}
FILES = {
    "runs/r1/summary.txt": "The champion is a.",
    "runs/r1/failures/ingest.json": json.dumps({"line": "too few clicks", "cell": 7}),
}
LOG = "https://console/$252Fclicklab$252Fpipeline/log-events/task$252Fpipeline$252F0123abcd"


def definition(needs):
    """Return a machine as it is deployed, but for the time it waits."""
    shards = {name: 2 for name in needs if name == "hash_features"}
    sizes = read_sizes({"aws": {"shards": shards}}, list(needs))
    plan = make_plan(order(needs), sizes)
    plan["defaults"]["wait_s"] = 0
    return deployed(plan)


@pytest.fixture(scope="module")
def play():
    """A function that runs the machine with containers that end as told, and returns how that went."""
    logging.disable(logging.CRITICAL)  # moto tells every failure in full
    whole, alone = definition(NEEDS), definition({"ingest": ()})
    numbers = iter(range(100))
    with account(FILES) as run:

        def played(ends=None, **given):
            containers = Containers(ends)
            machine = alone if set(ends or {"all"}) == {"ingest"} else whole
            return run(machine, containers, given, name=f"exec-{next(numbers)}"), containers

        yield played
    logging.disable(logging.NOTSET)


def test_a_run_in_which_all_goes_well(play):
    """Shards before their task, models side by side, one notice with the summary that `report` left."""
    ran, containers = play(run="r1")
    assert ran.status == "SUCCEEDED"
    assert containers.started[0] == "ingest"
    assert set(containers.started[1:3]) == {"hash_features 0", "hash_features 1"}
    assert containers.started[3] == "hash_features"
    assert set(containers.started[4:6]) == {"train-a", "train-b"}
    assert containers.started[6:] == ["report"]
    (told,) = ran.told
    assert told["Message"] == "Run r1 succeeded. The champion is a."


def test_the_container_is_told_run_data_model_and_attempt(play):
    """By its environment; the first attempt on spot capacity, the next on demand."""
    _, containers = play({"ingest": ["spot"]}, run="r1", data="s3://b/log.gz")
    first, second = containers.parameters["ingest"]
    environment = {
        item["Name"]: item["Value"]
        for item in second["Overrides"]["ContainerOverrides"][0]["Environment"]
    }
    assert environment == {
        "CLICKLAB_RUN": "r1",
        "CLICKLAB_DATA": "s3://b/log.gz",
        "CLICKLAB_MODEL": "",
        "CLICKLAB_ATTEMPT": "2",
        "CLICKLAB_SHARD": "",
        "CLICKLAB_SHARDS": "",
    }
    assert first["CapacityProviderStrategy"][0]["CapacityProvider"] == "FARGATE_SPOT"
    assert second["CapacityProviderStrategy"][0]["CapacityProvider"] == "FARGATE"


def test_a_run_without_an_id_is_named_after_its_execution(play):
    """As the schedule starts it, with an empty id or none."""
    for given in ({}, {"run": ""}):
        ran, containers = play({"ingest": [2]}, **given)
        told = containers.parameters["ingest"][0]["Overrides"]["ContainerOverrides"][0][
            "Environment"
        ][0]
        assert told["Value"].startswith("exec-")
        assert ran.status == "FAILED"


def test_one_model_alone(play):
    """The other trainings are left out; what comes after them runs."""
    ran, containers = play(run="r1", model="b")
    assert ran.status == "SUCCEEDED"
    assert "train-a" not in containers.started
    assert containers.started[-2:] == ["train-b", "report"]


def test_an_unknown_model_starts_nothing(play):
    """And is reported."""
    ran, containers = play(run="r1", model="c")
    assert (ran.status, ran.error, containers.started) == ("FAILED", "ConfigError", [])
    assert "known are [" in ran.told[0]["Message"]


def test_what_is_done_is_not_started_again(play):
    """How a run is resumed: finished tasks are named in the input."""
    ran, containers = play(run="r1", done=["ingest", "hash_features", "train-a"])
    assert ran.status == "SUCCEEDED"
    assert containers.started == ["train-b", "report"]


@pytest.mark.parametrize("code", range(1, 8))
def test_a_defect_or_a_refusal_is_final_and_has_its_name(play, code):
    """A check, a gate, a knob: another attempt would end the same way."""
    ran, containers = play({"ingest": [code, 0]}, run="r1")
    assert containers.started == ["ingest"]
    assert (ran.status, ran.error) == ("FAILED", exit_names()[code])
    (told,) = ran.told
    assert told["Subject"] == "Run r1 failed"
    assert f"({exit_names()[code]}), cell 7: too few clicks" in told["Message"]
    assert LOG in told["Message"]
    assert "make resume RUN=r1" in told["Message"]


@pytest.mark.parametrize(
    ("ends", "error"),
    [
        ([143, 137], "OutOfMemory"),
        (["spot", "spot"], "Interrupted"),
        ([None, None], "Interrupted"),
        ([255, 139], "Interrupted"),
    ],
)
def test_an_interruption_is_retried(play, ends, error):
    """Up to `attempts`; the error is named after the last one."""
    ran, containers = play({"ingest": ends}, run="r2")
    assert containers.started == ["ingest", "ingest"]
    assert (ran.status, ran.error) == ("FAILED", error)
    assert "no record" in ran.told[0]["Message"]
    assert play({"ingest": [ends[0], 0]}, run="r2")[0].status == "SUCCEEDED"


def test_an_exit_code_without_a_name_is_final(play):
    """Such as 127, a command that is not in the image."""
    ran, containers = play({"ingest": [127, 0]}, run="r2")
    assert (ran.error, containers.started) == ("TaskFailed", ["ingest"])


def waits(ran):
    """Return the seconds of each wait."""
    entered = [event.get("stateEnteredEventDetails", {}) for event in ran.events]
    return [json.loads(one["input"])["wait_s"] for one in entered if one.get("name") == "Wait"]


def test_an_unavailable_service_is_waited_for(play):
    """More often than after an interruption; it is back for the fourth attempt."""
    ran, containers = play({"ingest": [8, 8, 8]}, run="r2")
    assert (ran.status, containers.started) == ("SUCCEEDED", ["ingest"] * 4)
    assert waits(ran) == [0, 0, 0]


def test_the_wait_doubles_with_each_outage_but_not_with_an_interruption(play):
    """One second, then two; the interruption between them waits one."""
    ran, _ = play({"ingest": [8, "spot", 8]}, run="r2", wait_s=1)
    assert (ran.status, waits(ran)) == ("SUCCEEDED", [1, 1, 2])


def test_a_lasting_outage_fails_the_run_which_can_be_resumed(play):
    """After `attempts_unavailable`, under the name of its class; the same run succeeds later."""
    ran, containers = play({"ingest": [8] * 9}, run="r1")
    assert (ran.status, ran.error) == ("FAILED", "UnavailableError")
    assert containers.started == ["ingest"] * 5
    assert "failed (UnavailableError), cell 7" in ran.told[0]["Message"]
    assert "make resume RUN=r1" in ran.told[0]["Message"]
    assert play({"ingest": [0]}, run="r1")[0].status == "SUCCEEDED"


def test_outages_and_interruptions_are_counted_apart(play):
    """Four outages and one interruption are within both limits; one more interruption is not."""
    ran, containers = play({"ingest": [8, 8, None, 8, 8]}, run="r2")
    assert (ran.status, containers.started) == ("SUCCEEDED", ["ingest"] * 6)
    ran, containers = play({"ingest": [8, 8, None, "spot"]}, run="r2")
    assert (ran.error, containers.started) == ("Interrupted", ["ingest"] * 4)
    ran, containers = play({"ingest": [8, 8, 1]}, run="r2")
    assert (ran.error, containers.started) == ("Defect", ["ingest"] * 3)


def test_the_limits_are_those_of_the_input(play):
    """One: nothing is retried; four: three interruptions are."""
    ran, containers = play({"ingest": ["spot"]}, run="r2", attempts=1)
    assert (ran.error, containers.started) == ("Interrupted", ["ingest"])
    ran, containers = play({"ingest": [8]}, run="r2", attempts_unavailable=1)
    assert (ran.error, containers.started) == ("UnavailableError", ["ingest"])
    ran, containers = play({"ingest": ["spot"] * 3}, run="r2", attempts=4)
    assert (ran.status, containers.started) == ("SUCCEEDED", ["ingest"] * 4)


def test_a_time_limit_is_final(play):
    """A task that took too long once will again."""
    ran, containers = play({"ingest": ["States.Timeout"]}, run="r2")
    assert (ran.error, containers.started) == ("TimeLimit", ["ingest"])
    assert "longer than its time limit" in ran.told[0]["Message"]


def test_a_right_that_is_missing_is_told(play):
    """The state machine's role may not run tasks: nothing was started, and AWS said why."""
    ran, _ = play({"ingest": ["ECS.AccessDeniedException"]}, run="r2")
    assert ran.error == "NotStarted"
    assert "it was not to be" in ran.told[0]["Message"]


def test_no_capacity_is_tried_again_on_demand(play):
    """RunTask answered, but started nothing."""
    ran, containers = play({"ingest": ["AmazonECS.Unknown"]}, run="r2")
    assert ran.status == "SUCCEEDED"
    assert (
        containers.parameters["ingest"][1]["CapacityProviderStrategy"][0]["CapacityProvider"]
        == "FARGATE"
    )


def test_a_shard_is_a_loop_of_its_own(play):
    """One shard is interrupted and resumes, the others are not started again; for good, it fails the run."""
    ran, containers = play({"hash_features 1": ["spot"]}, run="r2")
    assert ran.status == "SUCCEEDED"
    assert sorted(containers.started[1:4]) == [
        "hash_features 0",
        "hash_features 1",
        "hash_features 1",
    ]
    ran, _ = play({"hash_features 1": [4]}, run="r2")
    assert ran.error == "DataCheckError"
    assert ran.told[0]["Subject"] == "Run r2 failed"


def test_a_failed_branch_names_its_task_and_nothing_after_it_starts(play):
    """train-b fails for good while train-a ends well."""
    ran, containers = play({"train-b": [6]}, run="r2")
    assert (ran.status, ran.error) == ("FAILED", "GateError")
    assert "report" not in containers.started
    assert json.loads(ran.cause)["task"]["name"] == "train-b"
