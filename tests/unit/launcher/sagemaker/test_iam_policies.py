from __future__ import annotations

import json
from typing import Any

import pytest

from framefleet.launcher.aws.s3 import S3Folder
from framefleet.launcher.sagemaker.iam_policies import policies
from tests.helpers.sagemaker_jobs import ROLE, make_job, make_settings

KEY = "arn:aws:kms:us-east-1:123456789012:key/1"


def actions(policy: dict[str, Any], resource: str | None = None) -> set[str]:
    """All actions of a policy, or those on a resource."""
    return {
        action
        for statement in policy["Statement"]
        for action in statement["Action"]
        if resource is None or resource in statement["Resource"]
    }


def test_the_least_that_a_plain_job_needs() -> None:
    made = policies(make_job(), "us-east-1")
    launcher, role = made["launcher"], made["role"]
    assert actions(launcher, "arn:aws:sagemaker:us-east-1:123456789012:processing-job/*") == {
        "sagemaker:CreateProcessingJob",
        "sagemaker:DescribeProcessingJob",
        "sagemaker:StopProcessingJob",
    }
    assert actions(launcher, ROLE) == {"iam:PassRole"}
    assert actions(launcher, "arn:aws:s3:::bucket/videos/*") == {"s3:GetObject"}  # headers, for plan
    assert actions(launcher, "*") == {"sagemaker:ListProcessingJobs"}
    assert actions(role, "arn:aws:s3:::bucket/videos/*") == {"s3:GetObject"}
    assert actions(role, "arn:aws:s3:::bucket/frames/.framefleet/*") == {"s3:GetObject"}
    assert "job-1" not in json.dumps(made)  # which is one of many
    assert actions(role, "arn:aws:s3:::bucket/frames/*") == {"s3:PutObject"}
    assert "ecr:BatchGetImage" in actions(role, "arn:aws:ecr:us-east-1:123456789012:repository/framefleet")
    everything = json.dumps(made)
    assert "kms:" not in everything
    assert "ec2:" not in everything
    assert "AddTags" not in everything
    assert made["trust"]["Statement"][0]["Principal"] == {"Service": "sagemaker.amazonaws.com"}


def test_the_role_may_read_the_bundle_of_the_next_version_too() -> None:
    job = make_job()
    more = (("framefleet", job.output.below(".framefleet-bundles/0123"), "/opt/ml/processing/input/x"),)
    made = policies(make_job(more_inputs=more), "us-east-1")
    assert actions(made["role"], "arn:aws:s3:::bucket/frames/.framefleet-bundles/*") == {"s3:GetObject"}
    assert "0123" not in json.dumps(made)


def test_what_more_options_need() -> None:
    settings = make_settings(
        kms_key="alias/out", volume_kms_key=KEY, tags={"a": "b"}, subnets=["s-1"], security_groups=["g-1"]
    )
    more = (("source", S3Folder("code", "v1/"), "/opt/ml/processing/input/source"),)
    made = policies(make_job(settings=settings, more_inputs=more), "us-east-1")
    assert "sagemaker:AddTags" in actions(made["launcher"])
    for name in ("launcher", "role"):
        any_key = "arn:aws:kms:us-east-1:123456789012:key/*"
        assert actions(made[name], any_key) == {"kms:GenerateDataKey", "kms:Decrypt"}
        (conditions,) = [one["Condition"] for one in made[name]["Statement"] if any_key in one["Resource"]]
        assert conditions == {"ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/out"}}
        assert "kms:CreateGrant" in actions(made[name], KEY)
    assert "ec2:CreateNetworkInterface" in actions(made["role"], "*")
    assert actions(made["role"], "arn:aws:s3:::code/v1/*") == {"s3:GetObject"}
    assert actions(made["role"], "arn:aws:s3:::code") == {"s3:ListBucket"}


@pytest.mark.parametrize(
    ("key", "resource", "alias"),
    [
        ("alias/a/b", "key/*", "alias/a/b"),
        ("arn:aws:kms:us-east-1:123456789012:alias/a", "key/*", "alias/a"),
        (KEY, "key/1", None),
        ("mrk-12", "key/mrk-12", None),
    ],
)
def test_a_key_by_any_of_its_names(key: str, resource: str, alias: str | None) -> None:
    made = policies(make_job(settings=make_settings(kms_key=key)), "us-east-1")["role"]
    (statement,) = [one for one in made["Statement"] if "kms:Decrypt" in one["Action"]]
    assert statement["Resource"] == [f"arn:aws:kms:us-east-1:123456789012:{resource}"]
    wanted = None if alias is None else {"ForAnyValue:StringEquals": {"kms:ResourceAliases": alias}}
    assert statement.get("Condition") == wanted


def test_other_partitions_have_other_names() -> None:
    settings = make_settings(role="arn:aws-cn:iam::123456789012:role/x")
    made = json.dumps(policies(make_job(settings=settings), "cn-north-1"))
    assert "arn:aws-cn:s3:::bucket/videos/*" in made
    assert "arn:aws:" not in made
