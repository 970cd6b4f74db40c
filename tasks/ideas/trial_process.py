"""What runs in the copy of the project to try an idea; a process of its own, because it imports the copy's code."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import yaml

from tasks.errors import ClicklabError
from tasks.ideas.confinement import confine
from tasks.ideas.guard import limit_memory
from tasks.ideas.kernel_run import DEFAULT, Limits, run
from tasks.ideas.notebook import FEATURE, STEP, Fault
from tasks.ideas.project_copy import TINY
from tasks.knobs.reading import read_env
from tasks.logs.log import Log
from tasks.pipeline.build import build, load_dag
from tasks.pipeline.executor import Failure, TasksFailed
from tasks.pipeline.integrity import stands_for
from tasks.pipeline.preflight import check_project
from tasks.schema import Schema, load_schema
from tasks.storage.workspace import SCRATCH
from tasks.storage.yaml_mapping import read_mapping

_TRIAL = "env.trial.yaml"
_ON_LOG = "--on-log"
_LIMITED = (
    "import runpy, sys; from tasks.ideas.guard import limit_memory; limit_memory(float(sys.argv.pop(1))); "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)
# a line that only the copy has
_IN_COPY = re.compile(r"^env\.yaml:\d+: `models\.\w+\.params`: ")
_NO_MEMORY = re.compile(r"MemoryError|Unable to allocate|out of memory")
_UNSEEN = {"__pycache__", ".git", ".ipynb_checkpoints"}


def try_step(name: str, limits: Limits) -> list[str]:
    """Run a new step twice by itself and once in the pipeline; return what is wrong, in lines.

    The tasks before it are built first, on the tiny environment.
    """
    env = read_env(TINY) | {"time_limit_minutes": max(1, limits.minutes)}
    check_project(env)
    dag = load_dag(env)
    for one in _last(dag, [task.name for task in dag[name].upstream.values()]):
        dag.build_partially(one)
    dag.render(show_progress=False)
    task = dag[name]
    own = [Path(str(one)) for key, one in _products(task).items() if key not in ("nb", "html")]
    if fault := _run_twice(task, own, limits, Path(env["products"]).resolve() / "store"):
        return [str(fault)]
    load_dag(env).build_partially(name)
    return []


def _run_twice(task: Any, own: list[Path], limits: Limits, store: Path) -> Fault | None:
    from ploomber.sources.notebooksource import json_serializable_params

    given = json_serializable_params(task.params)
    records = [store] if "tracking" in given else []
    places = [str(path) for path in own] + [
        str(path.parent) for path in own if path.name in ("manifest.json", "model.json")
    ]
    allowed = [*places, *map(str, records)]
    for path in own:
        path.parent.mkdir(parents=True, exist_ok=True)
    root, before = Path.cwd(), _tree(Path.cwd(), allowed)
    notebook = f"notebooks/{task.name}.ipynb"
    seen: list[dict[str, bytes]] = []
    for _ in range(2):
        for file in own:
            file.unlink(missing_ok=True)
        if fault := run(notebook, root, parameters=given, allowed=allowed, limits=limits):
            return fault
        if missing := [file for file in own if not file.is_file()]:
            return Fault(
                0,
                0,
                f"ran to its end, but did not write {missing[0].name}; write it to the path in `product`",
            )
        seen.append(
            {str(one): one.read_bytes() for file in own for one in sorted(stands_for(file))}
        )
    for stray in _changed(before, _tree(root, allowed)):
        return Fault(0, 0, f"writes {stray}, which is none of its products")
    for line in _differences(*seen):
        return Fault(0, 0, line)
    for file in own:
        file.unlink()
    return None


def _products(task: Any) -> Mapping[str, Any]:
    found = task.product.to_json_serializable()
    return found if isinstance(found, Mapping) else {"product": found}


def _last(dag: Any, names: list[str]) -> list[str]:
    """Return those tasks that no other of them needs."""

    def needed(name: str) -> set[str]:
        return {one.name for one in dag[name].upstream.values()}.union(
            *(needed(one.name) for one in dag[name].upstream.values())
        )

    return [name for name in names if not any(name in needed(other) for other in names)]


def _tree(root: Path, allowed: list[str]) -> dict[str, tuple[int, int]]:
    """Return size and time of each file that a run may not change."""
    found = {}
    for path in root.rglob("*"):
        inside = path.relative_to(root)
        if path.is_symlink() or not path.is_file() or _UNSEEN & {*inside.parts}:
            continue
        if not any(str(path) == one or str(path).startswith(f"{one}/") for one in allowed):
            found[inside.as_posix()] = (path.stat().st_size, path.stat().st_mtime_ns)
    return found


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return sorted(path for path in {**before, **after} if before.get(path) != after.get(path))


def _differences(first: Mapping[str, bytes], second: Mapping[str, bytes]) -> Iterator[str]:
    """Yield which products are not the same after two runs with the same seed, and where."""
    for path in sorted({**first, **second}):
        one, other = first.get(path), second.get(path)
        if one == other:
            continue
        where = ""
        if path.endswith(".json") and one and other:
            old, new = json.loads(one), json.loads(other)
            if isinstance(old, dict) and isinstance(new, dict):
                where = f" at {', '.join(key for key in {**old, **new} if old.get(key) != new.get(key))}"
        yield f"two runs with one seed wrote another {Path(path).name}{where}; seed what is random, leave out clocks, sort sets"


def try_code(kind: str, name: str, notebook: str, tests: list[str], limits: Limits) -> list[str]:
    """Run the notebook of a feature or model once, its test, and the whole pipeline; return what is wrong, in lines."""
    root, products = Path.cwd(), str(read_env("env.yaml")["products"])
    allowed = [str(root / products / SCRATCH)]
    before = _tree(root, allowed)
    if fault := run(notebook, root, allowed=allowed, limits=limits):
        return [str(fault)]
    for stray in _changed(before, _tree(root, allowed)):
        return [f"writes {stray}; a {kind}'s notebook may write below {products}/{SCRATCH}"]
    for path in tests:
        if problem := _test_problem(path, limits):
            return [problem]
    log = root / products / "log"
    if kind == FEATURE and (log / "manifest.json").is_file():
        done, problem = _bounded(["tasks.ideas.trial_process", _ON_LOG, name, str(log)], limits)
        if problem:
            return [f"{name}, called for the rows of the log, {problem}"]
        if done.returncode:
            return [
                f"{name} could not be called for the rows of the log: {_last_line(done.stderr)}"
            ]
        if done.stdout.strip():
            return [done.stdout.strip()]
    knobs: dict[str, Any] = {
        **read_mapping(TINY, holds="knobs").values,
        "time_limit_minutes": ceil(limits.minutes),
    }
    Path(_TRIAL).write_text(yaml.safe_dump(knobs, sort_keys=False))
    return _failure_lines(build(_TRIAL).failures, limits)


def _failure_lines(failures: Sequence[Failure], limits: Limits) -> list[str]:
    """Return why tasks of the tiny pipeline failed, a line each."""
    memory_gb = max(limits.memory_gb, DEFAULT.memory_gb)
    lines = [f"on the tiny environment: {one.task}: {one.line}" for one in failures]
    return [
        f"{line}; it may take {memory_gb:g} GB of memory (MEMORY_GB=)"
        if _NO_MEMORY.search(line)
        else line
        for line in lines
    ]


def _bounded(words: list[str], limits: Limits) -> tuple[subprocess.CompletedProcess[str], str]:
    """Run a module of Python within the limits; return the ended process, and what to say if it exceeded them."""
    command = [sys.executable, "-W", "ignore", "-c", _LIMITED, str(limits.memory_gb), *words]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=60 * limits.minutes
        )
    except subprocess.TimeoutExpired:
        killed = subprocess.CompletedProcess(command, 1, "", "")
        return killed, f"has not ended after {limits.minutes:g} minutes (MINUTES=)"
    if done.returncode and "MemoryError" in done.stdout + done.stderr:
        return done, f"needs more than {limits.memory_gb:g} GB of memory (MEMORY_GB=)"
    return done, ""


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1][:300]


def _test_problem(path: str, limits: Limits) -> str:
    """Return why a test fails, in one line, or nothing."""
    words = ["pytest", path, "-q", "-x", "-n", "0", "--tb=short", "-p", "no:cacheprovider"]
    done, problem = _bounded(words, limits)
    if problem:
        return f"its test {problem}"
    if done.returncode == 0:
        return ""
    reasons = re.findall(r"^E\s+(.+)$", done.stdout, re.M)
    checks = re.findall(r"checks\.py:\d+: in (\w+)$", done.stdout, re.M)
    called = re.findall(r"^(?:FAILED|ERROR) \S+?::(\w+)", done.stdout, re.M)
    which = (checks or called or [""])[-1].replace("_", " ")
    said = (reasons or done.stdout.strip().splitlines() or ["no message"])[0]
    return f"its test fails ({which}): {said}"[:400]


def _feature_problem(name: str, schema: Schema, log: Log) -> str:
    """Return on which inputs of the log a feature fails, or whether it gives two values for one; or nothing."""
    from tasks.hashing.encode import columns_of, encode_batch
    from tasks.hashing.features.columns import Faults
    from tasks.hashing.features.past_counts import contract_for
    from tasks.hashing.features.survey import survey_features
    from tasks.logs.split import split_log

    contract = contract_for(log, schema, split_log(log), bits=16)
    faults = Faults()
    for batch in log.batches(columns=columns_of(contract)):
        encode_batch(batch, contract, faults=faults)
    if n_failed := faults.n_rows[name]:
        reason = next(iter(faults.messages[name]))
        return f"{reason}; so in {n_failed:,} of {log.n_rows:,} rows of the log"
    survey_features(log, contract, (0, log.n_rows))
    return ""


def _on_log(name: str, log: str) -> str:
    """Return what is wrong with a feature on the rows of a log, or nothing."""
    try:
        schema = load_schema(read_env("env.yaml")["schema"])
        return _feature_problem(name, schema, Log.open(log))
    except ClicklabError as error:
        return str(error)


def main() -> None:
    """Try what the job file says, and leave the lines beside it; or write what is wrong with a feature on a log."""
    if sys.argv[1] == _ON_LOG:
        sys.stdout.write(_on_log(*sys.argv[2:]))
        return
    job_path = Path(sys.argv[1])
    job = json.loads(job_path.read_text())
    limits = Limits(job["minutes"], job["memory_gb"])
    confine([job_path.parent])
    limit_memory(max(limits.memory_gb, DEFAULT.memory_gb))  # the pipeline needs its own
    try:
        if job["kind"] == STEP:
            found = try_step(job["name"], limits)
        else:
            found = try_code(job["kind"], job["name"], job["notebook"], job["tests"], limits)
    except TasksFailed as error:
        found = _failure_lines(error.failures, limits)
    except ClicklabError as error:
        found = [_IN_COPY.sub("", str(error))]
    job_path.with_suffix(".found").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
