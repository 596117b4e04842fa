"""The launcher's options on SageMaker Processing. Only click is imported with this module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_ACCESS = [
    click.option("--region", metavar="NAME", help="AWS region.  [default: that of the AWS configuration]"),
    click.option("--profile", metavar="NAME", help="Profile of the AWS configuration."),
    click.option(
        "--price-per-hour", type=float, metavar="USD", help="Price of an instance, to tell what the job cost."
    ),
]
_SETTINGS = [
    click.option("--role", metavar="ARN", help="IAM role that the job runs under."),
    click.option(
        "--image",
        metavar="URI",
        help="The image in Amazon ECR that hosts run; none: one of AWS's, in which they install themselves.",
    ),
    click.option("--instance-type", metavar="TYPE", help="Kind of instance.  [default: ml.c5.2xlarge]"),
    click.option(
        "--volume-size",
        type=int,
        metavar="GB",
        help="Disk of each instance.  [default: from the size of the input, with room for frames]",
    ),
    click.option(
        "--max-runtime", type=int, metavar="S", help="Seconds until AWS stops it.  [default: a day]"
    ),
    click.option("--subnet", "subnets", multiple=True, metavar="ID", help="Subnet of your VPC; repeatable."),
    click.option("--security-group", "security_groups", multiple=True, metavar="ID", help="Repeatable."),
    click.option("--kms-key", metavar="KEY", help="KMS key for the output and the job's specification."),
    click.option("--volume-kms-key", metavar="KEY", help="KMS key for the instances' disks."),
    click.option(
        "--encrypt-traffic", is_flag=True, default=None, help="Let AWS encrypt traffic between instances too."
    ),
    click.option("--tag", "tags", multiple=True, metavar="K=V", help="Tag of the job; repeatable."),
    click.option(
        "--upload",
        type=click.Choice(["continuous", "end"]),
        help="When frames go to S3; what was made is lost with end if the job is stopped.  "
        "[default: continuous]",
    ),
]
_ACTIONS = [
    click.option("--job-name", metavar="NAME", help="Name of the job.  [default: made up]"),
    click.option(
        "--dry-run", is_flag=True, help="Print the request and the IAM statements it needs, and do nothing."
    ),
    click.option("--detach", is_flag=True, help="Submit, and do not follow; see the command attach."),
]


def sagemaker_options(command: F) -> F:
    """Give a click command the options of the SageMaker target."""
    for option in reversed([*_SETTINGS, *_ACCESS, *_ACTIONS]):
        command = option(command)
    return command


def sagemaker_access(command: F) -> F:
    """Give a click command the options on the account and region, for jobs that are there already."""
    for option in reversed(_ACCESS):
        command = option(command)
    return command
