"""Calls of AWS's interface as a server gets them: what IAM calls them, and what may go wrong with them."""

from __future__ import annotations

import json
import socket
from fnmatch import fnmatchcase
from typing import Any, NoReturn

from framefleet.launcher.sagemaker.iam_policies import LOG_GROUP

REGION, ACCOUNT = "us-east-1", "123456789012"  # moto's own account

# what the launcher calls, as IAM names it
JSON_ACTIONS = {
    "Logs_20140328": "logs",
    "SageMaker": "sagemaker",
    "AmazonEC2ContainerRegistry_V20150921": "ecr",
}
# Service authorization reference, "Actions, resources, and condition keys for Amazon S3"
S3_ACTIONS = {
    "PUT": "s3:PutObject",
    "GET": "s3:GetObject",
    "HEAD": "s3:GetObject",
    "DELETE": "s3:DeleteObject",
}


def refuse(start: Any, code: str, message: str) -> list[bytes]:
    """Answer with an error of AWS's."""
    start("400 Bad Request", [("Content-Type", "application/x-amz-json-1.1")])
    return [json.dumps({"__type": code, "message": message}).encode()]


def hang_up(environ: dict[str, Any]) -> NoReturn:
    """Break the connection without an answer."""
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    raise ConnectionResetError


def as_iam(environ: dict[str, Any], body: bytes) -> tuple[str, str]:
    """The action and the resource that a policy must allow for a call."""
    service, _, operation = environ.get("HTTP_X_AMZ_TARGET", "").partition(".")
    if service in JSON_ACTIONS:
        told = json.loads(body or b"{}")
        prefix = JSON_ACTIONS[service]
        place = {
            "logs": f"log-group:{LOG_GROUP}:*",
            "sagemaker": f"processing-job/{told.get('ProcessingJobName')}",
            "ecr": f"repository/{told.get('repositoryName')}",
        }[prefix]
        return f"{prefix}:{operation}", f"arn:aws:{prefix}:{REGION}:{ACCOUNT}:{place}"
    path = environ["PATH_INFO"].lstrip("/")
    bucket, _, key = path.partition("/")
    if not key and environ["REQUEST_METHOD"] != "POST":
        return "s3:ListBucket", f"arn:aws:s3:::{bucket}"
    if environ["REQUEST_METHOD"] == "POST":
        first = body.decode().partition("<Key>")[2].partition("</Key>")[0]
        return "s3:DeleteObject", f"arn:aws:s3:::{bucket}/{first}"
    return S3_ACTIONS[environ["REQUEST_METHOD"]], f"arn:aws:s3:::{path}"


def is_allowed(call: tuple[str, str], policy: dict[str, Any]) -> bool:
    """Whether a policy allows an action on a resource."""
    return any(
        call[0] in statement["Action"] and any(fnmatchcase(call[1], given) for given in statement["Resource"])
        for statement in policy["Statement"]
    )
