"""Container images of a rehearsal: stacked folders, or a built image with a layer over it.

Where containers are processes, an image is its layers: a copy of this repository's code, or an unpacked Bento,
below the files that a scenario changes. Where podman has the built images, it is one of those with a layer more.
"""

import copy
import os
import shutil
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from tasks.pipeline.knobs import read_env
from tests.conftest import ROOT
from tests.rehearsal import podman

CODE = ("tasks", "infra", "notebooks", "bentos", "pipeline.yaml", "requirements.lock")
_IGNORED = shutil.ignore_patterns("__pycache__", "terraform", "store", "*.ipynb_checkpoints")
_TINY = ("data", "hash", "models", "training", "evaluation", "gates", "split", "checks")
_MTIME = 946684800  # as service.Dockerfile dates files, so that compiled code is found again
_APP = "bento/src/bentos/ctr"
FAILING_PREDICTIONS = """

_answer = CallsMiddleware.__call__


async def _fail(self, scope, receive, send):
    if scope["type"] != "http" or scope["path"] != "/predict":
        await _answer(self, scope, receive, send)
        return
    await send({"type": "http.response.start", "status": 500, "headers": []})
    await send({"type": "http.response.body", "body": b"broken by the rehearsal"})


CallsMiddleware.__call__ = _fail
"""


@dataclass(frozen=True)
class Image:
    """What containers are started from.

    Attributes
    ----------
    layers
        Its folders, the uppermost first.
    command, environment
        Defaults of its containers; ``{port}`` stands for the task's port, ``{disk}`` for a process's folder.
    built
        Podman's name of it; empty if its containers are processes.
    place
        Where the uppermost layer's files lie in a built image.
    """

    layers: tuple[str, ...]
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    built: str = ""
    place: str = ""

    def read(self, name: str) -> str:
        """Return the text of a file."""
        found = (Path(layer, name) for layer in self.layers)
        return next(path for path in found if path.is_file()).read_text()

    def with_files(self, folder: Path, files: Mapping[str, str]) -> "Image":
        """Return this image with `files` (path to text) in a new layer, which lies in `folder`."""
        folder.mkdir(parents=True)
        for top in {Path(name).parts[0] for name in files if "/" in name and not self.built}:
            below = next(layer for layer in self.layers if Path(layer, top).is_dir())
            shutil.copytree(Path(below, top), folder / top, ignore=_IGNORED)
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        built = podman.add_layer(self.built, folder, self.place) if self.built else ""
        return replace(self, layers=(str(folder), *self.layers), built=built)


def pipeline_image(folder: Path, built: str = "") -> Image:
    """Return the pipeline's image: a copy of this repository's code, or a built one."""
    if built:
        return Image((str(ROOT),), built=built, place="/app")
    folder.mkdir(parents=True)
    for name in CODE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=_IGNORED)
        else:
            shutil.copy2(ROOT / name, folder)
    return Image((str(folder),))


def service_image(bento: Path, folder: Path, built: str = "") -> Image:
    """Return an image that serves a Bento's file; the task definition names the model's pointer."""
    folder.mkdir(parents=True)
    with tarfile.open(bento) as archive:
        archive.extractall(folder / "bento", filter="data")
    if not built:
        words = (sys.executable, "-W", "ignore", "-m", "bentoml", "serve", "{disk}/bento")
        environment = {
            "BENTOML_CONFIG_OPTIONS": "services.ctr.workers=1",
            "PYTHONSAFEPATH": "",  # BentoML puts the Bento's own code first
        }
        command = (*words, "--host", "127.0.0.1", "--port", "{port}")
        return Image((str(folder),), command, environment)
    (folder / "bento").chmod(0o755)  # BentoML keeps it to its owner; the image's user reads it
    for path in (folder / "bento/src").rglob("*"):
        os.utime(path, (_MTIME, _MTIME))
    environment = {"BENTOML_HOST": "127.0.0.1", "BENTOML_PORT": "{port}"}
    place = "/home/bentoml"
    name = podman.add_layer(built, folder, place)
    return Image((str(folder),), environment=environment, built=name, place=place)


def service_faults(image: Image) -> dict[str, dict[str, str]]:
    """Return the files of broken revisions: one that answers predictions with 500, one that does not start."""
    middleware = f"{_APP}/http/middleware.py"  # behind it a model is proved before it serves
    return {
        "failing": {middleware: image.read(middleware) + FAILING_PREDICTIONS},
        "broken": {f"{_APP}/service.py": "raise ImportError('broken')\n"},
    }


# ---- knobs


def rehearsal_env() -> dict[str, Any]:
    """Return ``env.aws.yaml`` with the sizes of ``env.tiny.yaml``, so that a run takes a minute."""
    env, tiny = read_env(ROOT / "env.aws.yaml"), read_env(ROOT / "env.tiny.yaml")
    env |= {name: copy.deepcopy(tiny[name]) for name in _TINY}
    for name, model in env[
        "models"
    ].items():  # only what lies below the products outlives a container
        if "storage" in model.get("search", {}):
            place = f"sqlite:///{env['products']}/checkpoints/{name}/optuna.db"
            model["search"]["storage"] = place
    small = {"default_size": {"cpu": 1024, "memory_mb": 2048}, "sizes": {}}
    env["aws"] = {**env["aws"], **small, "shards": {"hash_features": 2}}
    return env


def env_file(env: Mapping[str, Any]) -> dict[str, str]:
    """Return the knobs as the file that containers read."""
    return {"env.aws.yaml": yaml.safe_dump(dict(env), sort_keys=False)}
