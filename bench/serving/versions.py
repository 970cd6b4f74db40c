"""Versions of the packages that were measured, and of the load generator."""

import json
import re
import subprocess
import sys
from pathlib import Path

from bench.serving.load import find_wrk

OURS = ("bentoml", "uvicorn", "uvloop", "httptools", "pydantic", "msgspec", "numba", "numpy")
PEERS = ("fastapi", "uvicorn", "uvloop", "httptools", "pydantic", "pandas", "scikit-learn")
_QUERY = (
    "import importlib.metadata as m, json, sys; "
    "print(json.dumps({n: m.version(n) for n in sys.argv[1:] if any(m.distributions(name=n))}))"
)


def found(peers_python: Path | None = None) -> dict[str, dict[str, str]]:
    """Return versions by side; packages that are not installed (uvloop, httptools) are left out."""
    sides = {"ours": installed(Path(sys.executable), OURS)}
    if peers_python is not None:
        sides["peers"] = installed(peers_python, PEERS)
        output = subprocess.run([find_wrk(), "-v"], capture_output=True, text=True).stdout
        version = re.search(r"wrk \S*?(\d+\.\d+[.\d]*)", output)
        sides["load"] = {"wrk": version[1] if version else "unknown"}
    return sides


def installed(python: Path, names: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of packages in an environment."""
    done = subprocess.run([str(python), "-c", _QUERY, *names], capture_output=True, text=True)
    return dict(json.loads(done.stdout)) if done.returncode == 0 else {}
