"""The part of requirements.lock that an image needs, with hashes: ``python -m infra.images.requirements IMAGE [PINS]``.

The service's image is given the pins of its Bento, which has the packages of its model besides the service's own.

Runs inside the build, before anything is installed, so it imports only the standard library.
"""

import re
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from tasks.errors import ClicklabError, ConfigError
from tasks.serving.requirements import SERVING, serving_requirements

_INTERACTIVE = {"jupyter-server", "jupyterlab"}  # tasks run notebooks without it
_TRACKING = ("boto3", "mlflow", "psycopg2-binary")


def roots_of(image: str, pyproject: str) -> tuple[str, ...]:
    """Return the direct dependencies of an image; ConfigError if there is no such image."""
    if image == "service":
        return SERVING
    if image == "tracking":
        return _TRACKING
    if image != "pipeline":
        raise ConfigError(f"there is no image {image!r}; there are pipeline, service, tracking")
    project = tomllib.loads(pyproject)["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"].get("dask", ())]
    names = {re.split(r"[\\[<>=!~; ]", one, maxsplit=1)[0].lower() for one in wanted}
    return tuple(sorted(names - _INTERACTIVE))


def locked_requirements(lock: str, roots: Sequence[str]) -> str:
    """Return the entries of a lock file for packages and all their dependencies, with hashes."""
    names = {re.split(r"[\[=]", pin, maxsplit=1)[0] for pin in serving_requirements(lock, roots)}
    kept: list[str] = []
    is_kept = False
    for line in lock.splitlines():
        if pin := re.match(r"([a-z0-9][a-z0-9._-]*)", line):
            is_kept = pin[1] in names
        if is_kept and not line.lstrip().startswith("#"):
            kept.append(line)
    return "\n".join(kept) + "\n"


def pinned(requirements: str) -> tuple[str, ...]:
    """Return the packages that a file of pins names.

    Examples
    --------
    >>> pinned("numpy==2.4.1 ; python_version < '3.13'\nuvicorn[standard]==0.40.0\n")
    ('numpy', 'uvicorn')
    """
    found = (re.match(r"([a-z0-9][a-z0-9._-]*)", line) for line in requirements.splitlines())
    return tuple(match[1] for match in found if match)


def main(words: Sequence[str]) -> int:
    """Print the requirements of an image, and of the pins in a file."""
    image, pins = (*words, "", "")[:2]
    try:
        roots = roots_of(image, Path("pyproject.toml").read_text())
        if pins:
            roots = (*roots, *pinned(Path(pins).read_text()))
        sys.stdout.write(locked_requirements(Path("requirements.lock").read_text(), roots))
    except ClicklabError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
