"""A package added to the project, with a stand-in for the resolver."""

import shutil
import sys
from pathlib import Path

import pytest

from tasks.errors import ConfigError
from tasks.pipeline.dependencies import add_package, pins
from tests.conftest import ROOT

# Pins what is known, keeps what is locked, and fails as uv does.
RESOLVER = """
import re, sys, tomllib
known = {"lightgbm": ["lightgbm==4.6.0", "narwhals==2.1"], "oldpandas": ["oldpandas==1", "numpy==1.26"]}
lock = dict(line.split(" ")[0].split("==") for line in open("requirements.lock") if "==" in line)
for line in tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]:
    name = re.match(r"[\\w-]+", line).group()
    if name in lock: continue
    if name not in known:
        sys.exit(f"  x No solution found when resolving dependencies:\\n  ╰─▶ Because {name} was not found in the package registry and you require {name}, we can conclude")
    lock |= dict(pin.split("==") for pin in known[name])
open("requirements.lock", "w").writelines(f"{name}=={lock[name]} \\\\\\n    --hash=sha256:0\\n" for name in sorted(lock))
"""
PROJECT = """[project]
name = "x"
dependencies = [
  "boto3>=1.40",
  "numpy>=1",    # a remark
  "uvloop>=0.21; sys_platform != 'win32'",
]

[project.optional-dependencies]
dev = []
"""
LOCK = "".join(
    f"{pin} \\\n    --hash=sha256:0\n" for pin in ("boto3==1.41", "numpy==2.4", "uvloop==0.21")
)


@pytest.fixture
def project(tmp_path):
    """A project with three dependencies, and the table of reasons."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "requirements.lock").write_text(LOCK)
    (folder / "ARCHITECTURE.md").write_text(
        "| numpy | loops |\n| typer, rich, pyyaml | commands |\n"
    )
    (tmp_path / "resolver.py").write_text(RESOLVER)
    return folder


def add(project, wanted, why=""):
    command = f"{sys.executable} {project.parent / 'resolver.py'}"
    return add_package(wanted, project, compile_command=command, why=why)


def files(project):
    return {path.name: path.read_text() for path in project.iterdir()}


def test_a_package_gets_its_range_its_pins_and_its_reason(project):
    """In the order of the alphabet; the other pins stay."""
    told = add(project, "lightgbm", why="gradient boosting")
    assert (
        '  "boto3>=1.40",\n  "lightgbm>=4.6",\n  "numpy>=1",    # a remark'
        in files(project)["pyproject.toml"]
    )
    lock = files(project)["requirements.lock"]
    assert pins(lock) == dict(pins(LOCK)) | {"lightgbm": "4.6.0", "narwhals": "2.1"}
    assert "| lightgbm | gradient boosting |\n| typer" in files(project)["ARCHITECTURE.md"]
    assert (
        told[0]
        == "added lightgbm>=4.6 to pyproject.toml; requirements.lock gains lightgbm 4.6.0, narwhals 2.1"
    )


def test_a_range_of_ones_own_is_kept_and_the_row_is_told(project):
    """Without a reason nobody invents one."""
    told = add(project, "lightgbm>=4.5,<5")
    assert '"lightgbm<5,>=4.5"' in files(project)["pyproject.toml"]
    assert told[1].endswith("ARCHITECTURE.md: | lightgbm | WHAT IT IS FOR |")


@pytest.mark.parametrize(
    ("wanted", "line"),
    [
        ("nosuchpackage", r"there is no package 'nosuchpackage' in the package index"),
        ("oldpandas", r"oldpandas needs numpy 1\.26, and 2\.4 is installed"),
        ("numpy", r"pyproject\.toml has 'numpy>=1' already"),
        ("NumPy>=2", r"has 'numpy>=1' already"),
        ("", r"'' is no package; name one as PACKAGE=lightgbm"),
        ("a b", r"is no package"),
        ("x @ git+https://example.org/x", r"is an address"),
    ],
)
def test_what_cannot_be_added_is_one_line_and_changes_nothing(project, wanted, line):
    """Nothing is left half done."""
    before = files(project)
    with pytest.raises(ConfigError, match=line) as caught:
        add(project, wanted)
    assert "\n" not in str(caught.value)
    assert files(project) == before


@pytest.mark.slow
def test_the_real_resolver_says_when_there_is_no_such_package(tmp_path):
    """Needs the package index or fails as without one; either is one line, and nothing changes."""
    uv = shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")
    if not Path(uv).is_file():
        pytest.skip("uv is not installed")
    for name in ("pyproject.toml", "requirements.lock", "README.md"):
        shutil.copy2(ROOT / name, tmp_path / name)
    command = f"{uv} pip compile pyproject.toml --all-extras --universal --python-version 3.11 --quiet --output-file requirements.lock"
    before = files(tmp_path)
    with pytest.raises(ConfigError) as caught:
        add_package("clicklab-no-such-package", tmp_path, compile_command=command)
    assert "clicklab-no-such-package" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert files(tmp_path) == before
