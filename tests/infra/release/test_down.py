"""A production deployment created and destroyed by the verbs and Terraform, on an emulator that respects protection."""

import os
import shutil

import boto3
import pytest
from botocore.exceptions import ClientError

from infra.release import __main__ as release
from tests.infra.terraform.emulated import copy_of_root, emulator, provider_mirror

pytestmark = pytest.mark.nightly
NAME = "clicklab-production"


@pytest.fixture
def production(tmp_path, monkeypatch):
    """The environment of production.tfvars.json, deployed by `deploy`."""
    folder = copy_of_root(tmp_path / "infra" / "terraform")
    shutil.copy2(folder / "rehearsal" / "rehearsal_override.tf", folder)
    with emulator() as address:
        for name in [name for name in os.environ if name.startswith(("AWS_", "TF_"))]:
            monkeypatch.delenv(name)
        for name, value in {
            "AWS_ENDPOINT_URL": address,
            "AWS_ACCESS_KEY_ID": "rehearsal",
            "AWS_SECRET_ACCESS_KEY": "rehearsal",
            "AWS_REGION": "eu-west-1",
            "CLICKLAB_OUTPUTS": str(tmp_path / "outputs.json"),
            "TF_CLI_CONFIG_FILE": os.devnull,
            "TF_CLI_ARGS_init": f"-plugin-dir={provider_mirror()} -lockfile=readonly",
            "TF_CLI_ARGS_apply": "-parallelism=30 -no-color",
            "TF_CLI_ARGS_destroy": "-parallelism=30 -no-color",
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        assert release.main(["deploy", "--env", "production", "--yes"]) == 0
        yield tmp_path


def test_production_is_destroyed_completely_but_only_after_both_confirmations(production, capfd):
    """Its database refuses; the name alone changes nothing; with the data confirmed, protection is lifted first."""
    rds = boto3.client("rds", region_name="eu-west-1")
    (database,) = rds.describe_db_instances()["DBInstances"]
    with pytest.raises(ClientError, match="protection"):
        rds.delete_db_instance(DBInstanceIdentifier=database["DBInstanceIdentifier"])
    capfd.readouterr()

    assert release.main(["down", "--yes", NAME]) == 3
    captured = capfd.readouterr()
    assert "protected from deletion: once confirmed, deletion_protection=false" in captured.out
    assert (
        "bucket and database will be destroyed too: there is no terminal to ask at; pass --with-data"
        in captured.err
    )
    assert rds.describe_db_instances()["DBInstances"][0]["DeletionProtection"]

    assert release.main(["down", "--yes", NAME, "--with-data"]) == 0
    printed = capfd.readouterr().out
    assert "applying deletion_protection=false and force_destroy=true to" in printed
    assert printed.index("applying deletion_protection") < printed.index("Destroy complete!")
    assert "verified: Terraform's state is empty" in printed
    assert rds.describe_db_instances()["DBInstances"] == []
    assert not (production / "outputs.json").exists()
