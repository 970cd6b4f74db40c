"""Notices reach real receivers on this machine; one that does not take them costs a line and bounded time."""

import email
import email.policy
import json
import logging
from io import StringIO

import boto3
import pytest
from apprise.plugins.slack import NotifySlack
from moto.server import ThreadedMotoServer

from tasks.notices.delivery import SNS_BYTES, deliver
from tests.tasks.notices.receivers import mail_server, port_of, silent_server, webhook

pytestmark = pytest.mark.slow  # servers

PNG = (
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\0\0\0\0:~\x9bU\0\0\0\nIDATx\x9cc`\0\0\0\2"
    b"\0\1H\xaf\xa4q\0\0\0\0IEND\xaeB`\x82"
)


def send(address, *, title="ctr: ftrl promoted", text="two\nlines\n", timeout_s=5.0, **more):
    """Deliver a notice to one address."""
    return deliver("HOOK", title, text, timeout_s=timeout_s, environ={"HOOK": address}, **more)


@pytest.fixture
def picture(tmp_path):
    """The smallest PNG."""
    path = tmp_path / "day.png"
    path.write_bytes(PNG)
    return path


def test_a_webhook_gets_title_and_text():
    """As JSON, with the name of a key as Slack-like receivers want it."""
    with webhook() as server:
        address = f"json://127.0.0.1:{port_of(server)}/hook/secret-path?:message=text"
        assert send(address) is None
    path, body = server.received[0]
    assert path.rstrip("/") == "/hook/secret-path"
    assert body["title"] == "ctr: ftrl promoted"
    assert body["text"].rstrip() == "two\nlines"


def test_a_webhook_of_slack_gets_slacks_own_form(monkeypatch, picture):
    """The address is Slack's, only the host is ours; a webhook takes no file, and that is no failure."""
    with webhook() as server:
        monkeypatch.setattr(NotifySlack, "webhook_url", f"http://127.0.0.1:{port_of(server)}/services")  # fmt: skip
        address = "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7Q"
        assert send(address, picture=picture) is None
    path, body = server.received[0]
    assert path == "/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7Q"
    assert "two" in json.dumps(body)
    assert "ftrl promoted" in json.dumps(body)


def test_an_e_mail_holds_subject_text_and_picture(picture):
    """Sent to a mail server without encryption, as one on this machine is."""
    with mail_server() as server:
        port = port_of(server)
        address = (
            f"mailto://127.0.0.1:{port}?mode=insecure&from=ctr@example.com&to=team@example.com"
        )
        assert send(address, picture=picture) is None
    message = email.message_from_bytes(server.received[0], policy=email.policy.default)
    assert message["Subject"] == "ctr: ftrl promoted"
    assert message["To"].endswith("team@example.com")
    parts = {part.get_content_type(): part for part in message.walk()}
    assert parts["image/png"].get_payload(decode=True) == PNG
    assert "two" in message.get_body(("html", "plain")).get_content()


@pytest.fixture
def aws(monkeypatch):
    """A local AWS and its SNS topic, which a queue has subscribed to."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    sns, sqs = (boto3.client(name, region_name="eu-west-1") for name in ("sns", "sqs"))
    topic = sns.create_topic(Name="ctr")["TopicArn"]
    url = sqs.create_queue(QueueName="ctr")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn["Attributes"]["QueueArn"])

    def received():
        found = sqs.receive_message(QueueUrl=url).get("Messages", [])
        return [json.loads(one["Body"]) for one in found]

    yield topic, received
    server.stop()


def test_sns_gets_a_subject_and_a_message_within_its_limits(aws):
    """100 characters of ASCII on one line, and 256 kB that end with a whole character."""
    topic, received = aws
    title = "ctr:\nälter " + "x" * 200
    assert send(topic, title=title, text="ä" * SNS_BYTES) is None
    (message,) = received()
    assert message["Subject"].startswith("ctr:?lter xxx")
    assert len(message["Subject"]) == 100
    assert message["Message"] == "ä" * (SNS_BYTES // 2)


def test_a_topic_that_is_not_there_is_said_without_its_name(aws):
    """AWS's code is enough to go by."""
    problem = send(f"{aws[0]}-other")
    assert problem == "HOOK: SNS answered NotFound"


@pytest.mark.parametrize("form", ["json://127.0.0.1:{}/secret-path", "mailto://127.0.0.1:{}?mode=insecure&from=a@example.com&to=b@example.com"])  # fmt: skip
def test_a_receiver_that_hangs_is_given_up(form):
    """After the time that was allowed; the process goes on."""
    with silent_server() as server:
        problem = send(form.format(port_of(server)), timeout_s=0.3)
    assert problem in (
        "HOOK: no answer within 2 s",
        "HOOK: the receiver did not take it",
    )


def test_a_receiver_that_answers_500_is_one_line():
    """With the code, without the address."""
    with webhook(status=500) as server:
        problem = send(f"json://127.0.0.1:{port_of(server)}/secret-path")
    assert problem == "HOOK: the receiver answered 500"


@pytest.mark.parametrize("address", ["secret-path", "", "://", "nosuch://secret-path", "arn:aws:sns", "https://hooks.slack.com/services/secret-path"])  # fmt: skip
def test_an_address_that_is_none_is_one_line_without_it(address):
    """Also one that is empty, or of a service that nobody knows."""
    problem = send(address, timeout_s=0.5)
    assert problem is not None
    assert "\n" not in problem
    assert "secret-path" not in problem


def test_no_address_reaches_a_log_at_any_level():
    """Neither apprise nor what lies below it may write the path of a webhook, however much is logged."""
    written = StringIO()
    handler, root = logging.StreamHandler(written), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        with webhook(status=500) as server:
            send(f"json://user:secret-word@127.0.0.1:{port_of(server)}/secret-path")
        send("secret-path")
        root.info("the handler works")
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    assert written.getvalue() == "the handler works\n"
