"""A local store that was moved: MLflow keeps absolute addresses of files in its database, and these are corrected."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tasks.storage.databases import sqlite_path
from tasks.storage.workspace import project_root

_PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
_log = logging.getLogger(__name__)


def relocate(uri: str) -> list[tuple[Path, Path]]:
    """Correct a SQLite store's addresses of files if its project was moved or copied; return the folders, old and new.

    A folder of artifacts that the database names outside this project is looked for below the database's own folder
    and those above it, up to the project's root, and taken if it holds files of the very runs. Any other is left alone.
    """
    path = sqlite_path(uri)
    if path is None or not path.is_file():
        return []
    with closing(sqlite3.connect(path, timeout=20)) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
        if not {"experiments", "runs"} <= tables:
            return []
        query = "SELECT DISTINCT artifact_location FROM experiments WHERE artifact_location LIKE 'file:%'"
        moved = []
        for (root,) in database.execute(query).fetchall():
            new = _found_again(database, root, path.parent)
            if new is not None:
                _correct(database, tables, root, new.as_uri())
                moved.append((_local(root), new))
        database.commit()
    for old, new in moved:
        _log.warning("%s: the artifacts were moved from %s to %s", path, old, new)
    return moved


def _found_again(database: sqlite3.Connection, root: str, folder: Path) -> Path | None:
    """Return where the artifacts below an address are now, None if they are where it says, or nowhere."""
    here = project_root(folder)
    old = _local(root)
    if old.is_relative_to(here) and old.is_dir():
        return None
    query = "SELECT artifact_uri FROM runs WHERE substr(artifact_uri, 1, ?) = ?"
    runs = [uri for (uri,) in database.execute(query, [len(root) + 1, f"{root}/"])]
    for place in _candidates(old, folder.resolve(), here):
        if place != old and place.is_dir():
            has_runs = any((place / unquote(uri[len(root) + 1 :])).is_dir() for uri in runs)
            if has_runs or (not runs and not old.exists()):
                return place
    return None


def _candidates(old: Path, folder: Path, here: Path) -> Iterator[Path]:
    for base in (folder, *folder.parents):
        if not base.is_relative_to(here):
            return
        for n_parts in range(1, len(old.parts)):
            yield base.joinpath(*old.parts[-n_parts:])


def _correct(database: sqlite3.Connection, tables: set[str], old: str, new: str) -> None:
    for table, column in _PLACES:
        if table in tables:
            database.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                [new, len(old) + 1, old, len(old) + 1, f"{old}/"],
            )


def _local(uri: str) -> Path:
    return Path(unquote(urlsplit(uri).path))
