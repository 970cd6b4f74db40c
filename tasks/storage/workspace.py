"""Where relative paths start: paths in ``env.yaml`` are relative to the project, wherever a kernel starts."""

from pathlib import Path

from tasks.storage.databases import SQLITE, sqlite_path, with_driver

MARKER = "pipeline.yaml"


def project_root(start: str | Path | None = None) -> Path:
    """Return the nearest folder at or above `start` (default: here) that holds ``pipeline.yaml``.

    Outside a project this is `start` itself, so that the library works anywhere.
    """
    here = Path(start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / MARKER).is_file():
            return folder
    return here


def resolve(path: str | Path) -> Path:
    """Return `path` as absolute, relative ones taken from the project root."""
    return project_root() / path


def resolve_store(uri: str) -> str:
    """Return a store address with a relative SQLite path made absolute, and PostgreSQL's driver named.

    Examples
    --------
    >>> resolve_store("http://127.0.0.1:5000")
    'http://127.0.0.1:5000'
    """
    path = sqlite_path(uri)
    return with_driver(uri) if path is None else SQLITE + str(resolve(path))
