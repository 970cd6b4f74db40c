"""An ASGI app is started, asked and stopped without a server."""

import asyncio
import json

import pytest

from bentos.ctr.in_process import answer


class App:
    """An ASGI app that notes its life, and answers a post with what was posted."""

    def __init__(self, *, starts=True):
        self.life, self.starts = [], starts

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        body = (await receive())["body"]
        found = json.dumps({"path": scope["path"], "body": json.loads(body)}).encode()
        await send({"type": "http.response.start", "status": 201, "headers": []})
        await send({"type": "http.response.body", "body": found[:5], "more_body": True})
        await send({"type": "http.response.body", "body": found[5:]})

    async def _live(self, receive, send):
        for phase in ("startup", "shutdown"):
            self.life.append((await receive())["type"])
            if not self.starts:
                await send({"type": f"lifespan.{phase}.failed", "message": "no model"})
                return
            await send({"type": f"lifespan.{phase}.complete"})


def test_the_app_is_started_asked_and_stopped():
    """As a server would do it; an answer may come in pieces."""
    app = App()
    found = asyncio.run(answer(app, [("/predict", {"a": 1}), ("/rank", None)]))
    assert found == [
        (201, {"path": "/predict", "body": {"a": 1}}),
        (201, {"path": "/rank", "body": None}),
    ]
    assert app.life == ["lifespan.startup", "lifespan.shutdown"]


def test_an_app_that_does_not_start_says_why():
    """It is not asked anything."""
    with pytest.raises(RuntimeError, match="no model"):
        asyncio.run(answer(App(starts=False), [("/predict", {})]))
