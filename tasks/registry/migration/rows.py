"""Copies the rows of one MLflow database to another, table by table; both have the tables of the installed version.

Runs, models and versions keep their ids. Experiments get new numbers, because those are counted anew in every store.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tasks.errors import InputError

SCHEME = "mlflow-artifacts:/"  # places that the server of the new store resolves
TABLES = (
    "experiment_tags",
    "runs",
    "tags",
    "params",
    "metrics",
    "latest_metrics",
    "datasets",
    "inputs",
    "input_tags",
    "logged_models",
    "logged_model_metrics",
    "logged_model_params",
    "logged_model_tags",
    "registered_models",
    "registered_model_tags",
    "model_versions",
    "model_version_tags",
    "registered_model_aliases",
)
_PLACES = ("artifact_uri", "artifact_location", "source", "storage_location")
_CHUNK = 2000


@dataclass(frozen=True)
class Copy:
    """A copy under way.

    Attributes
    ----------
    source, target
        Connections of SQLAlchemy.
    experiments
        The experiments' numbers, old to new.
    folders
        The addresses of runs' and models' files, old to new.
    """

    source: Any
    target: Any
    experiments: Mapping[int, int]
    folders: Mapping[str, str]


def begin(source: Any, target: Any) -> Copy:
    """Create the missing experiments in the target, and return how the two stores correspond.

    Raises
    ------
    InputError
        If the target holds something else under a name that the source uses, or the source's files are not local.
    """
    _refuse_conflicts(source, target)
    experiments = {
        row["experiment_id"]: _experiment(target, row) for row in _rows(source, "experiments")
    }
    folders = {}
    for row in _rows(source, "runs"):
        place = f"{experiments[row['experiment_id']]}/{row['run_uuid']}/artifacts"
        folders[row["artifact_uri"]] = SCHEME + place
    for row in _rows(source, "logged_models"):
        place = f"{experiments[row['experiment_id']]}/models/{row['model_id']}/artifacts"
        folders[row["artifact_location"]] = SCHEME + place
    for address in folders:
        if not address.startswith("file:"):
            raise InputError(
                f"the files of a run lie at {address}, not on this disk; only a local store can be moved"
            )
    return Copy(source, target, experiments, folders)


def copy_rows(copy: Copy) -> None:
    """Insert all rows that the target lacks; rows that it has stay as they are."""
    from sqlalchemy.dialects import postgresql, sqlite

    dialect = {"postgresql": postgresql, "sqlite": sqlite}[copy.target.dialect.name]
    for name in TABLES:
        statement = dialect.insert(_table(name)).on_conflict_do_nothing()
        chunk: list[dict[str, Any]] = []
        for row in _rows(copy.source, name):
            chunk.append(_translated(copy, row))
            if len(chunk) == _CHUNK:
                copy.target.execute(statement, chunk)
                chunk = []
        if chunk:
            copy.target.execute(statement, chunk)


def counts(copy: Copy) -> dict[str, tuple[int, int]]:
    """Return by table how many rows the source has, and how many of these the target has."""
    numbers = {old: new for old, new in copy.experiments.items() if old != 0}  # 0 exists everywhere
    there = {row["experiment_id"] for row in _rows(copy.target, "experiments")}
    found = {"experiments": (len(numbers), len(there.intersection(numbers.values())))}
    for name in TABLES:
        keys = [column.key for column in _table(name).primary_key]
        here = {_key(_translated(copy, row), keys) for row in _rows(copy.source, name)}
        there = {_key(row, keys) for row in _rows(copy.target, name)}
        found[name] = (len(here), len(here & there))
    children = (
        {row["run_uuid"] for row in _rows(side, "tags") if row["key"] == "mlflow.parentRunId"}
        for side in (copy.source, copy.target)
    )
    here, there = children
    return found | {"nested": (len(here), len(here & there))}


def left_out(source: Any) -> dict[str, int]:
    """Return the tables with rows that are not copied, such as traces, and their numbers of rows."""
    from sqlalchemy import func, select

    others = [
        name for name in _metadata().tables if name not in (*TABLES, "experiments", "workspaces")
    ]
    sizes = {
        name: source.execute(select(func.count()).select_from(_table(name))).scalar_one()
        for name in others
    }
    return {name: size for name, size in sizes.items() if size}


def _refuse_conflicts(source: Any, target: Any) -> None:
    """Raise if something else has the name of an experiment, a registered model or one of its versions."""
    for table, named, kind in (("experiments", ("name",), "experiment"), ("registered_models", ("name",), "registered model"), ("model_versions", ("name", "version"), "version")):  # fmt: skip
        there = {_key(row, named): row for row in _rows(target, table)}
        for row in _rows(source, table):
            other = there.get(_key(row, named))
            if other is None or row.get("experiment_id") == 0:
                continue
            if (other["creation_time"], other.get("run_id")) != (
                row["creation_time"],
                row.get("run_id"),
            ):
                name = " version ".join(str(row[part]) for part in named)
                raise InputError(
                    f"the target has another {kind} {name!r}; nothing was changed. Rename yours with MLflow's client "
                    f"or page, or choose a target without it"
                )


def _experiment(target: Any, row: Mapping[str, Any]) -> int:
    """Return the target's number of an experiment, created if it is missing; number 0 exists everywhere."""
    from sqlalchemy import insert, select, update

    table = _table("experiments")
    if row["experiment_id"] == 0:
        return 0
    found = target.execute(
        select(table.c.experiment_id).where(table.c.name == row["name"])
    ).scalar_one_or_none()
    if found is not None:
        return found
    values = {
        key: value
        for key, value in row.items()
        if key not in ("experiment_id", "artifact_location")
    }
    number = target.execute(
        insert(table).values(values).returning(table.c.experiment_id)
    ).scalar_one()
    place = update(table).where(table.c.experiment_id == number)
    target.execute(place.values(artifact_location=f"{SCHEME}{number}"))
    return number


def _translated(copy: Copy, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with the target's numbers of experiments and addresses of files."""
    found = dict(row)
    if found.get("experiment_id") is not None:
        found["experiment_id"] = copy.experiments[found["experiment_id"]]
    for column in _PLACES:
        if isinstance(found.get(column), str):
            found[column] = _moved(copy.folders, found[column])
    return found


def _moved(folders: Mapping[str, str], address: str) -> str:
    parts = address.split("/")
    for n_parts in range(len(parts), 0, -1):
        new = folders.get("/".join(parts[:n_parts]))
        if new is not None:
            return "/".join([new, *parts[n_parts:]])
    return address


def _rows(connection: Any, name: str) -> Iterator[Mapping[str, Any]]:
    from sqlalchemy import select

    for row in connection.execute(select(_table(name))):
        yield row._mapping


def _key(row: Mapping[str, Any], names: Any) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)


def _table(name: str) -> Any:
    return _metadata().tables[name]


def _metadata() -> Any:
    import mlflow.store.db.utils  # noqa: F401 (it declares every table)
    from mlflow.store.db.base_sql_model import Base

    return Base.metadata
