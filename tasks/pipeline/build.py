"""Build the pipeline from Python: what ``clicklab run`` does around ``ploomber build``."""

import logging
import re
import signal
import sys
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tasks.errors import ClicklabError, ConfigError
from tasks.knobs.reading import read_env
from tasks.pipeline.executor import Failure, TasksFailed, describe_failure
from tasks.pipeline.integrity import forget_unreadable
from tasks.pipeline.preflight import check_project
from tasks.registry.mlflow_store import check_tracking
from tasks.storage.databases import refuse_password
from tasks.storage.workspace import MARKER


@dataclass(frozen=True)
class Outcome:
    """What a build did: tasks run, where the report lies, what failed."""

    n_ran: int
    report_path: Path
    failures: list[Failure] = field(default_factory=list)


class Stopped(BaseException):
    """This process was asked to stop, by Ctrl-C or another signal."""

    def __init__(self, number: int):
        self.exit_code = 128 + number
        super().__init__("interrupted; run the same command again to resume")


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise :class:`Stopped` where this process is when it is asked to stop, so that it can end what it started."""

    def stop(number: int, _: Any) -> None:
        raise Stopped(number)

    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    numbers = [one for one in wanted if signal.getsignal(one) != signal.SIG_IGN]  # nohup stays
    kept = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def load_dag(env: dict[str, Any], entry: str = MARKER) -> Any:
    """Return the pipeline of ``pipeline.yaml``, or of another file, with these knobs, not yet rendered."""
    from ploomber.spec import DAGSpec

    logging.getLogger("ploomber").setLevel(logging.WARNING)  # it tells the status of each product
    forget_unreadable(env.get("products", "products"))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The following placeholders are declared")
        return DAGSpec(entry, env=env).to_dag()


def build(
    env_path: str | Path,
    *,
    data: str | None = None,
    changes: Mapping[str, str] | None = None,
    force: bool = False,
    entry: str = MARKER,
    report: str = "report.json",
) -> Outcome:
    """Build what is outdated and say what happened; failures are returned, not raised.

    `entry` is the file of the pipeline, `report` the name of its last product; `data` and `changes` as
    :func:`tasks.knobs.reading.read_env` takes them.

    Raises
    ------
    ClicklabError
        Before anything runs: a knob, a notebook or ``pipeline.yaml`` cannot be used.
    Stopped
        If this process is asked to stop; every task has ended then.
    """
    env = read_env(env_path, data=data, changes=changes)
    refuse_passwords(env)
    check_project(env)
    path = Path(env["products"]) / report
    try:
        # beside the load, which takes as long: a store that cannot be used is said before anything is computed
        with ProcessPoolExecutor(
            1, get_context("fork"), initializer=_leave_ctrl_c_to_the_parent
        ) as beside:
            checked = beside.submit(check_tracking, env)
            dag = load_dag(env, entry)
            checked.result()
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message="Corrupted product metadata"
            )  # of one missing
            done = dag.build(force=force)
    except TasksFailed as error:
        return Outcome(0, path, error.failures)
    except ClicklabError:
        raise
    except Exception as error:
        return Outcome(0, path, [load_failure(error)])
    return Outcome(sum(done["Ran?"]), path)


def _leave_ctrl_c_to_the_parent() -> None:
    """A terminal sends it to both, and each would tell of it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def refuse_passwords(knobs: Any, name: str = "env.yaml") -> None:
    """Raise a ConfigError if an address among the knobs holds a password: notebooks and commits show knobs."""
    if isinstance(knobs, Mapping):
        for key, value in knobs.items():
            refuse_passwords(value, f"{name}: {key}" if name == "env.yaml" else f"{name}.{key}")
    elif isinstance(knobs, list):
        for value in knobs:
            refuse_passwords(value, name)
    elif isinstance(knobs, str):
        refuse_password(knobs, name)


def load_failure(error: Exception) -> Failure:
    """Return why the pipeline cannot be loaded or its state not be read, in one line if that can be mended.

    What Ploomber raises while it reads ``pipeline.yaml`` is a mistake in that file.
    """
    failure = describe_failure(MARKER, error)
    if failure.detail and _of_ploomber(error):
        line = f"it cannot be loaded: {_said(error)[:400]}"
        return Failure(MARKER, line, ConfigError.exit_code)
    return failure


def _of_ploomber(error: BaseException) -> bool:
    """Return whether Ploomber itself raised an error, or what a function that ``pipeline.yaml`` names was given."""
    if isinstance(error, KeyError | TypeError | ValueError | FileNotFoundError):
        return True
    return type(error).__module__.split(".")[0] in ("ploomber", "ploomber_core")


def _said(error: BaseException) -> str:
    """Return the sentences of an error of Ploomber's without frames, rules and advertisement."""
    text = str(error).split("= Summary (")[0].split("Loaded env:")[0]
    task = re.search(r"^-+ \w+: (\S+) -> ", text, re.M)
    kept = [
        line.strip()
        for line in text.splitlines()
        if line.strip()
        and not line.startswith(("=", "-", "  File", "    ", "Traceback", "Need help"))
    ]
    cause = f": {_said(error.__cause__)}" if error.__cause__ is not None else ""
    return f"task {task[1]}: {kept[-1]}" if task and kept else f"{' '.join(kept)}{cause}"


@contextmanager
def readable_exit() -> Iterator[None]:
    """End this process with one line and an exit code where a known error, a failed task or a signal ends the block."""
    try:
        with stoppable():
            yield
    except Stopped as stopped:
        sys.stderr.write(f"{stopped}\n")
        sys.exit(stopped.exit_code)
    except TasksFailed as error:
        sys.exit(tell(error.failures))
    except ClicklabError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)


def tell(failures: list[Failure]) -> int:
    """Print what failed, one line each, tracebacks of defects first; return the exit code."""
    for failure in failures:
        if failure.detail:
            sys.stderr.write(f"{failure.detail.rstrip()}\n")
    for failure in failures:
        sys.stderr.write(f"error: {failure}\n")
    return failures[0].exit_code if failures else 0
