"""What a person sees while tasks run: a line each that counts on, or in a log a line now and then."""

import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from tasks.storage.progress import clock_text

_LOG_EVERY_S = 30.0
_NAME_WIDTH = 18


class TaskLines:
    """The terminal's last lines, as a context manager.

    Parameters
    ----------
    console
        Where to write; the standard error by default. Without a terminal, as in CI, plain lines are written:
        when a task starts and ends, and how far it is every half minute.

    Attributes
    ----------
    every_s
        How often :meth:`show` should be called, in seconds.
    """

    def __init__(self, console: Console | None = None):
        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        is_live = self._console.is_terminal and not self._console.is_dumb_terminal
        self._live: Live | None = None
        if is_live:
            self._live = Live(
                console=self._console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
        self.every_s = 0.2 if is_live else 1.0
        self._shown: dict[str, float] = {}

    def __enter__(self) -> "TaskLines":
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    def started(self, name: str) -> None:
        """Say that a task begins."""
        self._shown[name] = time.monotonic()
        if not self._live:
            self._print(f"· {name}")

    def ended(self, name: str, seconds: float, *, failed: bool) -> None:
        """Say how a task ended."""
        self._print(f"{'✗' if failed else '✓'} {name:<{_NAME_WIDTH}} {seconds:6.1f} s")

    def show(self, running: Mapping[str, tuple[float, str]]) -> None:
        """Show how far tasks are: seconds since the start, and what each last said."""
        if self._live:
            lines = [
                Text(
                    f"· {name:<{_NAME_WIDTH}} {seconds:6.1f} s  {said}",
                    no_wrap=True,
                    overflow="ellipsis",
                )
                for name, (seconds, said) in running.items()
            ]
            self._live.update(Group(*lines), refresh=True)
            return
        now = time.monotonic()
        for name, (seconds, said) in running.items():
            if now - self._shown.get(name, 0.0) >= _LOG_EVERY_S:
                self._shown[name] = now
                self._print(f"  {name} after {clock_text(seconds)}{': ' if said else ''}{said}")

    def _print(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)
