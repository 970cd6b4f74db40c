"""Moves a local store to a team's: MLflow's database, the files of its runs, the ledger, Optuna's studies.

Each part can be interrupted and run again: what is there already stays, nothing is doubled. Rows come after the files
that they name, in one transaction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tasks.errors import ClicklabError, ConfigError, InputError
from tasks.registry.ledger import parse_ledger
from tasks.registry.migration.files import copy_files
from tasks.registry.migration.rows import SCHEME, begin, copy_rows, counts, left_out
from tasks.registry.migration.studies import copy_studies
from tasks.registry.mlflow_client import quiet_mlflow, store_error
from tasks.registry.relocation import relocate
from tasks.registry.store_version import check_version
from tasks.storage.databases import (
    check_database,
    database_error,
    database_lock,
    is_database,
    sqlite_path,
    without_password,
)
from tasks.storage.s3 import is_s3, split_address
from tasks.storage.shared_files import read_shared, write_shared
from tasks.storage.workspace import resolve, resolve_store

_SHOWN = {
    "experiments": "experiments",
    "runs": "runs",
    "nested": "of these, nested",
    "params": "parameters",
    "metrics": "metric values",
    "tags": "tags of runs",
    "inputs": "uses of datasets",
    "logged_models": "logged models",
    "registered_models": "registered models",
    "model_versions": "versions",
    "registered_model_aliases": "aliases",
}


@dataclass(frozen=True)
class Place:
    """A store: the addresses of its databases, files and ledger.

    Attributes
    ----------
    tracking
        Database of MLflow.
    artifacts
        Folder or S3 prefix of the files; not needed for a source, whose database names it.
    studies
        Databases of Optuna.
    ledger
        Path or S3 address.
    """

    tracking: str
    artifacts: str
    studies: tuple[str, ...]
    ledger: str


class Counted(NamedTuple):
    """How many of something the source has, and how many of those the target has."""

    what: str
    here: int
    there: int


def source_place(knobs: Mapping[str, Any], tracking: str = "") -> Place:
    """Return the local store of ``env.yaml``, or the one beside a named SQLite file.

    Raises
    ------
    ConfigError
        If it is no SQLite file.
    """
    address = resolve_store(tracking or knobs["mlflow"]["tracking_uri"])
    path = sqlite_path(address)
    if path is None or not path.is_file():
        raise ConfigError(
            f"there is no local store at {without_password(address)!r}; name one with FROM=sqlite:///path/mlflow.db"
        )
    if tracking:
        return Place(
            address,
            "",
            (f"sqlite:///{path.with_name('optuna.db')}",),
            str(path.with_name("ledger.jsonl")),
        )
    searches = (block.get("search") or {} for block in (knobs.get("models") or {}).values())
    studies = {resolve_store(plan["storage"]) for plan in searches if plan.get("storage")}
    ledger = str(knobs["mlflow"]["ledger"])
    place = ledger if is_s3(ledger) else str(resolve(ledger))
    return Place(address, "", tuple(sorted(studies)), place)


def target_place(tracking: str, artifacts: str, studies: str = "", ledger: str = "") -> Place:
    """Return a team's store; what is not named lies beside the rest.

    Examples
    --------
    >>> place = target_place("postgresql://db/mlflow", "s3://bucket/artifacts")
    >>> place.studies, place.ledger
    (('postgresql+psycopg2://db/optuna',), 's3://bucket/ledger.jsonl')
    """
    if not is_database(tracking):
        found = without_password(tracking) or "nothing"
        raise ConfigError(
            f"TO must be the database behind the server, postgresql://user@host/mlflow, found {found}"
        )
    if not artifacts:
        raise ConfigError(
            "ARTIFACTS must be the place of the server's files, such as s3://bucket/artifacts, found nothing"
        )
    address = resolve_store(tracking)
    path = sqlite_path(address)
    if not studies:
        from sqlalchemy.engine import make_url

        beside = make_url(address).set(
            database=str(path.with_name("optuna.db")) if path else "optuna"
        )
        studies = beside.render_as_string(hide_password=False)
    if not ledger:
        above = (
            f"s3://{split_address(artifacts)[0]}"
            if is_s3(artifacts)
            else str(resolve(artifacts).parent)
        )
        ledger = f"{above}/ledger.jsonl"
    return Place(address, artifacts, (resolve_store(studies),), ledger)


def migrate(source: Place, target: Place) -> list[Counted]:
    """Copy a local store, and return what was counted on both sides.

    Raises
    ------
    InputError
        If the target holds other things under the same names, or a file cannot be copied.
    ConfigError, UnavailableError
        If a store cannot be used.
    """
    line, content = _checked_ledger(source, target)
    counted, skipped = _copy_mlflow(source.tracking, target.tracking, target.artifacts)
    if line:
        write_shared(target.ledger, content, replaces=line if line != "new" else None)
    n_lines = len(parse_ledger(content, source.ledger))
    there = read_shared(target.ledger)
    n_there = len(parse_ledger(there.content, target.ledger)) if there else 0
    counted.append(Counted("lines of the ledger", n_lines, min(n_lines, n_there)))
    for address in source.studies:
        path = sqlite_path(address)
        if path is None or not path.is_file():
            continue
        try:
            check_database(target.studies[0])
            with database_lock(target.studies[0], "optuna"):
                here, found = copy_studies(address, target.studies[0])
        except ClicklabError:
            raise
        except Exception as error:
            raise _readable(error, "Optuna", target.studies[0], "STUDIES") from None
        counted += [Counted("studies", here[0], found[0]), Counted("trials", here[1], found[1])]
    return counted + [Counted(f"not copied: {name}", size, 0) for name, size in skipped.items()]


def _copy_mlflow(source: str, target: str, artifacts: str) -> tuple[list[Counted], dict[str, int]]:
    try:
        here, there = _engine(source, knob="FROM"), _engine(target, knob="TO", is_new=True)
        with here.connect() as old:
            with database_lock(target, "migration"):
                with there.begin() as new:
                    copy = begin(old, new)
                files, found = copy_files(copy.folders, artifacts)
                with there.begin() as new:
                    copy = begin(old, new)
                    copy_rows(copy)
            with there.connect() as new:
                numbers = counts(begin(old, new))
            skipped = left_out(old)
    except ClicklabError:
        raise
    except Exception as error:
        raise _readable(error, "MLflow", target, "TO") from None
    counted = [Counted(text, *numbers[name]) for name, text in _SHOWN.items()]
    counted += [
        Counted("files", len(files), len(found)),
        Counted("bytes of files", sum(files.values()), sum(found.values())),
    ]
    return counted, skipped


def _engine(address: str, *, knob: str, is_new: bool = False) -> Any:
    """Return SQLAlchemy's engine of a database with MLflow's tables; they are created if it `is_new` and has none."""
    from mlflow.store.db import utils
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    quiet_mlflow()
    try:
        check_database(address)
        with database_lock(address, "mlflow"):
            check_version(address)
            if is_new:
                return SqlAlchemyStore(address, SCHEME).engine
            relocate(address)
            return utils.create_sqlalchemy_engine(address)
    except ClicklabError:
        raise
    except Exception as error:
        raise _readable(error, "MLflow", address, knob) from None


def _checked_ledger(source: Place, target: Place) -> tuple[str, bytes]:
    """Return the mark of the ledger to replace ("new": none, "": it stays), and the content of the source's.

    One must begin with the other.
    """
    old, new = read_shared(source.ledger), read_shared(target.ledger)
    content = old.content if old else b""
    parse_ledger(content, source.ledger)
    if new is None:
        return ("new" if content else ""), content
    if new.content.startswith(content):
        return "", content
    if content.startswith(new.content):
        return new.mark, content
    raise InputError(
        f"{target.ledger}: the ledger there has other decisions; name another place with LEDGER="
    )


def _readable(error: Exception, subject: str, address: str, knob: str) -> Exception:
    found = database_error(error, subject=subject, address=address, knob=knob)
    return found or store_error(address, error) or error


def rows_of(counted: Sequence[Counted]) -> list[tuple[str, str, str]]:
    """Return the rows of the table to print."""
    return [(one.what, f"{one.here:,}", f"{one.there:,}") for one in counted]


def is_complete(counted: Sequence[Counted]) -> bool:
    """Return whether the target has everything that was to be copied."""
    return all(one.here == one.there for one in counted if not one.what.startswith("not copied"))


def next_steps(target: Place) -> str:
    """Return what to write into env.yaml so that runs use the new store."""
    return (
        "Everything is there. In env.yaml now set\n"
        "  mlflow: tracking_uri: the server's address, http://...\n"
        f"  mlflow: ledger: {target.ledger}\n"
        f"  search: storage: {without_password(target.studies[0]).replace(':***@', '@')}"
    )
