"""Remove what no program runs from a virtual environment, and compile the rest: ``python -m infra.images.trim FOLDER``.

Removed are the packages' own tests, headers and sources of compiled modules, and Arrow's Flight. Runs inside the
build, so it imports only the standard library; nothing removed is in a layer, as pip ran in the same step.
"""

import compileall
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

_FOLDERS = ("*/**/tests", "posthog/test", "tornado/test", "pyarrow/include", "numpy/_core/include")
_SOURCES = (".a", ".c", ".cpp", ".h", ".hpp", ".pxd", ".pyx")
_FLIGHT = ("pyarrow/libarrow_flight*", "pyarrow/libarrow_python_flight*", "pyarrow/_flight*")


def unused(packages: Path) -> Iterator[Path]:
    """Yield the unneeded folders and files of a ``site-packages``, folders first."""
    for pattern in _FOLDERS:
        yield from sorted(path for path in packages.glob(pattern) if path.is_dir())
    for pattern in _FLIGHT:
        yield from sorted(packages.glob(pattern))
    yield from sorted(
        path for path in packages.rglob("*") if path.suffix in _SOURCES and path.is_file()
    )


def trim(environment: Path) -> int:
    """Remove what is unused; return its size in bytes."""
    n_bytes = 0
    for packages in environment.glob("lib/python3*/site-packages"):
        for path in list(unused(packages)):
            if path.is_dir():
                n_bytes += sum(one.lstat().st_size for one in path.rglob("*") if one.is_file())
                shutil.rmtree(path)
            elif path.exists():  # unless its folder was removed before
                n_bytes += path.stat().st_size
                path.unlink()
    return n_bytes


def link_openmp(environment: Path) -> None:
    """Give LightGBM the OpenMP library of scikit-learn's wheel; its own relies on the system's, which slim images lack.

    The image's LD_LIBRARY_PATH names the folder ``lib`` of the environment.
    """
    for library in environment.glob("lib/python3*/site-packages/scikit_learn.libs/libgomp*"):
        (environment / "lib" / "libgomp.so.1").symlink_to(library)


def main(words: Sequence[str]) -> int:
    """Trim and compile an environment; templates that are not Python stay as they are."""
    (folder,) = words
    sys.stdout.write(f"{trim(Path(folder)) / 1e6:.0f} MB removed from {folder}\n")
    link_openmp(Path(folder))
    compileall.compile_dir(Path(folder) / "lib", maxlevels=99, quiet=2, workers=0)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
