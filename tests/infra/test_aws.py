"""What AWS refuses becomes one line that says what to do."""

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
        (_refusal("UnauthorizedOperation"), ConfigError, "ask for that right"),
        (_refusal("ThrottlingException"), InputError, "refused .ThrottlingException"),
        (NoCredentialsError(), ConfigError, "no AWS credentials were found"),
        (EndpointConnectionError(endpoint_url="http://x"), InputError, "AWS cannot be asked"),
    ],
)
def test_an_answer_of_aws_is_readable_aws_errors(raised, error, line):
    """By its class a scheduler knows whether the user or the input is to blame."""
    with pytest.raises(error, match=line), readable_aws_errors():
        raise raised


def test_a_long_message_stays_one_short_line():
    """IAM's messages run over lines."""
    with pytest.raises(InputError) as caught, readable_aws_errors():
        raise _refusal("Odd", "word\n" * 500)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_outputs_are_the_values_that_terraform_wrote(tmp_path, monkeypatch):
    """Of the file that CLICKLAB_OUTPUTS names."""
    monkeypatch.setenv("CLICKLAB_OUTPUTS", str(write_outputs(tmp_path / "o.json", {"bucket": "b"})))
    assert outputs() == {"region": REGION, "account_id": ACCOUNT, "bucket": "b"}


@pytest.mark.parametrize("text", ["", "[]", "{", json.dumps({"region": "eu-west-1"})])
def test_a_broken_file_of_outputs_is_named(tmp_path, monkeypatch, text):
    """Whatever is wrong with it."""
    path = tmp_path / "outputs.json"
    path.write_text(text)
    monkeypatch.setenv("CLICKLAB_OUTPUTS", str(path))
    with pytest.raises(ConfigError, match="not the outputs of a deployment"):
        outputs()


def test_a_part_that_is_switched_off_is_named():
    """Terraform leaves its outputs empty."""
    with pytest.raises(ConfigError, match="has no listener_arn"):
        need({"listener_arn": ""}, "listener_arn")


def test_a_profile_that_is_not_there_is_one_line(monkeypatch, tmp_path):
    """Not a traceback of boto3's."""
    monkeypatch.setenv("AWS_PROFILE", "gone")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    with pytest.raises(ConfigError, match=r"gone.*AWS_PROFILE"):
        client("sts", region=REGION)


def test_a_deployment_in_another_region_is_not_touched(monkeypatch):
    """The environment asks for one region, the deployment is in another."""
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    with pytest.raises(
        ConfigError, match="AWS_REGION is us-east-1, the deployment is in eu-west-1"
    ):
        check_account({"region": REGION, "account_id": ACCOUNT})
