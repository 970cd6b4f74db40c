"""The Terraform configuration: formatted, valid, strict about its variables."""

import json
import os
import re
import shutil
import subprocess

import pytest

from infra.images.pushed import RELEASED
from tests.conftest import ROOT
from tests.infra.terraform.emulated import (
    OUTPUTS,
    TERRAFORM,
    Workspace,
    copy_of_root,
    provider_mirror,
    terraform_command,
)

pytestmark = pytest.mark.slow  # each starts Terraform
FILES = sorted(path for path in TERRAFORM.rglob("*.tf") if ".terraform" not in path.parts)
ENVIRONMENTS = ("small.tfvars.json", "production.tfvars.json", "smoke.tfvars.json")


# ---- without the provider


def test_it_is_formatted():
    """`terraform fmt` has nothing to change."""
    done = subprocess.run(
        [terraform_command(), "fmt", "-check", "-recursive"],
        cwd=TERRAFORM,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_lock_has_both_kinds_of_hashes():
    """zh: for the registry's archives, h1: for an unpacked provider."""
    lock = (TERRAFORM / ".terraform.lock.hcl").read_text()
    assert len(re.findall(r'"zh:[0-9a-f]{64}"', lock)) > 10
    assert re.search(r'"h1:[A-Za-z0-9+/]{43}="', lock)


def test_every_skipped_check_has_a_reason():
    """checkov's checks are skipped at the resource."""
    skips = [line for path in FILES for line in re.findall(r"checkov:skip=(.*)", path.read_text())]
    assert skips
    assert [skip for skip in skips if not re.fullmatch(r"CKV2?_AWS_\d+:.{8,}", skip)] == []


def test_every_file_is_short():
    """variables.tf is a list, and may be longer."""
    long = {path.name for path in FILES if len(path.read_text().splitlines()) > 250}
    assert long <= {"variables.tf"}


def test_every_variable_and_module_input_is_used():
    """No dead variables."""
    for folder in {path.parent for path in FILES}:
        text = "\n".join(path.read_text() for path in folder.glob("*.tf"))
        names = re.findall(r'^variable "(\w+)"', text, re.M)
        assert [
            name
            for name in names
            if not re.search(rf"var\.{name}\b", text.replace("condition", ""))
        ] == []


def test_every_output_of_a_module_is_used():
    """By the root, or it goes."""
    root = "\n".join(path.read_text() for path in TERRAFORM.glob("*.tf"))
    for path in (TERRAFORM / "modules").glob("*/outputs.tf"):
        names = re.findall(r'^output "(\w+)"', path.read_text(), re.M)
        used = re.findall(rf"module\.{path.parent.name}(?:\[0\])?\.(\w+)", root)
        assert set(names) - set(used) == set(), path.parent.name


def test_everything_the_verbs_read_is_an_output():
    """The outputs are the interface between Terraform and Python."""
    named = re.findall(r'^output "(\w+)"', (TERRAFORM / "outputs.tf").read_text(), re.M)
    assert sorted(set(OUTPUTS) - set(named)) == []


def test_the_schedule_is_off_in_every_environment():
    """A pipeline costs nothing until it is switched on."""
    for name in ENVIRONMENTS:
        assert "enabled" not in (TERRAFORM / name).read_text()
    assert "enabled    = optional(bool, false)" in (TERRAFORM / "variables.tf").read_text()


def test_the_smoke_environment_is_the_small_one_by_another_name():
    """What is proved on it holds there."""
    small, smoke = (json.loads((TERRAFORM / name).read_text()) for name in ENVIRONMENTS[::2])
    assert smoke == small | {"environment": "smoke"}


def test_a_released_image_is_never_among_the_old_ones():
    """ECR evaluates rules in order, and an image that matches one cannot be expired by a later one."""
    text = (TERRAFORM / "modules/storage/main.tf").read_text()
    rules = re.findall(r"rulePriority = (\d)[^}]*?selection\s+= \{([^}]*)\}", text, re.S)
    assert [number for number, _ in rules] == ["1", "2", "3"]
    assert f'tagPrefixList = ["{RELEASED}"]' in rules[1][1]
    assert 'tagStatus = "any"' in rules[2][1]


def test_the_database_proves_who_it_is_and_a_rotated_password_is_noticed():
    """verify-full needs the authorities that the image has; the pool outlives no failing health check."""
    text = (TERRAFORM / "modules/tracking/main.tf").read_text()
    (bundle,) = re.findall(r"sslmode=verify-full&sslrootcert=([\w/.-]+)", text)
    image = (ROOT / "infra/images/tracking.Dockerfile").read_text()
    assert f"/build/rds-ca.pem {bundle}\n" in image
    (recycle_s,) = re.findall(r'POOL_RECYCLE", value = "(\d+)"', text)
    check = (TERRAFORM / "modules/tracking/load_balancer.tf").read_text()
    interval_s, _, failures = (
        int(re.findall(rf"{name}\s+= (\d+)", check)[0])
        for name in ("interval", "timeout", "unhealthy_threshold")
    )
    assert int(recycle_s) < interval_s * failures


def test_every_way_in_which_a_run_ends_badly_has_an_alarm():
    """Failed, timed out, stopped."""
    text = (TERRAFORM / "modules/observability/main.tf").read_text()
    for metric in ("ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted"):
        assert f'metric = "{metric}"' in text


def test_the_service_gets_a_salt_that_no_state_holds():
    """Drawn by AWS, written without being stored."""
    text = (TERRAFORM / "modules/storage/salt.tf").read_text()
    assert 'ephemeral "aws_secretsmanager_random_password"' in text and "secret_string_wo " in text
    serving = (TERRAFORM / "modules/serving/main.tf").read_text()
    assert 'name = "CLICKLAB_SALT", valueFrom = var.salt_secret_arn' in serving


# ---- variables alone, which need no provider


@pytest.fixture(scope="module")
def variables(tmp_path_factory) -> Workspace:
    """The root's variables without its resources."""
    folder = tmp_path_factory.mktemp("variables")
    for name in ("variables.tf", "fargate.tf", "state_machine.json.tftpl", *ENVIRONMENTS):
        shutil.copy2(TERRAFORM / name, folder / name)
    workspace = Workspace(folder)
    workspace.succeed("init", "-input=false")
    return workspace


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_file_is_accepted(variables, name):
    """The files pass every validation."""
    variables.succeed("plan", "-input=false", f"-var-file={name}")


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("environment=Production", "2 to 11 lower-case"),
        ("name=a-name-that-is-too-long", "load balancers' names"),
        ("region=Ireland", "such as eu-west-1"),
        ("account_id=123", "12 digits"),
        ("architecture=arm", "X86_64 or ARM64"),
        ('images={"service":"latest"}', "immutable"),
        ('images={"service":"a b"}', "a tag has a maximum of"),
        ("vpc_cidr=8.8.0.0/16", "private /16"),
        ("vpc_cidr=10.0.0.0/24", "private /16"),
        ('zones=["a"]', "2 or 3 different letters"),
        ('zones=["a","a"]', "2 or 3 different letters"),
        ("endpoint_zones=3", "between 1 and"),
        ('interface_endpoints=["logs"]', "no task starts otherwise"),
        (
            'interface_endpoints=["ecr.api","ecr.dkr","logs","secretsmanager","s4"]',
            "interface_endpoints must be among",
        ),
        ("run_days=14", "for 14 days"),
        ("exposure_days=30", "60 or more"),
        ("log_days=31", "CloudWatch accepts"),
        ('data_buckets=["s3://logs"]', "without s3://"),
        ("tracking=false", "external_tracking_uri"),
        ("external_tracking_uri=mlflow:5000", "http://"),
        ("operator_access=true", "ssmmessages among"),
        ('tracking_size={"cpu":512,"memory_mb":8192,"tasks":1}', "Fargate does not offer"),
        ('tracking_size={"cpu":512,"memory_mb":2048,"tasks":0}', "between 1 and 4"),
        (
            'database={"class":"micro","storage_gb":20,"multi_az":false,"backup_days":1}',
            "db.t4g.micro",
        ),
        (
            'database={"class":"db.t4g.micro","storage_gb":5,"multi_az":false,"backup_days":1}',
            "storage_gb must",
        ),
        ("definition=nowhere.json", "no such file"),
        ('pipeline_size={"cpu":300,"memory_mb":512}', "Fargate does not offer"),
        ("pipeline_disk_gb=20", "between 21 and 200"),
        ('schedule={"expression":"daily"}', "rate(1 day)"),
        ('emails=["nobody"]', "e-mail addresses"),
        ('service_size={"cpu":256,"memory_mb":4096}', "Fargate does not offer"),
        ('service_tasks={"min":3,"max":2}', "1 <= min <= max"),
        ("requests_per_task=0", "1 or more"),
        ("p99_ms=0", "above 0"),
        ("public=true", "nothing is served unencrypted"),
        ("public=true", "needs allowed_cidrs"),
        ('service_size={"cpu":512,"memory_mb":1024}', "each worker takes 300 to 400 MB"),
        ('data_key_arns=["alias/logs"]', "ARNs of KMS keys"),
        ("certificate_arn=mine", "certificate in ACM"),
        ('allowed_cidrs=["everybody"]', "address ranges"),
        ("api_key_secret_arn=key", "ARN of a secret"),
        ("github_repository=clicklab", "owner/name"),
        ('github_branches=["*"]', "github_branches must be names"),
        ("github_environment=*", "without wildcards"),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_allowed(variables, assignment, said):
    """Nothing is created before every variable is valid."""
    done = variables.run(
        "plan", "-input=false", "-no-color", "-var=environment=small", f"-var={assignment}"
    )
    assert done.returncode == 1
    assert said in re.sub(r"\s*│?\s+│?\s*", " ", done.stderr)


# ---- with the provider


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Workspace:
    """A copy of the root, initialized."""
    provider_mirror()
    workspace = Workspace(copy_of_root(tmp_path_factory.mktemp("terraform") / "root"))
    workspace.init()
    return workspace


@pytest.mark.slow
def test_it_is_valid(root):
    """Checked by the locked provider, without a warning."""
    done = json.loads(root.succeed("validate", "-json"))
    assert done["diagnostics"] == []


def test_remote_state_takes_one_more_file(tmp_path):
    """The override for state in S3 fits the root and asks for its bucket."""
    workspace = Workspace(copy_of_root(tmp_path / "root"))
    shutil.copy2(workspace.folder / "remote" / "backend_override.tf", workspace.folder)
    asked = workspace.run(
        "init",
        "-input=false",
        "-no-color",
        f"-plugin-dir={provider_mirror()}",
        "-lockfile=readonly",
    )
    assert asked.returncode == 1
    assert '"bucket"' in asked.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_checkov_finds_nothing(name):
    """Every finding is fixed or skipped with a reason."""
    checkov = os.environ.get("CLICKLAB_CHECKOV") or shutil.which("checkov")
    if checkov is None:
        pytest.skip("checkov is not installed; CLICKLAB_CHECKOV names the program")
    words = ["--skip-download", "--framework", "terraform", "--quiet", "--compact", "-o", "json"]
    done = subprocess.run(
        [checkov, "-d", str(TERRAFORM), "--var-file", str(TERRAFORM / name), *words],
        capture_output=True,
        text=True,
    )
    found = json.loads(done.stdout)
    assert found["summary"]["passed"] > 300
    failed = found["results"]["failed_checks"]
    assert [(check["check_id"], check["resource"]) for check in failed] == []
