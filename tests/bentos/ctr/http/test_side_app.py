"""The health check in two levels: for all whether requests get predictions, for some why and from where."""

import asyncio

import httpx
import pytest

from bentos.ctr.http.side_app import SideApp

HEALTH = {"status": "ok", "variants": {"champion": {"source": "s3://bucket/of/account"}}}


def get(health, *, headers=None, host="127.0.0.1", **options):
    """Return status and content of the health check's answer to a client."""
    app = SideApp(lambda: health, lambda document: document, **options)

    async def ask():
        transport = httpx.ASGITransport(app, client=(host, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://side") as client:
            answer = await client.get("/healthcheck", headers=headers or {})
            return answer.status_code, answer.json()

    return asyncio.run(ask())


@pytest.mark.parametrize("headers", [{}, {"x-api-key": "wrong"}, {"x-api-key": ""}])
def test_without_the_key_only_the_status_is_told(headers):
    """Also to a client of this machine, as a proxy's may be."""
    assert get(HEALTH, headers=headers, api_key="secret") == (200, {"status": "ok"})


def test_with_the_key_all_is_told():
    """From wherever."""
    headers = {"x-api-key": "secret"}
    assert get(HEALTH, headers=headers, host="10.0.0.1", api_key="secret") == (200, HEALTH)


def test_a_service_without_a_key_tells_this_machine():
    """Not others, and not those for whom a proxy of this machine asks."""
    assert get(HEALTH) == (200, HEALTH)
    assert get(HEALTH, host="10.0.0.1") == (200, {"status": "ok"})
    for name in ("X-Forwarded-For", "Forwarded"):
        assert get(HEALTH, headers={name: "127.0.0.1"}) == (200, {"status": "ok"})


def test_why_nothing_serves_is_told_to_the_same_clients():
    """The reason names the source."""
    health = {"status": "unavailable", "error": "s3://bucket: denied to account 1"}
    assert get(health) == (503, health)
    assert get(health, host="10.0.0.1") == (503, {"status": "unavailable"})
