"""Deploying: the right account, a plan, a question, and saved outputs. Terraform is a stub here."""

import json

import pytest

from infra.images import pushed
from infra.release import __main__ as release
from infra.release import confirm
from infra.release.variables import read_variables, variables_file
from tests.infra.cloud import ACCOUNT, REGION, account
from tests.infra.terraform_stub import TerraformStub

pytestmark = pytest.mark.slow
OUTPUTS = {
    "region": {"value": REGION},
    "account_id": {"value": ACCOUNT},
    "service_url": {"value": "http://lb.example"},
}


@pytest.fixture(scope="module")
def address():
    """One account: deploying only asks for its identity."""
    with account() as found:
        yield found


@pytest.fixture
def terraform(address, tmp_path, monkeypatch):
    """The stub, and pushed images."""
    stub = TerraformStub(tmp_path / "stub")
    stub.answer(outputs=OUTPUTS)
    monkeypatch.setenv("CLICKLAB_TERRAFORM", str(stub.program))
    monkeypatch.setenv("CLICKLAB_OUTPUTS", str(tmp_path / "outputs.json"))
    monkeypatch.setattr(pushed, "PUSHED", tmp_path / "images.auto.tfvars.json")
    pushed.record_pushed("pipeline", "406fb6f")
    return stub


def _typed(monkeypatch, *answers):
    """Type these answers at a terminal."""
    lines = iter(answers)

    class Terminal:
        isatty = staticmethod(lambda: True)
        readline = staticmethod(lambda: f"{next(lines)}\n")

    monkeypatch.setattr(confirm.sys, "stdin", Terminal)


def test_a_plan_is_applied_and_the_outputs_are_saved(terraform, tmp_path, capsys):
    """Exactly the plan shown, in the environment's own workspace; the addresses are printed."""
    assert release.main(["deploy", "--env", "small", "--yes"]) == 0
    verbs = [call[0] for call in terraform.calls()]
    assert verbs == ["init", "workspace", "plan", "apply", "output"]
    assert terraform.calls("workspace")[0] == ["workspace", "select", "-or-create", "small"]
    plan, apply = terraform.calls("plan")[0], terraform.calls("apply")[0]
    assert any(word.endswith("small.tfvars.json") for word in plan)
    assert f"-out={apply[-1]}" in plan
    assert json.loads((tmp_path / "outputs.json").read_text()) == OUTPUTS
    assert "  service        http://lb.example" in capsys.readouterr().out


def test_nothing_is_applied_without_a_yes(terraform, monkeypatch, capsys):
    """Another answer is a no."""
    _typed(monkeypatch, "no")
    assert release.main(["deploy"]) == 3
    assert "not confirmed; nothing was changed" in capsys.readouterr().err
    monkeypatch.undo()
    assert terraform.calls("apply") == []


def test_without_a_terminal_the_answer_is_no(terraform, capsys):
    """Tests have no terminal."""
    assert release.main(["deploy"]) == 3
    assert "there is no terminal to ask at; pass --yes" in capsys.readouterr().err
    assert terraform.calls("apply") == []


def test_a_typed_yes_applies(terraform, monkeypatch):
    """The whole word."""
    _typed(monkeypatch, "yes")
    assert release.main(["deploy"]) == 0
    assert len(terraform.calls("apply")) == 1


def test_deploying_again_changes_nothing(terraform, capsys):
    """No question and no apply; the outputs are saved nevertheless."""
    terraform.answer(changes=False)
    assert release.main(["deploy"]) == 0
    assert terraform.calls("apply") == []
    assert "no changes" in capsys.readouterr().out


def test_a_failing_terraform_is_one_line(terraform, capsys):
    """Its output is above; the reason of a failed init is in the line."""
    terraform.answer(fails={"init": "Failed to query available provider packages"})
    assert release.main(["deploy", "--yes"]) == 1
    assert "`terraform init` failed (Error: Failed to query" in capsys.readouterr().err
    terraform.answer(fails={"apply": "creating ECS Service"})
    assert release.main(["deploy", "--yes"]) == 1
    assert "`terraform apply` failed, see above" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "environment", "line"),
    [
        ({"account_id": "999999999999"}, {}, "the variables file has 999999999999"),
        ({}, {"AWS_REGION": "us-east-1"}, "AWS_REGION is us-east-1, the variables file has"),
        ({"environment": ""}, {}, "does not set environment"),
    ],
)
def test_the_wrong_place_is_refused(
    terraform, tmp_path, monkeypatch, capsys, changed, environment, line
):
    """Before Terraform is started."""
    path = tmp_path / "mine.tfvars.json"
    path.write_text(json.dumps(read_variables(variables_file("small")) | changed))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert release.main(["deploy", "--env", str(path), "--yes"]) == 3
    error = capsys.readouterr().err
    assert line in error and error.count("\n") == 1
    assert terraform.calls() == []


def test_another_account_than_last_time_asks_first(terraform, tmp_path, monkeypatch, capsys):
    """The account's id has to be typed."""
    before = {"region": {"value": REGION}, "account_id": {"value": "111111111111"}}
    (tmp_path / "outputs.json").write_text(json.dumps(before))
    _typed(monkeypatch, "yes")
    assert release.main(["deploy"]) == 3
    assert "the last deployment from here was in 111111111111" in capsys.readouterr().err
    assert terraform.calls() == []
    _typed(monkeypatch, ACCOUNT, "yes")
    assert release.main(["deploy"]) == 0


def test_deploying_services_without_images_asks_first(terraform, tmp_path, capsys):
    """The repositories can be created alone."""
    pushed.PUSHED.unlink()
    assert release.main(["deploy"]) == 3
    assert "no image has been pushed" in capsys.readouterr().err
    assert release.main(["deploy", "--only", "images", "--yes"]) == 0
    assert "-target=module.storage" in terraform.calls("plan")[0]


def test_an_unknown_environment_is_refused_with_the_known_ones(terraform, capsys):
    """Terraform is not started."""
    assert release.main(["deploy", "--env", "huge"]) == 3
    assert "there are production, small" in capsys.readouterr().err
    assert terraform.calls() == []


def test_no_terraform_is_one_line(terraform, monkeypatch, capsys):
    """It says what to install."""
    monkeypatch.setenv("CLICKLAB_TERRAFORM", "terraform-that-is-not-there")
    assert release.main(["deploy"]) == 3
    assert "install Terraform 1.11 or newer" in capsys.readouterr().err


def test_a_plan_can_be_shown_alone(terraform, tmp_path, capsys):
    """Nothing is applied or saved."""
    assert release.main(["plan", "--env", "production"]) == 0
    assert [call[0] for call in terraform.calls()] == ["init", "workspace", "plan"]
    assert "`make deploy` would apply this" in capsys.readouterr().out
    assert not (tmp_path / "outputs.json").exists()


def test_outputs_can_be_fetched_from_the_state(terraform, tmp_path, capsys):
    """On another machine; a state without outputs is an error."""
    assert release.main(["outputs"]) == 0
    assert json.loads((tmp_path / "outputs.json").read_text()) == OUTPUTS
    terraform.answer(outputs={})
    assert release.main(["outputs"]) == 3
    assert "nothing is deployed" in capsys.readouterr().err
