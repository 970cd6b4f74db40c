"""Whether the installed MLflow can work on a database: it may be of an older or a newer MLflow.

MLflow updates the tables of some older databases without asking, and says of a newer one that it is "out of date".
"""

import logging
import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

from tasks.errors import ConfigError
from tasks.storage.databases import sqlite_path, without_password

_log = logging.getLogger(__name__)


def check_version(uri: str) -> None:
    """Raise if a database is of another MLflow; update a local one, and keep a copy of it as it was.

    Raises
    ------
    ConfigError
        If it is of a newer MLflow, or a shared one of an older: others may still use that version.
    """
    from mlflow.store.db import utils

    path = sqlite_path(uri)
    if path is not None and not path.exists():
        return
    engine = utils.create_sqlalchemy_engine(uri)
    try:
        found = utils._get_schema_version(engine)
        if found is None or found == _revisions()[0]:
            return
        place = f"MLflow at {without_password(uri)!r} cannot be used"
        if found not in _revisions():
            raise ConfigError(
                f"{place} (a newer MLflow than {_installed()} made its tables, revision {found}); "
                "install that version, or name another store"
            )
        if path is None:
            raise ConfigError(
                f"{place} (its tables are of an older MLflow, revision {found}); back it up, tell your team, then "
                f"run `.venv/bin/mlflow db upgrade {without_password(uri)}`"
            )
        _update(utils, engine, path, found)
    finally:
        engine.dispose()


def _update(utils: Any, engine: Any, path: Path, revision: str) -> None:
    kept = path.with_name(f"{path.name}.{revision}")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(kept)) as target:
        source.backup(target)
    utils._upgrade_db(engine)
    _log.warning(
        "%s was updated to MLflow %s; the file as it was is %s", path, _installed(), kept.name
    )


@cache
def _revisions() -> list[str]:
    """Return the revisions that the installed MLflow knows, the newest first."""
    from alembic.script import ScriptDirectory
    from mlflow.store.db import utils

    scripts = ScriptDirectory.from_config(utils._get_alembic_config(""))
    return [script.revision for script in scripts.walk_revisions()]


def _installed() -> str:
    from mlflow.version import VERSION

    return VERSION
