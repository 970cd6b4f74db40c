"""What the images contain, package by package, as SPDX files: written by syft, where it is installed."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from infra.images.engine import EngineError
from tasks.errors import ConfigError

FOLDER = Path("products/sbom")


def write_sboms(images: Mapping[str, str]) -> None:
    """Write ``products/sbom/NAME.spdx.json`` for each local image, given as name and tag.

    Raises
    ------
    ConfigError
        If syft is not installed.
    EngineError
        If it fails.
    """
    if shutil.which("syft") is None:
        raise ConfigError("syft is not installed; it lists what an image contains")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, image in images.items():
        path = FOLDER / f"{name}.spdx.json"
        done = subprocess.run(["syft", "scan", image, "--output", f"spdx-json={path}"], check=False)
        if done.returncode:
            raise EngineError(f"`syft scan {image}` failed, see above")
        sys.stdout.write(f"wrote {path}\n")
