"""The pipeline's scenarios: each lets something happen to real tasks and checks the consequences.

Most run one or two tasks only: the execution's input calls the others done, so they are skipped.
"""

from infra.runs.resume import resume
from tasks.errors import UnavailableError
from tests.rehearsal.containers import SPOT_REASON
from tests.rehearsal.deployment import MODEL, Deployment
from tests.rehearsal.images import env_file, failing_cell, fault
from tests.rehearsal.scenario import Scenario, check, scenario, wait_for

UNAVAILABLE = UnavailableError.exit_code
DATA = "sim://avazu?rows=3000&seed=3"
PIPELINE: list[Scenario] = []
"""In the order they are played."""


@scenario(
    PIPELINE, "a task that is unavailable once is retried, and the run succeeds", is_short=True
)
def fails_once(deployment: Deployment) -> str:
    """The first attempt exits with 8."""
    deployment.deploy(fault("ingest", "unavailable", attempts=1))
    run = deployment.start_only("ingest", data=DATA)
    deployment.check_success(run)
    codes = deployment.exit_codes(run, "ingest")
    check(codes == [UNAVAILABLE, 0], f"[8, 0], got {codes}")
    return f"exit codes {codes}; the notice: {deployment.notice(run).split(': ')[0]}"


@scenario(
    PIPELINE,
    "a task that fails for good is reported with task, cell and log, and the run resumes after a fix",
)
def fails_for_good(deployment: Deployment) -> str:
    """A cell of a notebook raises; after the fix, the task before it is not repeated."""
    deployment.deploy(failing_cell(deployment.image, "explore"))
    run = deployment.start_only("ingest", "validate", "explore", data=DATA)
    ended = deployment.end_of(run)
    notice = deployment.notice(run)
    check(ended["status"] == "FAILED", "the run to fail")
    for part in ("explore", "cell ", "log: https://", "the rehearsal breaks this cell"):
        check(part in notice, f"the notice to say {part!r}: {notice}")
    deployment.deploy()
    how = resume(deployment.values, run).how
    deployment.check_success(run)
    check(deployment.exit_codes(run, "ingest") == [0], "ingest not to be repeated")
    return f"the notice: {notice.split(' | ')[0]}; {how.split(';')[0]}; ingest ran once"


@scenario(
    PIPELINE, "a log that breaks its contract is refused at once, without a retry", is_short=True
)
def data_check_fails(deployment: Deployment) -> str:
    """The lowest click rate allowed is above the log's."""
    checks = {**deployment.env["checks"], "min_ctr": 0.8}
    deployment.deploy(env_file({**deployment.env, "checks": checks}))
    run = deployment.start_only("ingest", "validate", data=DATA)
    ended, codes = deployment.end_of(run), deployment.exit_codes(run, "validate")
    check(ended.get("error") == "DataCheckError", f"DataCheckError, got {ended.get('error')}")
    check(codes == [4], f"one attempt with exit code 4, got {codes}")
    notice = deployment.notice(run).split(" | ")[0]
    return f"{ended['error']} after 1 attempt: {notice.split(': ', 2)[-1].split(';')[0]}"


@scenario(
    PIPELINE,
    "a spot interruption: the task stops cleanly and is retried on demand",
    simulated="the interruption: StopTask with AWS's reason",
    is_short=True,
)
def spot_interruption(deployment: Deployment) -> str:
    """The first attempt waits until it is interrupted."""
    deployment.deploy(fault("ingest", "hang", attempts=1))
    run = deployment.start_only("ingest", data=DATA)
    wait_for(lambda: deployment.has_logged(run, "the rehearsal lets this task wait"), "its log")
    (first,) = deployment.containers(run, "ingest")
    deployment.emulator.client("ecs").stop_task(
        cluster=deployment.values["cluster"], task=first["taskArn"], reason=SPOT_REASON
    )
    deployment.check_success(run)
    attempts, codes = deployment.containers(run, "ingest"), deployment.exit_codes(run, "ingest")
    check(codes == [143, 0], f"[143, 0], got {codes}")
    check(attempts[0]["stopCode"] == "SpotInterruption", "the stop code SpotInterruption")
    where = [one["capacityProviderName"] for one in attempts]
    check(where == ["FARGATE_SPOT", "FARGATE"], f"spot, then on demand; got {where}")
    return f"exit codes {codes} on {where[0]}, then {where[1]}"


@scenario(
    PIPELINE,
    "a task over its time limit is stopped and reported, not retried",
    simulated="a limit of 8 s",
    is_short=True,
)
def time_limit(deployment: Deployment) -> str:
    """The task hangs."""
    deployment.deploy(fault("ingest", "hang"), time_limits_s={"ingest": 8})
    run = deployment.start_only("ingest", data=DATA)
    ended = deployment.end_of(run)
    check(ended.get("error") == "TimeLimit", f"TimeLimit, got {ended.get('error')}")
    codes = deployment.wait_for_attempt(run, "ingest")
    n_attempts = len(deployment.containers(run, "ingest"))
    check((codes, n_attempts) == ([143], 1), f"one attempt, stopped with 143; got {codes}")
    return f"{ended['error']}; its container got SIGTERM and ended with {codes[0]}"


@scenario(
    PIPELINE,
    "out of memory is reported as such, with 137",
    simulated="the memory limit: polling, not a cgroup",
)
def out_of_memory(deployment: Deployment) -> str:
    """The task allocates all the memory there is."""
    deployment.deploy(fault("ingest", "memory"))
    run = deployment.start_only("ingest", data=DATA)
    ended, codes = deployment.end_of(run), deployment.exit_codes(run, "ingest")
    check(ended.get("error") == "OutOfMemory", f"OutOfMemory, got {ended.get('error')}")
    check(codes == [137, 137], f"two attempts with 137, got {codes}")
    notice = deployment.notice(run)
    check("memory" in notice, f"the notice to mention memory: {notice}")
    return f"{ended['error']}, exit codes {codes}"


@scenario(
    PIPELINE,
    "two schedules that overlap keep their runs apart",
    simulated="EventBridge Scheduler's clock",
)
def overlapping_schedules(deployment: Deployment) -> str:
    """The schedule fires twice, under its own role, before the first run has ended."""
    deployment.deploy()
    runs = deployment.fire_schedule(2, "ingest", "validate", data=DATA)
    for run in runs:
        deployment.check_success(run)
    found = [sorted(deployment.files(run, "products/")) for run in runs]
    check(found[0] == found[1] and bool(found[0]), "each run to have all its own files")
    check(all(deployment.exit_codes(run, "ingest") == [0] for run in runs), "one attempt each")
    return f"{len(found[0])} files each, under {runs[0][:8]}... and {runs[1][:8]}..."


@scenario(
    PIPELINE,
    "S3 refuses writes for a while: the task is retried and the run succeeds",
    simulated="S3's 503s",
)
def s3_refuses_writes(deployment: Deployment) -> str:
    """Writes are refused until the first attempt has ended."""
    deployment.deploy()
    deployment.emulator.refused_writes.append("/runs/")
    try:
        run = deployment.start_only("ingest", data=DATA, attempts=3)
        deployment.wait_for_attempt(run, "ingest")
    finally:
        deployment.emulator.refused_writes.clear()
    deployment.check_success(run)
    codes = deployment.exit_codes(run, "ingest")
    check(codes[0] == UNAVAILABLE, f"8 first, got {codes}")
    check(deployment.has_logged(run, "SlowDown"), "the log to name S3's answer")
    return f"exit codes {codes}; the log says SlowDown"


@scenario(PIPELINE, "a run of one model, from the log to a Bento, by the real state machine")
def one_model(deployment: Deployment) -> str:
    """All tasks of a run limited to one model; later scenarios continue from its products."""
    run = deployment.baseline_run()
    notice = deployment.notice(run)
    check("succeeded" in notice, f"a notice of success: {notice}")
    return f"{len(deployment.containers(run))} containers; {notice.split('. ', 1)[-1]}"


@scenario(PIPELINE, "no model passes the gates: the champion stays")
def gate_refuses(deployment: Deployment) -> str:
    """No model is as good as the gate demands."""
    run = deployment.copy_of_baseline("evaluate", "promote")
    before = deployment.champion()
    gates = {**deployment.env["gates"], "max_normalized_entropy": 0.01}
    deployment.deploy(env_file({**deployment.env, "gates": gates}))
    deployment.start_only("evaluate", "promote", run=run, model=MODEL)
    deployment.check_success(run)
    found = deployment.read_json(f"runs/{run}/products/promotion.json")
    check(found["champion"] == "(unchanged)", f"no promotion, got {found['champion']}")
    check(deployment.champion() == before, "the same champion")
    reasons = next(iter(found["refused"].values()))
    return f"version {before} stays; refused: {reasons[0]}"


@scenario(
    PIPELINE,
    "MLflow is unreachable: the task is retried, and the run succeeds once it is back",
    simulated="the client's retries: 2 instead of 7, which take four minutes",
)
def mlflow_unavailable(deployment: Deployment) -> str:
    """The server is stopped before a task that records its decisions there, until the first attempt has ended."""
    run = deployment.copy_of_baseline("promote")
    deployment.deploy(environment={"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"})
    deployment.tracking.stop()
    try:
        deployment.start_only("promote", run=run, model=MODEL)
        deployment.wait_for_attempt(run, "promote")
    finally:
        deployment.tracking.start()
    deployment.check_success(run)
    codes = deployment.exit_codes(run, "promote")
    check(set(codes[:-1]) == {UNAVAILABLE} and codes[-1] == 0, f"0 after 8, got {codes}")
    message = "cannot be reached just now"
    check(deployment.has_logged(run, message), f"the log to say that MLflow {message}")
    return f"exit codes {codes}; the log says that MLflow {message}"
