"""Containers of a rehearsal by podman, for real: of the base image, and of the built ones in a scenario."""

import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT
from tests.infra.containers import base, build, runner
from tests.rehearsal import account, house
from tests.rehearsal.containers import HOST_LOST, SPOT_REASON
from tests.rehearsal.emulator import Emulator
from tests.rehearsal.engines import choose
from tests.rehearsal.guard import guarded
from tests.rehearsal.images import Image, layered_image
from tests.rehearsal.podman import Container, ask
from tests.rehearsal.processes import KILLED_FOR_MEMORY, MARK
from tests.rehearsal.scenario import PIPELINE
from tests.rehearsal.stage import wait_for

pytestmark = pytest.mark.nightly
EMPTY_MACHINE = '{"StartAt": "end", "States": {"end": {"Type": "Succeed"}}}'
PLAYED = ("spot-interruption", "out-of-memory")
REHEARSAL = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs in the background ignores it
from tests.rehearsal.guard import guarded
from tests.rehearsal.podman import Container, layer

folder, image = Path(sys.argv[1]), sys.argv[2]
with guarded(folder, has_podman=True):
    (folder / "files").mkdir()
    name = layer(image, folder / "files", "/app")
    Container(name, ["python", "-uc", "print('on'); import time; time.sleep(600)"], {},
              cpu=256, memory_mb=128, say=lambda line: print(line, flush=True))
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def image():
    """The base image, which has Python; skips where podman or it is not here."""
    if runner() != "podman":
        pytest.skip("the engine here is not podman")
    return base("podman")


@pytest.fixture
def start(image, monkeypatch, tmp_path):
    """Starts a container that runs some Python."""
    monkeypatch.setenv(MARK, str(tmp_path))

    def start(code, **told):
        said = []
        words = ["python", "-uc", code]
        found = Container(image, words, told, cpu=1024, memory_mb=100, say=said.append)
        found.said = said
        return found

    return start


def _left(mark):
    label = f"label=clicklab.rehearsal={mark}"
    return ask("ps", "--all", "--quiet", "--filter", label), ask(
        "images", "--quiet", "--filter", label
    )


def test_exit_code_lines_and_variables_of_a_container(start, tmp_path):
    """What process 1 prints and ends with is told, and nothing of it is left."""
    container = start("import os; print(os.environ['WORD']); raise SystemExit(4)", WORD="hello")
    assert (container.wait(), container.said) == (4, ["hello"])
    assert _left(tmp_path) == ("", "")


def test_memory_beyond_the_limit_is_killed_with_137(start):
    """By the kernel, and it is known why."""
    container = start("held = b'x' * (200 << 20); import time; time.sleep(30)")
    assert container.wait() == 137
    assert container.memory_killed


def test_stop_is_sigterm_then_sigkill(start):
    """However early it is asked for."""
    polite = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(143)); print(1); time.sleep(30)"
    container = start(polite)
    while not container.said:
        time.sleep(0.02)
    container.stop(20)
    assert container.wait() == 143
    deaf = start("import time; time.sleep(30)")
    deaf.stop(1)
    assert deaf.wait() == 137


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_ended_rehearsal_leaves_no_container_and_no_layer(image, tmp_path, how):
    """Where it was killed its guard removes them, and its folder; where it was interrupted it does so itself."""
    folder = tmp_path / "rehearsal"
    words = [sys.executable, "-c", REHEARSAL, str(folder), image]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "on\n"
    assert all(_left(folder))
    process.send_signal(how)
    process.communicate()
    deadline = time.monotonic() + 60
    while (how == signal.SIGKILL and folder.exists()) or any(_left(folder)):
        assert time.monotonic() < deadline, "something was left"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def ecs(image, tmp_path_factory):
    """An account in which RunTask starts containers of the base image; runs a command and tells how it ended."""
    folder = tmp_path_factory.mktemp("ecs")
    with guarded(folder, has_podman=True), Emulator(folder) as emulator:
        layered = layered_image(
            Image("", built=image, place="/app"), folder / "word", {"word": "hi"}
        )
        emulator.registry.push(f"{account.PIPELINE_IMAGE}:one", layered)
        values = account.create(emulator, EMPTY_MACHINE, "http://127.0.0.1:9", "one")
        client, cluster = emulator.client("ecs"), values["cluster"]
        network = {
            "subnets": values["pipeline_subnets"],
            "securityGroups": values["pipeline_security_groups"],
        }

        def look(arn):
            return client.describe_tasks(cluster=cluster, tasks=[arn])["tasks"][0]

        def run(code, stop_at="", reason=""):
            """Return the task and its log; it is stopped when its log has a word."""
            override = {"name": "pipeline", "command": ["python", "-uc", code]}
            given = {"overrides": {"containerOverrides": [override], "memory": "512"}}
            given |= {
                "launchType": "FARGATE",
                "networkConfiguration": {"awsvpcConfiguration": network},
            }
            definition = values["pipeline_task_definition"]
            task = client.run_task(cluster=cluster, taskDefinition=definition, **given)["tasks"][0]
            if stop_at:
                wait_for(lambda: stop_at in _log(emulator, values) or None, stop_at, limit_s=30)
                client.stop_task(cluster=cluster, task=task["taskArn"], reason=reason)
            found = wait_for(
                lambda: one if (one := look(task["taskArn"]))["lastStatus"] == "STOPPED" else None,
                "its end",
                limit_s=60,
            )
            return found, _log(emulator, values)

        yield run
    assert not any(_left(folder))


def _log(emulator, values):
    logs, group = emulator.client("logs"), values["log_group"]
    streams = logs.describe_log_streams(logGroupName=group)["logStreams"]
    return "\n".join(
        event["message"]
        for stream in streams
        for event in logs.get_log_events(
            logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True
        )["events"]
    )


def test_task_of_ecs_is_a_container_with_its_layer_size_and_role(ecs):
    """The task's memory is the limit, the role's keys are there, and so is what lies over the image."""
    code = """if True:
        import os
        print(open("/app/word").read(), "AWS_SESSION_TOKEN" in os.environ, os.environ["CLICKLAB_STORE"])
        raise SystemExit(4)
    """
    task, log = ecs(code)
    assert task["containers"][0]["exitCode"] == 4
    assert f"hi True s3://{account.BUCKET}/runs" in log


def test_task_of_ecs_that_takes_more_than_its_memory(ecs):
    """512 MB by the override: the reason is the one that AWS gives."""
    task, _ = ecs("held = b'x' * (700 << 20); import time; time.sleep(30)")
    container = task["containers"][0]
    assert (container["exitCode"], container["reason"]) == (137, KILLED_FOR_MEMORY)


@pytest.mark.parametrize(
    ("reason", "ended"),
    [(SPOT_REASON, (143, "SpotInterruption")), (HOST_LOST, (137, "EssentialContainerExited"))],
)
def test_task_of_ecs_that_is_stopped_or_loses_its_host(ecs, reason, ended):
    """One is told and ends by itself, the other is not."""
    word = f"on, {ended[0]}"
    code = f"import signal, sys, time; signal.signal(15, lambda *_: sys.exit(143)); print({word!r}); time.sleep(60)"
    task, _ = ecs(code, stop_at=word, reason=reason)
    assert (task["containers"][0]["exitCode"], task["stopCode"]) == ended


@pytest.fixture(scope="module")
def stage(image, tmp_path_factory):
    """A deployment whose containers are of the files as they are."""
    kinds = ["pipeline", "tracking"]
    for kind in kinds:
        build(kind)
    folder = tmp_path_factory.mktemp("rehearsal")
    with house(folder, choose("podman", kinds)) as found:
        yield found
    assert not any(_left(folder))


@pytest.mark.parametrize("name", PLAYED)
def test_scenario_is_shown_by_containers_of_the_built_image(stage, name):
    """SIGTERM and a limit of memory, the two that processes only stand for."""
    scenario = next(one for one in PIPELINE if one.name == name)
    assert scenario.play(stage)
