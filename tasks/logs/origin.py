"""Where the rows of a log come from, as a short identity that does not change from day to day.

A champion is only replaced by a model of the same origin, so that a simulated log, or another
customer's, never takes the place of the real one unnoticed.
"""

import re
from pathlib import Path

from tasks.storage.s3 import is_s3
from tasks.storage.workspace import project_root

DATA_SUFFIXES = (
    ".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json", ".parquet", ".pq",
    ".gz", ".bz2", ".xz", ".zst", ".zip", ".tar", ".tgz", ".tbz2", ".txz",
)  # fmt: skip
MEMBER_MARK = "!"  # logs.zip!train.csv: one member of an archive
_SIMULATED = "sim://"
_OF_A_DAY = re.compile(r"[\d_T:-]+|[^/]*=[^/]*")  # 2014-10-21, day=21: parts that change daily


def origin_of(source: str, name: str | None = None) -> str:
    """Return the origin of a log: its given name, else its folder or prefix without what changes daily.

    Parameters
    ----------
    source
        A path, ``s3://`` address or ``sim://`` address, as ``data`` in ``env.yaml``.
    name
        A name for it (``origin`` in ``env.yaml``); a simulated log keeps its own all the same.

    Returns
    -------
    str
        The world of a simulated log; else `name`; else the folder of a file, or the folder itself,
        without trailing parts that are dates or partitions. Relative to the project where it lies in it.

    Examples
    --------
    >>> origin_of("sim://avazu?rows=400000&seed=7")
    'sim://avazu'
    >>> origin_of("s3://bucket/clicks/2026/11/27/part-0.csv.gz")
    's3://bucket/clicks'
    >>> origin_of("s3://bucket/clicks/day=27/", name="production")
    'production'
    """
    if source.startswith(_SIMULATED):
        return source.partition("?")[0].rstrip("/")
    if name:
        return name
    source, _ = split_member(source)
    if is_s3(source):
        bucket, *parts = source.removeprefix("s3://").split("/")
        if parts and parts[-1].lower().endswith(DATA_SUFFIXES):
            parts.pop()
        return "/".join([f"s3://{bucket}", *_lasting([part for part in parts if part])])
    path = Path(source).expanduser().resolve()
    folder = path.parent if path.is_file() else path
    if folder.is_relative_to(project_root()):
        return "/".join(_lasting(list(folder.relative_to(project_root()).parts))) or "."
    return folder.anchor + "/".join(_lasting(list(folder.parts[1:])))


def split_member(source: str) -> tuple[str, str | None]:
    """Return an address without the member of an archive that it names, and that member.

    Examples
    --------
    >>> split_member("logs/all.zip!train.gz"), split_member("logs/all.zip")
    (('logs/all.zip', 'train.gz'), ('logs/all.zip', None))
    """
    path, mark, member = source.partition(MEMBER_MARK)
    if not mark or not member or (not is_s3(source) and Path(source).exists()):
        return source, None
    return path, member


def _lasting(parts: list[str]) -> list[str]:
    while parts and _OF_A_DAY.fullmatch(parts[-1]):
        parts = parts[:-1]
    return parts


def slug(origin: str) -> str:
    """Return an origin in lower case letters, digits and hyphens, at most its last 60 characters.

    Examples
    --------
    >>> slug("s3://bucket/Clicks_2026")
    's3-bucket-clicks-2026'
    """
    return re.sub(r"[^a-z0-9]+", "-", origin.lower()).strip("-")[-60:].strip("-") or "project"
