"""The bill: counted from a deployment's variables, added up twice."""

import subprocess
import sys

import pytest
import yaml

from infra.cadence import runs_a_month
from infra.cost import PRICES, TERRAFORM, estimate, main
from infra.demand import containers_of_a_run
from infra.sizes import Size
from infra.tfvars import read_defaults, read_tfvars
from tasks.errors import ConfigError, InputError
from tests.conftest import ROOT

TABLE = yaml.safe_load(PRICES.read_text())
BARE = """
environment = "bare"
tracking = false
external_tracking_uri = "http://mlflow.example"
serving = false
interface_endpoints = ["ecr.api", "ecr.dkr", "logs", "secretsmanager"]
endpoint_zones = 1
container_insights = false
pipeline_disk_gb = 30
schedule = { expression = "rate(12 hours)" }
run_days = 38
noncurrent_days = 7.6
log_days = 30
"""


@pytest.fixture
def bare(tmp_path):
    """A deployment of the pipeline alone."""
    path = tmp_path / "bare.tfvars"
    path.write_text(BARE)
    return path


@pytest.fixture
def env(tmp_path):
    """A function that writes the knobs with another section ``aws``, and returns the file."""

    def write(**section):
        knobs = yaml.safe_load((ROOT / "env.aws.yaml").read_text())
        path = tmp_path / "env.yaml"
        path.write_text(yaml.safe_dump(knobs | {"aws": section}))
        return str(path)

    return write


def test_the_sum_of_a_bare_deployment_is_the_one_reckoned_by_hand(bare, env):
    """First witness: every product written out, in the order of the bill."""
    assume = {"hours": 700, "runs": 10, "task_hours_per_run": 2, "transitions_per_run": 100}
    assume |= {"run_gb": 1, "data_gb": 5, "images_gb": 10, "log_gb": 2, "endpoint_gb": 20}
    assume |= {"internet_gb": 0, "average_tasks": 0}
    by_hand = (
        4 * 1 * 700 * 0.011  # endpoints
        + 20 * 0.01
        + (5 + 10 * 45.6 / 30.4) * 0.023  # bucket: 15 runs are kept
        + 10 * 0.10
        + 1.00
        + 2 * 20 * 0.04048  # 20 task hours of 2 vCPU and 8 GB
        + 8 * 20 * 0.004445
        + 10 * 20 * 0.000122
        + 1 * 0.025  # thousand transitions
        + 2 * 0.57
        + 2 * 30 / 30.4 * 0.03
        + 3 * 0.10
        + 1 * 0.30
        + 3.00
    )
    alike = env(default_size={"cpu": 2048, "memory_mb": 8192})
    assert estimate(bare, assume=assume, env=alike).usd == pytest.approx(by_hand, rel=1e-12)


def test_the_pipeline_costs_what_its_containers_cost_by_size(bare, env):
    """12 tasks and 3 shards share 30 hours: 2 each. One has its own size, the shards and their task another, with a disk."""
    large = {"cpu": 2048, "memory_mb": 8192, "disk_gb": 50}
    sizes = {"promote": {"cpu": 512, "memory_mb": 2048}, "hash_features": large}
    knobs = env(
        default_size={"cpu": 1024, "memory_mb": 4096}, sizes=sizes, shards={"hash_features": 3}
    )
    found = containers_of_a_run(knobs)
    assert found == {Size(512, 2048): 1, Size(1024, 4096): 10, Size(2048, 8192, 50): 4}
    assume = {"runs": 15, "task_hours_per_run": 2, "transitions_per_run": 0}
    by_hand = (
        2 * (0.5 * 0.04048 + 2 * 0.004445 + 10 * 0.000122)
        + 2 * 10 * (1 * 0.04048 + 4 * 0.004445 + 10 * 0.000122)
        + 2 * 4 * (2 * 0.04048 + 8 * 0.004445 + 30 * 0.000122)
    )
    billed = [
        one.usd for one in estimate(bare, assume=assume, env=knobs).lines if one.part == "pipeline"
    ]
    assert sum(billed) == pytest.approx(by_hand, rel=1e-12)


def test_the_size_that_the_state_machine_overrides_costs_nothing(bare):
    """Terraform's ``pipeline_size`` is the task definition's; every container is started with a size of its own."""
    before = estimate(bare).usd
    bare.write_text(BARE + "pipeline_size = { cpu = 16384, memory_mb = 122880 }\n")
    assert estimate(bare).usd == before


@pytest.mark.parametrize("name", ["small.tfvars", "production.tfvars"])
def test_the_parts_that_run_all_month_agree_with_a_second_reckoning(name):
    """Second witness: hours times prices straight from the files."""
    told, values = estimate(TERRAFORM / name), read_tfvars(TERRAFORM / name)
    prices, hours = TABLE["prices"], TABLE["usage"]["hours"]["value"]
    copies = 1 + values["database"]["multi_az"]
    n_tasks = {"tracking_size": values["tracking_size"]["tasks"]}
    n_tasks["service_size"] = values["service_tasks"]["min"]
    expected = 2 * prices["load_balancer_hour"] * hours
    expected += copies * hours * prices["database_hour"][values["database"]["class"]]
    expected += len(values["interface_endpoints"]) * values["endpoint_zones"] * hours * 0.011
    for size, n in n_tasks.items():
        expected += n * hours * values[size]["cpu"] / 1024 * 0.04048
        expected += n * hours * values[size]["memory_mb"] / 1024 * 0.004445
    always_on = ("load balancer", "database db", "interface", "MLflow:", "tasks:")
    found = [
        line.usd
        for line in told.lines
        if line.what.startswith(always_on) and line.part != "pipeline"
    ]
    assert sum(found) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["small.tfvars", "production.tfvars"])
def test_the_sum_is_that_of_its_lines(name):
    """Nothing is billed that is not shown."""
    told = estimate(TERRAFORM / name)
    assert told.usd == pytest.approx(sum(one.quantity * one.price_usd for one in told.lines))
    assert all(one.usd >= 0 for one in told.lines)


def test_what_is_switched_off_is_not_billed(bare):
    """Neither MLflow nor the service, nor the way to the internet."""
    assert {line.part for line in estimate(bare).lines} == {
        "network",
        "storage",
        "pipeline",
        "observability",
    }


def test_every_switch_changes_the_bill(bare, tmp_path):
    """A standby, a NAT gateway, a public address, another processor: each is seen."""
    changes = [
        "internet_access = true",
        'architecture = "ARM64"',
        "tracking = true",
        "serving = true",
        'zones = ["a", "b", "c"]\nserving = true\npublic = true',
        "container_insights = true",
    ]
    sums = {estimate(bare).usd}
    for change in changes:
        names = {line.split(" =")[0] for line in change.splitlines()}
        kept = [line for line in BARE.splitlines() if line.split(" =")[0] not in names]
        path = tmp_path / "changed.tfvars"
        path.write_text("\n".join([*kept, change]))
        sums.add(estimate(path).usd)
    assert len(sums) == len(changes) + 1


def test_every_price_and_every_assumption_is_used(tmp_path):
    """A table with lines that nobody reads would look more careful than it is."""
    code = "".join(
        (ROOT / "infra" / name).read_text() for name in ("bill.py", "cost.py", "prices.py")
    )
    for kind in ("prices", "usage", "counts"):
        assert [name for name in TABLE[kind] if f'"{name}"' not in code] == []


def test_the_table_says_when_and_where_its_prices_are_of():
    """A price without a date is a rumour."""
    assert (TABLE["region"], TABLE["currency"]) == ("eu-west-1", "USD")
    assert TABLE["date"].year >= 2025


# ---- the command


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "infra.cost", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.slow
def test_the_table_shows_items_assumptions_sum_and_date():
    """What is billed, what it rests on, and how far to trust it."""
    shown = _run("--vars", "production.tfvars").stdout
    total = estimate(TERRAFORM / "production.tfvars").usd
    for text in ("interface endpoints", "requests_million", "hours in a month", f"{total:,.2f}"):
        assert text in shown
    assert "2025-06-01" in shown
    assert "Check them" in shown


def test_an_assumption_can_be_replaced(capsys):
    """Twice the runs, twice the tasks' price."""
    assert main(["--assume", "runs=0", "--assume", "average_tasks=3"]) == 0
    assert "2,190 h" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--vars", "nowhere.tfvars"], 2, "no such file"),
        (["--assume", "luck=1"], 3, "unknown 'luck'; known are hours"),
        (["--env", "env.yaml"], 3, "no section `aws`"),
        (["--env", "nowhere.yaml"], 3, "nowhere.yaml not found"),
        (["--assume", "runs=many"], 3, "NAME=VALUE"),
        (["--assume", "runs=-1"], 3, "NAME=VALUE"),
    ],
)
def test_a_mistake_is_one_line(words, code, said, capsys):
    """What was found and what to do, and the exit code of its kind."""
    assert main(words) == code
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("speed = 3", "speed is no variable"),
        (
            'database = { class = "db.x9.huge", storage_gb = 20, multi_az = false }',
            "no database_hour",
        ),
        ("service_size = 3", "unexpected form"),
        ('schedule = { expression = "now" }', "cannot be counted"),
        ("zones = var.zones", "is no literal"),
        ("zones = [", "ends in the middle"),
        ("zones = []\nzones = []", "set twice"),
        ("= 3", "expected a name"),
    ],
)
def test_a_file_that_cannot_be_counted_is_refused(tmp_path, text, said):
    """Half a bill would be worse than none."""
    path = tmp_path / "some.tfvars"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        estimate(path)


# ---- reading Terraform's files


def test_every_literal_of_a_tfvars_file_is_read(tmp_path):
    """Text, numbers, truth, nothing, lists and objects, with comments and commas or without."""
    path = tmp_path / "all.tfvars"
    path.write_text(
        'text = "a \\"b\\" # no comment" # one\nn = -1.5e1 // two\n/* three\n */ yes = true\n'
        'none = null\nlist = [1, "two", [false],]\nobject = {\n  a = 1\n  "b c" : { d = [] }\n}\n'
    )
    assert read_tfvars(path) == {
        "text": 'a "b" # no comment',
        "n": -15,
        "yes": True,
        "none": None,
        "list": [1, "two", [False]],
        "object": {"a": 1, "b c": {"d": []}},
    }


def test_every_declared_default_is_read():
    """Each variable of the root but `environment` has a default, and blocks within are passed over."""
    import re

    text = (TERRAFORM / "variables.tf").read_text()
    declared = set(re.findall(r'^variable "(\w+)"', text, re.M))
    defaults = read_defaults(TERRAFORM / "variables.tf")
    assert declared - set(defaults) == {"environment"}
    assert defaults["service_tasks"] == {"min": 2, "max": 6}
    assert defaults["zones"] == ["a", "b"]


def test_a_missing_file_is_named():
    """One line, with what to do."""
    with pytest.raises(InputError, match="name a file of variables"):
        read_tfvars(TERRAFORM / "nowhere.tfvars")


# ---- schedules


@pytest.mark.parametrize(
    ("expression", "a_year"),
    [
        ("rate(1 hour)", 365.25 * 24),
        ("rate(30 minutes)", 365.25 * 48),
        ("rate(2 days)", 365.25 / 2),
        ("cron(0 3 * * ? *)", 365.25),
        ("cron(0/15 * * * ? *)", 365.25 * 96),
        ("cron(0 8-17 ? * MON-FRI *)", 365.25 * 10 * 5 / 7),
        ("cron(0 0 1,15 * ? *)", 365.25 * 2 / 31),
        ("cron(0 0 * JAN,JUL ? *)", 365.25 / 6),
    ],
)
def test_a_schedule_is_counted(expression, a_year):
    """Runs of an average month, days of month as a share of 31."""
    assert runs_a_month(expression) == pytest.approx(a_year / 12)


@pytest.mark.parametrize(
    "expression",
    ["daily", "rate(0 days)", "rate(1 week)", "cron(0 3 L * ? *)", "cron(99 * * * ? *)"],
)
def test_what_cannot_be_counted_is_said(expression):
    """A wrong count would be a wrong bill."""
    with pytest.raises(ConfigError, match="cannot be counted"):
        runs_a_month(expression)
