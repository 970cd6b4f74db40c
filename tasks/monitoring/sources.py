"""The files of a log that grows, in a folder or below an S3 address, with what tells one content from another."""

import hashlib
import re
from pathlib import Path
from typing import NamedTuple

from tasks.errors import InputError
from tasks.storage.s3 import is_s3, s3_client, s3_errors, split_address
from tasks.storage.workspace import resolve


class SourceFile(NamedTuple):
    """One file.

    Attributes
    ----------
    address
        Path or S3 address.
    name
        A digest of the address, so that a file keeps its name when it grows.
    identity
        A digest of address, size and time or ETag: another content has another one.
    """

    address: str
    name: str
    identity: str


def find_files(place: str, suffixes: tuple[str, ...]) -> list[SourceFile]:
    """Return the files below a place with one of these suffixes, also rotated ones (``.jsonl.1``), sorted by address.

    Raises
    ------
    InputError
        If there is no such file or folder. An empty one is a log without a row.
    UnavailableError
        If S3 is temporarily unavailable.
    """
    kept = re.compile(rf"({'|'.join(map(re.escape, suffixes))})(\.\d+)?$")
    found = _in_s3(place) if is_s3(place) else _local(place)
    return [_file(*one) for one in sorted(found) if kept.search(one[0])]


def read_bytes(address: str) -> bytes:
    """Return the content of a file."""
    if not is_s3(address):
        return Path(address).read_bytes()
    bucket, key = split_address(address)
    with s3_errors(address):
        content: bytes = s3_client().get_object(Bucket=bucket, Key=key)["Body"].read()
    return content


def _file(address: str, state: str) -> SourceFile:
    return SourceFile(address, _digest(address), _digest(f"{address}\n{state}"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _local(place: str) -> list[tuple[str, str]]:
    path = resolve(place)
    if not path.exists():
        raise InputError(f"{place}: not found; name the folder that the service writes to")
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    found = []
    for file in files:
        stat = file.stat()
        found.append((str(file), f"{stat.st_size} {stat.st_mtime_ns}"))
    return found


def _in_s3(place: str) -> list[tuple[str, str]]:
    bucket, prefix = split_address(place)
    folder = prefix if prefix.endswith("/") or not prefix else f"{prefix}/"
    with s3_errors(place):
        pages = s3_client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        entries = [entry for page in pages for entry in page.get("Contents", ())]
    return [
        (f"s3://{bucket}/{entry['Key']}", f"{entry['Size']} {entry['ETag']}")
        for entry in entries
        if entry["Key"] == prefix or entry["Key"].startswith(folder)
    ]
