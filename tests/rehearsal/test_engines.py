"""What a rehearsal's containers are: the choice, and what podman is called with."""

import json
import subprocess

import pytest

from tasks.errors import ConfigError
from tests.conftest import ROOT
from tests.rehearsal import engines, podman
from tests.rehearsal.__main__ import main
from tests.rehearsal.engines import choose
from tests.rehearsal.images import Image, Registry, changed_image, layered_image
from tests.rehearsal.processes import MARK

KINDS = ["pipeline", "tracking"]
COMMIT = "0123456789ab"
BUILT = [f"localhost/clicklab-{kind}:{COMMIT}" for kind in KINDS]


@pytest.fixture
def machine(monkeypatch):
    """A machine whose podman has both images; what is set in it is what the choice sees."""
    found = {"images": BUILT, "cgroups": ["cpu", "memory"], "dirty": False, "labels": []}

    def ask(*words):
        if words[0] == "info":
            return json.dumps({"host": {"cgroupControllers": found["cgroups"]}})
        found["labels"].append(words[2])
        return "\n".join(found["images"])

    def commit(*, may_be_dirty):
        if found["dirty"] and not may_be_dirty:
            raise ConfigError("2 files differ from the commit")
        return COMMIT + "-dirty" * found["dirty"]

    monkeypatch.setattr(engines, "ask", ask)
    monkeypatch.setattr(engines, "commit", commit)
    return found


@pytest.mark.parametrize("asked", ["", "podman"])
def test_podman_is_taken_where_it_has_this_commits_images(machine, asked):
    """The line that says so names them, and they are known by the label of the commit."""
    engine = choose(asked, KINDS)
    assert engine.built == dict(zip(KINDS, BUILT, strict=True))
    assert f"clicklab-pipeline:{COMMIT}" in engine.why
    assert machine["labels"] == [f"label=org.opencontainers.image.revision={COMMIT}"]


def test_newest_image_is_taken_and_others_are_not_looked_at(machine):
    """Layers of a rehearsal bear the label of what is below them."""
    more = ["localhost/clicklab-rehearsal:1", "localhost/clicklab-pipeline:new", "<none>:<none>"]
    machine["images"] = [*more, *BUILT]
    assert choose("podman", KINDS).built["pipeline"] == "localhost/clicklab-pipeline:new"


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ({"images": BUILT[:1]}, "no image of tracking at commit 0123456789ab; `make image` builds"),
        ({"cgroups": ["pids"]}, "cannot limit cpu and memory"),
    ],
)
def test_podman_that_cannot_be_taken(machine, state, why):
    """Asked for, it is an error; else containers are processes, and the line says why."""
    machine |= state
    with pytest.raises(ConfigError, match=why):
        choose("podman", KINDS)
    engine = choose("", KINDS)
    assert engine.built == {}
    assert why in engine.why


def test_files_that_differ_from_the_commit_are_not_rehearsed_by_its_images(machine):
    """Unless they were built of such files, and podman is asked for."""
    machine["dirty"] = True
    assert "2 files differ" in choose("", KINDS).why
    assert choose("podman", KINDS).built
    assert machine["labels"][-1].endswith(f"={COMMIT}-dirty")


def test_processes_as_asked_for(machine):
    """Podman is not even looked at."""
    assert choose("processes", KINDS).built == {}
    assert machine["labels"] == []


def test_podman_that_is_not_here_is_no_error_unless_it_is_asked_for(monkeypatch):
    """One line says that it is not."""
    monkeypatch.setattr(podman, "PROGRAM", "no-such-podman")
    assert "no-such-podman" in choose("", KINDS).why
    with pytest.raises(ConfigError, match=r"ENGINE=podman: .*no-such-podman"):
        choose("podman", KINDS)


def test_unknown_engine_is_one_line(capsys):
    """Nothing is started, and the ones that there are are told."""
    assert main(["time-limit", "--engine", "docker"]) == 3
    assert capsys.readouterr().err == "error: ENGINE is 'docker'; it can be podman or processes\n"


def test_make_hands_the_engine_on():
    """`make rehearse ENGINE=` is the same choice."""
    words = ["make", "--dry-run", "rehearse", "SCENARIO=time-limit", "ENGINE=podman"]
    said = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "tests.rehearsal time-limit --engine 'podman'" in said


def test_tag_in_ecr_tells_the_image_and_that_it_is_changed(machine):
    """Processes have no image, and the tag says nothing."""
    assert choose("podman", KINDS).tag("pipeline") == f"{COMMIT}-rehearsal"
    assert choose("processes", KINDS).tag("pipeline") == "initial"


def test_command_of_a_container_has_its_limits_and_no_values_of_variables(monkeypatch):
    """A task's size are the limits; keys are in no list of processes; nothing is pulled."""
    monkeypatch.setenv(MARK, "/rehearsal")
    words = podman.run_words(
        "one", cpu=512, memory_mb=1024, variables=["B", "A"], volumes=["/a:/b"], read_only=True
    )
    line = " ".join(words)
    assert line.startswith("podman run --name one --label clicklab.rehearsal=/rehearsal ")
    assert (
        "--cpus 0.5 --memory 1024m --memory-swap 1024m --read-only --read-only-tmpfs=false --env A --env B --volume /a:/b"
        in line
    )
    assert "--pull never --network host --no-healthcheck" in line


def test_layer_holds_the_files_alone(monkeypatch, tmp_path):
    """It lies over the built image, in its place, and another can lie over it."""
    asked = []
    monkeypatch.setenv(MARK, str(tmp_path))
    monkeypatch.setattr(podman, "ask", lambda *words: asked.append(words) or "")
    below = Image(
        str(tmp_path), below=str(ROOT), built="localhost/clicklab-pipeline:1", place="/app"
    )
    first = layered_image(below, tmp_path / "first", {"env.aws.yaml": "seed: 1"})
    second = changed_image(first, tmp_path / "second", {"notebooks/one": "text"})
    assert [path.name for path in (tmp_path / "first").iterdir()] == ["env.aws.yaml"]
    recipe = (tmp_path / "second.Dockerfile").read_text()
    assert recipe == f"FROM {first.built}\nCOPY . /app/\n"
    assert [words[0] for words in asked] == ["build", "build"]
    assert second.read("notebooks/one") == "text"
    assert "[project]" in second.read("pyproject.toml")


def test_registry_keeps_what_an_image_is_built_of(tmp_path):
    """The emulator, another process, starts containers of it."""
    registry = Registry(tmp_path / "images.json")
    image = Image(
        str(tmp_path), environment={"BENTOML_PORT": "{port}"}, built="one:1", place="/app"
    )
    registry.push("here:1", image)
    found = registry.pull("here:1")
    assert (found.built, found.place, found.environment) == ("one:1", "/app", image.environment)


def test_everything_with_the_mark_is_removed(monkeypatch):
    """Containers first; where nothing is found nothing is removed."""
    asked = []

    def ask(*words):
        asked.append(words)
        return "a\nb" if words[0] == "ps" else ""

    monkeypatch.setattr(podman, "ask", ask)
    podman.remove_all("/rehearsal")
    assert [words[0] for words in asked] == ["ps", "rm", "images"]
    assert set(asked[1][-2:]) == {"a", "b"}
    assert all("label=clicklab.rehearsal=/rehearsal" in asked[i] for i in (0, 2))
