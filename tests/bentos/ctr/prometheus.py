"""A real Prometheus server that scrapes a service of this machine, for as long as a test needs it."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

from tests.conftest import free_port, stop_group

CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 900ms}}
scrape_configs:
  - job_name: ctr
    static_configs: [{{targets: ["{target}"]}}]
"""
APT = """
Dir::State "{folder}/state";
Dir::State::status "/var/lib/dpkg/status";
Dir::Cache "{folder}/cache";
APT::Sandbox::User "root";
"""


def find_prometheus(folder: Path) -> str | None:
    """Return the program, taken out of Debian's package below `folder` if none is installed; else None."""
    found = shutil.which("prometheus")
    if found or not (shutil.which("apt-get") and shutil.which("dpkg")):
        return found
    for name in ("state/lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "apt.conf").write_text(APT.format(folder=folder))
    steps = ("apt-get update", "apt-get download prometheus", "dpkg -x prometheus_*.deb unpacked")
    with suppress(
        subprocess.SubprocessError, OSError
    ):  # nothing is installed, the system stays as it is
        for step in steps:
            subprocess.run(
                step,
                shell=True,
                cwd=folder,
                env={
                    "APT_CONFIG": str(folder / "apt.conf"),
                    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                },
                check=True,
                capture_output=True,
                timeout=120,
            )
    program = folder / "unpacked/usr/bin/prometheus"
    return str(program) if program.is_file() else None


@contextmanager
def scraping(program: str, address: str, folder: Path) -> Iterator[str]:
    """Run Prometheus on the ``/metrics`` of `address` until the block ends; yield where it answers."""
    port = free_port()
    (folder / "prometheus.yml").write_text(CONFIG.format(target=address.removeprefix("http://")))
    command = [
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    log = folder / "prometheus.log"
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
        try:
            deadline = time.monotonic() + 30
            while True:
                assert process.poll() is None and time.monotonic() < deadline, log.read_text()
                with suppress(OSError):
                    urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=5).close()
                    break
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            stop_group(process)


def query(prometheus: str, expression: str) -> list[dict]:
    """Return the series that an expression has now; AssertionError if it is not one."""
    try:
        with urlopen(f"{prometheus}/api/v1/query?{urlencode({'query': expression})}") as answer:
            found = json.load(answer)
    except HTTPError as error:
        with error:
            raise AssertionError(f"{expression}: {error.read().decode()}") from None
    assert found["status"] == "success" and not found.get("warnings"), found
    return found["data"]["result"]


def label_values(prometheus: str, label: str, selector: str) -> list[str]:
    """Return the values of a label over the series that a selector matches."""
    words = urlencode({"match[]": selector})
    with urlopen(f"{prometheus}/api/v1/label/{label}/values?{words}") as answer:
        return json.load(answer)["data"]
