"""SageMaker jobs for tests; no account, role or image of these names is real."""

from __future__ import annotations

from typing import Any

from framefleet.common.job.spec import ImageOptions, MetricsOptions, SamplingOptions
from framefleet.launcher.aws.s3 import S3Folder
from framefleet.launcher.aws.settings import ResolvedSettings, Settings
from framefleet.launcher.options.sampling import SamplingRequest
from framefleet.launcher.sagemaker.prepare import SageMakerRequest
from framefleet.launcher.sagemaker.request import Job

ROLE = "arn:aws:iam::123456789012:role/framefleet"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/framefleet:0.1"
INPUT, OUTPUT = S3Folder("bucket", "videos/"), S3Folder("bucket", "frames/")


def make_settings(**changes: Any) -> Settings:
    return Settings(**{"role": ROLE, "image": IMAGE, "region": "us-east-1", **changes})


def make_found(**changes: Any) -> ResolvedSettings:
    return ResolvedSettings(make_settings(**changes), {})


def make_job(*, settings: Settings | None = None, **changes: Any) -> Job:
    fields: dict[str, Any] = {
        "name": "job-1",
        "input": INPUT,
        "output": OUTPUT,
        "instances": 8,
        "mode": "coordinated",
        "volume_gb": 50,
        "settings": settings or make_settings(),
    }
    return Job(**{**fields, **changes})


def make_sagemaker_request(**changes: Any) -> SageMakerRequest:
    fields: dict[str, Any] = {
        "input": INPUT,
        "output": OUTPUT,
        "instances": 2,
        "slots_per_instance": None,
        "sampling": SamplingRequest(SamplingOptions(fps="5")),
        "image": ImageOptions(),
        "mode": "coordinated",
        "on_error": "report",
        "metrics": MetricsOptions(),
        "found": make_found(),
    }
    return SageMakerRequest(**{**fields, **changes})


def put(client: Any, **objects: bytes | str) -> None:
    """Objects of ``bucket``, which is made if need be; names as S3 has them."""
    if not any(found["Name"] == "bucket" for found in client.list_buckets()["Buckets"]):
        client.create_bucket(Bucket="bucket")
    for key, body in objects.items():
        client.put_object(Bucket="bucket", Key=key, Body=body)


def keys(client: Any, prefix: str = "") -> list[str]:
    """The keys of ``bucket`` that begin with ``prefix``."""
    found = client.list_objects_v2(Bucket="bucket", Prefix=prefix).get("Contents", [])
    return [entry["Key"] for entry in found]
