"""Small logs for tests: an Avazu-shaped one and another team's."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tasks.schema import Schema

SMALL = Schema.from_dict(
    {
        "name": "small",
        "label": "click",
        "id": "id",
        "time": {"column": "hour", "format": "%y%m%d%H"},
        "features": ["hour_of_day"],
        "fields": {"site": {"missing": "none"}, "pos": {"pattern": "[0-9]"}},
    }
)
OTHER_TEAM = Schema.from_dict(
    {
        "name": "news",
        "label": "tapped",
        "time": {"column": "at", "format": "iso"},
        "fields": {"slot": {}, "os": {}},
    }
)
HEADER = "id,click,hour,site,pos"


def rows(n_rows: int, *, first_id: int = 0, hours: Sequence[str] = ("14102100",)) -> list[str]:
    """Return lines of a valid log: every third row is a click, hours ascend."""
    return [
        f"{first_id + number},{int(number % 3 == 0)},{hours[number * len(hours) // n_rows]},s{number % 7},{number % 4}"
        for number in range(n_rows)
    ]


def write_lines(path: Path, lines: Sequence[str], *, header: str = HEADER, end: str = "\n") -> Path:
    """Write a CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((end.join([header, *lines]) + end).encode())
    return path


def hours_of(n_days: int) -> list[str]:
    """Return every hour of the first days, as Avazu writes it."""
    return [f"1410{21 + day}{hour:02d}" for day in range(n_days) for hour in range(24)]


def read_all(folder: Path) -> list[dict[str, Any]]:
    """Return every row of a log as a dict."""
    from tasks.logs.log import Log

    return [row for batch in Log.open(folder).batches() for row in batch.to_pylist()]


@contextmanager
def local_s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Yield a client of an S3 in this process, which has the bucket ``bucket``."""
    import boto3
    from moto import mock_aws

    from tasks.storage.s3 import _client

    for name, value in {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    _client.cache_clear()
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket="bucket")
        yield client
    _client.cache_clear()
