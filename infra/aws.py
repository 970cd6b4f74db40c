"""What every verb needs: AWS clients, the deployment's outputs, errors in one line, and exit codes.

The rehearsal redirects all of it to an emulator by AWS_ENDPOINT_URL, which boto3 reads itself.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from tasks.errors import ClicklabError, ConfigError, InputError

OUTPUTS = Path("infra/terraform/outputs.json")
_LOGIN = "log in again (for example `aws sso login`), or set AWS_PROFILE"
_IDENTITY = ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN")
_BAD_LOGIN = {
    "AuthFailure",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_NO_PERMISSION = {"AuthorizationError", "Forbidden", "UnauthorizedOperation"}


def run_verb(verb: Callable[[], int | None], *, interrupted: str = "interrupted") -> int:
    """Run a verb and return its exit code; a known error is one line and its own code.

    Parameters
    ----------
    interrupted
        The line that Ctrl-C prints.
    """
    try:
        return int(verb() or 0)
    except ClicklabError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write(f"{interrupted}\n")
        return 130
    except BrokenPipeError:  # `make logs | head`
        sys.stderr.close()
        return 0


def outputs_path() -> Path:
    """Return the path of the deployment's outputs."""
    return Path(os.environ.get("CLICKLAB_OUTPUTS") or OUTPUTS)


def outputs() -> dict[str, Any]:
    """Return the deployment's outputs, saved by `make deploy`, or of the file that CLICKLAB_OUTPUTS names.

    Raises
    ------
    ConfigError
        If nothing has been deployed from this checkout.
    """
    path = outputs_path()
    try:
        raw = json.loads(path.read_text())
        return {name: entry["value"] for name, entry in raw.items()}
    except FileNotFoundError:
        raise ConfigError(
            f"{path} does not exist: nothing has been deployed from here; run `make deploy`, "
            "or `make outputs` for an existing deployment"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path}: not the outputs of a deployment ({type(error).__name__}); run `make deploy`"
        ) from None


def need(values: Mapping[str, Any], *names: str) -> None:
    """Raise ConfigError if the deployment lacks an output that a verb needs."""
    for name in names:
        if not values.get(name):
            raise ConfigError(
                f"the deployment has no {name}: that part is switched off or not deployed yet; run `make deploy`"
            )


def client(service: str, *, region: str | None = None) -> Any:
    """Return a client of a service, in the deployment's region unless another is given.

    Raises
    ------
    ConfigError
        If no region is known, or the profile in AWS_PROFILE does not exist.
    """
    found = region or _region()
    with readable_aws_errors():
        return _cached_client(service, found, *(os.environ.get(name) for name in _IDENTITY))


@cache
def _cached_client(service: str, region: str | None, *_: str | None) -> Any:
    """Return a client; cached, because creating one takes longer than most calls."""
    import boto3
    from botocore.config import Config

    config = Config(retries={"mode": "standard", "max_attempts": 4}, connect_timeout=5)
    return boto3.Session().client(service, region_name=region, config=config)


def region_of_environment() -> str | None:
    """Return the region that the environment sets."""
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")


def _region() -> str | None:
    if found := region_of_environment():
        return found
    try:
        return str(outputs()["region"])
    except (ConfigError, KeyError):
        return None


@contextmanager
def readable_aws_errors() -> Iterator[None]:
    """Turn an error of AWS into one line that says what was found and what to do.

    Raises
    ------
    ConfigError
        If credentials, region or a permission is missing.
    InputError
        For any other refusal.
    """
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        CredentialRetrievalError,
        NoCredentialsError,
        NoRegionError,
        ProfileNotFound,
        SSOTokenLoadError,
        TokenRetrievalError,
        UnauthorizedSSOTokenError,
    )

    try:
        yield
    except NoCredentialsError:
        raise ConfigError(f"no AWS credentials were found; {_LOGIN}") from None
    except (
        CredentialRetrievalError,
        SSOTokenLoadError,
        TokenRetrievalError,
        UnauthorizedSSOTokenError,
    ) as error:
        raise ConfigError(
            f"the AWS credentials cannot be used ({_one_line(error)}); {_LOGIN}"
        ) from None
    except ProfileNotFound as error:
        raise ConfigError(f"{_one_line(error)}; set AWS_PROFILE to an existing one") from None
    except NoRegionError:
        raise ConfigError("no AWS region is set; set AWS_REGION") from None
    except ClientError as error:
        raise _from_response(error) from None
    except (BotoCoreError, Boto3Error) as error:
        raise InputError(f"AWS cannot be reached: {_one_line(error)}") from None


def _from_response(error: Any) -> ClicklabError:
    code = error.response.get("Error", {}).get("Code", "")
    said = _one_line(error.response.get("Error", {}).get("Message") or error)
    if code.startswith("Expired") or code in _BAD_LOGIN:
        return ConfigError(f"the AWS credentials are expired or wrong ({code}); {_LOGIN}")
    if "AccessDenied" in code or code in _NO_PERMISSION:
        return ConfigError(
            f"{error.operation_name} is not allowed: {said}; ask for that permission"
        )
    return InputError(f"{error.operation_name} was refused ({code}): {said}")


def _one_line(text: Any) -> str:
    return " ".join(str(text).split())[:300]


def account() -> str:
    """Return the account of the credentials."""
    with readable_aws_errors():
        return str(client("sts").get_caller_identity()["Account"])


def check_account(values: Mapping[str, Any]) -> None:
    """Raise ConfigError in another account or region than the deployment's."""
    wanted = region_of_environment()
    if wanted and wanted != values["region"]:
        raise ConfigError(
            f"AWS_REGION is {wanted}, the deployment is in {values['region']}; unset it or name another deployment "
            "with CLICKLAB_OUTPUTS"
        )
    found = account()
    if found != str(values["account_id"]):
        raise ConfigError(
            f"the credentials belong to account {found}, the deployment is in {values['account_id']}; switch AWS_PROFILE"
        )
