"""S3 refusing writes on demand: a layer in front of moto."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

_BODY = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message><RequestId>rehearsal</RequestId></Error>"""


class Refusals:
    """A WSGI application that answers 503 to writes whose path has a part that the file lists."""

    def __init__(self, app: Callable[..., Iterable[bytes]], path: Path):
        self._app, self._path = app, path

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        """Answer, or hand on."""
        if environ["REQUEST_METHOD"] in ("PUT", "POST") and self._refuses(environ["PATH_INFO"]):
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start("503 Slow Down", [("Content-Type", "application/xml")])
            return [_BODY]
        return self._app(environ, start)

    def _refuses(self, path: str) -> bool:
        try:
            parts = json.loads(self._path.read_text())
        except FileNotFoundError:
            return False
        return any(part in path for part in parts)
