"""A copy of the project in which an idea is tried, with stores of its own, so that a failure changes nothing."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tasks.knobs.reading import read_env
from tasks.storage.workspace import SCRATCH

TINY = "env.tiny.yaml"
_MAX_COPIED, _MAX_COPIED_TOGETHER = 20 * 2**20, 2**28  # bytes of a file, of a folder's files
_NOT_SHOWN = (SCRATCH, "replay")  # of the products: drafts, and trainings done again
_OTHER = ("products", ".venv", ".uv", ".git", ".bentos")


@contextmanager
def project_copy(root: Path, *, with_tiny: bool) -> Iterator[Path]:
    """Yield a temporary copy of the project as it is now, uncommitted changes included.

    Parameters
    ----------
    root
        The project. Its products come along, for notebooks that read them. Large files, data among them, are links.
    with_tiny
        Whether the products of the tiny environment come along, so that what is up to date there does not run again;
        with them comes their store, whose champion may be one that changed code cannot score.
    """
    with TemporaryDirectory(prefix="clicklab-idea-") as name:
        target = Path(name).resolve() / "project"
        _copy({target / path: root / path for path in _files(root)})
        for cache in (root / "tasks").rglob("__pycache__"):  # compiled kernels take long to make
            shutil.copytree(cache, target / cache.relative_to(root), dirs_exist_ok=True)
        tiny = Path(read_env(root / TINY)["products"])
        if with_tiny and not tiny.is_absolute() and (root / tiny).is_dir():
            shutil.copytree(root / tiny, target / tiny, symlinks=True)
        _show_products(root, target, tiny)
        yield target


def _show_products(root: Path, target: Path, tiny: Path) -> None:
    products = Path(read_env(root / "env.yaml")["products"])
    if products.is_absolute() or not (root / products).is_dir():
        return
    for path in (root / products).iterdir():
        place = target / products / path.name
        if path.name in _NOT_SHOWN or place.exists() or root / tiny in (path, *path.parents):
            continue
        found = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
        _copy({place / one.relative_to(path): one for one in found})


def _copy(files: Mapping[Path, Path]) -> None:
    """Put files at their places, small ones as copies, so that a trial cannot change them, large ones as links."""
    sizes = {place: source.stat().st_size for place, source in files.items()}
    total = 0
    for place in sorted(files, key=lambda one: sizes[one]):
        place.parent.mkdir(parents=True, exist_ok=True)
        total += sizes[place]
        if sizes[place] <= _MAX_COPIED and total <= _MAX_COPIED_TOGETHER:
            shutil.copy2(files[place], place)
        else:
            place.symlink_to(files[place].resolve())


def linked(project: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of each file outside a copy that a link in it leads to: a trial may not change them."""
    found = {}
    for path in project.rglob("*"):
        target = path.resolve()
        if path.is_symlink() and not target.is_relative_to(project):
            known = target.stat() if target.exists() else None
            found[str(target)] = (known.st_size, known.st_mtime_ns) if known else (0, 0)
    return found


def _files(root: Path) -> list[str]:
    """Return the files that belong to the project: what git tracks or would; without git, all but what runs write."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
        names = [name for name in done.stdout.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        names = []
    if not names:
        names = [
            path.relative_to(root).as_posix()
            for path in root.rglob("*")
            if path.is_file() and not {*_OTHER, "__pycache__"} & {*path.relative_to(root).parts}
        ]
    own = [name for name in dict.fromkeys(names) if "__pycache__" not in Path(name).parts]
    return [name for name in own if (root / name).is_file()]


def environment(project: Path) -> dict[str, str]:
    """Return the environment in which a copy of the project uses its own code and stores, and nobody else's.

    Temporary files lie beside the copy and go with it.
    """
    foreign = ("MLFLOW_TRACKING_URI", "OPTUNA_STORAGE", "PLOOMBER_ENV_FILENAME", "ENTRY_POINT")
    kept = {name: value for name, value in os.environ.items() if name not in foreign}
    own = {"PYTHONPATH": project, "BENTOML_HOME": project / ".bentos", "TMPDIR": project.parent}
    return kept | {name: str(place) for name, place in own.items()}
