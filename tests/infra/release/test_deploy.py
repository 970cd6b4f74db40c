"""Deploying: the right account, a plan, a question, and the outputs written down. Terraform is a stub here."""

import json

import pytest

from infra.release import __main__ as release
from infra.release import confirm, deploy
from tests.infra.cloud import ACCOUNT, REGION, account
from tests.infra.terraform_stub import TerraformStub

pytestmark = pytest.mark.slow
OUTPUTS = {"region": {"value": REGION}, "account_id": {"value": ACCOUNT}}


@pytest.fixture(scope="module")
def address():
    """One account: deploying only asks it who it is."""
    with account() as found:
        yield found


@pytest.fixture
def terraform(address, tmp_path, monkeypatch):
    """The stub, and images that were pushed."""
    stub = TerraformStub(tmp_path / "stub")
    stub.answer(outputs=OUTPUTS)
    monkeypatch.setenv("CLICKLAB_TERRAFORM", str(stub.program))
    monkeypatch.setenv("CLICKLAB_OUTPUTS", str(tmp_path / "outputs.json"))
    images = tmp_path / "images.auto.tfvars.json"
    images.write_text("{}")
    monkeypatch.setattr(deploy, "IMAGES", images)
    return stub


def _typed(monkeypatch, *answers):
    """Let somebody sit at the terminal who types these."""
    lines = iter(answers)

    class Terminal:
        isatty = staticmethod(lambda: True)
        readline = staticmethod(lambda: f"{next(lines)}\n")

    monkeypatch.setattr(confirm.sys, "stdin", Terminal)


def test_a_plan_is_applied_and_the_outputs_are_written_down(terraform, tmp_path, capsys):
    """Exactly the plan that was shown, in the environment's own workspace."""
    assert release.main(["deploy", "--env", "small", "--yes"]) == 0
    verbs = [call[0] for call in terraform.calls()]
    assert verbs == ["init", "workspace", "plan", "apply", "output"]
    assert terraform.calls("workspace")[0] == ["workspace", "select", "-or-create", "small"]
    plan, apply = terraform.calls("plan")[0], terraform.calls("apply")[0]
    assert any(word.endswith("small.tfvars") for word in plan)
    assert f"-out={apply[-1]}" in plan
    assert json.loads((tmp_path / "outputs.json").read_text()) == OUTPUTS


def test_nothing_is_applied_without_a_yes(terraform, monkeypatch, capsys):
    """Neither where the answer is another, nor where nobody is there to ask."""
    _typed(monkeypatch, "no")
    assert release.main(["deploy"]) == 3
    assert "not confirmed; nothing was changed" in capsys.readouterr().err
    monkeypatch.undo()
    assert terraform.calls("apply") == []


def test_nobody_to_ask_is_a_no(terraform, capsys):
    """Tests have no terminal."""
    assert release.main(["deploy"]) == 3
    assert "nobody is there to ask; pass --yes" in capsys.readouterr().err
    assert terraform.calls("apply") == []


def test_a_typed_yes_applies(terraform, monkeypatch):
    """The word, not a key."""
    _typed(monkeypatch, "yes")
    assert release.main(["deploy"]) == 0
    assert len(terraform.calls("apply")) == 1


def test_deploying_again_changes_nothing(terraform, capsys):
    """No plan, no question, no apply; the outputs are written all the same."""
    terraform.answer(changes=False)
    assert release.main(["deploy"]) == 0
    assert terraform.calls("apply") == []
    assert "nothing differs" in capsys.readouterr().out


def test_a_failing_terraform_is_one_line(terraform, capsys):
    """What it said stands above; init's reason is in the line."""
    terraform.answer(fails={"init": "Failed to query available provider packages"})
    assert release.main(["deploy", "--yes"]) == 1
    assert "`terraform init` failed (Error: Failed to query" in capsys.readouterr().err
    terraform.answer(fails={"apply": "creating ECS Service"})
    assert release.main(["deploy", "--yes"]) == 1
    assert "`terraform apply` failed, see above" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("lines", "environment", "line"),
    [
        ('account_id = "999999999999"', {}, "the file of variables says 999999999999"),
        ("", {"AWS_REGION": "us-east-1"}, "AWS_REGION is us-east-1, the file of variables says"),
        ('environment = ""', {}, "sets no environment"),
        ("name = upper(1)", {}, "only names and literals"),
    ],
)
def test_the_wrong_place_is_refused(
    terraform, tmp_path, monkeypatch, capsys, lines, environment, line
):
    """Before Terraform is started."""
    path = tmp_path / "mine.tfvars"
    fixed = "" if "environment" in lines else 'environment = "mine"\n'
    path.write_text(f"{fixed}{lines}\n")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert release.main(["deploy", "--env", str(path), "--yes"]) == 3
    error = capsys.readouterr().err
    assert line in error and error.count("\n") == 1
    assert terraform.calls() == []


def test_another_account_than_last_time_asks_first(terraform, tmp_path, monkeypatch, capsys):
    """The account's number has to be typed."""
    before = {"region": {"value": REGION}, "account_id": {"value": "111111111111"}}
    (tmp_path / "outputs.json").write_text(json.dumps(before))
    _typed(monkeypatch, "yes")
    assert release.main(["deploy"]) == 3
    assert "the last deployment from here was in 111111111111" in capsys.readouterr().err
    assert terraform.calls() == []
    _typed(monkeypatch, ACCOUNT, "yes")
    assert release.main(["deploy"]) == 0


def test_services_without_images_are_asked_about(terraform, tmp_path, capsys):
    """Or made later: the repositories come first."""
    deploy.IMAGES.unlink()
    assert release.main(["deploy"]) == 3
    assert "no image was pushed yet" in capsys.readouterr().err
    assert release.main(["deploy", "--only", "images", "--yes"]) == 0
    assert "-target=module.storage" in terraform.calls("plan")[0]


def test_an_unknown_environment_names_those_there_are(terraform, capsys):
    """And starts nothing."""
    assert release.main(["deploy", "--env", "huge"]) == 3
    assert "there are production, small" in capsys.readouterr().err
    assert terraform.calls() == []


def test_no_terraform_is_one_line(terraform, monkeypatch, capsys):
    """With what to install."""
    monkeypatch.setenv("CLICKLAB_TERRAFORM", "terraform-that-is-not-there")
    assert release.main(["deploy"]) == 3
    assert "install Terraform 1.10 or newer" in capsys.readouterr().err


def test_a_plan_can_be_shown_alone(terraform, tmp_path, capsys):
    """Nothing is applied, nothing written."""
    assert release.main(["plan", "--env", "production"]) == 0
    assert [call[0] for call in terraform.calls()] == ["init", "workspace", "plan"]
    assert "`make deploy` would change this" in capsys.readouterr().out
    assert not (tmp_path / "outputs.json").exists()


def test_outputs_can_be_fetched_from_the_state(terraform, tmp_path, capsys):
    """For another machine; a state without any is an error."""
    assert release.main(["outputs"]) == 0
    assert json.loads((tmp_path / "outputs.json").read_text()) == OUTPUTS
    terraform.answer(outputs={})
    assert release.main(["outputs"]) == 3
    assert "nothing was deployed" in capsys.readouterr().err
