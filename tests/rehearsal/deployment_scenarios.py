"""What is shown of a whole deployment before anything fails: a stable plan, a scheduled run, its records in MLflow."""

from mlflow import MlflowClient

from tasks.simulation.simulate import write_csv
from tests.rehearsal.deployment import Deployment
from tests.rehearsal.scenario import Scenario, check, scenario
from tests.rehearsal.terraform_copy import SHORTENED

AWS = "AWS (moto answers)"
_N_ROWS = 20_000
DEPLOYMENT: list[Scenario] = []
"""In the order they are played."""


@scenario(DEPLOYMENT, "a second plan changes nothing", simulated=AWS)
def second_plan(deployment: Deployment) -> str:
    """The state matches the configuration."""
    check(not deployment.terraform.has_drift(), "a plan without drift")
    return "no changes"


@scenario(
    DEPLOYMENT,
    "the schedule starts a run under its role; every task runs under its task role, from the log to the Bento",
    simulated=f"the schedule's clock; {SHORTENED}",
)
def scheduled_run(deployment: Deployment) -> str:
    """All tasks, with a log in the bucket."""
    log, bucket = deployment.emulator.folder / "log.csv", deployment.values["bucket"]
    write_csv(log, _N_ROWS, seed=7)
    deployment.emulator.client("s3").upload_file(str(log), bucket, "data/log.csv")
    (run,) = deployment.fire_schedule(1, data=f"s3://{bucket}/data/log.csv")
    deployment.check_success(run)
    deployment.whole_run = run
    notice = deployment.notice(run).split(". ", 1)[-1]
    return f"{len(deployment.containers(run))} containers; {notice}"


@scenario(DEPLOYMENT, "MLflow has the runs, the models and the champion")
def mlflow_records(deployment: Deployment) -> str:
    """As its own client finds them, and as the pointer that services follow names them."""
    client = MlflowClient(deployment.tracking.uri)
    experiments = [one.experiment_id for one in client.search_experiments()]
    n_runs = len(client.search_runs(experiments))
    n_versions = len(client.search_model_versions())
    check(n_runs >= len(deployment.env["models"]), f"a run for each model, got {n_runs}")
    pointer = deployment.read_json("models/champion.json")
    return (
        f"{n_runs} runs, {n_versions} versions, champion {deployment.champion()}; on "
        f"{deployment.tracking.database}; the pointer names {str(pointer['version'])[:12]}"
    )
