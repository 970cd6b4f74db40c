"""What the registry's scan found in the images that were pushed last: ``python -m infra.images.scan``."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from infra.aws import check_account, client, need, outputs, readable_aws_errors
from infra.release.deploy import IMAGES
from infra.release.terraform_cli import FOLDER
from tasks.errors import ClicklabError, ConfigError, GateError

_ENDED = ("COMPLETE", "ACTIVE")
_HOPELESS = ("FAILED", "UNSUPPORTED_IMAGE", "SCAN_ELIGIBILITY_EXPIRED", "FINDINGS_UNAVAILABLE")


def counts(repository: str, tag: str, *, patience_s: float, poll_s: float) -> dict[str, int]:
    """Return how many findings of each severity an image has, once its scan has ended.

    Raises
    ------
    ConfigError
        If it does not end, or there is none.
    """
    asked = {"repositoryName": repository.partition("/")[2], "imageId": {"imageTag": tag}}
    ecr = client("ecr")
    patience = time.monotonic() + patience_s
    while True:
        found: dict[str, Any] = {}
        # A scan begins a moment after the push.
        with readable_aws_errors(), suppress(ecr.exceptions.ScanNotFoundException):
            found = ecr.describe_image_scan_findings(**asked)
        status = found.get("imageScanStatus", {}).get("status", "not begun")
        if status in _ENDED:
            return dict(found["imageScanFindings"].get("findingSeverityCounts", {}))
        if status in _HOPELESS or time.monotonic() > patience:
            raise ConfigError(f"{repository}:{tag}: the scan is {status}; see it in the console")
        time.sleep(poll_s)


def main(words: Sequence[str] | None = None) -> int:
    """Print what was found; 6 if anything is as grave as asked for."""
    parser = argparse.ArgumentParser(prog="python -m infra.images.scan")
    parser.add_argument("--refuse", default="CRITICAL", help="severities, separated by commas")
    parser.add_argument("--wait", type=float, default=10.0, help="minutes that a scan may take")
    parser.add_argument("--poll", type=float, default=5.0, help="seconds between two looks")
    asked = parser.parse_args(words)
    try:
        _scan(asked)
    except ClicklabError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


def _scan(asked: argparse.Namespace) -> None:
    path = FOLDER / IMAGES
    if not path.is_file():
        raise ConfigError(f"{path} is not there: nothing was pushed; run `make push`")
    values = outputs()
    check_account(values)
    bad = []
    for name, tag in json.loads(path.read_text())["images"].items():
        need(values, f"{name}_repository")
        found = counts(
            values[f"{name}_repository"], tag, patience_s=60 * asked.wait, poll_s=asked.poll
        )
        text = ", ".join(f"{count} {severity.lower()}" for severity, count in found.items())
        sys.stdout.write(f"{name}:{tag}: {text or 'nothing found'}\n")
        bad += [name for severity in asked.refuse.split(",") if found.get(severity)]
    if bad:
        raise GateError(
            f"{', '.join(dict.fromkeys(bad))}: findings of {asked.refuse}; move the base image or the lock"
        )


if __name__ == "__main__":
    sys.exit(main())
