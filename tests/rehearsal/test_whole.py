"""The whole rehearsal, and its command."""

import shutil

import pytest

from tests.rehearsal import whole
from tests.rehearsal.__main__ import main


@pytest.mark.nightly
def test_whole_way_is_shown(tmp_path):
    """From nothing to nothing, each step seen."""
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not on this machine")
    rows = []
    whole.play(tmp_path / "whole", rows.append)
    assert [row.seen for row in rows if not row.is_shown] == []


def test_unknown_scenario_is_one_line(capsys):
    """Nothing is started, and the names that there are are told."""
    assert main(["no-such-thing"]) == 3
    assert "no-such-thing" in capsys.readouterr().err
