"""Waits that may not last, with one timer for all of them: a timer a request costs 7 us."""

import asyncio
from collections.abc import Awaitable
from typing import Any

_LOOKS = 4  # in the time that a wait may last


class SharedTimeout:
    """Ends waits that last too long; for one event loop.

    Parameters
    ----------
    seconds
        How long a wait may last; one that lasts longer is ended within the next quarter of that time.
    """

    def __init__(self, seconds: float):
        self._seconds = seconds
        self._since: dict[asyncio.Task[Any], float] = {}
        self._ended: set[asyncio.Task[Any]] = set()
        self._is_armed = False

    async def wait(self, awaited: Awaitable[Any]) -> Any:
        """Return what is waited for, in a task that waits for one thing at a time.

        Raises
        ------
        TimeoutError
            If it took too long.
        """
        task = asyncio.current_task()
        assert task is not None
        loop = task.get_loop()
        self._since[task] = loop.time()
        if not self._is_armed:
            self._arm(loop)
        try:
            return await awaited
        except asyncio.CancelledError:
            if task in self._ended and not task.uncancel():
                raise TimeoutError from None
            raise  # somebody else wants it to end
        finally:
            del self._since[task]
            self._ended.discard(task)

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_armed = True
        loop.call_later(self._seconds / _LOOKS, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_armed = False
        latest = loop.time() - self._seconds
        for task, since in self._since.items():
            if since <= latest and task not in self._ended:
                self._ended.add(task)
                task.cancel()
        if self._since:
            self._arm(loop)
