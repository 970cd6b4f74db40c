"""Container images of a rehearsal: a folder, and files that a scenario adds to it or replaces in it.

The pipeline's is a copy of this repository's code, the service's an unpacked Bento.
"""

import copy
import json
import shutil
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import yaml

from tasks.knobs.reading import read_env
from tests.conftest import ROOT

_CODE = ("tasks", "infra", "notebooks", "bentos", "pipeline.yaml", "requirements.lock")
_IGNORED = shutil.ignore_patterns("__pycache__", "terraform", "store", "*.ipynb_checkpoints")
_TINY = ("data", "hash", "models", "training", "evaluation", "gates", "split", "checks")


@dataclass(frozen=True)
class Image:
    """What containers are started from.

    Attributes
    ----------
    folder
        What it holds.
    files
        Text by path; these replace or extend what the folder holds.
    command, environment
        Defaults of its containers; ``{port}`` in the command stands for the task's port, ``{disk}`` for the container's folder.
    """

    folder: Path
    files: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def read(self, name: str) -> str:
        """Return the text of a file."""
        return self.files.get(name) or (self.folder / name).read_text()

    def with_files(self, files: Mapping[str, str]) -> "Image":
        """Return this image with more files."""
        return replace(self, files={**self.files, **files})

    def unpack(self, disk: Path) -> None:
        """Make an empty disk that holds the image; folders that no file changes are links."""
        shutil.rmtree(disk, ignore_errors=True)
        (disk / "tmp").mkdir(parents=True)
        changed = {Path(name).parts[0] for name in self.files}
        for entry in self.folder.iterdir():
            if entry.is_file():
                shutil.copy2(entry, disk)
            elif entry.name in changed:
                shutil.copytree(entry, disk / entry.name)
            else:
                (disk / entry.name).symlink_to(entry)
        for name, text in self.files.items():
            (disk / name).parent.mkdir(parents=True, exist_ok=True)
            (disk / name).write_text(text)


def pipeline_image(folder: Path, env: Mapping[str, Any]) -> Image:
    """Return the pipeline's image with these knobs: a copy of this repository's code in a new folder."""
    folder.mkdir(parents=True)
    for name in _CODE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=_IGNORED)
        else:
            shutil.copy2(ROOT / name, folder)
    return Image(folder, env_file(env))


def service_image(bento: Path, folder: Path) -> Image:
    """Return an image that serves a Bento's file, unpacked in a new folder; the task definition names the model's pointer."""
    with tarfile.open(bento) as archive:
        archive.extractall(folder / "bento", filter="data")
    words = (sys.executable, "-W", "ignore", "-m", "bentoml", "serve", "{disk}/bento")
    environment = {
        "BENTOML_CONFIG_OPTIONS": "services.ctr.workers=1",
        "PYTHONSAFEPATH": "",  # BentoML puts the Bento's own code first
    }
    command = (*words, "--host", "127.0.0.1", "--port", "{port}")
    return Image(folder, command=command, environment=environment)


# ---- knobs


def rehearsal_env() -> dict[str, Any]:
    """Return ``env.aws.yaml`` with the sizes of ``env.tiny.yaml``, so that a run takes a minute."""
    env, tiny = read_env(ROOT / "env.aws.yaml"), read_env(ROOT / "env.tiny.yaml")
    env |= {name: copy.deepcopy(tiny[name]) for name in _TINY}
    for name, model in env["models"].items():
        if "storage" in model.get("search", {}):  # only products outlive a container
            place = f"sqlite:///{env['products']}/checkpoints/{name}/optuna.db"
            model["search"]["storage"] = place
    small = {"default_size": {"cpu": 1024, "memory_mb": 2048}, "sizes": {}}
    env["aws"] = {**env["aws"], **small, "shards": {"hash_features": 2}}
    return env


def env_file(env: Mapping[str, Any]) -> dict[str, str]:
    """Return the knobs as the file that containers read."""
    return {"env.aws.yaml": yaml.safe_dump(dict(env), sort_keys=False)}


# ---- faults

_ACTIONS = {
    "memory": """
        held = []
        while True:  # until the container has no more
            held.append(bytearray(64 << 20))
            held[-1][:] = b"x" * (64 << 20)
    """,
    "unavailable": "os._exit(8)",
    "hang": """
        import time
        sys.stdout.write("the rehearsal lets this task wait\\n"); sys.stdout.flush(); time.sleep(600)
    """,
}
_FAULT = """\
# Written by the rehearsal.
import os
import sys

words = sys.orig_argv
if "infra.container.fetch_and_run" in words and {task!r} in words and int(os.environ.get("CLICKLAB_ATTEMPT", 1)) <= {attempts}:
{action}
"""
_FAILING_PREDICTIONS = """

_answer = CallsMiddleware.__call__


async def _fail(self, scope, receive, send):
    if scope.get("path") == "/predict":
        raise RuntimeError("broken by the rehearsal")
    await _answer(self, scope, receive, send)


CallsMiddleware.__call__ = _fail
"""


def fault(task: str, action: str, *, attempts: int = 10**6) -> dict[str, str]:
    """Return a ``sitecustomize.py`` that makes a task ``unavailable``, exhaust its ``memory`` or ``hang`` in its first attempts."""
    text = indent(dedent(_ACTIONS[action]).strip(), "    ")
    return {"sitecustomize.py": _FAULT.format(task=task, attempts=attempts, action=text)}


def failing_cell(image: Image, notebook: str) -> dict[str, str]:
    """Return a notebook of an image with a last cell that raises."""
    name = f"notebooks/{notebook}.ipynb"
    found = json.loads(image.read(name))
    cell = {"cell_type": "code", "execution_count": None, "id": "broken", "metadata": {}}
    source = ['raise RuntimeError("the rehearsal breaks this cell")']
    found["cells"].append({**cell, "outputs": [], "source": source})
    return {name: json.dumps(found, indent=1)}


def failing_predictions(image: Image) -> dict[str, str]:
    """Return the file of a service that becomes ready and answers predictions with 500."""
    middleware = (
        "bento/src/bentos/ctr/http/middleware.py"  # behind it a model is proved before it serves
    )
    return {middleware: image.read(middleware) + _FAILING_PREDICTIONS}


def broken_service() -> dict[str, str]:
    """Return the file of a service that does not start."""
    return {"bento/src/bentos/ctr/service.py": "raise ImportError('broken')\n"}
