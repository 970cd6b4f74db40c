"""The middleware in front: what it answers, what it lets through, and what it refuses before anything is read."""

import asyncio
import gzip
import json

import pytest

from bentos.ctr.http.middleware import CallsMiddleware
from bentos.ctr.scoring.calls import Calls
from bentos.ctr.settings import Limits


class Behind:
    """Notes what is let through, and answers it."""

    def __init__(self):
        self.paths = []

    async def __call__(self, scope, receive, send):
        self.paths.append(scope.get("path"))
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})


def middleware(
    *, limits=None, api_key=None, may_force=False, answer=lambda body, asked, started: b"{}"
):
    """Return the middleware whose calls give `answer`, and what is behind it."""
    calls, behind = Calls(), Behind()
    calls.by_path = {"/predict": ("predict", answer), "/rank": ("rank", answer)}
    app = CallsMiddleware(behind, calls, limits=limits, api_key=api_key, may_force=may_force)
    return app, behind


def request(app, *, path="/predict", method="POST", headers=(), parts=(b"{}",), hang=False):
    """Return what the app sends for a request whose body comes in parts; with `hang` the end never comes."""
    sent = []

    async def run():
        waiting = [
            {"type": "http.request", "body": part, "more_body": hang or number < len(parts) - 1}
            for number, part in enumerate(parts)
        ]

        async def receive():
            if waiting:
                return waiting.pop(0)
            if hang:
                await asyncio.sleep(60)
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": method, "path": path, "headers": list(headers)}
        await app(scope, receive, send)

    asyncio.run(run())
    return sent


def status_of(sent):
    """Return status and, if it is JSON, the content of an answer."""
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], json.loads(body) if body else None


def test_a_call_is_answered_and_everything_else_let_through():
    app, behind = middleware(answer=lambda body, asked, started: b'{"body": "%b"}' % body)
    assert status_of(request(app, parts=[b"one", b" two"])) == (200, {"body": "one two"})
    assert behind.paths == []
    assert status_of(request(app, path="/healthcheck", method="GET"))[0] == 204
    assert behind.paths == ["/healthcheck"]


def test_what_is_no_http_is_let_through():
    app, behind = middleware()

    async def run():
        await app({"type": "lifespan", "path": "lifespan"}, None, None)

    asyncio.run(run())
    assert behind.paths == ["lifespan"]


@pytest.mark.parametrize("path", ["/predict", "/livez", "/metrics"])
def test_every_answer_carries_the_security_headers(path):
    sent = request(middleware()[0], path=path)
    headers = dict(sent[0]["headers"])
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert headers[b"cache-control"] == b"no-store"
    assert headers[b"x-frame-options"] == b"DENY"


def test_pages_may_load_nothing_from_elsewhere_and_calls_stay_small():
    """BentoML's page would load Google Tag Manager; answers of calls carry no policy for pages."""
    policy = b"content-security-policy"
    page = dict(request(middleware()[0], path="/", method="GET")[0]["headers"])
    assert page[policy].startswith(b"default-src 'self';")
    assert policy not in dict(request(middleware()[0])[0]["headers"])


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS"])
def test_only_post_is_a_call(method):
    sent = request(middleware()[0], method=method)
    assert sent[0]["status"] == 405
    assert dict(sent[0]["headers"])[b"allow"] == b"POST"


def test_headers_say_request_id_and_variant():
    asked = []
    app, _ = middleware(may_force=True, answer=lambda body, got, _: asked.append(got) or b"{}")
    request(app, headers=[(b"x-request-id", b"abc-1"), (b"x-variant", b"fm")])
    request(app)
    assert asked[0][:2] == ("abc-1", "fm")
    assert asked[1][:2] == (None, None)


def test_a_variant_is_forced_only_where_that_is_allowed():
    """Any client could otherwise move itself, or look at what is not released yet."""
    status, answer = status_of(request(middleware()[0], headers=[(b"x-variant", b"fm")]))
    assert status == 403
    assert "X-Variant" in answer["error"]


@pytest.mark.parametrize("value", [b"", b"a b", b'"', b"a" * 129, b"\xff", b"a\n"])
def test_a_request_id_that_cannot_be_logged_is_refused(value):
    status, answer = status_of(request(middleware()[0], headers=[(b"x-request-id", value)]))
    assert status == 400
    assert "X-Request-Id" in answer["error"]


@pytest.mark.parametrize(
    ("headers", "parts"),
    [
        ([(b"content-length", b"11")], [b""]),
        ([(b"content-length", b"9" * 400)], [b""]),
        ([], [b"x" * 11]),
        ([], [b"x" * 6, b"x" * 6]),
    ],
)
def test_a_large_body_is_refused_and_the_connection_closed(headers, parts):
    sent = request(middleware(limits=Limits(body_bytes=10))[0], headers=headers, parts=parts)
    status, answer = status_of(sent)
    assert status == 413
    assert "larger than 10 bytes" in answer["error"]
    assert dict(sent[0]["headers"])[b"connection"] == b"close"


def test_a_body_that_never_ends_is_given_up():
    app, _ = middleware(limits=Limits(body_seconds=0.05))
    status, answer = status_of(request(app, parts=[b"{"], hang=True))
    assert status == 408
    assert "0.05 s" in answer["error"]


def test_a_body_that_never_begins_is_given_up():
    app, _ = middleware(limits=Limits(body_seconds=0.05))
    assert status_of(request(app, parts=[], hang=True))[0] == 408


def test_a_client_that_has_gone_gets_nothing():
    assert request(middleware()[0], parts=[]) == []


@pytest.mark.parametrize("path", ["/predict", "/rank", "/metrics", "/docs.json", "/"])
def test_with_an_api_key_nothing_is_told_without_it(path):
    app, behind = middleware(api_key="secret")
    for headers in ([], [(b"x-api-key", b"wrong")], [(b"x-api-key", b"")]):
        status, answer = status_of(request(app, path=path, headers=headers))
        assert status == 401
        assert "X-Api-Key" in answer["error"]
    assert behind.paths == []
    assert request(app, path=path, headers=[(b"x-api-key", b"secret")])[0]["status"] in (200, 204)


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz", "/healthcheck"])
def test_health_needs_no_key(path):
    assert request(middleware(api_key="secret")[0], path=path)[0]["status"] == 204


def test_a_defect_is_logged_and_not_shown(caplog):
    def answer(body, asked, started):
        raise RuntimeError("a secret detail")

    status, shown = status_of(request(middleware(answer=answer)[0]))
    assert status == 500
    assert "secret" not in shown["error"] and "secret detail" in caplog.text


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        (b"gzip", gzip.compress(b"{}", mtime=0), 200),
        (b"identity", b"{}", 200),
        (b"gzip", b"{}", 400),
        (b"gzip", gzip.compress(b"{}", mtime=0)[:-4], 400),
        (b"gzip", gzip.compress(b"{}", mtime=0) * 2, 400),
        (b"gzip", gzip.compress(b" " * 10_000_000, mtime=0), 413),
        (b"br", b"{}", 415),
    ],
)
def test_gzip_is_decoded_up_to_the_limit_and_nothing_else_is(encoding, body, status):
    """A small body of many megabytes costs no more than the limit."""
    seen = []
    app, _ = middleware(answer=lambda got, asked, started: seen.append(got) or got)
    found = request(app, headers=[(b"content-encoding", encoding)], parts=(body,))
    assert found[0]["status"] == status
    assert seen == ([b"{}"] if status == 200 else [])
