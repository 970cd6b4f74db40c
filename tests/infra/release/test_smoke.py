"""The steps that only a real account can prove: in order, up to the first that fails, and always taken down."""

import re

import pytest

from infra.release import smoke
from infra.release.smoke import DOWN, STEPS, SmokeError
from tasks.errors import ConfigError
from tests.conftest import ROOT

ANSWERS = {
    "doctor": "ok     credentials of x",
    "status": "blue   100%   2 of 2 tasks healthy\ngreen  100%   2 of 2 tasks healthy",
    "length(events)": "0",
    "length(@)": "3",
}


class Account:
    """Answers each command with what its step expects, except those that are told otherwise."""

    def __init__(self, **failing):
        self.failing, self.asked = failing, []

    def __call__(self, command):
        self.asked.append(command)
        for word, said in self.failing.items():
            if word in command:
                return (1, said) if not said else (0, said)
        step = next(one for one in (*STEPS, smoke._LAST) if one.command == command)
        known = (said for word, said in ANSWERS.items() if word in command)
        return 0, next(known, step.expected.split("|")[0].replace(".*", ""))


def test_nothing_is_done_without_a_yes(capsys):
    """One line, which says what it costs; no command is run."""
    account = Account()
    with pytest.raises(ConfigError, match="say AWS=1"):
        smoke.smoke(is_sure=False, run=account)
    assert account.asked == []
    assert smoke.main([]) == 3
    assert capsys.readouterr().err.count("\n") == 1


def test_every_step_runs_in_order_and_everything_is_destroyed(capsys):
    """The last command is the one that leaves nothing."""
    account = Account()
    smoke.smoke(is_sure=True, run=account, poll_s=0)
    assert account.asked == [*(step.command for step in STEPS), DOWN]
    assert "everything has been destroyed" in capsys.readouterr().out


def test_a_failing_step_ends_it_and_everything_is_destroyed():
    """Its number and command are in the line."""
    account = Account(scan="")
    with pytest.raises(SmokeError, match=r"step 6 .*`make scan`.*has been destroyed"):
        smoke.smoke(is_sure=True, run=account, poll_s=0)
    assert account.asked[-2:] == ["make scan", DOWN]


def test_what_is_left_is_said():
    """With the command that tries again."""
    with pytest.raises(SmokeError, match=f"NOT all was destroyed, run `{re.escape(DOWN)}`"):
        smoke.smoke(is_sure=True, run=Account(down="3 tagged resources remain"), poll_s=0)


def test_the_table_of_the_documents_has_the_steps():
    """`python -m infra.release.smoke --list` prints it."""
    assert smoke.table() in (ROOT / "docs" / "aws.md").read_text()


def test_every_output_of_a_command_exists():
    """As a variable in capitals."""
    outputs = re.findall(
        r'^output "(\w+)"', (ROOT / "infra/terraform/outputs.tf").read_text(), re.M
    )
    for step in STEPS:
        for name in re.findall(r"\$([A-Z_]+)", step.command):
            assert name.lower() in outputs, step
