"""Three calls of MLflow's REST API, by the standard library.

The service needs no more of MLflow than: which version is behind an alias, which files it has, the
files. MLflow's own client would bring 21 packages and 150 MB of memory to each worker.
"""

import base64
import http.client
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlencode, urlsplit
from urllib.request import Request, urlopen

from tasks.errors import ConfigError
from tasks.registry.mlflow_store import MODEL_PATH, model_path  # imports no MLflow

_TIMEOUT_S = 10.0
_CHUNK_BYTES = 1 << 18
_MAX_JSON_BYTES = 16 << 20


class Version(NamedTuple):
    """A version in the registry."""

    version: str
    run_id: str
    path: str = MODEL_PATH  # where its run keeps what serves


class MlflowApi:
    """A tracking server. Calls raise OSError with one line if it does not answer as expected.

    Credentials are those of MLflow's client: MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and
    MLFLOW_TRACKING_PASSWORD, or in the address.

    Parameters
    ----------
    address
        ``http://`` or ``https://``; a path in it is kept.

    Raises
    ------
    ConfigError
        For any other address: the service queries a server and opens no database.
    """

    def __init__(self, address: str):
        try:
            parts = urlsplit(address)
            is_server = parts.scheme in ("http", "https") and bool(parts.hostname)
        except ValueError:  # brackets that are no IPv6 address
            is_server = False
        if not is_server:
            raise ConfigError(
                f"from mlflow: tracking_uri must be the http(s):// address of a tracking server, found {address!r}; "
                "`make ui` is one for a local store"
            )
        host = parts.netloc.rpartition("@")[2]
        self._root = f"{parts.scheme}://{host}{parts.path.rstrip('/')}"
        self._user = (unquote(parts.username or ""), unquote(parts.password or ""))

    def __str__(self) -> str:
        return self._root

    def version_behind(self, name: str, alias: str) -> Version:
        """Return the version that an alias names now."""
        answer = self._json("api/2.0/mlflow/registered-models/alias", name=name, alias=alias)
        try:
            found = answer["model_version"]
            version, run_id = str(found["version"]), str(found["run_id"])
            return Version(version, run_id, model_path(found.get("source")))
        except (KeyError, TypeError):
            raise OSError("did not answer as MLflow does") from None

    def copy_model(self, version: Version, into: Path, wanted: Callable[[str], bool]) -> list[str]:
        """Copy the files of a version whose names are wanted, and return those names."""
        listed = self._json(
            "api/2.0/mlflow/artifacts/list", run_id=version.run_id, path=version.path
        )
        files = listed.get("files", []) if isinstance(listed, dict) else []
        sizes = {
            str(file.get("path")): file.get("file_size") for file in files if isinstance(file, dict)
        }
        names = (path.removeprefix(f"{version.path}/") for path in sizes)
        found = [name for name in names if wanted(name)]
        for name in found:
            path = f"{version.path}/{name}"
            self._copy(version.run_id, path, into / name, sizes[path])
        return found

    def _copy(self, run_id: str, path: str, target: Path, size: Any) -> None:
        answer = self._open("get-artifact", run_uuid=run_id, path=path)
        with answer, target.open("wb") as out:
            shutil.copyfileobj(answer, out, _CHUNK_BYTES)
        found = target.stat().st_size  # `read(n)` cannot tell a broken connection from the end
        if size is not None and found != int(size):
            raise OSError(f"broke off after {found} of {size} bytes of {path}")

    def _json(self, call: str, **query: str) -> Any:
        with self._open(call, **query) as answer:
            try:
                return json.loads(answer.read(_MAX_JSON_BYTES))  # cut, it is no JSON
            except ValueError:
                raise OSError("did not answer as MLflow does") from None

    def _open(self, call: str, **query: str) -> Any:
        request = Request(f"{self._root}/{call}?{urlencode(query, quote_via=quote)}")
        if credentials := self._credentials():
            request.add_unredirected_header("Authorization", credentials)
        try:
            return urlopen(request, timeout=_TIMEOUT_S)
        except HTTPError as error:
            with error:
                raise OSError(f"answers {error.code} {_message(error)}") from None
        except (URLError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or repr(error)
            raise OSError(f"cannot be reached ({reason})") from None

    def _credentials(self) -> str:
        if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
            return f"Bearer {token}"
        environment = (
            os.environ.get("MLFLOW_TRACKING_USERNAME", ""),
            os.environ.get("MLFLOW_TRACKING_PASSWORD", ""),
        )
        user, password = self._user if self._user[0] else environment
        return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}" if user else ""


def _message(error: HTTPError) -> str:
    """Return the server's message as one line; a refused Host header gets plain text, not JSON."""
    try:
        text = error.read(10_000).decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return str(error.reason)
    with suppress(ValueError, KeyError, TypeError):
        text = str(json.loads(text)["message"])
    return " ".join(text.split())[:200] or str(error.reason)
