"""How far a task is, as one line of text: in the terminal of ``make run``, or below the running cell in JupyterLab.

Loops over rows call :func:`report`; the trials around them are named by :func:`trial`. A report costs one reading
of the clock, and is shown no more than five times per second.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILE = "CLICKLAB_PROGRESS"  # names the file that the line goes to; without it JupyterLab shows it
_EVERY_S = 0.2
_IN_JUPYTERLAB = "JPY_SESSION_NAME"  # set by the server that started the kernel


Step = tuple[str, int, int]  # its name, its number from 1, how many there are


@dataclass
class _State:
    """The trials around the rows, when the current stretch of work began, and when the line was last passed on."""

    trials: list[Step] = field(default_factory=list)
    began: float = 0.0
    fraction: float = 1.0
    told: float = 0.0


_STATE = _State()


def report(
    n_done: int,
    n_rows: int | None = None,
    *,
    epoch: tuple[int, int] | None = None,
    loss: float | None = None,
) -> None:
    """Report how many rows are done.

    Parameters
    ----------
    n_done, n_rows
        Rows done, and rows in all if that is known.
    epoch
        Number of the epoch and largest number of them.
    loss
        Mean log loss so far, in nats.
    """
    now = time.monotonic()
    if now - _STATE.told < _EVERY_S:
        return
    _STATE.told = now
    steps = [*_STATE.trials, *([("epoch", *epoch)] if epoch else [])]
    fraction = _fraction(steps, n_done / n_rows if n_rows else None)
    if fraction is None or fraction < _STATE.fraction:
        _STATE.began = now
    _STATE.fraction = fraction or 0.0
    _tell(line(steps, n_done, n_rows, loss, _seconds_left(now)))


def send_to(path: str | Path) -> None:
    """Have what this process and its children report from now on written to a file."""
    os.environ[FILE] = str(path)
    vars(_STATE).update(vars(_State()))  # a forked process has its parent's


@contextmanager
def trial(number: int, n_trials: int) -> Iterator[None]:
    """Name the trial of a search around what is reported within it."""
    _STATE.trials.append(("trial", number, n_trials))
    try:
        yield
    finally:
        _STATE.trials.pop()


def line(
    steps: list[Step],
    n_done: int,
    n_rows: int | None,
    loss: float | None = None,
    seconds_left: float | None = None,
) -> str:
    """Return the line that a person reads.

    Examples
    --------
    >>> line([("epoch", 2, 8)], 65536, 320000, 0.38124, 75.2)
    'epoch 2 of 8, 20% of 320,000 rows, up to 1:15 left, log loss 0.3812'
    """
    parts = [f"{name} {number} of {n_steps}" for name, number, n_steps in steps]
    parts.append(f"{n_done / n_rows:.0%} of {n_rows:,} rows" if n_rows else f"{n_done:,} rows")
    if seconds_left is not None:
        parts.append(f"{'up to ' if steps else ''}{clock_text(seconds_left)} left")
    if loss is not None:  # last, because a narrow terminal cuts the end
        parts.append(f"log loss {loss:.4f}")
    return ", ".join(parts)


def clock_text(seconds: float) -> str:
    """Return a time as minutes and seconds, with hours where there are any.

    Examples
    --------
    >>> clock_text(75.2), clock_text(4000)
    ('1:15', '1:06:40')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _fraction(steps: list[Step], rows: float | None) -> float | None:
    """Return the share of the work that is done, the steps' numbers being those that are running."""
    for _, number, n_steps in reversed(steps):
        rows = (number - 1 + (rows or 0.0)) / n_steps
    return rows


def _seconds_left(now: float) -> float | None:
    elapsed, fraction = now - _STATE.began, _STATE.fraction
    return elapsed * (1 - fraction) / fraction if elapsed > 1 and fraction > 0.01 else None


def _tell(text: str) -> None:
    path = os.environ.get(FILE)
    if path:
        with suppress(OSError):  # nobody may lose work because of this line
            Path(path).write_text(text)
    elif _IN_JUPYTERLAB in os.environ:
        _show(text)


def _show(text: str) -> None:
    """Show the line below the running cell, in place of the one before."""
    from IPython.core.getipython import get_ipython
    from IPython.display import display

    shell: Any = get_ipython()  # type: ignore[no-untyped-call]
    if shell is None:
        return
    name = f"clicklab-progress-{shell.execution_count}"
    known = shell.user_ns.setdefault("_clicklab_progress", set())
    display({"text/plain": text}, raw=True, display_id=name, update=name in known)  # type: ignore[no-untyped-call]
    known.add(name)
