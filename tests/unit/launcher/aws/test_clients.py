"""Whose account, and where: what is told when AWS cannot be reached, or its configuration will not do."""

from __future__ import annotations

from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError

from framefleet.common.errors import UserError
from framefleet.launcher.aws.clients import NoAccessError, open_aws, translated
from framefleet.launcher.sagemaker.prepare import draft
from tests.helpers.sagemaker_jobs import IMAGE, make_found, make_sagemaker_request


@pytest.fixture
def no_account(aws_account: None, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_no_region_no_credentials_no_profile(no_account: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoAccessError, match="no AWS region is set: give --region, for example us-east-1"):
        open_aws(make_found(region=None))
    with pytest.raises(NoAccessError, match="no AWS credentials were found: run `aws configure`"):
        open_aws(make_found())
    with pytest.raises(UserError, match=r"--profile: The config profile \(nobody\) could not be found"):
        open_aws(make_found(profile="nobody"))
    no_account.setenv("AWS_ACCESS_KEY_ID", "half")
    with pytest.raises(NoAccessError, match="no AWS credentials were found"):
        open_aws(make_found())


@pytest.mark.parametrize(
    ("given", "variables", "region"),
    [
        (None, {"AWS_REGION": "eu-west-1"}, "eu-west-1"),
        (None, {"AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-2"),
        (None, {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-1"),
        (None, {}, "eu-west-3"),
        ("us-west-2", {"AWS_REGION": "eu-west-1"}, "us-west-2"),
    ],
)
def test_the_session_has_the_region_that_was_found(
    aws_account: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    given: str | None,
    variables: dict[str, str],
    region: str,
) -> None:
    """What a notebook or the SDK makes of the session must go to where the job is."""
    (tmp_path / "no-config").write_text("[default]\nregion = eu-west-3\n")
    monkeypatch.delenv("AWS_REGION")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    made = open_aws(make_found(region=given))
    assert (made.region, made.session.region_name) == (region, region)


@pytest.mark.parametrize("profile", [None, "mine"])
def test_a_configuration_that_cannot_be_read(aws_account: None, tmp_path: Path, profile: str | None) -> None:
    (tmp_path / "no-config").write_text("[default\nregion = eu-west-3\n")
    for region in ("us-east-1", None):
        with pytest.raises(NoAccessError, match="reading the configuration of AWS: Unable to parse config"):
            open_aws(make_found(profile=profile, region=region))


def test_a_region_that_is_none_is_blamed_before_the_image() -> None:
    for image in (IMAGE, "none"):
        with pytest.raises(UserError, match=r"^--region: 'us-east' is no region of AWS"):
            draft(make_sagemaker_request(found=make_found(region="us-east", image=image)), None)
    with pytest.raises(UserError, match=r"^AWS_REGION, or the AWS configuration: 'x' is no region"):
        draft(make_sagemaker_request(found=make_found(region=None)), None, "x")


def test_a_network_that_is_not_there() -> None:
    wanted = r"listing: AWS cannot be reached .* see to the network"
    with pytest.raises(NoAccessError, match=wanted), translated("listing"):
        raise EndpointConnectionError(endpoint_url="https://s3.us-east-9.amazonaws.com")
