"""Where a model comes from: the folder packed with the service, another folder, S3, or MLflow's registry.

Sources are polled often, so a poll is cheap: it returns a text that changes when another model is
to serve. Models are checked elsewhere (:mod:`bentos.ctr.models.admission`); here they are only copied.
"""

import os
import shutil
from collections.abc import Mapping
from hashlib import sha256
from http.client import HTTPException
from pathlib import Path
from typing import Any, Protocol

from bentos.ctr.models.mlflow_api import MlflowApi
from tasks.errors import ClicklabError, ConfigError
from tasks.models.golden import is_model_file, model_files
from tasks.registry.publish import MAX_POINTER_BYTES, parse_pointer
from tasks.storage.s3 import is_s3
from tasks.storage.shared_files import get_files, join, read_shared

BUNDLE = Path(__file__).parents[1] / "model"
_OLDER = (
    "weights.npy",
    "latent.npy",
    "golden.json",
    "model.json",
)  # of pointers that list no files
_NEEDS: dict[str, tuple[set[str], set[str]]] = {  # required and optional keys
    "bundle": (set(), set()),
    "folder": ({"path"}, set()),
    "s3": ({"pointer"}, set()),
    "mlflow": ({"name"}, {"alias", "tracking_uri"}),
}


class SourceError(ClicklabError):
    """A source has no model now: it does not answer, or is empty."""


class Source(Protocol):
    """Where a model comes from; ``str`` describes it."""

    def peek(self) -> str:
        """Return a text that changes when another model is to serve; SourceError if that is unknown."""

    def fetch(self, into: Path) -> Path:
        """Return the folder of the model's files, copied below `into` where they might change.

        Raises
        ------
        SourceError
            If they are unavailable now.
        ContractError
            If the files are not a model.
        """


def make_source(raw: Mapping[str, Any]) -> Source:
    """Return the source that an entry of ``serving.yaml`` declares; ConfigError if it is invalid."""
    kind, options = raw.get("from"), {key: value for key, value in raw.items() if key != "from"}
    if not isinstance(kind, str) or kind not in _NEEDS:
        raise ConfigError(f"from: expected one of {', '.join(_NEEDS)}, found {kind!r}")
    required, optional = _NEEDS[kind]
    if wrong := sorted(map(str, set(options) - required - optional)):
        raise ConfigError(
            f"from {kind}: unknown key {wrong[0]!r}; known are {sorted(required | optional)}"
        )
    for key in required | set(options):
        if not isinstance(options.get(key), str) or not options[key]:
            raise ConfigError(f"from {kind}: {key} must be text, found {options.get(key)!r}")
    if kind == "bundle":
        return FolderSource(bundle_folder(), is_fixed=True)
    if kind == "folder":
        path = options["path"]
        return PointerSource(path) if path.endswith(".json") else FolderSource(Path(path))
    if kind == "s3":
        if not is_s3(options["pointer"]):
            raise ConfigError(
                f"from s3: pointer must begin with s3://, found {options['pointer']!r}"
            )
        return PointerSource(options["pointer"])
    address = os.environ.get("MLFLOW_TRACKING_URI") or options.get("tracking_uri", "")
    return MlflowSource(MlflowApi(address), options["name"], options.get("alias", "champion"))


def bundle_folder() -> Path:
    """Return the folder of the model packed with the service; CLICKLAB_MODEL_DIR names another."""
    return Path(os.environ.get("CLICKLAB_MODEL_DIR") or BUNDLE)


class FolderSource:
    """A model folder. Replace it by renaming, or by moving a link.

    Parameters
    ----------
    folder
        The folder.
    is_fixed
        Its files never change: they are used in place, in one copy for all processes.
    """

    def __init__(self, folder: Path, *, is_fixed: bool = False):
        self.folder, self._is_fixed = folder, is_fixed

    def __str__(self) -> str:
        return f"folder {self.folder}"

    def peek(self) -> str:
        """Return the real path, and a digest of the files' times and sizes; SourceError if there is no such folder."""
        try:
            folder = self.folder.resolve(strict=True)
            stats = [(name, (folder / name).stat()) for name in model_files(folder)]
        except OSError as error:
            raise SourceError(f"{self.folder}: no model folder ({error.strerror})") from None
        if not stats:
            raise SourceError(f"{self.folder}: holds no model")
        marks = [(name, stat.st_size, stat.st_mtime_ns, stat.st_ino) for name, stat in stats]
        return f"{folder} {sha256(repr(marks).encode()).hexdigest()[:8]}"

    def fetch(self, into: Path) -> Path:
        """Return the folder itself if it is fixed, else a copy."""
        if self._is_fixed:
            return self.folder
        try:
            folder = self.folder.resolve(
                strict=True
            )  # one folder, even if a link is moved meanwhile
            for name in model_files(folder):
                shutil.copyfile(folder / name, into / name)
        except OSError as error:
            raise SourceError(f"{self.folder}: cannot be copied ({error})") from None
        return into


class PointerSource:
    """A pointer written by ``publish_model``, on S3 or in a folder: it names the version to serve."""

    def __init__(self, pointer: str):
        self.pointer = pointer

    def __str__(self) -> str:
        return f"pointer {self.pointer}"

    def peek(self) -> str:
        """Return the pointer's address and the mark of its content."""
        return f"{self.pointer} {self._read().mark}"

    def fetch(self, into: Path) -> Path:
        """Copy the version that the pointer names."""
        named = parse_pointer(self._read(), address=self.pointer)
        place = join(self.pointer, named.folder)
        names = [name for name in named.files or _OLDER if is_model_file(name)]
        try:
            found = get_files(place, into, names)
        except (ClicklabError, OSError) as error:
            raise SourceError(f"{place}: cannot be copied ({error})") from None
        if not found:
            raise SourceError(f"{place}: holds no model, though {self.pointer} names it")
        return into

    def _read(self) -> Any:
        try:
            blob = read_shared(self.pointer, max_bytes=MAX_POINTER_BYTES)
        except ClicklabError as error:
            raise SourceError(str(error)) from None
        if blob is None:
            raise SourceError(f"{self.pointer}: there is no such pointer; publish a model")
        return blob


class MlflowSource:
    """The version behind an alias of MLflow's registry."""

    def __init__(self, api: MlflowApi, name: str, alias: str):
        self._api, self.name, self.alias = api, name, alias

    def __str__(self) -> str:
        return f"{self.name}@{self.alias} of {self._api}"

    def peek(self) -> str:
        """Return version and run behind the alias."""
        found = self._ask(self._api.version_behind, self.name, self.alias)
        return f"{self._api} {self.name}@{self.alias} version {found.version} run {found.run_id}"

    def fetch(self, into: Path) -> Path:
        """Copy the files of the version."""
        found = self._ask(self._api.version_behind, self.name, self.alias)
        copied = self._ask(self._api.copy_model, found, into, is_model_file)
        if not copied:
            raise SourceError(f"{self}: version {found.version} has no files of a model")
        return into

    def _ask(self, call: Any, *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except (OSError, HTTPException) as error:
            raise SourceError(f"{self}: {error}") from None
