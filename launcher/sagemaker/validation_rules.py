"""Rules on a request that AWS states in prose only; each comes with the page that states it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from framefleet.launcher.sagemaker.request import Request

LOCAL_ROOT = "/opt/ml/processing/"  # API reference, ProcessingS3Input and ProcessingS3Output: LocalPath
# account.dkr.ecr.region.amazonaws.com/repository:tag or @digest (ECR user guide, "Pushing an image")
ECR_IMAGE = re.compile(
    r"(?P<account>\d{12})\.dkr[.-]ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|on\.aws)"
    r"/(?P<repository>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)(?::(?P<tag>\w[\w.-]{0,127})|@(?P<digest>sha256:[0-9a-f]{64}))?"
)
# API reference, ProcessingClusterConfig: types with local storage get no EBS volume; sizes in GB from the EC2
# user guide, "Instance store volumes". Of newer families only the rule on keys is checked.
LOCAL_STORAGE_FAMILIES = {"r5d", "g4dn", "g5", "g6", "g6e", "g7e", "p5"}
LOCAL_STORAGE_GB = {
    "r5d": {"large": 75, "xlarge": 150, "2xlarge": 300, "4xlarge": 600, "8xlarge": 1200}
    | {"12xlarge": 1800, "16xlarge": 2400, "24xlarge": 3600},
    "g4dn": {"xlarge": 125, "2xlarge": 225, "4xlarge": 225, "8xlarge": 900, "12xlarge": 900, "16xlarge": 900},
    "g5": {"xlarge": 250, "2xlarge": 450, "4xlarge": 600, "8xlarge": 900, "16xlarge": 1900}
    | {"12xlarge": 3800, "24xlarge": 3800, "48xlarge": 7600},
}


@dataclass(frozen=True, slots=True)
class Violation:
    """A value that AWS refuses: where it stands in the request (``Tags[0].Key``), and why."""

    path: str
    text: str


def rule_violations(request: Request, region: str | None) -> Iterator[Violation]:
    """What prose forbids of a request that the service model allows; ``region``: where it is to be sent."""
    yield from _local_paths(request)
    yield from _storage(request)
    yield from _image(request, region)
    yield from _strings(request)
    yield from _tags(request)


def _local_paths(request: Request) -> Iterator[Violation]:
    seen: dict[str, str] = {}
    names: dict[str, str] = {}
    outputs = request["ProcessingOutputConfig"]["Outputs"]
    for kind, path, members in [
        ("Input", "ProcessingInputs", request["ProcessingInputs"]),
        ("Output", "ProcessingOutputConfig.Outputs", outputs),
    ]:
        for index, member in enumerate(members):
            here = f"{path}[{index}]"
            local = member[f"S3{kind}"].get("LocalPath", "")
            if not local.startswith(LOCAL_ROOT):
                yield Violation(f"{here}.S3{kind}.LocalPath", f"{local!r} does not begin with {LOCAL_ROOT}")
            if local in seen:
                yield Violation(f"{here}.S3{kind}.LocalPath", f"{local!r} is that of {seen[local]} too")
            name = member[f"{kind}Name"]
            if name in names:
                yield Violation(f"{here}.{kind}Name", f"{name!r} is that of {names[name]} too")
            seen[local] = names[name] = here


def _storage(request: Request) -> Iterator[Violation]:
    path = "ProcessingResources.ClusterConfig"
    cluster = request["ProcessingResources"]["ClusterConfig"]
    for name in ("InstanceCount", "InstanceType"):  # the model has an alternative, and so requires neither
        if name not in cluster:
            yield Violation(f"{path}.{name}", "is missing")
            return
    _, family, size = cluster["InstanceType"].split(".")
    if family not in LOCAL_STORAGE_FAMILIES:
        return
    if "VolumeKmsKeyId" in cluster:
        yield Violation(
            f"{path}.VolumeKmsKeyId",
            f"{cluster['InstanceType']} has local disks, which encrypt themselves: AWS takes no key for them",
        )
    most = LOCAL_STORAGE_GB.get(family, {}).get(size)
    if most is not None and cluster["VolumeSizeInGB"] > most:
        yield Violation(
            f"{path}.VolumeSizeInGB",
            f"{cluster['VolumeSizeInGB']} GB are more than {cluster['InstanceType']} has, {most} GB",
        )


def _image(request: Request, region: str | None) -> Iterator[Violation]:
    path, uri = "AppSpecification.ImageUri", request["AppSpecification"]["ImageUri"]
    parts = ECR_IMAGE.fullmatch(uri)
    if parts is None:
        yield Violation(
            path,
            f"{uri!r} is no image in Amazon ECR, from where SageMaker takes them: "
            "push it there, and give ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME:TAG",
        )
    elif region is not None and parts["region"] != region:
        yield Violation(
            path,
            f"{uri!r} lies in {parts['region']}, the job runs in {region}: push the image there too, "
            "or correct --region",
        )


def _strings(request: Request) -> Iterator[Violation]:
    application = request["AppSpecification"]
    for name in ("ContainerEntrypoint", "ContainerArguments"):
        for index, text in enumerate(application.get(name, ())):
            if not text:  # sagemaker-python-sdk issue 3758
                yield Violation(f"AppSpecification.{name}[{index}]", "is empty, which AWS refuses")


def _tags(request: Request) -> Iterator[Violation]:
    keys: set[str] = set()
    for index, tag in enumerate(request.get("Tags", ())):
        key = tag["Key"]
        if key.lower().startswith("aws:"):
            yield Violation(f"Tags[{index}].Key", f"{key!r}: keys that begin with aws: are AWS's own")
        if key in keys:
            yield Violation(f"Tags[{index}].Key", f"{key!r} comes twice")
        keys.add(key)
