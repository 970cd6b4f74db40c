"""The emulator: moto in a process of its own, whose ECS runs containers, on 127.0.0.1 alone.

``python -m tests.rehearsal.emulator PORT FOLDER`` serves until SIGTERM, then ends every container. In FOLDER lie
``images.json`` (what can be pulled), ``hosts.json`` (addresses that stand for those of AWS), ``refusals.json``
(what S3 is to refuse), ``proxy.json`` (where the proxy tells its counts), ``disks/`` and ``cache/``; the emulator
writes ``addresses.json`` (where the services' tasks really listen). :class:`Emulator` starts and stops one.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from tasks.errors import ConfigError
from tasks.storage.files import write_atomic
from tests.rehearsal.images import Registry
from tests.rehearsal.ports import free_port

REGION, ACCOUNT = "eu-west-1", "123456789012"
_START_S, _STOP_S = 60.0, 15.0
_OPERATOR = {"AWS_ACCESS_KEY_ID": "operator", "AWS_SECRET_ACCESS_KEY": "operator"}


class Emulator:
    """A running emulator, as a context.

    Attributes
    ----------
    endpoint
        Where it listens.
    registry
        The images that its containers are started from.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.endpoint = f"http://127.0.0.1:{free_port()}"
        self.registry = Registry(folder / "images.json")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Emulator":
        command = [sys.executable, "-W", "ignore", "-m", "tests.rehearsal.emulator"]
        with (self.folder / "emulator.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*command, self.endpoint.rsplit(":", 1)[1], str(self.folder)],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C is ours to pass on
            )
        try:
            self._wait()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _wait(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.endpoint}/moto-api/data.json", timeout=5):
                    return
            except OSError:
                time.sleep(0.1)
        raise ConfigError(f"the emulator did not start; see {self.folder / 'emulator.log'}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def variables(self) -> dict[str, str]:
        """Return the environment by which the verbs, Terraform and boto3 find this emulator."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            **_OPERATOR,
        }

    def client(self, service: str) -> Any:
        """Return a client of it, as the operator."""
        import boto3

        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.endpoint,
            aws_access_key_id="operator",
            aws_secret_access_key="operator",
        )

    def stand_for(self, address: str, here: str) -> None:
        """Let containers find `here` where they are told `address`; for those started afterwards."""
        self._note("hosts.json", {address: here})

    def refuse_writes(self, *parts: str) -> None:
        """Let S3 answer 503 to writes whose path has one of these parts; none: to no writes."""
        write_atomic(self.folder / "refusals.json", json.dumps(list(parts)))

    def _note(self, name: str, found: dict[str, str]) -> None:
        path = self.folder / name
        known = json.loads(path.read_text()) if path.is_file() else {}
        write_atomic(path, json.dumps(known | found))


class _Hosts(dict[str, str]):
    """The addresses of ``hosts.json`` as it is now."""

    def __init__(self, path: Path):
        self._path = path

    def items(self) -> Any:
        return json.loads(self._path.read_text()).items() if self._path.is_file() else ()


def serve(port: int, folder: Path) -> None:
    """Serve until SIGTERM."""
    endpoint = f"http://127.0.0.1:{port}"
    os.environ |= {"MOTO_PORT": str(port), **_OPERATOR}
    logging.getLogger("moto").setLevel(logging.CRITICAL)  # it prints whole states when one fails
    from moto.core import config

    from tests.rehearsal import moto_gaps, moto_rights, moto_states
    from tests.rehearsal.containers import Containers, patch_ecs
    from tests.rehearsal.controller import Controller, patch_services
    from tests.rehearsal.refusals import Refusals
    from tests.rehearsal.scaling import Scaler

    config.default_user_config["stepfunctions"] = {"execute_state_machine": True}
    containers = Containers(
        endpoint, folder / "disks", Registry(folder / "images.json"), _Hosts(folder / "hosts.json")
    )
    moto_gaps.complete()
    moto_rights.mend()
    moto_states.mend(endpoint)
    patch_ecs(containers)
    patch_services()

    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    app = Refusals(DomainDispatcherApplication(create_backend_app), folder / "refusals.json")
    server = make_server("127.0.0.1", port, app, threaded=True)

    def end(*_: Any) -> None:
        containers.end_all()
        os._exit(0)  # executions still wait in threads that nobody needs any more

    signal.signal(signal.SIGTERM, end)
    threading.Thread(target=_end_with_parent, args=(os.getppid(), end), daemon=True).start()
    Controller(containers, folder).start()
    Scaler(endpoint, REGION, folder / "proxy.json").start()
    server.serve_forever()


def _end_with_parent(parent: int, end: Callable[[], None]) -> None:
    """Leave nothing running when whoever started this is gone without a word."""
    while os.getppid() == parent:
        time.sleep(1)
    end()


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]))
