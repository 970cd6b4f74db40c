"""Faults that must not affect requests: a killed worker, SIGTERM under load, a full log disk."""

import json
import os
import signal
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, IncompleteRead
from urllib.parse import urlsplit

import psutil
import pytest

from tasks.schema import load_schema
from tests.bentos.ctr.serving import fetch, served

pytestmark = pytest.mark.slow
TWO = {"BENTOML_CONFIG_OPTIONS": "services.ctr.workers=2"}
BODY = json.dumps(load_schema("avazu").example_row()).encode()


class Load(threading.Thread):
    """One client that asks without pause over one connection, and notes how each request ended."""

    def __init__(self, address: str):
        super().__init__(daemon=True)
        self.host, self.port = urlsplit(address).hostname, urlsplit(address).port
        self.n_answered = 0
        self.broken: list[str] = []  # sent as a whole, and not answered
        self.cut: list[str] = []  # an answer that began and did not end
        self.refused = 0  # could not connect
        self.stopping = threading.Event()
        self.connection = None
        self.n_on_connection = 0  # answered on the present one

    def run(self):
        while not self.stopping.is_set():
            if self.connection is None:
                self.connection = HTTPConnection(self.host, self.port, timeout=10)
                try:
                    self.connection.connect()
                except OSError:
                    self._hang_up()
                    self.refused += 1
                    time.sleep(0.02)
                    continue
            self._ask()
        if self.connection is not None:
            self._hang_up()

    def _ask(self):
        try:
            self.connection.request("POST", "/predict", BODY)
            answer = self.connection.getresponse()
            data = json.loads(answer.read())
        except IncompleteRead as error:
            self.cut.append(str(error))
            self._hang_up()
            return
        except (OSError, ValueError) as error:
            if self.n_on_connection:
                self.broken.append(f"{type(error).__name__}: {error}")
            else:
                self.refused += 1  # taken by the kernel only; no worker was there
            self._hang_up()
            return
        self.n_on_connection += 1
        assert answer.status == 200 and 0 <= data["prediction"] <= 1
        self.n_answered += 1
        if answer.will_close:
            self._hang_up()

    def _hang_up(self):
        self.connection.close()
        self.connection, self.n_on_connection = None, 0


@contextmanager
def loaded(address: str, n_clients: int = 4):
    """Ask with some clients at once until the block ends."""
    clients = [Load(address) for _ in range(n_clients)]
    for client in clients:
        client.start()
    try:
        yield clients
    finally:
        for client in clients:
            client.stopping.set()
        for client in clients:
            client.join(20)


def workers_of(process: subprocess.Popen) -> list[psutil.Process]:
    """Return the processes that answer requests."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # a zombie is none either
            if "worker.service" in " ".join(child.cmdline()):
                found.append(child)
    return found


def wait_until(is_so, seconds: float = 40):
    """Wait for something; fail if it does not come."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def answered(clients) -> int:
    """Return how many requests were answered so far."""
    return sum(client.n_answered for client in clients)


def test_a_killed_worker_costs_only_what_it_had_in_hand(bento, tmp_path):
    """The other worker answers on; a new one takes the place of the dead one; counters keep adding up."""
    receipt, home = bento
    with served(receipt["bento"], home=home, log=tmp_path / "log", **TWO) as (address, process):
        wait_until(lambda: fetch(f"{address}/readyz")[0] == 200)
        wait_until(lambda: len(workers_of(process)) == 2)
        with loaded(address) as clients:
            wait_until(lambda: answered(clients) > 300)
            victim = workers_of(process)[0]
            victim.send_signal(signal.SIGKILL)
            before = answered(clients)
            wait_until(lambda: answered(clients) > before + 300)
            wait_until(lambda: len(workers_of(process)) == 2)
            assert victim.pid not in {worker.pid for worker in workers_of(process)}
        broken = [line for client in clients for line in (*client.broken, *client.cut)]
        assert len(broken) <= len(clients)
        time.sleep(2.5)  # two rounds of counting
        counted = sum(
            float(line.rpartition(" ")[2])
            for line in fetch(f"{address}/metrics")[1].decode().splitlines()
            if line.startswith('ctr_requests_total{call="predict",outcome="200"')
        )
        assert 0 <= counted - answered(clients) <= len(broken)


def test_told_to_stop_under_load_it_answers_what_it_has_taken(bento, tmp_path):
    """SIGTERM: no request that was sent as a whole stays without its answer; the log is written out."""
    receipt, home = bento
    log = tmp_path / "exposures"
    with served(
        receipt["bento"], home=home, log=tmp_path / "log", CLICKLAB_EXPOSURES=str(log), **TWO
    ) as (
        address,
        process,
    ):
        wait_until(lambda: fetch(f"{address}/readyz")[0] == 200)
        with loaded(address) as clients:
            wait_until(lambda: answered(clients) > 300)
            process.terminate()
            assert process.wait(timeout=30) == 0
            wait_until(lambda: all(client.refused for client in clients))
        assert [line for client in clients for line in client.cut] == []
        # a server may close a connection just when the next request is on its way: that one is not taken
        broken = [line for client in clients for line in client.broken]
        assert len(broken) <= 2 * len(clients)  # by each of two workers
        logged = sum(len(path.read_text().splitlines()) for path in log.rglob("*.jsonl"))
        assert not list(log.rglob("*.part"))
        assert logged == answered(clients)  # whatever was taken was answered, and is in the log


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system to fill")
def test_a_full_log_disk_costs_no_request(bento, tmp_path):
    """Exposures wait, then are dropped and counted; predictions go on, and health stays true."""
    receipt, home = bento
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this machine does not let root mount a tmpfs")
    try:
        settings = tmp_path / "serving.yaml"
        settings.write_text(
            json.dumps(
                {
                    "models": {"champion": {"from": "bundle"}},
                    "experiment": "experiment.yaml",
                    "exposures": {"sink": str(disk), "queue_rows": 200},
                }
            )
        )
        (tmp_path / "experiment.yaml").write_text(
            '{"name": "n", "salt": "s", "unit": [], '
            '"variants": [{"name": "champion", "weight": 1, "model": "champion"}]}'
        )
        with served(
            receipt["bento"],
            home=home,
            log=tmp_path / "log",
            CLICKLAB_SERVING=str(settings),
            BENTOML_CONFIG_OPTIONS="services.ctr.workers=1",
        ) as (address, _):
            wait_until(lambda: fetch(f"{address}/readyz")[0] == 200)
            with loaded(address) as clients:
                wait_until(lambda: answered(clients) > 2_000)
            assert [line for client in clients for line in client.broken] == []
            wait_until(
                lambda: (
                    json.loads(fetch(f"{address}/healthcheck")[1]).get("dropped_exposures", 0) > 0
                )
            )
            assert fetch(f"{address}/readyz")[0] == 200
            scrape = fetch(f"{address}/metrics")[1].decode()
            wait_until(
                lambda: (
                    " 0.0"
                    not in _line(
                        fetch(f"{address}/metrics")[1].decode(), "ctr_exposures_dropped_total"
                    )
                )
            )
            assert "ctr_exposures_failed_total" in scrape
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def _line(scrape: str, name: str) -> str:
    return next(line for line in scrape.splitlines() if line.startswith(name))
