"""A package added to the project: its range in ``pyproject.toml``, its pins in ``requirements.lock``, its reason.

``environment.yml`` installs the lock itself, so nothing changes there.
"""

import re
import shlex
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from tasks.errors import ConfigError
from tasks.storage.files import write_atomic

PROJECT, LOCK, REASONS = "pyproject.toml", "requirements.lock", "ARCHITECTURE.md"
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", re.M)
_LAST_ROW = re.compile(r"^\| typer, rich", re.M)  # a new reason stands before it


def add_package(wanted: str, root: str | Path, *, compile_command: str, why: str = "") -> list[str]:
    """Add a package to the project's files and return what to tell; nothing is installed yet.

    Parameters
    ----------
    wanted
        A name, with a range if it matters: ``lightgbm``, ``lightgbm>=4.5,<5``. Without a range, the version
        found and all later ones are allowed.
    root
        The project.
    compile_command
        Command that resolves ``pyproject.toml`` into ``requirements.lock`` in the current folder and keeps
        the pins that it finds there.
    why
        What the package is for; its row in ``ARCHITECTURE.md``.

    Raises
    ------
    ConfigError
        If the name is not one, is there already, cannot be found, or would move another package; no file
        has changed then.
    """
    root = Path(root)
    requirement = _requirement(wanted)
    text, lock = (root / PROJECT).read_text(), (root / LOCK).read_text()
    _refuse_known(requirement, text)
    before = pins(lock)
    with tempfile.TemporaryDirectory(prefix="clicklab-add-") as place:
        folder = Path(place)
        shutil.copy2(root / LOCK, folder / LOCK)
        (folder / PROJECT).write_text(with_dependency(text, str(requirement)))
        _resolve(compile_command, folder, requirement.name)
        new_lock = (folder / LOCK).read_text()
    after = pins(new_lock)
    moved = {name: after.get(name) for name in before if after.get(name) != before[name]}
    if moved:
        name, found = next(iter(moved.items()))
        raise ConfigError(
            f"{wanted} needs {name} {found or 'removed'}, and {before[name]} is installed ({len(moved)} would move); nothing was "
            f"changed. Name another version (PACKAGE='{requirement.name}==...'), or move all with `make lock`"
        )
    version = after[canonicalize_name(requirement.name)]
    final = str(requirement) if requirement.specifier else f"{requirement.name}>={_minor(version)}"
    write_atomic(root / PROJECT, with_dependency(text, final))
    write_atomic(root / LOCK, new_lock)
    new = [f"{name} {after[name]}" for name in sorted(set(after) - set(before))]
    return [
        f"added {final} to {PROJECT}; {LOCK} gains {', '.join(new) or 'nothing'}",
        _reason(root, requirement.name, why),
    ]


def pins(lock: str) -> Mapping[str, str]:
    """Return package to version as a lock pins them; several versions (for several Pythons) joined."""
    found: dict[str, str] = {}
    for name, version in _PIN.findall(lock):
        key = canonicalize_name(name)
        found[key] = f"{found[key]}, {version}" if key in found else version
    return found


def with_dependency(text: str, line: str) -> str:
    """Return ``pyproject.toml`` with one more dependency, in its place by the alphabet.

    Examples
    --------
    >>> print(with_dependency('dependencies = [\\n  "boto3>=1.40",\\n  "numpy>=2",\\n]\\n', "lightgbm>=4.6"))
    dependencies = [
      "boto3>=1.40",
      "lightgbm>=4.6",
      "numpy>=2",
    ]
    <BLANKLINE>
    """
    start = text.index("dependencies = [\n") + len("dependencies = [\n")
    end = text.index("\n]", start)
    lines = text[start:end].splitlines()
    later = (
        number for number, one in enumerate(lines) if one.strip().strip('"').lower() > line.lower()
    )
    lines.insert(next(later, len(lines)), f'  "{line}",')
    return text[:start] + "\n".join(lines) + text[end:]


def _requirement(wanted: str) -> Requirement:
    try:
        found = Requirement(wanted)
    except InvalidRequirement:
        raise ConfigError(
            f"{wanted!r} is no package; name one as PACKAGE=lightgbm or PACKAGE='lightgbm>=4.5,<5'"
        ) from None
    if found.url:
        raise ConfigError(f"{wanted!r} is an address; the lock holds packages by name and version")
    return found


def _refuse_known(requirement: Requirement, text: str) -> None:
    project = tomllib.loads(text)["project"]
    for line in project["dependencies"]:
        known = Requirement(line)
        if canonicalize_name(known.name) == canonicalize_name(requirement.name):
            raise ConfigError(
                f"{PROJECT} has {line!r} already; edit that line and run `make lock` to move it"
            )


def _resolve(command: str, folder: Path, name: str) -> None:
    words = shlex.split(command)
    if Path(words[0]).is_file():
        words[0] = str(Path(words[0]).resolve())
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    if done.returncode == 0:
        return
    reason = " ".join(done.stderr.replace("│", " ").split())
    if re.search(rf"{re.escape(name)} was not found|not found in the package registry", reason):
        raise ConfigError(f"there is no package {name!r} in the package index; nothing was changed")
    said = re.sub(r"^.*?(╰─▶|Because)", "Because", reason)[:400]
    raise ConfigError(f"{name} cannot be added: {said}; nothing was changed")


def _minor(version: str) -> str:
    return ".".join(version.split(", ")[0].split(".")[:2])


def _reason(root: Path, name: str, why: str) -> str:
    """Add the package's row to the table of dependencies, or say which one to add."""
    row = f"| {name} | {why or 'WHAT IT IS FOR'} |"
    page = root / REASONS
    place = _LAST_ROW.search(page.read_text()) if why and page.is_file() else None
    if place is None:
        return f"add to the table of dependencies in {REASONS}: {row}"
    text = page.read_text()
    write_atomic(page, f"{text[: place.start()]}{row}\n{text[place.start() :]}")
    return f"added to {REASONS}: {row}"
