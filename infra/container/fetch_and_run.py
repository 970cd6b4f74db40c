"""One task in its own process: fetch what it needs, run it if it is outdated, report the result.

Started by :mod:`infra.container.attempt`, which reads ``<report>``, a small JSON file that is rewritten at each stage:
``folder`` and ``owned`` (where the products are, and which are the task's), ``ran`` (False: nothing had
changed), ``seconds``, ``summary``, ``failure``.
"""

import json
import logging
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from infra.container.bucket import Store
from infra.container.partial_dag import is_current, is_last, load_partial_dag, owned
from infra.container.run_products import Owned, RunProducts, metadata_of
from infra.container.run_settings import RunSettings
from tasks.errors import ConfigError, InputError
from tasks.storage.files import write_atomic

_log = logging.getLogger("infra")


class Report:
    """The file by which this process reports progress to its parent."""

    def __init__(self, path: Path):
        self._path, self._known = path, dict[str, Any]()

    def add(self, **facts: Any) -> None:
        """Add facts to the report and write it."""
        self._known |= facts
        write_atomic(self._path, json.dumps(self._known))


def run(job: RunSettings, report: Report) -> None:
    """Bring a task, or its shard, up to date; its errors are raised."""
    env = job.knobs()
    folder = job.products(env)
    products = RunProducts(Store(job.store), job.run, folder)
    dag = load_partial_dag(job.task, env | {"products": str(folder)}, model=job.model)
    own, needed = _render(dag, job.task, folder, products)
    report.add(folder=str(folder), owned=asdict(own), ran=False)
    if is_current(dag[job.task]):
        _log.info("nothing has changed since it finished; not run again")
        return
    for one in needed:
        products.fetch(one.name)
    n_files = products.fetch_unfinished(own)
    if n_files:
        _log.info("resumes from %d files that an earlier attempt left", n_files)
    report.add(ran=True)
    if job.shard is not None:
        from infra.container.shards import hash_shard

        hash_shard(dag[job.task].params, job.shard, job.n_shards)
        return
    _build(dag[job.task], job, env)
    if is_last(job.task):
        from infra.container.summary import summary_of

        report.add(summary=summary_of(dag[job.task]))


def _render(dag: Any, name: str, folder: Path, products: RunProducts) -> tuple[Owned, list[Owned]]:
    """Fetch the records that show whether the task is outdated; return its files and those it needs."""
    dag.render(force=True, show_progress=False)
    files = {one: owned(dag[one], folder) for one in dag}
    _refuse_shared_folders(list(files.values()))
    needed = [files[one] for one in dag[name].upstream]
    for one in (files[name], *needed):
        records = [*one.files, *map(metadata_of, one.files)]
        if not products.fetch(one.name, only=records) and one.name != name:
            raise InputError(
                f"run {products.run} has no finished {one.name!r}, which {name!r} needs; run that task first"
            )
    for one in dag:
        dag[one].product.metadata.clear()
    return files[name], needed


def _refuse_shared_folders(found: list[Owned]) -> None:
    for one in found:
        for other in found:
            shared = [
                folder
                for folder in one.folders
                if one is not other
                and any(f"{theirs}/".startswith(f"{folder}/") for theirs in other.folders)
            ]
            if shared:
                raise ConfigError(
                    f"tasks {one.name!r} and {other.name!r} both write below {shared[0]!r}; give each its own folder"
                )


def _build(task: Any, job: RunSettings, env: Mapping[str, Any]) -> None:
    """Run the task as the pipeline's executor does, and share its results with other runs."""
    from ploomber.constants import TaskStatus

    from infra.container.shared_state import share_model, shared_ledger

    for one in task.upstream.values():
        if one.product._outdated_code_dependency():
            _log.warning("%s was made with different code or knobs", one.name)
    task._exec_status = TaskStatus.WaitingExecution
    with shared_ledger(task, job.store):
        task._build(catch_exceptions=True)
    share_model(task, job.store, job.products(env))


def main(words: list[str]) -> int:
    """Run the task named first and report to the file named second; return the exit code."""
    from tasks.pipeline.executor import describe_failure

    logging.basicConfig(level=logging.WARNING, stream=sys.stdout, format="%(message)s")
    for name in ("infra", "papermill"):
        logging.getLogger(name).setLevel(logging.INFO)
    name, report = words[0], Report(Path(words[1]))
    since = time.monotonic()
    try:
        run(RunSettings.read(name), report)
    except Exception as error:
        failure = describe_failure(name, error)
        if failure.detail:
            traceback.print_exc(file=sys.stdout)
        report.add(
            failure={"line": failure.line, "exit_code": failure.exit_code, "cell": _cell(error)}
        )
        return failure.exit_code
    report.add(seconds=round(time.monotonic() - since, 1))
    return 0


def _cell(error: BaseException | None) -> int | str:
    """Return the number of the notebook cell that failed, "-" if none did."""
    while error is not None:
        if hasattr(error, "cell_index"):
            return int(error.cell_index) + 1
        error = error.__cause__ or error.__context__
    return "-"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
