"""A refusal by AWS becomes one line that says what to do."""

import json

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from infra.aws import check_account, client, need, outputs, readable_aws_errors
from tasks.errors import ConfigError, InputError
from tests.infra.cloud import ACCOUNT, REGION, write_outputs


def _refusal(code, message="no"):
    return ClientError({"Error": {"Code": code, "Message": message}}, "DescribeThings")


@pytest.mark.parametrize(
    ("raised", "error", "line"),
    [
        (_refusal("ExpiredToken"), ConfigError, "expired or wrong .*log in again"),
        (_refusal("ExpiredTokenException"), ConfigError, "expired or wrong"),
        (_refusal("RequestExpired"), ConfigError, "expired or wrong"),
        (_refusal("InvalidClientTokenId"), ConfigError, "expired or wrong"),
        (_refusal("SignatureDoesNotMatch"), ConfigError, "expired or wrong"),
        (_refusal("AccessDeniedException"), ConfigError, "DescribeThings is not allowed: no"),
        (_refusal("UnauthorizedOperation"), ConfigError, "ask for that permission"),
        (_refusal("ThrottlingException"), InputError, "refused .ThrottlingException"),
        (NoCredentialsError(), ConfigError, "no AWS credentials were found"),
        (EndpointConnectionError(endpoint_url="http://x"), InputError, "AWS cannot be reached"),
    ],
)
def test_an_error_of_aws_is_one_line(raised, error, line):
    """Its class decides the exit code."""
    with pytest.raises(error, match=line), readable_aws_errors():
        raise raised


def test_a_long_message_stays_one_short_line():
    """IAM's messages have several lines."""
    with pytest.raises(InputError) as caught, readable_aws_errors():
        raise _refusal("Odd", "word\n" * 500)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_outputs_are_the_values_saved_by_terraform(tmp_path, monkeypatch):
    """From the file that CLICKLAB_OUTPUTS names."""
    monkeypatch.setenv("CLICKLAB_OUTPUTS", str(write_outputs(tmp_path / "o.json", {"bucket": "b"})))
    assert outputs() == {"region": REGION, "account_id": ACCOUNT, "bucket": "b"}


@pytest.mark.parametrize("text", ["", "[]", "{", json.dumps({"region": "eu-west-1"})])
def test_a_malformed_outputs_file_is_named(tmp_path, monkeypatch, text):
    """Empty, not an object, cut off, or without values."""
    path = tmp_path / "outputs.json"
    path.write_text(text)
    monkeypatch.setenv("CLICKLAB_OUTPUTS", str(path))
    with pytest.raises(ConfigError, match="not the outputs of a deployment"):
        outputs()


def test_a_part_that_is_switched_off_is_named():
    """Its outputs are empty."""
    with pytest.raises(ConfigError, match="has no listener_arn"):
        need({"listener_arn": ""}, "listener_arn")


def test_an_unknown_profile_is_one_line(monkeypatch, tmp_path):
    """Not boto3's traceback."""
    monkeypatch.setenv("AWS_PROFILE", "gone")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    with pytest.raises(ConfigError, match=r"gone.*AWS_PROFILE"):
        client("sts", region=REGION)


def test_a_deployment_in_another_region_is_not_touched(monkeypatch):
    """The environment sets one region, the deployment is in another."""
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    with pytest.raises(
        ConfigError, match="AWS_REGION is us-east-1, the deployment is in eu-west-1"
    ):
        check_account({"region": REGION, "account_id": ACCOUNT})
