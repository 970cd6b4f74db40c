"""Health and the OpenAPI document, beside the two calls. A Starlette app, so that BentoML can ask which
paths it answers and keep the others.
"""

import hmac
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


class SideApp(Starlette):
    """Answers ``GET /healthcheck`` and ``GET /docs.json``.

    Parameters
    ----------
    health
        Returns the answer of ``/healthcheck``; its ``status`` is ``ok`` while requests get predictions. The rest of it
        names sources and accounts: it is for clients with the key, or on this machine if there is none.
    describe
        Returns the given OpenAPI document with the calls added, if a model serves.
    base_document
        Returns the document of all other routes.
    api_key
        The key, if clients must send one.
    """

    def __init__(
        self,
        health: Callable[[], dict[str, Any]],
        describe: Callable[[dict[str, Any]], dict[str, Any]],
        base_document: Callable[[], dict[str, Any]] = dict,
        *,
        api_key: str | None = None,
    ):
        async def healthcheck(request: Request) -> JSONResponse:
            found = health()
            status = 200 if found["status"] == "ok" else 503
            if not _is_trusted(request, api_key):
                found = {"status": found["status"]}
            return JSONResponse(found, status_code=status)

        async def docs(request: Request) -> JSONResponse:
            return JSONResponse(describe(base_document()))

        super().__init__(routes=[Route("/healthcheck", healthcheck), Route("/docs.json", docs)])


_LOCAL = ("127.0.0.1", "::1")
_FORWARDED = ("forwarded", "x-forwarded-for")  # the client is not the one that connects


def _is_trusted(request: Request, api_key: str | None) -> bool:
    """Return whether a client has the key; without one, whether it is on this machine."""
    if api_key:
        sent = request.headers.get("x-api-key", "")
        return hmac.compare_digest(sent.encode(), api_key.encode())
    is_local = request.client is not None and request.client.host in _LOCAL
    return is_local and not any(name in request.headers for name in _FORWARDED)
