"""Load from a second process: full load by wrk, or a constant rate."""

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.process import run_child
from tasks.errors import ClicklabError

_SCRIPT = Path(__file__).with_name("bodies.lua")
_MARGIN_S = 60


@dataclass(frozen=True)
class Call:
    """A path, and a file of request bodies that are sent in turn."""

    path: str
    bodies: Path


def find_wrk() -> str:
    """Return the path of wrk; ClicklabError if it is not installed."""
    found = shutil.which("wrk")
    if found is None:
        raise ClicklabError(
            "bench: wrk is needed to generate the load; install it with `apt-get install wrk`"
        )
    return found


def saturate(port: int, call: Call, *, seconds: float, n_connections: int) -> dict[str, Any]:
    """Return the results of wrk at full load; ClicklabError if a request failed.

    It runs on one thread, so it uses no more than one core.
    """
    command = [find_wrk(), "-t1", f"-c{n_connections}", f"-d{max(1, round(seconds))}s", "-s"]
    command += [str(_SCRIPT), f"http://127.0.0.1:{port}{call.path}", "--", str(call.bodies)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + _MARGIN_S)
        found = json.loads(done.stdout.strip().splitlines()[-1])
    except (subprocess.TimeoutExpired, ValueError, IndexError) as error:
        raise ClicklabError(f"bench: wrk reported no result ({type(error).__name__})") from None
    n_failed = found["n_socket_errors"] + found["n_bad_status"]
    if n_failed:
        raise ClicklabError(
            f"bench: {n_failed:,} of {found['n_requests']:,} requests to {call.path} failed under load "
            f"({found['n_bad_status']:,} with a status other than 2xx)"
        )
    return found | {"requests_per_s": found["n_requests"] / found["duration_us"] * 1e6}


def pace(port: int, call: Call, *, rate: float, seconds: float) -> dict[str, Any]:
    """Return the results of the constant-rate generator, failed requests included."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = pace_command(port, call, rate=rate, seconds=seconds, result=result)
        run_child(command, name=f"load on {call.path}", timeout_s=seconds + _MARGIN_S)
        found: dict[str, Any] = json.loads(result.read_text())
    return found


def pace_command(port: int, call: Call, *, rate: float, seconds: float, result: Path) -> list[str]:
    """Return the command that runs the constant-rate generator."""
    command = [sys.executable, "-m", "bench.serving.open_loop", "--port", str(port)]
    command += ["--path", call.path, "--bodies", str(call.bodies), "--rate", str(rate)]
    return [*command, "--seconds", str(seconds), "--result", str(result)]
