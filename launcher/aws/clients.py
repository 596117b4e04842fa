"""AWS's clients, and what its errors mean to a user: one sentence with the value and the remedy."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from framefleet.common.errors import UserError
from framefleet.launcher.aws.settings import ResolvedSettings

CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 10, 60
MAX_ATTEMPTS = 8  # standard mode: some 40 s of backing off before a throttled call is given up

_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
_UNKNOWN_KEYS = {"InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId"} | {
    "SignatureDoesNotMatch",
    "InvalidSignatureException",
    "IncompleteSignature",
}
_DENIED = {"AccessDenied", "AccessDeniedException", "AllAccessDisabled", "403", "Forbidden"}
_THROTTLED = {"Throttling", "ThrottlingException", "ThrottledException", "TooManyRequestsException"} | {
    "RequestLimitExceeded",
    "SlowDown",
    "RequestThrottled",
    "RequestThrottledException",
    "LimitExceededException",
}
_TEMPORARY = {
    "InternalFailure",
    "InternalServerError",
    "InternalError",
    "ServiceUnavailable",
    "500",
    "502",
    "503",
} | {
    "ServiceUnavailableException",
    "RequestTimeout",
    "RequestTimeoutException",
}
NO_CREDENTIALS = (
    "no AWS credentials were found: run `aws configure` or `aws sso login`, or name a profile with --profile"
)


class NoAccessError(UserError):
    """AWS cannot be asked: no credentials, no region, no network, no permission."""


class Aws:
    """The clients of one account and region, of a session of boto3."""

    def __init__(self, session: Any, region: str) -> None:
        self.region = region
        self.session = session
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """The client of a service, made when it is first asked for."""
        if service not in self._clients:
            from botocore.config import Config

            config = Config(
                retries={"mode": "standard", "max_attempts": MAX_ATTEMPTS},
                connect_timeout=CONNECT_TIMEOUT_S,
                read_timeout=READ_TIMEOUT_S,
            )
            with translated(f"connecting to {service}"), configured():
                made = self.session.client(service, region_name=self.region, config=config)
            self._clients[service] = made
        return self._clients[service]

    @property
    def s3(self) -> Any:
        return self.client("s3")

    @property
    def sagemaker(self) -> Any:
        return self.client("sagemaker")

    @property
    def logs(self) -> Any:
        return self.client("logs")


def open_aws(found: ResolvedSettings) -> Aws:
    """Clients for the region and the credentials in force; nothing is asked over the network.

    Raises:
        UserError: there is no such profile, or no region, or there are no credentials.
    """
    region = region_of(found)
    if not region:
        raise NoAccessError("no AWS region is set: give --region, for example us-east-1, or set AWS_REGION")
    session = _session(found, region)
    with translated("reading the credentials"), configured():
        credentials = session.get_credentials()
    if credentials is None:
        raise NoAccessError(NO_CREDENTIALS)
    return Aws(session, region)


def region_of(found: ResolvedSettings) -> str | None:
    """The region in force, None if there is none.

    As for AWS's own command line, ``AWS_REGION``, which boto3 does not read, counts before
    ``AWS_DEFAULT_REGION`` and the configuration.

    Raises:
        UserError: there is no such profile, or the configuration cannot be read.
    """
    region = found.settings.region or os.environ.get("AWS_REGION")
    return region or _session(found, None).region_name or None


def _session(found: ResolvedSettings, region: str | None) -> Any:
    import boto3
    from botocore.exceptions import ProfileNotFound

    profile = found.settings.profile
    with translated("reading the configuration of AWS"), configured():
        try:
            return boto3.Session(profile_name=profile, region_name=region)
        except ProfileNotFound as error:
            name = found.origin("profile") if profile else "AWS_PROFILE"
            known = ", ".join(boto3.Session().available_profiles) if profile else ""
            raise UserError(f"{name}: {error}" + (f"; there are {known}" if known else "")) from error


@contextlib.contextmanager
def configured() -> Iterator[None]:
    """Turn what botocore raises for values that users have set into the user's error.

    Raises:
        UserError: instead of ValueError: an endpoint that is no URL, a program that prints no credentials.
    """
    try:
        yield
    except ValueError as error:
        raise UserError(
            f"the configuration of AWS will not do ({error}): see AWS_ENDPOINT_URL and the other AWS_ "
            "variables, and the profile in ~/.aws/config"
        ) from error


@contextlib.contextmanager
def translated(doing: str, **context: str) -> Iterator[None]:
    """Turn errors of AWS, and those on the way there, into the user's.

    Args:
        doing: what was being done, for the message: "listing s3://bucket/videos".
        context: values that a remedy may want to name: ``bucket``, ``job``, ``instance_type``.

    Raises:
        UserError: instead of botocore's exceptions; ``NoAccessError`` where AWS cannot be asked at all.
    """
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        kind = NoAccessError if code_of(error) in _EXPIRED | _UNKNOWN_KEYS | _DENIED else UserError
        raise kind(f"{doing}: {_refusal(error.response, error.operation_name, context)}") from error
    except (BotoCoreError, Boto3Error) as error:
        raise NoAccessError(f"{doing}: {_trouble(error)}") from error


def is_temporary(error: Exception) -> bool:
    """Whether asking again later may help: throttling, a server's own trouble, the network."""
    from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

    if isinstance(error, ClientError):
        code = str(error.response.get("Error", {}).get("Code", ""))
        return code in _THROTTLED or code in _TEMPORARY
    return isinstance(error, ConnectionError | HTTPClientError)


def code_of(error: Exception) -> str:
    """AWS's own name for an error; empty if it is not AWS's."""
    response = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def _refusal(response: dict[str, Any], operation: str, context: dict[str, str]) -> str:
    told = response.get("Error", {})
    code, text = str(told.get("Code", "")), str(told.get("Message", "")).strip()
    if code in _EXPIRED:
        return "the AWS credentials have expired: log in again (`aws sso login`), or renew them"
    if code in _UNKNOWN_KEYS:
        return f"AWS does not know these credentials ({code}): see `aws sts get-caller-identity`"
    if code in _DENIED:
        return (
            f"AWS denies {operation} ({text or code}): "
            "--dry-run prints the IAM statements that the launcher and the role need"
        )
    if code in ("NoSuchBucket", "404") and "bucket" in context:
        return f"there is no bucket {context['bucket']}: create it, or correct the name"
    if code in _THROTTLED:
        return f"AWS takes no more calls of {operation} for now ({code}): try again in a minute"
    if code in _TEMPORARY:
        return f"AWS has trouble of its own with {operation} ({code}): try again in a minute"
    if code == "ResourceLimitExceeded":
        kind = context.get("instance_type", "the instance type")
        return (
            f"the account's quota does not suffice ({text}): ask for more of '{kind} for processing job "
            "usage' in Service Quotas, or take fewer --instances or another --instance-type"
        )
    if code == "ResourceInUse":
        return f"the name {context.get('job', '')} is taken: choose another --job-name, or leave it out"
    if code in ("ResourceNotFound", "RepositoryNotFoundException", "ImageNotFoundException"):
        return f"not found: {text or code}"
    return f"AWS refuses {operation}: {text or 'without a reason'} ({code})"


def _trouble(error: Exception) -> str:
    from botocore import exceptions as known

    if isinstance(error, known.NoCredentialsError | known.PartialCredentialsError):
        return NO_CREDENTIALS
    if isinstance(error, known.NoRegionError):
        return "no AWS region is set: give --region"
    if isinstance(error, known.TokenRetrievalError | known.SSOError | known.CredentialRetrievalError):
        return f"the AWS credentials cannot be had ({error}): log in again (`aws sso login`)"
    if isinstance(error, known.ConnectionError | known.HTTPClientError):
        return f"AWS cannot be reached ({error}): see to the network, and whether --region is right"
    return str(error)
