"""AWS on this machine: moto's server in this process, whose ECS runs containers, on 127.0.0.1 alone."""

import logging
import os
import threading
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import boto3
from moto.core import config
from moto.iam.access_control import PermissionResult
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.models import FakeBucket
from werkzeug.serving import make_server

from tests.infra.emulator import complete
from tests.rehearsal import moto_states
from tests.rehearsal.containers import Containers
from tests.rehearsal.images import Image
from tests.rehearsal.services import Services

REGION, ACCOUNT = "eu-west-1", "123456789012"
_OPERATOR = {"aws_access_key_id": "operator", "aws_secret_access_key": "operator"}
_SLOW_DOWN = (
    b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)


class Emulator:
    """An empty account, as a context in which the environment of this process points at it.

    moto is patched for the rest of the process, so a rehearsal has a process of its own.

    Attributes
    ----------
    endpoint
        Where it listens.
    images
        What containers can be started from, by name in ECR.
    addresses
        Addresses that only AWS resolves, to those that replace them in containers.
    refused_writes
        Parts of paths; S3 answers 503 to writes to them.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.images: dict[str, Image] = {}
        self.addresses: dict[str, str] = {}
        self.refused_writes: list[str] = []
        self.containers = Containers(self)
        self.services = Services(self.containers)

    def __enter__(self) -> "Emulator":
        for name in ("moto", "werkzeug"):  # they log every request, and whole states when one fails
            logging.getLogger(name).setLevel(logging.CRITICAL)
        config.default_user_config["stepfunctions"] = {"execute_state_machine": True}
        app = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._guard_writes(app), threaded=True)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._environment = patch.dict(os.environ, self._variables())
        self._environment.start()
        complete()
        moto_states.correct(self.endpoint, self.credentials)
        self.containers.patch_moto()
        # the bucket's policy denies plain HTTP, and the emulator speaks nothing else
        FakeBucket.get_permission = lambda *_: PermissionResult.NEUTRAL
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        reset = urllib.request.Request(f"{self.endpoint}/moto-api/reset", method="POST")
        urllib.request.urlopen(reset, timeout=60).close()
        self.services.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.services.stop()
        self.containers.kill_all()
        self._environment.stop()
        self._server.shutdown()

    def _variables(self) -> dict[str, str]:
        """Return the environment by which the verbs, Terraform and boto3 find this account."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "CLICKLAB_OUTPUTS": str(self.folder / "outputs.json"),
            "MOTO_PORT": str(self._server.server_port),
        } | {name.upper(): value for name, value in _OPERATOR.items()}

    def client(self, service: str, *, role: str = "") -> Any:
        """Return a client of the account, as the operator or with a role's credentials."""
        keys = self.credentials(role) if role else _OPERATOR
        return boto3.client(service, region_name=REGION, endpoint_url=self.endpoint, **keys)

    def credentials(self, role: str) -> dict[str, str]:
        """Return temporary credentials of a role, by boto3's names."""
        found = self.client("sts").assume_role(RoleArn=role, RoleSessionName="rehearsal")
        keys = found["Credentials"]
        return {
            "aws_access_key_id": keys["AccessKeyId"],
            "aws_secret_access_key": keys["SecretAccessKey"],
            "aws_session_token": keys["SessionToken"],
        }

    def _guard_writes(self, app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
        """Return the application with the refusals in front of it."""

        def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            is_write = environ["REQUEST_METHOD"] in ("PUT", "POST")
            if is_write and any(part in environ["PATH_INFO"] for part in self.refused_writes):
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                start("503 Slow Down", [("Content-Type", "application/xml")])
                return [_SLOW_DOWN]
            return app(environ, start)

        return answer
