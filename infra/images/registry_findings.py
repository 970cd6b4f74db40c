"""What the registry's scan found in the latest pushed images: ``python -m infra.images.registry_findings``."""

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from infra.aws import check_account, client, need, outputs, readable_aws_errors, run_verb
from infra.images.pushed import PUSHED, pushed_tags
from tasks.errors import ConfigError, GateError

_ENDED = ("COMPLETE", "ACTIVE")
_FAILED = ("FAILED", "UNSUPPORTED_IMAGE", "SCAN_ELIGIBILITY_EXPIRED", "FINDINGS_UNAVAILABLE")


def severity_counts(
    repository: str, tag: str, *, patience_s: float, poll_s: float
) -> dict[str, int]:
    """Return the number of findings per severity, once the scan of an image has ended.

    Raises
    ------
    ConfigError
        If the scan fails or does not end in time.
    """
    asked = {"repositoryName": repository.partition("/")[2], "imageId": {"imageTag": tag}}
    ecr = client("ecr")
    deadline = time.monotonic() + patience_s
    while True:
        found: dict[str, Any] = {}
        # A scan begins a moment after the push.
        with readable_aws_errors(), suppress(ecr.exceptions.ScanNotFoundException):
            found = ecr.describe_image_scan_findings(**asked)
        status = found.get("imageScanStatus", {}).get("status", "not started")
        if status in _ENDED:
            return dict(found["imageScanFindings"].get("findingSeverityCounts", {}))
        if status in _FAILED or time.monotonic() > deadline:
            raise ConfigError(f"{repository}:{tag}: the scan is {status}; see it in the console")
        time.sleep(poll_s)


def main(words: Sequence[str] | None = None) -> int:
    """Print the findings; return 6 if any has a refused severity."""
    parser = argparse.ArgumentParser(prog="python -m infra.images.registry_findings")
    parser.add_argument("--refuse", default="CRITICAL", help="severities, separated by commas")
    parser.add_argument("--wait", type=float, default=10.0, help="minutes to wait for a scan")
    parser.add_argument("--poll", type=float, default=5.0, help="seconds between polls")
    asked = parser.parse_args(words)
    return run_verb(lambda: _scan(asked))


def _scan(asked: argparse.Namespace) -> None:
    tags = pushed_tags()
    if not tags:
        raise ConfigError(f"{PUSHED} does not exist: nothing has been pushed; run `make push`")
    values = outputs()
    check_account(values)
    refused = []
    for name, tag in tags.items():
        need(values, f"{name}_repository")
        found = severity_counts(
            values[f"{name}_repository"], tag, patience_s=60 * asked.wait, poll_s=asked.poll
        )
        text = ", ".join(f"{count} {severity.lower()}" for severity, count in found.items())
        sys.stdout.write(f"{name}:{tag}: {text or 'nothing found'}\n")
        refused += [name for severity in asked.refuse.split(",") if found.get(severity)]
    if refused:
        raise GateError(
            f"{', '.join(dict.fromkeys(refused))}: findings of severity {asked.refuse}; update the base image or the lock"
        )


if __name__ == "__main__":
    sys.exit(main())
