"""The local images and their architectures."""

import json
import subprocess
from typing import Any

from infra.images.engine import Engine

_ARCHITECTURES = {"amd64": "X86_64", "arm64": "ARM64"}


def local_images(engine: Engine) -> list[str]:
    """Return the latest local image of each kind, as name:tag."""
    form = "{{.Name}}:{{.Tag}}" if engine.name == "buildah" else "{{.Repository}}:{{.Tag}}"
    done = subprocess.run(
        [engine.name, "images", "--format", form], capture_output=True, text=True, check=False
    )
    newest: dict[str, str] = {}
    for line in done.stdout.split():
        name = line.removeprefix("localhost/")
        if name.startswith("clicklab-"):
            newest.setdefault(name.partition(":")[0], name)
    return list(newest.values())


def architecture_of(engine: Engine, image: str) -> str:
    """Return the architecture of an image by Fargate's name."""
    words = ["inspect", image] if engine.name == "buildah" else ["image", "inspect", image]
    done = subprocess.run([engine.name, *words], capture_output=True, text=True, check=False)
    try:
        found: Any = json.loads(done.stdout)
    except ValueError:
        return "unknown"
    record = found[0] if isinstance(found, list) else found.get("OCIv1", found)
    name = str(record.get("Architecture") or record.get("architecture") or "unknown")
    return _ARCHITECTURES.get(name, name)
