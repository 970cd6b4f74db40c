"""What a container runs: ``python -m infra.container.attempt TASK``, one attempt at one task of a run.

The task itself is a process of its own (:mod:`infra.container.fetch_and_run`); this one is small, is process 1 of the container, and
survives if the task is killed. It forwards a stop, saves what another attempt can resume from, uploads the
products, records a failure, and exits with a code that the state machine reads: those of
``tasks/errors.py``, 137 if the task was killed (memory), 143 if it was stopped.
"""

import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from infra.container.bucket import Store
from infra.container.log_lines import LogLines
from infra.container.run_products import Owned, RunProducts, now
from infra.container.run_settings import RunSettings
from infra.container.task_process import TaskProcess, seconds
from tasks.errors import ClicklabError

KILLED, STOPPED = 137, 143
EVERY_S = 20.0  # between two uploads of finished parts and checkpoints: CLICKLAB_KEEP_EVERY_S
_MAX_KEPT_BYTES = 32 << 20
_OUT_OF_MEMORY = "was killed, out of memory most likely: give the task more memory_mb in env.aws.yaml (aws.sizes)"


class Attempt:
    """One attempt, from the first line of its log to its exit code."""

    def __init__(self, job: RunSettings, log: LogLines):
        self.job, self.log = job, log
        self.products = RunProducts(Store(job.store), job.run, Path())
        self.stopping = threading.Event()
        self._since = time.time()

    def run(self) -> int:
        """Return the exit code; errors from the bucket are raised."""
        self._begin()
        with tempfile.TemporaryDirectory(prefix="clicklab-task-") as folder:
            report = Path(folder) / "report.json"
            code = self._follow(TaskProcess(self.job.task, report, self.log.pass_on), report)
            return self._end(code, self._read(report))

    def stop(self, *_: Any) -> None:
        """Handle a signal that asks this container to end."""
        self.stopping.set()

    def _begin(self) -> None:
        job = self.job
        where = {"log_stream": _log_stream(), "attempt": job.attempt, "started_utc": now()}
        name = job.task if job.shard is None else f"{job.task}-{job.shard}"
        self.products.store.put_json(f"{job.run}/started/{name}.json", {"task": job.task, **where})
        if job.shard is None:
            self.products.store.delete([f"{job.run}/failures/{job.task}.json"])

    def _follow(self, process: TaskProcess, report: Path) -> int:
        """Wait for the task, uploading finished parts meanwhile; return its exit code."""
        looked, every_s = time.monotonic(), seconds("CLICKLAB_KEEP_EVERY_S", EVERY_S)
        while process.is_running() and not self.stopping.wait(0.2):
            if time.monotonic() - looked > every_s:
                self._keep_unfinished(self._read(report), live=True)
                looked = time.monotonic()
        if process.is_running():
            self.log.say("stop requested; stopping the task")
            process.stop()
        return process.wait()

    def _end(self, code: int, report: dict[str, Any]) -> int:
        if code == 0 and report.get("seconds") is not None:
            self._finish(report)
            return 0
        n_files = self._keep_unfinished(report)
        if self.stopping.is_set():
            self.log.say(f"stopped; {n_files} files saved for the next attempt", level="warning")
            return STOPPED
        self._record_failure(code, self._failure(code, report), report)
        return code

    def _failure(self, code: int, report: dict[str, Any]) -> dict[str, Any]:
        """Return the line and cell of the reported failure, or what the exit code means."""
        failure: dict[str, Any] | None = report.get("failure")
        if failure is None:
            reason = _OUT_OF_MEMORY if code == KILLED else f"ended with code {code}"
            return {"line": f"its process {reason}", "cell": self.log.cell or "-"}
        if code == KILLED and "memory" in failure["line"]:
            failure["line"] = f"{failure['line'].split(' was killed')[0]} {_OUT_OF_MEMORY}"
        return failure

    def _finish(self, report: dict[str, Any]) -> None:
        own, store = _owned(report), self.products.store
        if self.job.shard is not None:
            n_files = self.products.push_unfinished(own)
            self.log.say(f"finished; {n_files} parts uploaded", seconds=report["seconds"])
            return
        if report["ran"]:
            facts = {"seconds": report["seconds"], "attempt": self.job.attempt}
            n_files = self.products.push(own, facts)
            self.log.say(f"finished; {n_files} files uploaded", **facts)
        if report.get("summary"):
            store.put(f"{self.job.run}/summary.txt", report["summary"])

    def _read(self, report: Path) -> dict[str, Any]:
        """Return what the task has reported so far, and note where its products are."""
        try:
            found: dict[str, Any] = json.loads(report.read_text())
        except FileNotFoundError:
            return {}
        self.products.folder = Path(found.get("folder", "."))
        return found

    def _keep_unfinished(self, report: dict[str, Any], *, live: bool = False) -> int:
        """Upload what another attempt can resume from; if the bucket refuses, that is only logged."""
        if not report.get("ran"):
            return 0
        try:
            return self.products.push_unfinished(_owned(report), live=live)
        except ClicklabError as error:
            self.log.say(f"not saved: {error}", level="warning")
            return 0

    def _record_failure(self, code: int, failure: dict[str, Any], report: dict[str, Any]) -> None:
        """Write why the task failed, with the files it left, to where the failure notice reads it."""
        job, store = self.job, self.products.store
        self.log.cell = failure["cell"] if isinstance(failure["cell"], int) else self.log.cell
        self.log.say(failure["line"], level="error", exit_code=code)
        record = {
            "run": job.run,
            "task": job.task,
            "shard": job.shard,
            "attempt": job.attempt,
            "exit_code": code,
        }
        record |= {
            "cell": failure["cell"],
            "line": failure["line"],
            "log_stream": _log_stream(),
            "time_utc": now(),
        }
        try:
            kept = [path.name for path in self._left_behind()] if "folder" in report else []
            for name in kept:
                store.upload(self.products.folder / name, f"{job.run}/failures/{job.task}/{name}")
            store.put_json(f"{job.run}/failures/{job.task}.json", record | {"kept": kept})
        except ClicklabError as error:
            self.log.say(f"no record of the failure: {error}", level="error")

    def _left_behind(self) -> list[Path]:
        """Return small new files at the top of the products folder, which help explain a failure."""
        folder = self.products.folder
        found = [path for path in folder.glob("[!.]*") if path.is_file()]
        return sorted(
            path
            for path in found
            if path.stat().st_mtime >= self._since - 1
            and path.stat().st_size <= _MAX_KEPT_BYTES
            and ".checkpoint." not in path.name
        )


def _owned(report: dict[str, Any]) -> Owned:
    found = report["owned"]
    return Owned(found["name"], tuple(found["files"]), tuple(found["folders"]))


def _log_stream() -> str:
    """Return the log stream of this container, as ECS names it; empty elsewhere."""
    address = os.environ.get("ECS_CONTAINER_METADATA_URI_V4", "")
    if not address.startswith("http"):
        return os.environ.get("CLICKLAB_LOG_STREAM", "")
    try:
        with urlopen(address, timeout=2) as answer:
            return str(json.load(answer)["LogOptions"]["awslogs-stream"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def main(words: Sequence[str] | None = None) -> int:
    """Run the attempt that the arguments and the environment describe; return the exit code."""
    words = sys.argv[1:] if words is None else list(words)
    if len(words) != 1:
        sys.stderr.write("error: expected one argument, the task's name\n")
        return 3
    log: LogLines | None = None
    try:
        job = RunSettings.read(words[0])
        log = LogLines(job)
        attempt = Attempt(job, log)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(
                number, attempt.stop
            )  # process 1 has no default handler: without this a stop is ignored
        return attempt.run()
    except ClicklabError as error:
        if log is None:
            sys.stderr.write(f"error: {error}\n")
        else:
            log.say(str(error), level="error", exit_code=error.exit_code)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
