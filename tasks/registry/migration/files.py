"""Copies the files of runs and models to the place from which the new store's server reads them."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tasks.registry.migration.rows import SCHEME
from tasks.storage.s3 import is_s3, s3_client, s3_errors, split_address
from tasks.storage.workspace import resolve

Sizes = dict[str, int]  # of files, by their place below the destination


def copy_files(folders: Mapping[str, str], destination: str) -> tuple[Sizes, Sizes]:
    """Copy what is missing at the destination, and return the files' sizes here and there.

    Parameters
    ----------
    folders
        Addresses of folders, old (``file:``) to new.
    destination
        A folder or an S3 prefix.

    Raises
    ------
    InputError, UnavailableError
        If S3 cannot be used; run again to resume.
    """
    files = dict(_files(folders))
    here = {place: path.stat().st_size for place, path in files.items()}
    there = _sizes(destination)
    for place, path in files.items():
        if there.get(place) != here[place]:
            _copy(path, destination, place)
    there = _sizes(destination)
    return here, {place: there[place] for place in here if place in there}


def _files(folders: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    for old, new in folders.items():
        folder = Path(unquote(urlsplit(old).path))
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                yield f"{new.removeprefix(SCHEME)}/{path.relative_to(folder).as_posix()}", path


def _copy(path: Path, destination: str, place: str) -> None:
    if not is_s3(destination):
        target = resolve(destination) / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        return
    bucket, prefix = _split(destination)
    with s3_errors(destination), path.open("rb") as content:
        s3_client().upload_fileobj(content, bucket, prefix + place)


def _sizes(destination: str) -> Sizes:
    if not is_s3(destination):
        root = resolve(destination)
        files = (path for path in root.rglob("*") if path.is_file())
        return {path.relative_to(root).as_posix(): path.stat().st_size for path in files}
    bucket, prefix = _split(destination)
    sizes: Sizes = {}
    with s3_errors(destination):
        pages = s3_client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        for page in pages:
            sizes |= {
                one["Key"].removeprefix(prefix): one["Size"] for one in page.get("Contents", [])
            }
    return sizes


def _split(destination: str) -> tuple[str, str]:
    bucket, prefix = split_address(destination.rstrip("/"))
    return bucket, f"{prefix}/" if prefix else ""
