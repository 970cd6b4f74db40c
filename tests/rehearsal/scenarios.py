"""The pipeline's scenarios: each makes something happen to real tasks and looks at what came of it.

Most run one or two tasks only: the others are called done in the execution's input, and so are left out.
"""

import json
from typing import Any

from infra.runs.commands import resume, switch_schedule
from infra.runs.executions import logs
from tasks.errors import UnavailableError
from tests.rehearsal import account, knobs
from tests.rehearsal.containers import SPOT_REASON
from tests.rehearsal.faults import failing_cell, fault
from tests.rehearsal.house import House
from tests.rehearsal.scenario import scenario
from tests.rehearsal.stage import shown, wait_for

DATA = "sim://avazu?rows=3000&seed=3"


@scenario("a task that is unavailable once is retried, and the run succeeds", is_short=True)
def fails_once(house: House) -> str:
    """The first attempt exits with 8."""
    house.deploy(fault("ingest", "unavailable", attempts=1))
    run = house.start_only("ingest", data=DATA)
    ended = house.stage.end_of(run)
    codes = house.exit_codes(run, "ingest")
    shown(ended["status"] == "SUCCEEDED" and codes == [8, 0], f"success after [8, 0], got {codes}")
    return f"exit codes {codes}; told: {house.stage.notice(run).split(': ')[0]}"


@scenario(
    "a task that fails for good is told with task, cell and log, and the run goes on after a fix"
)
def fails_for_good(house: House) -> str:
    """A cell of a notebook raises; after the fix, the task before it is not repeated."""
    house.deploy(failing_cell(house.image, "explore"))
    run = house.start_only("ingest", "validate", "explore", data=DATA)
    ended = house.stage.end_of(run)
    told = house.stage.notice(run)
    shown(ended["status"] == "FAILED", "the run failed")
    for part in ("explore", "cell ", "log: https://", "the rehearsal breaks this cell"):
        shown(part in told, f"the notice says {part!r}: {told}")
    house.deploy({})
    how = resume(house.stage.values, run).how
    shown(house.stage.end_of(run)["status"] == "SUCCEEDED", "the run went on to success")
    shown(house.exit_codes(run, "ingest") == [0], "ingest was not repeated")
    return f"told: {told.split(' | ')[0]}; {how.split(';')[0]}; ingest ran once"


@scenario("a log that breaks its contract is refused at once, not tried again", is_short=True)
def data_check_fails(house: House) -> str:
    """The lowest click rate allowed is one that the log does not have."""
    checks = {**house.env["checks"], "min_ctr": 0.8}
    house.deploy(knobs.as_file({**house.env, "checks": checks}))
    run = house.start_only("ingest", "validate", data=DATA)
    ended, codes = house.stage.end_of(run), house.exit_codes(run, "validate")
    shown(ended.get("error") == "DataCheckError", f"DataCheckError, got {ended.get('error')}")
    shown(codes == [4], f"one attempt with exit code 4, got {codes}")
    told = house.stage.notice(run).split(" | ")[0]
    return f"{ended['error']} after 1 attempt: {told.split(': ', 2)[-1].split(';')[0]}"


@scenario("a spot interruption: the task stops cleanly and is tried again on demand", is_short=True)
def spot_interruption(house: House) -> str:
    """The first attempt waits until it is interrupted."""
    house.deploy(fault("ingest", "hang", attempts=1))
    run = house.start_only("ingest", data=DATA)
    house.wait_for_log(run, "the rehearsal lets this task wait")
    first = house.stage.running(run, "ingest")
    house.stage.emulator.client("ecs").stop_task(
        cluster=house.stage.values["cluster"], task=first["taskArn"], reason=SPOT_REASON
    )
    ended = house.stage.end_of(run)
    attempts = house.stage.containers(run, "ingest")
    codes = [one["containers"][0].get("exitCode") for one in attempts]
    shown(ended["status"] == "SUCCEEDED" and codes == [143, 0], f"[143, 0], got {codes}")
    shown(attempts[0]["stopCode"] == "SpotInterruption", "the stop code is SpotInterruption")
    where = [one["capacityProviderName"] for one in attempts]
    shown(where == ["FARGATE_SPOT", "FARGATE"], f"spot, then on demand; got {where}")
    return f"exit codes {codes} on {where[0]}, then {where[1]}"


@scenario(
    "a task over its time limit is stopped and told, not tried again",
    simulated="limit of 8 s",
    is_short=True,
)
def time_limit(house: House) -> str:
    """The task waits for ever."""
    house.deploy(fault("ingest", "hang"), time_limits_s={"ingest": 8})
    run = house.start_only("ingest", data=DATA)
    ended = house.stage.end_of(run)
    shown(ended.get("error") == "TimeLimit", f"TimeLimit, got {ended.get('error')}")
    codes = wait_for(
        lambda: house.all_stopped(run, "ingest"), "the end of the container", limit_s=60
    )
    shown(codes == [143], f"one container, stopped with 143; got {codes}")
    return f"{ended['error']}; its container got SIGTERM and ended with {codes[0]}"


@scenario(
    "out of memory is told as such, with 137",
    by_processes="the limit: a watcher kills, not a cgroup",
)
def out_of_memory(house: House) -> str:
    """The task takes all the memory there is."""
    house.deploy(fault("ingest", "memory"))
    run = house.start_only("ingest", data=DATA)
    ended, codes = house.stage.end_of(run), house.exit_codes(run, "ingest")
    shown(ended.get("error") == "OutOfMemory", f"OutOfMemory, got {ended.get('error')}")
    shown(codes == [137, 137], f"two attempts with 137, got {codes}")
    told = house.stage.notice(run)
    shown("memory" in told, f"the notice speaks of memory: {told}")
    return f"{ended['error']}, exit codes {codes}"


@scenario(
    "two schedules that overlap keep apart",
    simulated="that it is time: EventBridge Scheduler's clock",
)
def overlapping_schedules(house: House) -> str:
    """The schedule is fired twice, as its own role, before the first run has ended."""
    house.deploy({})
    house.schedule_only("ingest", "validate", data=DATA)
    switch_schedule(house.stage.values, on=True)
    runs = [house.stage.fire_schedule(), house.stage.fire_schedule()]
    switch_schedule(house.stage.values, on=False)
    ends = [house.stage.end_of(run)["status"] for run in runs]
    shown(ends == ["SUCCEEDED", "SUCCEEDED"] and runs[0] != runs[1], f"two successes, got {ends}")
    found = [sorted(house.stage.files(run, "products/")) for run in runs]
    shown(found[0] == found[1] and bool(found[0]), "each run has all its own files")
    shown(all(house.exit_codes(run, "ingest") == [0] for run in runs), "one attempt each")
    return f"{len(found[0])} files each, under {runs[0][:8]}... and {runs[1][:8]}..."


@scenario(
    "S3 refuses writes for a while: the task is tried again and the run succeeds",
    simulated="S3's 503s",
)
def s3_refuses_writes(house: House) -> str:
    """Writes are refused until the first attempt has ended."""
    house.deploy({})
    house.stage.emulator.refuse_writes("/runs/")
    try:
        run = house.start_only("ingest", data=DATA, attempts=3)
        wait_for(lambda: house.exit_codes(run, "ingest") or None, "the end of the first attempt")
    finally:
        house.stage.emulator.refuse_writes()
    ended, codes = house.stage.end_of(run), house.exit_codes(run, "ingest")
    shown(
        ended["status"] == "SUCCEEDED" and codes[0] == UnavailableError.exit_code,
        f"success after 8, got {codes}",
    )
    shown("SlowDown" in " ".join(logs(house.stage.values, run)), "the log names what S3 answered")
    return f"exit codes {codes}; the log says SlowDown"


@scenario(
    "a role that lacks a right: the notice names the right, and nothing is tried again",
    is_short=True,
)
def missing_right(house: House) -> str:
    """The task role may not list the bucket."""
    house.deploy({})
    name = f"{account.NAME}-pipeline-task"
    iam = house.stage.emulator.client("iam")
    document = iam.get_role_policy(RoleName=name, PolicyName="pipeline-task")["PolicyDocument"]
    less = [one for one in document["Statement"] if one["Action"] != ["s3:ListBucket"]]
    _put(iam, name, {**document, "Statement": less})
    try:
        run = house.start_only("ingest", data=DATA)
        ended = house.stage.end_of(run)
    finally:
        _put(iam, name, document)
    told, codes = house.stage.notice(run), house.exit_codes(run, "ingest")
    shown(ended.get("error") == "ConfigError" and codes == [3], f"ConfigError once, got {codes}")
    shown("s3:ListBucket" in told, f"the notice names s3:ListBucket: {told}")
    return "the notice says: needs s3:ListBucket on the bucket"


def _put(iam: Any, role: str, document: dict[str, Any]) -> None:
    iam.put_role_policy(
        RoleName=role, PolicyName="pipeline-task", PolicyDocument=json.dumps(document)
    )


@scenario("a run of one model, from the log to a Bento, by the real state machine")
def one_model(house: House) -> str:
    """All tasks of a run limited to one model; the scenarios after it go on from its products."""
    run = house.baseline_run()
    tasks = house.stage.tasks(run)
    done = [name for name, task in tasks.items() if task.state == "done"]
    told = house.stage.notice(run)
    shown("succeeded" in told, f"success is told: {told}")
    return f"{len(done)} tasks; {told.split('. ', 1)[-1]}"


@scenario("no model passes the gates: the champion stays")
def gate_refuses(house: House) -> str:
    """Nobody is as good as the gate asks for."""
    run = house.copy_of_baseline("evaluate", "promote")
    before = house.champion()
    gates = {**house.env["gates"], "max_normalized_entropy": 0.01}
    house.deploy(knobs.as_file({**house.env, "gates": gates}))
    house.start_only("evaluate", "promote", run=run, model="ftrl")
    ended = house.stage.end_of(run)
    found = json.loads(house.stage.read(f"runs/{run}/products/promotion.json") or "{}")
    shown(ended["status"] == "SUCCEEDED", f"the run ended well, got {ended['status']}")
    shown(found["champion"] == "(unchanged)", f"nobody was promoted, got {found['champion']}")
    shown(house.champion() == before, "the champion is the same")
    reasons = next(iter(found["refused"].values()))
    return f"version {before} stays; refused: {reasons[0]}"


@scenario(
    "MLflow is away: the task is tried again, and the run succeeds when it is back",
    simulated="the client's patience: 2 tries more instead of 7, which take four minutes",
)
def mlflow_away(house: House) -> str:
    """The server is stopped before a task that records its decisions there, until the first attempt has ended."""
    run = house.copy_of_baseline("promote")
    house.deploy({}, environment={"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"})
    with house.without_tracking():
        house.start_only("promote", run=run, model="ftrl")
        wait_for(lambda: house.exit_codes(run, "promote") or None, "the end of the first attempt")
    ended, codes = house.stage.end_of(run), house.exit_codes(run, "promote")
    away = set(codes[:-1]) == {UnavailableError.exit_code} and codes[-1] == 0
    shown(ended["status"] == "SUCCEEDED" and away, f"success after 8, got {codes}")
    shown(
        "cannot be reached just now" in " ".join(logs(house.stage.values, run)), "the log says so"
    )
    return f"exit codes {codes}; the log says that MLflow cannot be reached just now"
