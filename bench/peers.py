"""The environment of the peers: separate from ours, created if missing or if its lock has changed."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from tasks.errors import ClicklabError

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "bench" / "requirements-peers.txt"
FOLDER = ROOT / "bench" / ".venv-peers"
TIMEOUT_S = 900


def peers_python() -> Path:
    """Return the Python of the peers' environment, installing it first if necessary.

    Raises
    ------
    ClicklabError
        If uv is missing, or the packages cannot be installed.
    """
    python = FOLDER / "bin" / "python"
    stamp = FOLDER / f".installed-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]}"
    if python.exists() and stamp.exists():
        return python
    uv = find_uv()
    shutil.rmtree(FOLDER, ignore_errors=True)
    _run([uv, "venv", "--quiet", "--python", sys.executable, str(FOLDER)])
    _run([uv, "pip", "sync", "--quiet", "--python", str(python), "--require-hashes", str(LOCK)])
    stamp.touch()
    return python


def find_uv() -> str:
    """Return the uv on PATH, or the one that `make` installed; ClicklabError if both are missing."""
    local = ROOT / ".uv" / "bin" / "uv"
    found = shutil.which("uv") or (str(local) if local.is_file() else None)
    if found is None:
        raise ClicklabError("bench: uv is needed to install the peers; run `make setup` first")
    return found


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise ClicklabError(
            f"bench: installing the peers took longer than {TIMEOUT_S} s; try again"
        ) from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1].strip()
        raise ClicklabError(f"bench: the peers cannot be installed: {last}")
