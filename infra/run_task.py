"""What a container runs: ``python -m infra.run_task TASK``, one attempt at one task of a run.

The task itself is a process of its own (:mod:`infra.one_task`); this one is small, is process 1 of the container, and
stays when that one is killed. It passes a stop on, keeps what another attempt can go on from, puts the products
into the bucket, leaves word of a failure, and exits with a code that the state machine reads: those of
``tasks/errors.py``, 137 if the task was killed (memory), 143 if it was stopped.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from infra.job import Job
from infra.log_lines import LogLines
from infra.products import Owned, RunProducts, now
from infra.store import Store
from tasks.errors import ClicklabError

KILLED, STOPPED = 137, 143
EVERY_S = 20.0  # between two looks for finished parts and checkpoints: CLICKLAB_KEEP_EVERY_S
GRACE_S = 20.0  # for the task to end by itself, CLICKLAB_GRACE_S; ECS gives 120 s for all
_MAX_KEPT_BYTES = 32 << 20
_OUT_OF_MEMORY = "was killed, out of memory most likely: give the task more memory_mb in env.aws.yaml (aws.sizes)"


class Attempt:
    """One attempt, from the first line of its log to its exit code."""

    def __init__(self, job: Job, log: LogLines):
        self.job, self.log = job, log
        self.products = RunProducts(Store(job.store), job.run, Path())
        self.stopping = threading.Event()
        self._since = time.time()

    def run(self) -> int:
        """Return the exit code; errors of the bucket are raised."""
        self._begin()
        with tempfile.TemporaryDirectory(prefix="clicklab-task-") as folder:
            report = Path(folder) / "report.json"
            process = self._start(report)
            code = self._follow(process, report)
            return self._end(code, self._read(report))

    def stop(self, *_: Any) -> None:
        """Remember that this container is to end; a handler of signals."""
        self.stopping.set()

    def _begin(self) -> None:
        job = self.job
        where = {"log_stream": _log_stream(), "attempt": job.attempt, "started_utc": now()}
        name = job.task if job.shard is None else f"{job.task}-{job.shard}"
        self.products.store.put_json(f"{job.run}/started/{name}.json", {"task": job.task, **where})
        if job.shard is None:
            self.products.store.delete([f"{job.run}/failures/{job.task}.json"])

    def _start(self, report: Path) -> subprocess.Popen[str]:
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "infra.one_task",
            self.job.task,
            str(report),
        ]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        self._reader = threading.Thread(target=self._pass_on, args=(process,), daemon=True)
        self._reader.start()
        return process

    def _pass_on(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.log.pass_on(line)

    def _follow(self, process: subprocess.Popen[str], report: Path) -> int:
        """Wait for the task, putting away meanwhile what it has finished; return its exit code."""
        looked, every_s = time.monotonic(), _seconds("CLICKLAB_KEEP_EVERY_S", EVERY_S)
        while process.poll() is None and not self.stopping.wait(0.2):
            if time.monotonic() - looked > every_s:
                self._keep_unfinished(self._read(report), live=True)
                looked = time.monotonic()
        if process.poll() is None:
            self.log.say("asked to stop; the task is told")
            _stop_all(process)
        code = process.wait()
        self._reader.join(timeout=2)
        return code if code >= 0 else 128 - code

    def _end(self, code: int, report: dict[str, Any]) -> int:
        if code == 0 and report.get("seconds") is not None:
            self._finish(report)
            return 0
        if self.stopping.is_set():
            n_files = self._keep_unfinished(report)
            self.log.say(f"stopped; {n_files} files kept for the next attempt", level="warning")
            return STOPPED
        self._keep_unfinished(report)
        failure = report.get("failure") or {
            "line": f"its process {_OUT_OF_MEMORY}"
            if code == KILLED
            else f"its process ended with code {code}",
            "cell": self.log.cell or "-",
        }
        if code == KILLED and "memory" in failure["line"]:
            failure["line"] = f"{failure['line'].split(' was killed')[0]} {_OUT_OF_MEMORY}"
        self._leave_word(code, failure, report)
        return code

    def _finish(self, report: dict[str, Any]) -> None:
        own, store = _owned(report), self.products.store
        if self.job.shard is not None:
            n_files = self.products.push_unfinished(own)
            self.log.say(
                f"finished; {n_files} parts put into the bucket", seconds=report["seconds"]
            )
            return
        if report["ran"]:
            facts = {"seconds": report["seconds"], "attempt": self.job.attempt}
            n_files = self.products.push(own, facts)
            self.log.say(f"finished; {n_files} files put into the bucket", **facts)
        if report.get("summary"):
            store.put(f"{self.job.run}/summary.txt", report["summary"])

    def _read(self, report: Path) -> dict[str, Any]:
        """Return what the task has told so far; where its products are is kept."""
        try:
            found: dict[str, Any] = json.loads(report.read_text())
        except FileNotFoundError:
            return {}
        self.products.folder = Path(found.get("folder", "."))
        return found

    def _keep_unfinished(self, report: dict[str, Any], *, live: bool = False) -> int:
        """Put away what another attempt can go on from; that the bucket refuses it ends nothing."""
        if not report.get("ran"):
            return 0
        try:
            return self.products.push_unfinished(_owned(report), live=live)
        except ClicklabError as error:
            self.log.say(f"not kept: {error}", level="warning")
            return 0

    def _leave_word(self, code: int, failure: dict[str, Any], report: dict[str, Any]) -> None:
        """Write why the task failed, and what it left, where the notice looks for it."""
        job, store = self.job, self.products.store
        self.log.cell = failure["cell"] if isinstance(failure["cell"], int) else self.log.cell
        self.log.say(failure["line"], level="error", exit_code=code)
        word = {
            "run": job.run,
            "task": job.task,
            "shard": job.shard,
            "attempt": job.attempt,
            "exit_code": code,
        }
        word |= {
            "cell": failure["cell"],
            "line": failure["line"],
            "log_stream": _log_stream(),
            "time_utc": now(),
        }
        try:
            kept = [path.name for path in self._left_behind()] if "folder" in report else []
            for name in kept:
                store.upload(self.products.folder / name, f"{job.run}/failures/{job.task}/{name}")
            store.put_json(f"{job.run}/failures/{job.task}.json", word | {"kept": kept})
        except ClicklabError as error:
            self.log.say(f"no record of the failure: {error}", level="error")

    def _left_behind(self) -> list[Path]:
        """Return what a person looks at after a failure: small new files of the products folder itself."""
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


def _stop_all(process: subprocess.Popen[str]) -> None:
    """Ask the task to end, then end it and the kernel it started, which has a session of its own."""
    import psutil

    family = psutil.Process(process.pid)
    children = family.children(recursive=True)
    process.terminate()
    try:
        process.wait(timeout=_seconds("CLICKLAB_GRACE_S", GRACE_S))
    except subprocess.TimeoutExpired:
        process.kill()
    for child in children:
        if child.is_running():
            child.kill()
    psutil.wait_procs(children, timeout=5)


def _seconds(name: str, usual: float) -> float:
    try:
        return float(os.environ.get(name) or usual)
    except ValueError:
        return usual


def _log_stream() -> str:
    """Return the log stream of this container, as ECS tells it; empty elsewhere."""
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
        job = Job.read(words[0])
        log = LogLines(job)
        attempt = Attempt(job, log)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(
                number, attempt.stop
            )  # process 1 has no default: without this a stop is ignored
        return attempt.run()
    except ClicklabError as error:
        if log is None:
            sys.stderr.write(f"error: {error}\n")
        else:
            log.say(str(error), level="error", exit_code=error.exit_code)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
