"""Each scenario of the service: real Bento processes behind the proxy, moved by the release verbs."""

import pytest

from tests.infra.played import each
from tests.rehearsal.house import house
from tests.rehearsal.serving_scenarios import SERVING, shop


@pytest.fixture(scope="module")
def counter(tmp_path_factory):
    """The Bento of a run, served."""
    with house(tmp_path_factory.mktemp("rehearsal")) as found, shop(found) as opened:
        yield opened


@pytest.mark.parametrize("scenario", each(SERVING))
def test_scenario_is_shown(counter, scenario):
    """What the scenario says is seen."""
    assert scenario.play(counter)
