"""Each scenario of the pipeline, played by the real state machine and real tasks in an emulator of its own."""

import pytest

import tests.rehearsal.scenarios  # noqa: F401 -- fills PIPELINE
from tests.infra.played import each
from tests.rehearsal.house import house
from tests.rehearsal.scenario import PIPELINE


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """An emulator, MLflow, and a deployment made directly."""
    with house(tmp_path_factory.mktemp("rehearsal")) as found:
        yield found


@pytest.mark.parametrize("scenario", each(PIPELINE))
def test_scenario_is_shown(stage, scenario):
    """What the scenario says is seen."""
    assert scenario.play(stage)
