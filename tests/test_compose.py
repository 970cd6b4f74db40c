"""The services of a team's store: pinned, checked, and without secrets of their own."""

import re
import shutil
import subprocess

import pytest
import yaml

from tests.conftest import ROOT

COMPOSE = ROOT / "mlflow/compose.yaml"


@pytest.fixture(scope="module")
def services():
    """The services by name, variables not filled in."""
    return yaml.safe_load(COMPOSE.read_text())["services"]


def test_images_are_pinned_or_built_here(services):
    """A tag that moves would change the store behind a team's back."""
    for service in services.values():
        tag = service["image"].rpartition(":")[2]
        assert "build" in service or re.search(r"\d+\.\d+|\d{4}-\d\d-\d\d", tag)
        if "build" in service:
            assert (
                ROOT / "mlflow" / service["build"]["context"] / service["build"]["dockerfile"]
            ).is_file()


def test_secrets_come_from_a_file_that_git_ignores(services):
    """The example leaves them empty, and names every variable that has no default."""
    text = COMPOSE.read_text()
    needed = set(re.findall(r"\$\{(\w+):\?", text))
    example = dict(line.split("=", 1) for line in (ROOT / "mlflow/.env.example").read_text().splitlines() if line and line[0] != "#")  # fmt: skip
    assert needed <= set(example)
    assert example["DATABASE_PASSWORD"] == example["S3_SECRET"] == ""
    assert "mlflow/.env" in (ROOT / ".gitignore").read_text().splitlines()
    for service in services.values():
        for name, value in service["environment"].items():
            if re.search("PASSWORD|SECRET", name):
                assert value.startswith("${")


def test_what_holds_data_has_a_volume_and_a_check(services):
    """And the server waits until both are ready."""
    for name in ("database", "storage"):
        assert services[name]["volumes"]
        assert services[name]["healthcheck"]["test"]
    assert services["server"]["depends_on"]["database"] == {"condition": "service_healthy"}


@pytest.mark.slow
def test_docker_reads_the_file():
    """Only where its compose plugin is installed; no daemon is needed."""
    has_docker = shutil.which("docker") and not subprocess.run(["docker", "compose", "version"], capture_output=True).returncode  # fmt: skip
    if not has_docker:
        pytest.skip("docker compose is not installed")
    secrets = {"DATABASE_PASSWORD": "a", "S3_KEY": "b", "S3_SECRET": "c"}
    command = ["docker", "compose", "--file", str(COMPOSE), "config", "--quiet"]
    done = subprocess.run(command, env=secrets | {"PATH": "/usr/bin:/bin:/usr/local/bin"}, capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_bucket_is_created_once(services, monkeypatch):
    """The very command of the service, against an S3 of this machine."""
    import sys

    from tests.stores import s3_server

    *_, program = services["bucket"]["command"]
    with s3_server(monkeypatch) as s3:
        monkeypatch.setenv("S3_BUCKET", "clicklab")
        for _ in range(2):
            subprocess.run([sys.executable, "-c", program], check=True)
        names = [bucket["Name"] for bucket in s3.client.list_buckets()["Buckets"]]
    assert names == ["bucket", "clicklab"]
