"""The workflows: existing verbs, few permissions, no secrets, pinned actions."""

import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement

from tests.conftest import ROOT

FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
MAKEFILE = (ROOT / "Makefile").read_text()


def _load(path):
    """Return a workflow; YAML reads its key `on` as true."""
    found = yaml.safe_load(path.read_text())
    return found | {"on": found.pop(True)}


def _steps(workflow):
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def path(request):
    """Each workflow in turn."""
    return request.param


def test_every_verb_exists(path):
    """A workflow runs only make verbs, so that all of it can be done by hand."""
    runs = "\n".join(step.get("run", "") for step in _steps(_load(path)))
    named = set(re.findall(r"\bmake ([a-z][a-z-]*)", runs))
    assert named
    assert {verb for verb in named if not re.search(rf"^{verb}:", MAKEFILE, re.M)} == set()


def test_permissions_are_explicit_and_few(path):
    """Only reading by default; a job may add only the token by which it assumes a role."""
    workflow = _load(path)
    assert workflow["permissions"] in ({}, {"contents": "read"})
    for job in workflow["jobs"].values():
        assert job.get("permissions", {}) in ({}, {"contents": "read", "id-token": "write"})


def test_no_secret_is_stored(path):
    """Roles are assumed with the workflow's own token."""
    text = path.read_text()
    assert not re.search(
        r"AKIA[0-9A-Z]{16}|aws-(access-key-id|secret-access-key)|\bsecrets\.", text
    )
    assert not re.search(r"\b\d{12}\b", text), "no account id"


def test_actions_are_pinned_by_commit(path):
    """A tag can be moved, a digest cannot; the version stands beside it, where dependabot updates both."""
    used = re.findall(r"uses: (.*)", path.read_text())
    assert len(used) == len([step for step in _steps(_load(path)) if "uses" in step])
    for one in used:
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one), one


def test_an_action_has_one_digest():
    """The same version, the same commit, in every workflow."""
    used = {one for path in FILES for one in re.findall(r"uses: (.*)", path.read_text())}
    assert len({one.partition("@")[0] for one in used}) == len(used)


def test_no_expression_is_pasted_into_a_script(path):
    """Untrusted values are passed by the environment and quoted."""
    for step in _steps(_load(path)):
        assert "${{" not in step.get("run", "")


def test_jobs_end(path):
    """Each has a time limit."""
    assert all("timeout-minutes" in job for job in _load(path)["jobs"].values())


def test_checkouts_keep_no_credentials(path):
    """Later steps cannot push."""
    for step in _steps(_load(path)):
        if step.get("uses", "").startswith("actions/checkout"):
            assert step["with"]["persist-credentials"] is False


def test_a_deployment_waits_for_approval_and_for_the_images():
    """The environment's protection rule; its name is in the trust of a role that only that job assumes."""
    workflow = _load(ROOT / ".github" / "workflows" / "deliver.yml")
    assert workflow["jobs"]["deploy"]["environment"] == "production"
    assert workflow["jobs"]["deploy"]["needs"] == "images"
    assert "environment" not in workflow["jobs"]["images"]
    assert workflow["concurrency"]["cancel-in-progress"] is False
    trust = (ROOT / "infra" / "terraform" / "variables.tf").read_text()
    assert 'default     = "production"' in trust.partition('"github_environment"')[2]
    for job, role in (("images", "BUILD"), ("deploy", "DEPLOY")):
        assumed = [
            step["with"]["role-to-assume"]
            for step in workflow["jobs"][job]["steps"]
            if "role-to-assume" in step.get("with", {})
        ]
        assert assumed == [f"${{{{ vars.AWS_{role}_ROLE_ARN }}}}"]


def test_the_lock_is_checked_against_advisories_and_the_images_are_listed():
    """Also every week, as advisories appear without a commit."""
    tested, delivered = (
        _load(ROOT / f".github/workflows/{name}.yml") for name in ("test", "deliver")
    )
    assert any(step.get("run") == "make advisories" for step in _steps(tested))
    assert tested["on"]["schedule"][0]["cron"]
    assert any("make sbom" in step.get("run", "") for step in _steps(delivered))
    assert any(step.get("run") == "make scan" for step in _steps(delivered))


def test_floors_are_above_what_was_broken_and_below_what_is_locked():
    """The versions in which the advisories of 2026 are fixed."""
    lock = dict(
        re.findall(r"^([a-z0-9-]+)==([\d.]+)", (ROOT / "requirements.lock").read_text(), re.M)
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {one.name: one.specifier for one in map(Requirement, project["dependencies"])}
    for name, broken in (("bentoml", "1.4.38"), ("mlflow", "3.10.1"), ("jupyter-server", "2.17.0")):
        assert not wanted[name].contains(broken), name
        assert wanted[name].contains(lock[name]), name


def test_pull_requests_get_no_role():
    """Proposed changes run with a read-only token."""
    for path in FILES:
        workflow = _load(path)
        if "pull_request" in workflow["on"]:
            assert "id-token" not in path.read_text()
        assert "pull_request_target" not in workflow["on"]


def test_the_whole_is_rehearsed_every_night():
    """And the short form where a pull request touches it."""
    workflow = _load(ROOT / ".github" / "workflows" / "rehearsal.yml")
    assert workflow["on"]["schedule"][0]["cron"]
    assert any("make rehearse SCENARIO=--short" in step.get("run", "") for step in _steps(workflow))


def test_the_images_are_built_from_the_bento_of_the_run():
    """Its name is in the env file of the workflow, which is not the default one."""
    runs = [step.get("run", "") for step in _steps(_load(FILES[0].with_name("deliver.yml")))]
    (env,) = re.findall(r"^make run ENV=(\S+)$", "\n".join(runs), re.M)
    name = yaml.safe_load((ROOT / env).read_text())["bento"]["name"]
    for verb in ("image", "push"):
        assert f"make {verb} BENTO={name}:latest" in runs
