"""Shared fixtures: the sample of the real log, and a copy of the project that tests may change."""

import importlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

import tasks.features
from tasks.features.kinds import finding
from tasks.serving.packed_service import free_port

__all__ = ["free_port"]

settings.register_profile("no-deadline", deadline=None)  # on a shared machine slow is not wrong
settings.load_profile("no-deadline")

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True, scope="session")
def _quiet_services() -> None:
    """No tool sends telemetry, and no test uses the user's own stores."""
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"
    os.environ["DO_NOT_TRACK"] = "1"
    os.environ["PLOOMBER_STATS_ENABLED"] = "false"
    for name in ("MLFLOW_TRACKING_URI", "OPTUNA_STORAGE"):
        os.environ.pop(name, None)


@pytest.fixture(scope="session")
def real_log() -> Path:
    """The first hour of the real Avazu log; it may not be redistributed, so it is not in the project."""
    path = os.environ.get("CLICKLAB_REAL_LOG")
    if not path or not Path(path).is_file():
        pytest.skip(
            "CLICKLAB_REAL_LOG does not name avazu-first-hour.csv; its terms forbid shipping it"
        )
    return Path(path)


@pytest.fixture
def make_feature(tmp_path, monkeypatch):
    """Return a function that adds a module to `tasks.features`, or replaces it, until the test ends."""
    folder, made = tmp_path / "made_features", []
    folder.mkdir()
    monkeypatch.setattr(tasks.features, "__path__", [*tasks.features.__path__, str(folder)])

    def forget():
        finding._find.cache_clear()
        importlib.invalidate_caches()
        for name in made:
            sys.modules.pop(f"tasks.features.{name}", None)
            vars(tasks.features).pop(name, None)

    def make(name, body, head="from tasks.features import feature\n"):
        made.append(name)
        (folder / f"{name}.py").write_text(head + body)
        shutil.rmtree(folder / "__pycache__", ignore_errors=True)
        forget()
        return name

    yield make
    forget()


def modules_below(folder: Path) -> list[Path]:
    """Return the Python files of a folder, sorted, without those of hidden folders (environments of benchmarks)."""
    return [
        path
        for path in sorted(folder.rglob("*.py"))
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def copy_project(target: Path) -> Path:
    """Copy library, notebooks, service and configuration to `target`, and return it."""
    keep = ("tasks", "notebooks", "bentos")
    for name in keep:
        shutil.copytree(
            ROOT / name,
            target / name,
            ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "scratch"),
        )
    for name in (
        "pipeline.yaml",
        "env.yaml",
        "env.tiny.yaml",
        "pyproject.toml",
        "requirements.lock",
    ):
        shutil.copy2(ROOT / name, target / name)
    return target


def stop_group(process: subprocess.Popen) -> None:
    """Stop a server that was started in a session of its own, with all its children."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(timeout=20)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
