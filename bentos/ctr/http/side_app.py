"""What stands beside the two calls: health, and the OpenAPI document. A Starlette app, so that BentoML can
ask which paths it answers and keep the others.
"""

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
        Returns what ``/healthcheck`` answers; its ``status`` is ``ok`` while requests get predictions.
    describe
        Returns the OpenAPI document it is given, with the calls added if something is served.
    base_document
        Returns the document of everything else.
    """

    def __init__(
        self,
        health: Callable[[], dict[str, Any]],
        describe: Callable[[dict[str, Any]], dict[str, Any]],
        base_document: Callable[[], dict[str, Any]] = dict,
    ):
        async def healthcheck(request: Request) -> JSONResponse:
            found = health()
            return JSONResponse(found, status_code=200 if found["status"] == "ok" else 503)

        async def docs(request: Request) -> JSONResponse:
            return JSONResponse(describe(base_document()))

        super().__init__(routes=[Route("/healthcheck", healthcheck), Route("/docs.json", docs)])
