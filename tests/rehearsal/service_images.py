"""Images of the service: a Bento unpacked, following the pointer on S3; and ones that are broken on purpose."""

import json
import os
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

from tests.rehearsal.images import Image, changed_image
from tests.rehearsal.podman import layer

_START = (sys.executable, "-W", "ignore", "-m", "bentoml", "serve")
_PLACE = "/home/bentoml"
_BUILT_AT = 946684800  # as service.Dockerfile dates files, so that what it compiled is found again
_FAILING = """

_answer = CallsMiddleware.__call__


async def _fail(self, scope, receive, send):
    if scope["type"] != "http" or scope["path"] != "/predict":
        await _answer(self, scope, receive, send)
        return
    await send({"type": "http.response.start", "status": 500, "headers": []})
    await send({"type": "http.response.body", "body": b"broken by the rehearsal"})


CallsMiddleware.__call__ = _fail
"""


def service_image(bento: Path, folder: Path, pointer: str, built: str = "") -> Image:
    """Return an image that serves a Bento's file with the model that the pointer names.

    Over a built image the Bento is a layer, in the place of the one that it was built of; all else, the pointer too, it
    is told by the task definition.
    """
    folder.mkdir(parents=True)
    with tarfile.open(bento) as archive:
        archive.extractall(folder / "bento", filter="data")
    if built:
        return _over(built, folder)
    source = folder / "bento/src"
    settings = json.dumps(  # JSON is YAML
        {
            "models": {"champion": {"from": "s3", "pointer": pointer}},
            "experiment": str(source / "bentos/ctr/experiment.yaml"),
            "exposures": {"sink": "off"},
        }
    )
    (folder / "serving.yaml").write_text(settings)
    return _image(folder)


def failing_image(image: Image, folder: Path) -> Image:
    """Return an image that gets ready, and then answers every prediction with a server error."""
    name = "bento/src/bentos/ctr/http/middleware.py"  # behind it a model is proved before it serves
    return _changed(image, folder, {name: image.read(name) + _FAILING})


def broken_image(image: Image, folder: Path) -> Image:
    """Return an image whose service does not start."""
    broken = "raise ImportError('broken')\n"
    return _changed(image, folder, {"bento/src/bentos/ctr/service.py": broken})


def _changed(image: Image, folder: Path, files: Mapping[str, str]) -> Image:
    changed = changed_image(image, folder, files)
    return changed if changed.built else _image(folder)


def _over(built: str, folder: Path) -> Image:
    """Return a built image with the folder's Bento over its own."""
    (folder / "bento").chmod(0o755)  # BentoML keeps it to its owner; the image's user reads it
    for path in (folder / "bento/src").rglob("*"):
        os.utime(path, (_BUILT_AT, _BUILT_AT))
    environment = {"BENTOML_HOST": "127.0.0.1", "BENTOML_PORT": "{port}"}
    name = layer(built, folder, _PLACE)
    return Image(str(folder), environment=environment, built=name, place=_PLACE)


def _image(folder: Path) -> Image:
    environment: Mapping[str, str] = {
        "CLICKLAB_SERVING": str(folder / "serving.yaml"),
        "BENTOML_CONFIG_OPTIONS": "services.ctr.workers=1",
        "PYTHONSAFEPATH": "",  # BentoML puts the Bento's own code first
    }
    words = (*_START, str(folder / "bento"), "--host", "127.0.0.1", "--port", "{port}")
    return Image(str(folder), words, environment)
