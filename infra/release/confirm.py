"""Confirmation at the terminal; without a terminal the answer is no."""

import sys

from tasks.errors import ConfigError


def confirm(question: str, *, answer: str, otherwise: str) -> None:
    """Return if the expected answer is typed.

    Raises
    ------
    ConfigError
        If another answer is given, or there is no terminal; ``otherwise`` names the option that confirms
        in advance.
    """
    if not sys.stdin.isatty():
        raise ConfigError(f"{question}: there is no terminal to ask at; {otherwise}")
    sys.stderr.write(f"{question}; type {answer!r} to continue: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() != answer:
        raise ConfigError("not confirmed; nothing was changed")
