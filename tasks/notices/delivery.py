"""One notice to one address: chat, e-mail and a hundred others through apprise, SNS through boto3.

Addresses are secrets: they come from the environment, and no message or log line repeats a part of one.
"""

import logging
import os
import re
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tasks.storage.availability import aws_code

SNS_SUBJECT, SNS_BYTES = 100, 262_144
_LOGGERS = ("apprise", "urllib3", "botocore", "boto3", "smtplib")
_GRACE_S = 2.0  # for a receiver that answers just in time
_UNKNOWN = (
    "its address is not one that apprise knows, such as https://hooks.slack.com/..., mailto://..., "
    "jsons://... (docs/notices.md)"
)
_CODE = re.compile(r"error=(\d{3})\b")


class _Kept(logging.Handler):
    """Keeps warnings of one thread, from which only a status code is taken."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append(record.getMessage())


def deliver(
    name: str,
    title: str,
    text: str,
    *,
    timeout_s: float,
    picture: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> str | None:
    """Send a notice to the address in an environment variable; return None, or why it did not arrive, in one line.

    Never raises for a receiver's sake, and takes `timeout_s` and two seconds at most.

    Parameters
    ----------
    name
        The environment variable: an address of apprise, or the ARN of a topic of SNS.
    title, text
        What to say; SNS gets 100 characters and 256 kB at most of them.
    timeout_s
        How long to wait for the receiver.
    picture
        PNG that goes with the text where the receiver takes files.
    environ
        Where variables are looked up; by default ``os.environ``.
    """
    address = (os.environ if environ is None else environ).get(name, "").strip()
    if not address:
        return f"{name} is not set; it should hold the address of a receiver: docs/notices.md"
    _keep_quiet()
    if address.startswith("arn:"):
        call = partial(_send_sns, address, title, text, timeout_s)
    else:
        plugin = _plugin(
            address, timeout_s
        )  # loading all of them takes a second, not the receiver's
        if plugin is None:
            return f"{name}: {_UNKNOWN}"
        call = partial(_send_apprise, plugin, title, text, picture)
    problem = _bounded(call, timeout_s + _GRACE_S)
    return f"{name}: {problem}" if problem else None


def _keep_quiet() -> None:
    """Keep libraries from logging addresses, at any level of ours, and after a receiver that hangs."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.propagate = False
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())


def _bounded(call: Callable[[], str | None], seconds: float) -> str | None:
    """Return what a call returns, or that it took too long: its thread is then left to end with the process."""
    found: list[str | None] = []

    def run() -> None:
        try:
            found.append(call())
        except (
            Exception
        ) as error:  # whatever a receiver's library raises; its text may hold the address
            found.append(f"not delivered ({type(error).__name__})")

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    return found[0] if found else f"no answer within {seconds:.0f} s"


def _plugin(address: str, timeout_s: float) -> Any:
    """Return apprise's plugin for an address; None if it knows none."""
    import apprise

    plugin: Any = apprise.Apprise.instantiate(address, suppress_exceptions=True)
    if plugin is not None:
        plugin.socket_connect_timeout = plugin.socket_read_timeout = timeout_s
        plugin.overflow_mode = apprise.OverflowMode.SPLIT
    return plugin


def _send_apprise(plugin: Any, title: str, text: str, picture: Path | None) -> str | None:
    import apprise

    receiver = apprise.Apprise()
    receiver.add(plugin)
    kept = _Kept()
    logger = logging.getLogger("apprise")
    logger.addHandler(kept)
    try:
        attach = str(picture) if picture is not None and plugin.attachment_support else None
        done = receiver.notify(
            body=text, title=title, body_format=apprise.NotifyFormat.TEXT, attach=attach
        )
    finally:
        logger.removeHandler(kept)
    if done:
        return None
    codes = [found[1] for line in kept.lines if (found := _CODE.search(line))]
    return f"the receiver answered {codes[-1]}" if codes else "the receiver did not take it"


def _send_sns(address: str, title: str, text: str, timeout_s: float) -> str | None:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import ClientError

    parts = address.split(":")
    if len(parts) != 6 or parts[2] != "sns":
        return "it is no topic of SNS, arn:aws:sns:REGION:ACCOUNT:NAME"
    config = Config(
        connect_timeout=timeout_s, read_timeout=timeout_s, retries={"total_max_attempts": 1}
    )
    try:
        client = boto3.client("sns", region_name=parts[3], config=config)
        client.publish(TopicArn=address, Subject=_subject(title), Message=_within(text, SNS_BYTES))
    except ClientError as error:
        return f"SNS answered {aws_code(error)}"
    return None


def _subject(title: str) -> str:
    """Return a subject that SNS takes: ASCII, on one line."""
    plain = re.sub(r"[^ -~]+", "?", title)[:SNS_SUBJECT].strip()
    return plain or "Clicklab"


def _within(text: str, n_bytes: int) -> str:
    return text.encode()[:n_bytes].decode(errors="ignore")
