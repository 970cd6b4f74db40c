"""An AWS account for tests: moto over HTTP on a free port, and a deployment's outputs."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import boto3
from moto.server import ThreadedMotoServer

ACCOUNT, REGION = "123456789012", "eu-west-1"
TRUST = json.dumps({"Version": "2012-10-17", "Statement": []})
_LEFT_OUT = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "CLICKLAB_OUTPUTS")


@contextmanager
def account() -> Iterator[str]:
    """Yield the address of an empty account, to which the environment points."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    keys = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "MOTO_PORT": address.rpartition(":")[2],  # its state machines call services there
    }
    try:
        with patch.dict("os.environ", keys):
            for name in _LEFT_OUT:
                os.environ.pop(name, None)
            _post(address, "reset")
            yield address
    finally:
        server.stop()


def _post(address: str, path: str, body: Mapping[str, Any] | None = None) -> None:
    from urllib.request import Request, urlopen

    data = json.dumps(body or {}).encode()
    kind = {"Content-Type": "application/json"}
    with urlopen(Request(f"{address}/moto-api/{path}", data, kind), timeout=10) as answer:
        answer.read()


def execute_machines(address: str) -> None:
    """Make the account really execute state machines."""
    _post(address, "config", {"stepfunctions": {"execute_state_machine": True}})


def aws(service: str) -> Any:
    """Return a client of the account."""
    return _client(service, os.environ["AWS_ENDPOINT_URL"])


@cache
def _client(service: str, address: str) -> Any:
    return boto3.Session().client(service, region_name=REGION, endpoint_url=address)


def write_outputs(path: Path, values: Mapping[str, Any]) -> Path:
    """Write a deployment's outputs in Terraform's form; return the file."""
    fixed = {"region": REGION, "account_id": ACCOUNT}
    path.write_text(
        json.dumps({key: {"value": value} for key, value in {**fixed, **values}.items()})
    )
    return path
