"""Waits end in time with one timer; a task cancelled for another reason stays cancelled."""

import asyncio

import pytest

from bentos.ctr.http.client_timeouts import SharedTimeout


def run(play):
    """Run a coroutine function on a loop of its own, with a timeout of a twentieth of a second."""
    return asyncio.run(play(SharedTimeout(0.05)))


def test_what_comes_in_time_is_returned():
    """At once or after a moment; an error goes through."""

    async def play(timeout):
        async def late(value):
            await asyncio.sleep(0.01)
            return value

        async def wrong():
            raise KeyError("x")

        assert await timeout.wait(late(3)) == 3
        with pytest.raises(KeyError):
            await timeout.wait(wrong())

    run(play)


def test_what_does_not_come_is_a_timeout_and_the_task_goes_on():
    """Many at once, and again after that."""

    async def play(timeout):
        async def ask():
            for _ in range(2):
                with pytest.raises(TimeoutError):
                    await timeout.wait(asyncio.Event().wait())
            return await timeout.wait(asyncio.sleep(0, "there"))

        assert await asyncio.gather(*(ask() for _ in range(20))) == ["there"] * 20

    run(play)


def test_a_wait_that_is_cancelled_by_others_is_cancelled():
    """It is no timeout."""

    async def play(timeout):
        task = asyncio.ensure_future(timeout.wait(asyncio.Event().wait()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(play)


def test_no_timer_is_left_without_waits():
    """A server without requests sleeps."""

    async def play(timeout):
        await timeout.wait(asyncio.sleep(0))
        await asyncio.sleep(0.03)
        loop = asyncio.get_running_loop()
        assert not [timer for timer in loop._scheduled if not timer.cancelled()]

    run(play)
