"""What stands for container images: a folder of files each, and a list of what is in the registry.

An image is named as ECR names it. Of the pipeline it is a copy of this repository's code with its knobs; of the
service, an unpacked Bento. Where podman has the built images, it is one of them with a layer over it.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from tasks.storage.files import write_atomic
from tests.rehearsal.podman import layer

CODE = ("tasks", "infra", "notebooks", "bentos", "pipeline.yaml", "requirements.lock")
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "terraform", "store", "*.ipynb_checkpoints")


@dataclass(frozen=True)
class Image:
    """A folder, the command a container of it runs unless told otherwise, and variables it sets.

    An image may lie over another: what its folder has not is that one's.

    Attributes
    ----------
    built
        Podman's name of it; empty: it is folders only, and its containers are processes.
    place
        Where the folder's files lie in the built image.
    """

    folder: str
    command: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    below: str = ""
    built: str = ""
    place: str = ""

    @property
    def layers(self) -> list[str]:
        """The folders that it is made of, the uppermost first."""
        return [self.folder, *([self.below] if self.below else [])]

    def read(self, name: str) -> str:
        """Return the text of one of its files."""
        return next(
            path for path in (Path(one, name) for one in self.layers) if path.is_file()
        ).read_text()


class Registry:
    """The images that containers can be started from, kept in one JSON file."""

    def __init__(self, path: Path):
        self._path = path

    def push(self, name: str, image: Image) -> None:
        """Add an image, or replace one."""
        write_atomic(self._path, json.dumps(self._all() | {name: asdict(image)}, indent=1))

    def pull(self, name: str) -> Image:
        """Return an image; LookupError in the words of ECS if there is none."""
        found = self._all().get(name)
        if found is None:
            raise LookupError(f"CannotPullContainerError: {name}: not found")
        return Image(**found)

    def _all(self) -> dict[str, dict[str, object]]:
        try:
            found: dict[str, dict[str, object]] = json.loads(self._path.read_text())
        except FileNotFoundError:
            return {}
        return found


def pipeline_image(
    repository: Path, folder: Path, files: Mapping[str, str], built: str = ""
) -> Image:
    """Return an image with the repository's code, or a built one, and `files` (path to text) over it."""
    if built:
        code = str(repository)
        return _built_over(Image(code, below=code, built=built, place="/app"), folder, files)
    for name in CODE:
        source = repository / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=_LEFT_OUT)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, folder / name)
    return _written(folder, files)


def changed_image(image: Image, folder: Path, files: Mapping[str, str]) -> Image:
    """Return a copy of an image with `files` written over it."""
    if image.built:
        return _built_over(image, folder, files)
    shutil.copytree(image.folder, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return _written(folder, files)


def layered_image(image: Image, folder: Path, files: Mapping[str, str]) -> Image:
    """Return an image of `files` over another; the code of that one is found where its containers compiled it."""
    if image.built:
        return _built_over(image, folder, files)
    for name in {Path(name).parts[0] for name in files if "/" in name}:
        shutil.copytree(Path(image.folder, name), folder / name)
    return replace(_written(folder, files), below=image.folder)


def _built_over(image: Image, folder: Path, files: Mapping[str, str]) -> Image:
    """Return a built image with a layer more."""
    folder.mkdir(parents=True, exist_ok=True)
    _written(folder, files)
    return replace(image, folder=str(folder), built=layer(image.built, folder, image.place))


def _written(folder: Path, files: Mapping[str, str]) -> Image:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Image(str(folder))
