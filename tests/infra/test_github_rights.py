"""The verbs' calls against the policies of the roles for GitHub's workflows: neither allows more nor needs more."""

import json
import shutil

import pytest

from infra.images import __main__ as images
from infra.images import pushed, registry_findings
from infra.release import __main__ as release
from infra.runs import __main__ as runs
from infra.runs import executions
from tests.infra.blue_green_stage import stage
from tests.infra.cloud import ACCOUNT, REGION, TRUST, account, aws, execute_machines, write_outputs
from tests.infra.rights import allows, granted, recorded
from tests.infra.runs import test_runs
from tests.infra.terraform.emulated import TERRAFORM, Workspace, provider_mirror

pytestmark = pytest.mark.slow
NAME = "clicklab-small"
MACHINE = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{NAME}"
HOST = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{NAME}"
ROLES = {
    key: f"arn:aws:iam::{ACCOUNT}:role/{NAME}-service-{duty}"
    for key, duty in (("taskRoleArn", "task"), ("executionRoleArn", "execution"))
}
# Not called by boto3: the engine transfers layers, S3 uses the key for uploads.
INDIRECT = {
    "build": {
        "ecr:BatchCheckLayerAvailability",
        "ecr:BatchGetImage",
        "ecr:CompleteLayerUpload",
        "ecr:GetDownloadUrlForLayer",
        "ecr:InitiateLayerUpload",
        "ecr:PutImage",
        "ecr:UploadLayerPart",
    },
    "deploy": {
        "kms:Decrypt",
        "kms:GenerateDataKey",
        "s3:AbortMultipartUpload",  # after a failed upload
    },
}
_PROVIDER = """
provider "aws" {
  region                      = "%s"
  access_key                  = "x"
  secret_key                  = "x"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}
"""


def variables():
    """Return the module's inputs in the root's form."""
    ecr = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{NAME}"
    return {
        "name": NAME,
        "region": REGION,
        "account_id": ACCOUNT,
        "partition": "aws",
        "bucket_arn": f"arn:aws:s3:::{NAME}",
        "key_arn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/0123",
        "repository_arns": {
            image: f"{ecr}/{image}" for image in ("pipeline", "service", "tracking")
        },
        "data_buckets": ["logs"],
        "topic_arn": f"arn:aws:sns:{REGION}:{ACCOUNT}:{NAME}-notices",
        "flow_log_group_arn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/{NAME}/flow",
        "tracking": True,
        "operator_access": False,
        "database_secret_arn": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:rds",
        "serving": True,
        "api_key_secret_arn": "",
        "github_repository": "owner/name",
        "github_branches": ["main"],
        "github_environment": "production",
        "github_provider_arn": f"arn:aws:iam::{ACCOUNT}:oidc-provider/github",
        "github_build_policy_arns": [f"arn:aws:iam::{ACCOUNT}:policy/read"],
        "github_deploy_policy_arns": [],
        "data_key_arns": [f"arn:aws:kms:{REGION}:{ACCOUNT}:key/logs"],
        "salt_secret_arn": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:salt",
    }


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """The resources that Terraform plans from the module alone, without an account, by address."""
    provider_mirror()
    folder = shutil.copytree(
        TERRAFORM / "modules" / "iam", tmp_path_factory.mktemp("terraform") / "iam"
    )
    shutil.copy2(TERRAFORM / ".terraform.lock.hcl", folder)
    versions = (TERRAFORM / "versions.tf").read_text().partition("provider ")[0]
    (folder / "versions.tf").write_text(versions + _PROVIDER % REGION)
    (folder / "terraform.tfvars.json").write_text(json.dumps(variables()))
    workspace = Workspace(folder)
    workspace.init()
    workspace.succeed("plan", "-input=false", "-refresh=false", "-out=planned")
    shown = json.loads(workspace.succeed("show", "-json", "planned"))["planned_values"]
    return {one["address"]: one["values"] for one in shown["root_module"]["resources"]}


@pytest.fixture(scope="module")
def policies(planned):
    """The policies of both roles."""
    return {
        duty: json.loads(planned[f'aws_iam_role_policy.github["{duty}"]']["policy"])
        for duty in ("build", "deploy")
    }


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """Every call of the verbs of both jobs, each run at least once in a test account."""
    folder, found = tmp_path_factory.mktemp("verbs"), {"build": set(), "deploy": set()}
    with pytest.MonkeyPatch.context() as patched, account() as address:
        execute_machines(address)
        patched.setattr(executions, "_POLL_S", 0.05)
        patched.setattr(executions, "_VISIBLE_S", 0.5)
        patched.setenv("CLICKLAB_OUTPUTS", str(folder / "outputs.json"))
        with stage() as made:
            made.values |= deployment(made)
            write_outputs(folder / "outputs.json", made.values)

            def run(main, *words):
                built = main in (images.main, registry_findings.main)
                with recorded(found["build" if built else "deploy"]):
                    return main(list(words))

            run_runs(run, folder)
            run_releases(run)
            run_images(run, folder, patched)
    return found


def deployment(made):
    """Create what the stage lacks, and return its outputs."""
    for name in ("service", "pipeline"):
        aws("ecr").create_repository(repositoryName=f"{NAME}/{name}")
    push("service", "ctr-new")
    aws("s3").create_bucket(Bucket=NAME, CreateBucketConfiguration={"LocationConstraint": REGION})
    aws("sns").create_topic(Name="notices")
    role = aws("iam").create_role(RoleName="machine", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    aws("stepfunctions").create_state_machine(
        name=NAME, definition=test_runs._definition(wait_s=30), roleArn=role
    )
    aws("logs").create_log_group(logGroupName=f"/{NAME}/pipeline")
    first = aws("ecs").describe_task_definition(taskDefinition=made.first)["taskDefinition"]
    newest = aws("ecs").register_task_definition(
        family=first["family"],
        containerDefinitions=first["containerDefinitions"],
        tags=[{"key": "Project", "value": "clicklab"}],
        **ROLES,
    )["taskDefinition"]["taskDefinitionArn"]
    return {
        "service_task_definition": newest,
        "state_machine_arn": MACHINE,
        "bucket": NAME,
        "log_group": f"/{NAME}/pipeline",
        "pipeline_repository": f"{HOST}/pipeline",
    }


def push(name, tag):
    """Put an image into a repository."""
    layer = {"schemaVersion": 2, "config": {"digest": "sha256:" + "0" * 64}}
    aws("ecr").put_image(
        repositoryName=f"{NAME}/{name}",
        imageManifest=json.dumps(layer),
        imageManifestMediaType="application/vnd.docker.distribution.manifest.v2+json",
        imageTag=tag,
    )


def run_runs(run, folder):
    """Submit a file, show the run, stop and resume it; and refer to data in another bucket."""
    log = folder / "log.csv"
    log.write_bytes(b"x" * (9 << 20))  # in parts
    assert run(runs.main, "submit", "--data", str(log), "--model", "fm", "--detach") == 0
    name = aws("stepfunctions").list_executions(stateMachineArn=MACHINE)["executions"][0]["name"]
    assert run(runs.main, "submit", "--data", "s3://logs/gone.csv") == 2
    assert run(runs.main, "list") == run(runs.main, "show", name) == 0
    assert run(runs.main, "logs", name, "--task", "ingest") == 0
    assert run(runs.main, "stop", name) == 0
    with pytest.MonkeyPatch.context() as patched:
        look = executions.find_execution
        redrivable = {"redriveStatus": "REDRIVABLE"}
        patched.setattr(
            "infra.runs.executions.find_execution",
            lambda arn: (it := look(arn)) and it | redrivable,
        )
        run(runs.main, "resume", name, "--detach")  # the emulator lacks the call


def run_releases(run):
    """A canary of a given image, released; an abort."""
    timing = ("--wait", "0.001", "--poll", "0.01")
    assert run(release.main, "canary", "--image", "ctr:new", "--watch", "0", *timing) == 0
    assert run(release.main, "release", "--watch", "0", *timing) == 0
    assert run(release.main, "abort", *timing) == 0
    assert run(release.main, "status") == 0


def run_images(run, folder, patched):
    """Push an image that exists already, with an engine that does nothing, and read the findings of its scan."""
    program = folder / "docker"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    patched.setenv("PATH", f"{folder}:/usr/bin:/bin")
    patched.setenv("CLICKLAB_ENGINE", "docker")
    patched.setattr(images, "commit", lambda *, may_be_dirty: "0123456789ab")
    patched.setattr(pushed, "PUSHED", folder / "images.auto.tfvars.json")
    push("pipeline", "0123456789ab")
    aws("ecr").start_image_scan(
        repositoryName=f"{NAME}/pipeline", imageId={"imageTag": "0123456789ab"}
    )
    assert run(images.main, "push", "pipeline") == run(registry_findings.main) == 0


def test_the_verbs_really_ran(asked):
    """Each left a call of its own."""
    assert {action for action, _ in asked["deploy"]} >= {
        "states:RedriveExecution",
        "states:StopExecution",
        "logs:FilterLogEvents",
        "s3:PutObject",
        "ecs:RegisterTaskDefinition",
        "elasticloadbalancing:ModifyListener",
        "ecr:PutImage",
    }
    assert "ecr:DescribeImageScanFindings" in {action for action, _ in asked["build"]}


@pytest.mark.parametrize("duty", ["build", "deploy"])
def test_every_call_of_a_verb_is_allowed(asked, policies, duty):
    """Action and resource, assuming that conditions are met."""
    assert [call for call in sorted(asked[duty]) if not allows(policies[duty], *call)] == []


@pytest.mark.parametrize("duty", ["build", "deploy"])
def test_every_permission_is_for_a_call(asked, policies, duty):
    """Nothing is granted that no verb needs."""
    unused = granted(policies[duty]) - {action for action, _ in asked[duty]}
    assert unused == INDIRECT[duty]


def test_other_deployments_are_out_of_reach(policies):
    """By the name in each resource, where a policy can have one."""
    policy, role = policies["deploy"], f"arn:aws:iam::{ACCOUNT}:role/{NAME}-pipeline-task"
    assert not allows(policy, "states:StartExecution", MACHINE.replace("small", "production"))
    assert not allows(policy, "s3:PutObject", f"arn:aws:s3:::{NAME}/models/champion.json")
    assert not allows(policy, "iam:PassRole", role)


def test_what_nobody_approved_changes_nothing_that_serves(policies):
    """The build role has the registry alone."""
    assert {action.partition(":")[0] for action in granted(policies["build"])} == {"ecr"}


def test_each_role_trusts_one_kind_of_job(planned):
    """A job's token names its environment or its branch, never both; so none gets the other's role."""
    subjects = {}
    for duty in ("build", "deploy"):
        trust = json.loads(planned[f'aws_iam_role.github["{duty}"]']["assume_role_policy"])
        (statement,) = trust["Statement"]
        (test,) = statement["Condition"]  # StringEquals: no patterns
        assert test == "StringEquals"
        subjects[duty] = statement["Condition"][test]["token.actions.githubusercontent.com:sub"]
    assert subjects == {
        "build": "repo:owner/name:ref:refs/heads/main",
        "deploy": "repo:owner/name:environment:production",
    }


def test_policies_for_planning_go_to_the_build_role(planned):
    """Each list of further policies to its own role."""
    attached = [it for at, it in planned.items() if at.startswith("aws_iam_role_policy_attachment")]
    assert [it["role"] for it in attached] == [f"{NAME}-github-build"]


def test_a_missing_object_answers_404_to_every_role_that_reads_the_bucket(planned):
    """S3 says 403 to who may not list; a condition on the prefix is never met by a read, which has none."""
    for duty in ("pipeline-task", "service-task", "tracking-task"):
        policy = json.loads(planned[f'aws_iam_role_policy.this["{duty}"]']["policy"])
        (found,) = [one for one in policy["Statement"] if one["Action"] == "s3:ListBucket"]
        assert "Condition" not in found, duty


def test_data_that_is_encrypted_with_another_key_can_be_read(planned):
    """By the pipeline alone, and only decrypted."""
    key = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/logs"
    pipeline = json.loads(planned['aws_iam_role_policy.this["pipeline-task"]']["policy"])
    assert allows(pipeline, "kms:Decrypt", key)
    assert not allows(pipeline, "kms:GenerateDataKey", key)
    service = json.loads(planned['aws_iam_role_policy.this["service-task"]']["policy"])
    assert not allows(service, "kms:Decrypt", key)
