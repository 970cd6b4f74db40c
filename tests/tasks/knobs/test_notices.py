"""Notices name variables, never addresses: those are secrets."""

import pytest

from tasks.knobs.reading import read_env
from tests.tasks.knobs.test_reading import env_file, refusal


def test_an_address_in_the_file_is_refused_without_being_shown(tmp_path):
    """What is refused may end in a log."""
    said = refusal(env_file(tmp_path, ("addresses: []", "addresses: [OK, 'https://secret.example']")))  # fmt: skip
    assert "entry 2 is no name of an environment variable" in said
    assert "secret" not in said.replace("secrets", "")


@pytest.mark.parametrize(
    ("old", "new"),
    [("quiet: false", "quiet: maybe"), ("events: [day,", "events: [week,"), ("timeout_s: 10", "timeout_s: 0"), ("addresses: []", "addresses: HOOK")],
)  # fmt: skip
def test_what_cannot_be_is_one_line(tmp_path, old, new):
    """With the knob's name."""
    assert "notices." in refusal(env_file(tmp_path, (old, new)))


def test_by_default_nobody_is_told(tmp_path):
    """A clone sends nothing anywhere."""
    assert read_env(env_file(tmp_path), ask_models=False)["notices"]["addresses"] == []
