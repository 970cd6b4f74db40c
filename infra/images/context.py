"""The build context of an image: the files of the commit, and for the service a Bento beside them."""

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.errors import ClicklabError, ConfigError, InputError
from tasks.serving.packed_service import ask_bentoml


def commit(*, may_be_dirty: bool) -> str:
    """Return the commit's id, with ``-dirty`` appended if files differ from it.

    Raises
    ------
    ConfigError
        If files differ and that is not allowed, or there is no commit.
    """
    found = _git("rev-parse", "--short=12", "HEAD").strip()
    changed = _git("status", "--porcelain").splitlines()
    if not changed:
        return found
    if not may_be_dirty:
        raise ConfigError(
            f"{len(changed)} files differ from commit {found}, so no commit identifies the image; "
            "commit them, or pass --dirty"
        )
    return f"{found}-dirty"


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        raise ConfigError(f"git {words[0]} failed ({' '.join(said.split())[:200]})") from None
    return done.stdout


@contextmanager
def staged(bento: Path | None = None) -> Iterator[Path]:
    """Yield a temporary folder with the files that git does not ignore, so that no others get into an image."""
    names = _git("ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0")
    with tempfile.TemporaryDirectory(prefix="clicklab-image-") as name:
        folder = Path(name)
        for path in map(Path, filter(None, names)):
            if path.is_file():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, folder / path)
        if bento is not None:
            shutil.copytree(bento, folder / "bento")
            (folder / "bento").chmod(
                0o755
            )  # BentoML makes it private to its owner; the image's user reads it
        yield folder


def find_bento(name: str) -> tuple[str, Path]:
    """Return tag and folder of a Bento: by its tag in the local store, or a ``.bento`` file to import.

    Raises
    ------
    InputError
        If there is none.
    """
    try:
        known = _imported(name) if name.endswith(".bento") else name
        found: Any = json.loads(ask_bentoml("get", known, "--output", "json"))
        tag = f"{found['name']}:{found['version']}"
        return tag, Path(ask_bentoml("get", tag, "--output", "path").strip())
    except ClicklabError as error:
        raise InputError(
            f"no Bento {name} ({str(error)[:200]}); `make run` builds one, BENTO= names another"
        ) from None


def _imported(file: str) -> str:
    """Import a ``.bento`` file unless the store has it; return its tag."""
    try:
        said = ask_bentoml("import", file)
    except ClicklabError as error:
        if there := re.search(r"Item '(\S+)' already exists", str(error)):
            return there[1]
        raise
    return said.rpartition("tag=")[2].split('"')[1]
