"""The rehearsal's parts by themselves: images, processes, faults, the balancer, target tracking, the controller's rows."""

import asyncio
import os
import sys
import time
from contextlib import AsyncExitStack
from io import BytesIO
from pathlib import Path

import psutil
import pytest

from infra.state_machine.sizes import read_sizes
from tests.conftest import ROOT
from tests.rehearsal import knobs, machine
from tests.rehearsal.balancer import Balancer, Target
from tests.rehearsal.faults import fault
from tests.rehearsal.http_client import Gone, Pool
from tests.rehearsal.images import Image, Registry, changed_image, layered_image
from tests.rehearsal.ports import free_port
from tests.rehearsal.processes import Processes
from tests.rehearsal.refusals import Refusals
from tests.rehearsal.scaling import wanted_tasks


def run(folder: Path, code: str, *, memory_mb: int = 512) -> Processes:
    said: list[str] = []
    found = Processes(
        [sys.executable, "-c", code], folder, os.environ, memory_mb=memory_mb, say=said.append
    )
    found.said = said
    return found


def test_exit_code_and_lines_of_a_container(tmp_path):
    """What process 1 prints and ends with is told."""
    container = run(tmp_path, "print('hello'); raise SystemExit(4)")
    assert (container.wait(), container.said) == (4, ["hello"])


def test_memory_beyond_the_limit_is_killed_with_137(tmp_path):
    """The container that holds too much is killed, and it is known why."""
    code = "import time\nheld = b'x' * (200 << 20)\ntime.sleep(30)"
    container = run(tmp_path, code, memory_mb=100)
    assert container.wait() == 137
    assert container.memory_killed


def test_largest_process_is_the_one_killed(tmp_path):
    """As in a container, process 1 may live on when its child is killed, and says so."""
    child = "held = b'x' * (200 << 20); import time; time.sleep(30)"
    code = f"import subprocess, sys\nprint(subprocess.run([sys.executable, '-c', {child!r}]).returncode)"
    container = run(tmp_path, code, memory_mb=100)
    assert (container.wait(), container.said) == (0, ["-9"])


def test_stop_is_sigterm_then_sigkill(tmp_path):
    """A container that does not care for SIGTERM is killed when its time is over."""
    code = "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('on', flush=True)\ntime.sleep(30)"
    container = run(tmp_path, code)
    while not container.said:
        time.sleep(0.02)
    container.stop(0.3)
    assert container.wait() == 137


def test_what_a_container_started_ends_with_it(tmp_path):
    """A process that was left behind is not there any more."""
    code = "import subprocess\nprint(subprocess.Popen(['sleep', '60']).pid)"
    container = run(tmp_path, code)
    container.wait()
    pid = int(container.said[0])
    deadline = time.monotonic() + 10
    while _is_alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _is_alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_unknown_image_cannot_be_pulled(tmp_path):
    """The registry speaks as ECS does."""
    registry = Registry(tmp_path / "images.json")
    registry.push("here:1", Image(str(tmp_path)))
    assert registry.pull("here:1").folder == str(tmp_path)
    with pytest.raises(LookupError, match="CannotPullContainerError: there:1"):
        registry.pull("there:1")


def test_changed_image_leaves_the_first_alone(tmp_path):
    """An image is never changed in its place."""
    (tmp_path / "one").mkdir()
    (tmp_path / "one/file").write_text("before")
    changed = changed_image(Image(str(tmp_path / "one")), tmp_path / "two", {"file": "after"})
    assert (tmp_path / "one/file").read_text() == "before"
    assert Path(changed.folder, "file").read_text() == "after"


def test_layer_has_what_it_changes_and_what_lies_beside_it(tmp_path):
    """A changed notebook lies among the others; code is left where it was compiled."""
    for name in ("notebooks/one", "notebooks/two", "code/module"):
        path = tmp_path / "below" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("before")
    below = Image(str(tmp_path / "below"))
    image = layered_image(below, tmp_path / "over", {"notebooks/one": "after", "knobs": "new"})
    assert image.layers == [str(tmp_path / "over"), below.folder]
    assert sorted(path.name for path in (tmp_path / "over").iterdir()) == ["knobs", "notebooks"]
    assert (tmp_path / "over/notebooks/one").read_text() == "after"
    assert (tmp_path / "over/notebooks/two").read_text() == "before"


@pytest.mark.parametrize(("attempt", "code"), [("1", 1), ("2", 0)])
def test_fault_acts_in_its_attempts_only(tmp_path, attempt, code):
    """The second attempt at the task is as without the fault."""
    for name, text in fault("ingest", "raise", attempts=1).items():
        (tmp_path / name).write_text(text)
    told = {"PYTHONPATH": str(tmp_path), "CLICKLAB_ATTEMPT": attempt, "PATH": os.environ["PATH"]}
    words = [sys.executable, "-c", "pass", "infra.container.task_main", "ingest"]
    container = Processes(words, tmp_path, told, memory_mb=512, say=lambda _: None)
    assert container.wait() == code


def test_rehearsal_knobs_make_a_state_machine():
    """Sizes and shards of the rehearsal are ones that Fargate has; waits are short, limits as asked for."""
    env = knobs.rehearsal_env(ROOT)
    read_sizes(env, ["ingest", "hash_features"])
    template = machine.definition_template(env, {"ingest": 7})
    assert '"wait_s": 1' in template
    assert '"wait_s": 20' not in template
    assert '"time_limit_s": 7' in template


def test_balancer_follows_the_weights():
    """A group gets its share; one without a ready target gets nothing."""
    balancer = Balancer(seed=1)
    places = {"blue": {("127.0.0.1", 1)}, "green": {("127.0.0.1", 2)}}

    async def follow() -> None:
        balancer.follow({"blue": 80, "green": 20}, places)

    asyncio.run(follow())
    assert balancer.choose() is None
    for group in balancer.groups.values():
        for target in group.targets.values():
            target.is_ready = True
    ports = [balancer.choose()[1].port for _ in range(2000)]
    assert 0.15 < ports.count(2) / len(ports) < 0.25
    balancer.groups["blue"].targets["127.0.0.1", 1].is_ready = False
    assert {balancer.choose()[1].port for _ in range(20)} == {2}


def test_target_needs_two_good_checks_and_three_bad_ones():
    """One answer says little."""
    target = Target("127.0.0.1", 1, None)
    seen = []
    for is_well in (True, True, False, False, False, True):
        target.note(is_well)
        seen.append(target.is_ready)
    assert seen == [False, True, True, True, False, False]


@pytest.mark.parametrize(
    ("n_running", "per_minute", "wanted"),
    [(2, 250, 3), (2, 9000, 6), (3, 285, 3), (3, 120, 2), (0, 0, 2)],
)
def test_target_tracking_stays_within_its_limits(n_running, per_minute, wanted):
    """Out at once, in with some reluctance, never below or above."""
    assert wanted_tasks(n_running, per_minute, 100, (2, 6)) == wanted


def test_broken_off_answer_is_told_and_nothing_is_sent_twice():
    """The client's pool retries nothing."""
    port, asked = free_port(), []

    async def serve(reader, writer):
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    async def ask() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", port):
            with pytest.raises(Gone):
                await Pool("127.0.0.1", port).ask(b"GET", b"/", b"", b"")

    asyncio.run(ask())
    assert len(asked) == 1


def test_writes_are_refused_where_it_is_asked_for(tmp_path):
    """Reads, and writes elsewhere, go on."""
    layer = Refusals(lambda environ, start: [b"moto"], tmp_path / "refusals.json")
    (tmp_path / "refusals.json").write_text('["/runs/"]')

    def ask(method: str, path: str) -> bytes:
        environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "wsgi.input": BytesIO()}
        return b"".join(layer(environ, lambda *_: None))

    assert b"SlowDown" in ask("PUT", "/bucket/runs/1")
    assert ask("GET", "/bucket/runs/1") == ask("PUT", "/bucket/models/1") == b"moto"


def _through_proxy(serve):
    """Return the answer to one request, and what was counted, with a target that does `serve`."""
    from tests.rehearsal.proxy import Caller

    place, front = free_port(), free_port()

    async def play():
        balancer = Balancer()
        balancer.follow({"blue": 1}, {"blue": {("127.0.0.1", place)}})
        balancer.groups["blue"].targets["127.0.0.1", place].is_ready = True
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(
                await loop.create_server(lambda: Caller(balancer), "127.0.0.1", front)
            )
            if serve is not None:
                server = await asyncio.start_server(serve, "127.0.0.1", place)
                await stack.enter_async_context(server)
            status, _ = await Pool("127.0.0.1", front).ask(b"POST", b"/predict", b"", b"{}")
        return status, balancer.told()

    return asyncio.run(play())


def test_target_that_breaks_off_is_one_lost_request():
    """The request was sent, so it is not sent again."""

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    status, told = _through_proxy(serve)
    assert (status, told["groups"]["blue"]["statuses"]) == (502, {"lost": 1})


def test_target_that_takes_no_connection_is_left_out():
    """Nothing was sent to it; with no other target the answer is 503."""
    status, told = _through_proxy(None)
    assert (status, told["no_target"], told["groups"]["blue"]["statuses"]) == (503, 1, {})
