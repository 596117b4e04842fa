"""The IAM statements that a job needs: for whoever launches it, and for the role that it runs under.

After the developer guide's "SageMaker roles", section "CreateProcessingJob API: execution role permissions",
narrowed down to the buckets, the log group, the repository and the keys of this job.
"""

from __future__ import annotations

from typing import Any

from framefleet.launcher.aws.s3 import S3Folder
from framefleet.launcher.sagemaker.request import SPEC_FOLDER, Job
from framefleet.launcher.sagemaker.source_bundle import FOLDER as BUNDLES
from framefleet.launcher.sagemaker.validation_rules import ECR_IMAGE

Statement = dict[str, Any]
LOG_GROUP = "/aws/sagemaker/ProcessingJobs"
VERSION = "2012-10-17"  # of IAM's policy language
ACCOUNT, REGION = "ACCOUNT", "REGION"  # where these cannot be told


def policies(job: Job, region: str | None) -> dict[str, Statement]:
    """Three policies as IAM takes them: of the launcher, of the role, and of who may assume the role."""
    where = _Where(job, region)
    return {
        "launcher": _policy(_launcher(job, where)),
        "role": _policy(_role(job, where)),
        "trust": _policy(
            [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "sagemaker.amazonaws.com"},
                    "Action": "sts:AssumeRole",
                }
            ]
        ),
    }


class _Where:
    """Names of what a job touches."""

    def __init__(self, job: Job, region: str | None) -> None:
        pieces = (job.settings.role or "").split(":")
        is_arn = len(pieces) == 6
        self.partition = pieces[1] if is_arn else "aws"
        self.account = pieces[4] if is_arn else ACCOUNT
        self.region = region or REGION

    def of(self, service: str, resource: str) -> str:
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    def bucket(self, folder: S3Folder) -> str:
        return f"arn:{self.partition}:s3:::{folder.bucket}"

    def objects(self, folder: S3Folder) -> str:
        return f"{self.bucket(folder)}/{folder.prefix}*"

    def allow_key(self, actions: list[str], name: str) -> Statement:
        """A statement on a KMS key, which a policy cannot name by an alias (KMS developer guide, "Use aliases
        to control access")."""
        alias = name.partition(":alias/")[2] or name.removeprefix("alias/")
        if alias != name:
            condition = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": f"alias/{alias}"}}
            return {**_allow(actions, self.of("kms", "key/*")), "Condition": condition}
        return _allow(actions, name if name.startswith("arn:") else self.of("kms", f"key/{name}"))


def _launcher(job: Job, where: _Where) -> list[Statement]:
    statements = [
        _allow(
            [f"sagemaker:{verb}ProcessingJob" for verb in ("Create", "Describe", "Stop")]
            + (["sagemaker:AddTags"] if job.settings.tags else []),
            where.of("sagemaker", "processing-job/*"),
        ),
        _allow(["sagemaker:ListProcessingJobs"], "*"),  # IAM knows no resource for it
        {
            **_allow(["iam:PassRole"], job.settings.role or f"arn:aws:iam::{ACCOUNT}:role/NAME"),
            "Condition": {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
        },
        _allow(["s3:ListBucket"], *{where.bucket(job.input): 0, where.bucket(job.output): 0}),
        _allow(["s3:GetObject"], where.objects(job.input)),  # for launch.py plan
        _allow(["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], where.objects(job.output)),
        _allow(
            ["logs:FilterLogEvents", "logs:DescribeLogStreams", "logs:GetLogEvents"],
            where.of("logs", f"log-group:{LOG_GROUP}:*"),
        ),
    ]
    image = ECR_IMAGE.fullmatch(job.settings.image or "")
    if image is not None:
        statements.append(_allow(["ecr:DescribeImages"], _repository(job, where)))
    if job.settings.kms_key:
        statements.append(where.allow_key(["kms:GenerateDataKey", "kms:Decrypt"], job.settings.kms_key))
    if job.settings.volume_kms_key:
        statements.append(where.allow_key(["kms:CreateGrant"], job.settings.volume_kms_key))
    return statements


def _role(job: Job, where: _Where) -> list[Statement]:
    # not of this job's specification and bundle alone: the role is for later jobs and versions, too
    reading = [where.objects(job.input), where.objects(job.output.below(SPEC_FOLDER))]
    bundles = job.output.below(BUNDLES)
    reading += [
        where.objects(bundles if source.overlaps(bundles) else source) for _, source, _ in job.more_inputs
    ]
    buckets = {where.bucket(folder): 0 for folder in (job.input, job.output)}
    buckets |= {where.bucket(source): 0 for _, source, _ in job.more_inputs}
    statements = [
        _allow(["s3:ListBucket"], *buckets),
        _allow(["s3:GetObject"], *reading),
        _allow(["s3:PutObject"], where.objects(job.output)),
        _allow(
            ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"],
            where.of("logs", f"log-group:{LOG_GROUP}*"),
        ),
        {
            **_allow(["cloudwatch:PutMetricData"], "*"),
            "Condition": {"StringEquals": {"cloudwatch:namespace": "/aws/sagemaker/ProcessingJobs"}},
        },
        _allow(["ecr:GetAuthorizationToken"], "*"),
        _allow(
            ["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"],
            _repository(job, where),
        ),
    ]
    if job.settings.subnets:
        statements.append(
            _allow(
                [
                    *(f"ec2:{verb}NetworkInterface" for verb in ("Create", "Delete")),
                    *(f"ec2:{verb}NetworkInterfacePermission" for verb in ("Create", "Delete")),
                    *(
                        f"ec2:Describe{what}"
                        for what in ("NetworkInterfaces", "Vpcs", "DhcpOptions", "Subnets", "SecurityGroups")
                    ),
                ],
                "*",
            )
        )
    if job.settings.kms_key:
        statements.append(where.allow_key(["kms:GenerateDataKey", "kms:Decrypt"], job.settings.kms_key))
    if job.settings.volume_kms_key:
        statements.append(
            where.allow_key(["kms:CreateGrant", "kms:DescribeKey"], job.settings.volume_kms_key)
        )
    return statements


def _repository(job: Job, where: _Where) -> str:
    image = ECR_IMAGE.fullmatch(job.settings.image or "")
    if image is None:
        return where.of("ecr", "repository/NAME")
    return f"arn:{where.partition}:ecr:{image['region']}:{image['account']}:repository/{image['repository']}"


def _allow(actions: list[str], *resources: str) -> Statement:
    return {"Effect": "Allow", "Action": actions, "Resource": list(resources)}


def _policy(statements: list[Statement]) -> Statement:
    return {"Version": VERSION, "Statement": statements}
