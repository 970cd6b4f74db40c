"""Notebooks in git: saved outputs stay on disk and out of commits, and differences are shown by cell.

``.gitattributes`` names a filter and two drivers; what they run is set in the clone's own configuration by
``make setup``, because git takes commands from nowhere else. Each falls back to git's own way where the
environment is missing.
"""

import subprocess
import sys
from pathlib import Path

OPTIONS = (
    "--keep-id",
    "--drop-tagged-cells=injected-parameters",
    "--extra-keys=metadata.papermill metadata.ploomber metadata.language_info.codemirror_mode "
    "metadata.language_info.file_extension metadata.language_info.mimetype metadata.language_info.version "
    "metadata.language_info.nbconvert_exporter metadata.language_info.pygments_lexer",
)
_BIN = ".venv/bin"
SETTINGS = {
    "filter.notebook.clean": f"if test -x {_BIN}/nbstripout; then {_BIN}/python -m tasks.jupyter.notebook_git; else cat; fi",
    "filter.notebook.smudge": "cat",
    "diff.notebook.command": (
        f"f() {{ if test -x {_BIN}/git-nbdiffdriver; then {_BIN}/git-nbdiffdriver diff --ignore-outputs "
        '--ignore-metadata --ignore-details "$@"; else diff -u "$2" "$5"; true; fi; }; f'
    ),
    "merge.notebook.name": "cells of notebooks",
    "merge.notebook.driver": (
        f"if test -x {_BIN}/git-nbmergedriver; then {_BIN}/git-nbmergedriver merge %O %A %B %L %P; "
        "else git merge-file -L ours -L base -L theirs %A %O %B; fi"
    ),
}


def configure_git(root: str | Path) -> bool:
    """Set filter and drivers in the clone's configuration; False without git or outside a clone."""
    try:
        found = _git(root, "rev-parse", "--show-toplevel")
        if Path(found).resolve() != Path(root).resolve():
            return False  # a folder in a repository of something else
        for name, value in SETTINGS.items():
            _git(root, "config", "--local", name, value)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def _git(root: str | Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def main() -> None:
    """Strip the notebooks named, in place; without names, standard input to standard output."""
    from nbstripout._nbstripout import main as nbstripout

    sys.argv[1:1] = OPTIONS
    nbstripout()


if __name__ == "__main__":
    main()
