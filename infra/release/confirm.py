"""Questions to the person at the terminal; where there is none, the answer is no."""

import sys

from tasks.errors import ConfigError


def ask(question: str, *, answer: str, otherwise: str) -> None:
    """Return if the answer is typed in.

    Raises
    ------
    ConfigError
        If another is, or nobody is there to ask; ``otherwise`` says which option answers beforehand.
    """
    if not sys.stdin.isatty():
        raise ConfigError(f"{question}: nobody is there to ask; {otherwise}")
    sys.stderr.write(f"{question}; type {answer!r} to go on: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() != answer:
        raise ConfigError("not confirmed; nothing was changed")
