"""MLflow's page on a store: the local one of ``env.yaml``, or a team's."""

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tasks.errors import ConfigError
from tasks.registry import mlflow_store
from tasks.registry.table_view import page_of
from tasks.storage.databases import is_database, without_password
from tasks.storage.s3 import is_s3
from tasks.storage.workspace import resolve, resolve_store

HOST = "127.0.0.1"


class Page(NamedTuple):
    """A server to start: its command, its environment, and the address to open."""

    command: list[str]
    environment: dict[str, str]
    address: str


def prepare_page(
    knobs: Mapping[str, Any], *, store: str = "", artifacts: str = "", port: int = 5000
) -> Page:
    """Return the server of a store that was checked: it can be used, and the port is free.

    Parameters
    ----------
    knobs
        As in ``env.yaml``.
    store, artifacts
        A team's database and the place of its files; by default those of `knobs`.

    Raises
    ------
    ConfigError
        If the port is taken, the store cannot be used, or it has a server already.
    """
    tracking = knobs["mlflow"]
    named = store or os.environ.get("MLFLOW_TRACKING_URI") or tracking["tracking_uri"]
    if not is_database(named):
        raise ConfigError(f"this store has a server of its own: open {without_password(named)}")
    files = artifacts or ("" if store else str(tracking.get("artifact_root") or ""))
    if not files:
        raise ConfigError(
            "ARTIFACTS must name the place of this store's files, such as s3://bucket/artifacts, found nothing"
        )
    address = resolve_store(named)
    _refuse_taken(port)
    os.environ["MLFLOW_TRACKING_URI"] = address  # given by hand, so it may hold a password
    client = mlflow_store.connect(address)
    table = page_of(client, mlflow_store.experiment_of(knobs))
    environment = {
        "MLFLOW_BACKEND_STORE_URI": address,  # a command line would show its password
        "MLFLOW_ARTIFACTS_DESTINATION": files if is_s3(files) else str(resolve(files)),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # five processes that nothing here uses
    }
    command = [
        str(Path(sys.executable).with_name("mlflow")),
        "server",
        "--host",
        HOST,
        "--port",
        str(port),
    ]
    return Page([*command, "--workers", "1"], environment, f"http://{HOST}:{port}{table}")


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ConfigError(
                f"port {port} cannot be used ({error.strerror}); name another: make ui UI_PORT={port + 1}"
            ) from None
