"""Images of the service: a Bento unpacked, following the pointer on S3; and ones that are broken on purpose."""

import json
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

from infra.rehearsal.images import Image, changed_image

_START = (sys.executable, "-W", "ignore", "-m", "bentoml", "serve")
_FAILING = """

_answer = FrontDoor.__call__


async def _fail(self, scope, receive, send):
    if scope["type"] != "http" or scope["path"] != "/predict":
        await _answer(self, scope, receive, send)
        return
    await send({"type": "http.response.start", "status": 500, "headers": []})
    await send({"type": "http.response.body", "body": b"broken by the rehearsal"})


FrontDoor.__call__ = _fail
"""


def service_image(bento: Path, folder: Path, pointer: str) -> Image:
    """Return an image that serves a Bento's file with the model that the pointer names."""
    folder.mkdir(parents=True)
    with tarfile.open(bento) as archive:
        archive.extractall(folder / "bento", filter="data")
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
    name = "bento/src/bentos/ctr/door.py"  # behind it a model is proved before it serves
    text = Path(image.folder, name).read_text()
    changed_image(image, folder, {name: text + _FAILING})
    return _image(folder)


def broken_image(image: Image, folder: Path) -> Image:
    """Return an image whose service does not start."""
    changed_image(
        image, folder, {"bento/src/bentos/ctr/service.py": "raise ImportError('broken')\n"}
    )
    return _image(folder)


def _image(folder: Path) -> Image:
    environment: Mapping[str, str] = {
        "CLICKLAB_SERVING": str(folder / "serving.yaml"),
        "BENTOML_CONFIG_OPTIONS": "services.ctr.workers=1",
        "PYTHONSAFEPATH": "",  # BentoML puts the Bento's own code first
    }
    words = (*_START, str(folder / "bento"), "--host", "127.0.0.1", "--port", "{port}")
    return Image(str(folder), words, environment)
