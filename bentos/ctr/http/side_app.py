"""Health and the OpenAPI document, beside the two calls. A Starlette app, so that BentoML can ask which
paths it answers and keep the others.
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
        Returns the answer of ``/healthcheck``; its ``status`` is ``ok`` while requests get predictions.
    describe
        Returns the given OpenAPI document with the calls added, if a model serves.
    base_document
        Returns the document of all other routes.
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
