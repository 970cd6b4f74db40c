"""The project's own Bento store: where its Bentos lie, which one the pipeline packaged, and serving that one.

BentoML's default store belongs to the user, so two clones on one machine would take each other's
``ctr:latest``. Here it is ``.bentos`` in the project, and a Bento is named by its receipt.
"""

import json
import os
import re
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from tasks.errors import ConfigError, InputError
from tasks.storage.workspace import resolve

HOME = "BENTOML_HOME"
RECEIPT, PROMOTION = "package.json", "promotion.json"  # products of `package` and `promote`
_STORE = ".bentos"


@dataclass(frozen=True)
class Packaged:
    """A Bento of the pipeline: its receipt, its tag, and its folder, whose ``src`` holds the service."""

    receipt: Mapping[str, Any]
    tag: str
    folder: Path


def bento_home() -> Path:
    """Return the store of this project, or the one that BENTOML_HOME names."""
    return Path(os.environ.get(HOME) or resolve(_STORE))


def packaged(env: Mapping[str, Any]) -> Packaged:
    """Return the Bento that the pipeline packaged last with these knobs.

    Raises
    ------
    InputError
        If nothing was packaged, or the Bento is no longer in the store.
    """
    path = resolve(env["products"]) / RECEIPT
    try:
        receipt = json.loads(path.read_text())
        tag = str(receipt["bento"])
    except FileNotFoundError:
        raise InputError(
            f"{path}: no Bento has been packaged with these knobs; build one with `make run`"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: no readable receipt ({type(error).__name__}); delete it and run `make run`"
        ) from None
    folder = bento_home() / "bentos" / tag.replace(":", "/")
    if not (folder / "bento.yaml").is_file():
        raise InputError(
            f"{tag} of {path} is not in the store {bento_home()}; delete that file and run `make run`"
        )
    return Packaged(receipt, tag, folder)


def serve(env: Mapping[str, Any], *, host: str, port: int) -> NoReturn:
    """Become ``bentoml serve`` of the packaged Bento.

    Each address has a folder of its own for metrics, because a starting server deletes those of
    others that share its BENTOML_HOME.

    Raises
    ------
    InputError
        As :func:`packaged`.
    ConfigError
        If the address cannot be listened on.
    """
    bento = packaged(env)
    check_address(host, port)
    own = bento_home() / "serving" / re.sub(r"[^\w.-]", "-", f"{host}-{port}")
    own.mkdir(parents=True, exist_ok=True)
    sys.stderr.write(
        f"{bento.tag}: {bento.receipt['model']} {bento.receipt['version']} on http://{host}:{port}\n"
    )
    sys.stderr.flush()
    words = ("-m", "bentoml", "serve", str(bento.folder), "--host", host, "--port", str(port))
    os.execve(
        sys.executable, [sys.executable, "-W", "ignore", *words], os.environ | {HOME: str(own)}
    )


def check_address(host: str, port: int) -> None:
    """Raise ConfigError unless a server can listen on that address.

    Examples
    --------
    >>> check_address("127.0.0.1", 70000)
    Traceback (most recent call last):
    tasks.errors.ConfigError: port 70000 does not exist; choose one from 1 to 65535 with PORT=
    """
    if not 0 < port < 65536:
        raise ConfigError(f"port {port} does not exist; choose one from 1 to 65535 with PORT=")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}:{port} ({error.strerror or error}); choose another with HOST= and PORT="
        ) from None
