"""What scenarios start, and under which name they find it again."""

import json
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from tests.rehearsal.stage import Stage

VALUES = {"topic_arn": "topic", "state_machine_arn": "machine"}


@pytest.mark.parametrize("given", [{}, {"run": "copy-1"}])
def test_execution_is_called_as_its_run(given):
    """Else nobody finds the run's end by its id."""
    client = Mock()
    client.create_queue.return_value = {"QueueUrl": "inbox"}
    run = Stage(SimpleNamespace(client=lambda _: client), VALUES).start(**given, data="log")
    started = client.start_execution.call_args.kwargs
    assert started["name"] == run == json.loads(started["input"])["run"]
    assert run.startswith(given.get("run", "2"))
