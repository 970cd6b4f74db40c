"""The doctor changes nothing and reports what is missing and what to do about it."""

import pytest
from moto.servicequotas.models import ServiceQuotasBackend

from infra.images.engine import Engine
from infra.release import doctor
from infra.release.capacity import on_demand_vcpus, spot_vcpus
from infra.release.doctor import examine
from infra.release.variables import read_variables, variables_file
from tasks.errors import ConfigError
from tests.infra.cloud import ACCOUNT, REGION, TRUST, account, aws
from tests.infra.terraform_stub import TerraformStub

pytestmark = pytest.mark.slow
_LIMITS = {"L-F678F1CE": 5.0, "L-29B6F2EB": 50.0, "L-3032A538": 100.0, "L-36FBB829": 100.0}


@pytest.fixture
def variables(tmp_path, monkeypatch):
    """An account in which nothing is missing; the emulator has few quotas, so these are set here."""
    with account():
        stub = TerraformStub(tmp_path / "stub")
        monkeypatch.setenv("CLICKLAB_TERRAFORM", str(stub.program))
        monkeypatch.setattr(doctor, "find_engine", lambda: Engine("docker"))
        monkeypatch.setattr(doctor, "local_images", lambda engine: ["clicklab-pipeline:1"])
        monkeypatch.setattr(doctor, "architecture_of", lambda engine, image: "X86_64")
        limits = dict(_LIMITS)
        monkeypatch.setattr(
            ServiceQuotasBackend,
            "get_service_quota",
            lambda self, service_code, quota_code: {"Value": limits[quota_code]},
        )
        found = read_variables(variables_file("small"))
        found["limits"], found["stub"] = limits, stub
        aws("iam").create_role(RoleName="AWSServiceRoleForECS", AssumeRolePolicyDocument=TRUST)
        yield found


def _missing(variables):
    return [finding.text for finding in examine(variables) if not finding.ok]


def test_nothing_is_missing(variables):
    """Every line is ok, and every check has one."""
    findings = list(examine(variables))
    assert [finding.text for finding in findings if not finding.ok] == []
    text = "\n".join(map(str, findings))
    for word in ("account", "region", "terraform 1.11.4", "5.100.0", "image", "vCPUs", "bucket"):
        assert word in text


def test_the_command_ends_non_zero_if_anything_is_missing(variables, capsys):
    """The last line counts."""
    variables["limits"]["L-3032A538"] = 6.0
    assert doctor.main(["--env", "small"]) == 1
    captured = capsys.readouterr()
    assert "MISSING  quota of vCPUs on Fargate: 6, 0 in use" in captured.out
    assert "request-service-quota-increase --service-code fargate" in captured.out
    assert captured.err == "error: 1 missing; nothing was created or changed\n"


def test_existing_resources_count_against_a_quota(variables):
    """Five VPCs are allowed, and five exist."""
    for _ in range(4):
        aws("ec2").create_vpc(CidrBlock="10.0.0.0/16")
    assert any(
        text.startswith("quota of VPCs: 5, 5 in use, 1 needed") for text in _missing(variables)
    )


def test_public_addresses_are_checked_only_with_internet_access(variables):
    """A NAT gateway takes one."""
    assert not any("Elastic" in finding.text for finding in examine(variables))
    variables["limits"]["L-0263D0A3"] = 0.0
    assert any("Elastic IPs" in text for text in _missing(variables | {"internet_access": True}))


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"account_id": "999999999999"}, "switch AWS_PROFILE"),
        ({"zones": ["a", "h"]}, f"zone {REGION}h does not exist; there are"),
        ({"architecture": "ARM64"}, "python -m infra.images build --architecture ARM64"),
        (
            {"api_key_secret_arn": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:gone"},
            "does not exist; create it",
        ),
    ],
)
def test_what_is_missing_is_named_with_what_to_do(variables, changed, line):
    """One finding per problem."""
    (found,) = _missing(variables | changed)
    assert line in found


def test_a_new_account_lacks_the_role_by_which_ecs_acts(variables):
    """The first service would fail; the line says how to create it."""
    aws("iam").delete_role(RoleName="AWSServiceRoleForECS")
    (found,) = _missing(variables)
    assert "aws iam create-service-linked-role --aws-service-name ecs.amazonaws.com" in found


def test_another_region_in_the_environment_is_named(variables, monkeypatch):
    """Clients use the region of the variables nevertheless."""
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    assert "AWS_REGION is us-east-1" in _missing(variables)[0]


def test_an_existing_bucket_is_reported(variables):
    """One that belongs to this account is not a problem."""
    name = f"clicklab-small-{ACCOUNT}-{REGION}"
    aws("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    assert any(
        f"bucket {name} belongs to this account" in finding.text for finding in examine(variables)
    )


def test_a_bucket_of_another_account_is_a_problem(variables, monkeypatch):
    """S3 answers 403 for those."""
    monkeypatch.setattr(doctor, "_status_of", lambda bucket, region: 403)
    assert "belongs to another account" in _missing(variables)[0]


def test_an_old_terraform_and_an_unlocked_provider(variables):
    """One line each."""
    variables["stub"].answer(version={"terraform_version": "1.9.8", "provider_selections": {}})
    assert [
        "terraform 1.9.8; install 1.11 or newer" in _missing(variables)[0],
        len(_missing(variables)),
    ] == [True, 2]


def test_a_failing_check_is_a_line_and_the_others_run(variables, monkeypatch):
    """Without an engine, for example."""

    def none():
        raise ConfigError("no image can be built")

    monkeypatch.setattr(doctor, "find_engine", none)
    findings = list(examine(variables))
    assert [str(one) for one in findings if not one.ok] == ["MISSING  no image can be built"]
    assert any("bucket" in one.text for one in findings)


def test_without_credentials_only_local_checks_run(variables, monkeypatch, tmp_path):
    """The first line says so."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    findings = list(examine(variables))
    assert "no AWS credentials were found" in findings[0].text and not findings[0].ok
    assert not any("quota" in finding.text for finding in findings)


def test_the_vcpus_are_those_that_can_run_at_once():
    """Small: six tasks of half a processor in each color, MLflow's half, and the pipeline's widest level."""
    small = read_variables(variables_file("small"))
    on_demand, spot = on_demand_vcpus(small), spot_vcpus()
    assert on_demand - spot == 2 * 6 * 0.5 + 0.5
    assert spot == 9.0, (
        "four shards of hash_features at two processors each, and explore beside them"
    )
