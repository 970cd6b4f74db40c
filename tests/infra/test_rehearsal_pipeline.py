"""Each scenario of the pipeline, played by the real state machine and real tasks in an emulator of its own."""

import pytest

from infra.rehearsal import scenarios  # noqa: F401  # fills the list
from infra.rehearsal.house import house
from infra.rehearsal.scenario import PIPELINE
from tests.infra.played import each


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """An emulator, MLflow, and a deployment made directly."""
    with house(tmp_path_factory.mktemp("rehearsal")) as found:
        yield found


@pytest.mark.parametrize("scenario", each(PIPELINE))
def test_scenario_is_shown(stage, scenario):
    """What the scenario says is seen."""
    assert scenario.play(stage)
