"""A container's disk and variables where it is processes of this machine: folders of its image, linked into one."""

import os
import shutil
import sys
from pathlib import Path

from tests.rehearsal.images import Image
from tests.rehearsal.processes import MARK

_INHERITED = ("PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", MARK)


def disk(image: Image, folder: Path) -> Path:
    """Return the folder, new, with the image's files linked into it: the container's working folder."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "tmp").mkdir(parents=True)
    found = {entry.name: entry for layer in image.layers[::-1] for entry in Path(layer).iterdir()}
    for name, entry in found.items():
        if entry.is_dir():
            (folder / name).symlink_to(entry)
        else:  # a link would lead to the layer that it lies in, and so to the folders of that one
            shutil.copy2(entry, folder)
    return folder


def variables(image: Image, folder: Path, cache: Path) -> dict[str, str]:
    """Return what a container's own system would set; `cache` keeps what Numba and Matplotlib make."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return inherited | {
        "PATH": path,
        "HOME": str(folder),
        "TMPDIR": str(folder / "tmp"),
        "BENTOML_HOME": str(folder / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        "PLOOMBER_STATS_ENABLED": "false",
        "GIT_PYTHON_REFRESH": "quiet",
        "MPLCONFIGDIR": str(cache / "matplotlib"),
        "NUMBA_CACHE_DIR": str(cache / "numba"),
        "PYTHONPATH": os.pathsep.join(image.layers),
        "PYTHONSAFEPATH": "1",  # code comes from the image, so compiled code is found again
        "COLUMNS": "400",  # paths are longer here than in a container, and programs break lines
    }
