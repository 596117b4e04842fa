"""Every field of the request, with a value that AWS would refuse and the option that the user must change."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from framefleet.common.errors import UserError
from framefleet.launcher.aws.s3 import S3Folder
from framefleet.launcher.aws.settings import ResolvedSettings
from framefleet.launcher.sagemaker.request import Request, build_request
from framefleet.launcher.sagemaker.validate import check_request, origin_of, request_shape, violations
from framefleet.launcher.sagemaker.validation_rules import LOCAL_STORAGE_FAMILIES
from tests.helpers.sagemaker_jobs import IMAGE, make_found, make_job, make_settings

LONG = "x" * 300
PLACE = "/opt/ml/processing"


def refused(settings: dict[str, Any], job: dict[str, Any], found: ResolvedSettings | None = None) -> str:
    found = found or make_found(**settings)
    request = build_request(make_job(settings=found.settings, **job))
    with pytest.raises(UserError) as caught:
        check_request(request, found, region="us-east-1")
    return str(caught.value)


@pytest.mark.parametrize(
    ("settings", "job", "words"),
    [
        ({}, {"name": "a_b"}, "--job-name: 'a_b' does not have the form"),
        ({}, {"name": "-a"}, "--job-name: '-a' does not have the form"),
        ({}, {"name": "a" * 64}, "--job-name: has 64 characters"),
        ({}, {"name": ""}, "--job-name: has 0 characters"),
        ({}, {"instances": 101}, "--instances: 101 is above the most that AWS takes, 100"),
        ({}, {"instances": 0}, "--instances: 0 is below the least that AWS takes, 1"),
        ({}, {"input": S3Folder("bucket", "v" * 1024 + "/")}, "--input: has 1037 characters"),
        ({}, {"output": S3Folder("bucket", "v" * 1024 + "/")}, "--output: has 1037 characters"),
        ({}, {"volume_gb": 0}, "--volume-size: 0 is below the least that AWS takes, 1"),
        ({}, {"volume_gb": 16_385}, "--volume-size: 16385 is above the most that AWS takes, 16384"),
        ({"max_runtime": 0}, {}, "--max-runtime: 0 is below"),
        ({"max_runtime": 777_601}, {}, "--max-runtime: 777601 is above the most that AWS takes, 777600"),
        ({"instance_type": "ml.c5.3xlarge"}, {}, "--instance-type: 'ml.c5.3xlarge' is none of the values"),
        ({"instance_type": "c5.xlarge"}, {}, "ml.c5.xlarge"),
        ({"role": "arn:aws:iam::12:role/x"}, {}, "--role: 'arn:aws:iam::12:role/x' does not have the form"),
        ({"role": "framefleet"}, {}, "--role: has 10 characters"),
        ({"role": "arn:aws:iam::123456789012:user/someone"}, {}, "--role: "),
        ({"image": IMAGE + "x" * 256}, {}, "--image: has 315 characters"),
        ({"image": "framefleet:latest"}, {}, "--image: 'framefleet:latest' is no image in Amazon ECR"),
        ({"image": IMAGE.replace("us-east-1", "eu-west-1")}, {}, "in eu-west-1, the job runs in us-east-1"),
        ({"kms_key": "not a key"}, {}, "--kms-key: 'not a key' does not have the form"),
        ({"kms_key": "k" * 2049}, {}, "--kms-key: has 2049 characters"),
        ({"volume_kms_key": "not a key"}, {}, "--volume-kms-key: 'not a key' does not have the form"),
        ({"subnets": ["subnet 1"], "security_groups": ["sg-1"]}, {}, "--subnet: 'subnet 1' does not have"),
        ({"subnets": ["s" * 33], "security_groups": ["sg-1"]}, {}, "--subnet: has 33 characters"),
        ({"subnets": ["s-1"] * 17, "security_groups": ["sg-1"]}, {}, "--subnet: has 17 items"),
        ({"subnets": ["s-1"], "security_groups": []}, {}, "--security-group: has 0 items"),
        ({"subnets": [], "security_groups": ["sg-1"]}, {}, "--subnet: has 0 items"),
        ({"subnets": ["s-1"], "security_groups": ["sg-1"] * 6}, {}, "--security-group: has 6 items"),
        ({"subnets": ["s-1"], "security_groups": ["sg_1"]}, {}, "--security-group: 'sg_1' does not have"),
        ({"tags": {str(number): "" for number in range(51)}}, {}, "--tag: has 51 items"),
        ({"tags": {"k" * 129: ""}}, {}, "--tag: has 129 characters"),
        ({"tags": {"k": "v" * 257}}, {}, "--tag: has 257 characters"),
        ({"tags": {"k": "a;b"}}, {}, "--tag: 'a;b' does not have the form"),
        ({"tags": {"k!": ""}}, {}, "--tag: 'k!' does not have the form"),
        ({"tags": {"aws:x": ""}}, {}, "--tag: 'aws:x': keys that begin with aws: are AWS's own"),
        (
            {"instance_type": "ml.g5.xlarge", "volume_kms_key": "alias/k"},
            {},
            "--volume-kms-key: ml.g5.xlarge has local disks",
        ),
        (
            {"instance_type": "ml.g7e.2xlarge", "volume_kms_key": "alias/k"},
            {},
            "--volume-kms-key: ml.g7e.2xlarge has local disks",
        ),
        (
            {},
            {"more_inputs": (("more", S3Folder("b-b", "v" * 1024 + "/"), f"{PLACE}/more"),)},
            "--output: has 1034 characters",  # the bundle of --image none lies there
        ),
        (
            {"instance_type": "ml.r5d.large"},
            {"volume_gb": 76},
            "--volume-size: 76 GB are more than ml.r5d.large has, 75 GB",
        ),
        ({}, {"entrypoint": ("",)}, "is empty, which AWS refuses"),
        ({}, {"entrypoint": ("a\nb",)}, "does not have the form"),
        ({}, {"entrypoint": (LONG,)}, "has 300 characters"),
        ({}, {"entrypoint": ("x",) * 101}, "has 101 items"),
        (
            {},
            {"more_inputs": tuple((f"{n}", S3Folder("b-b", ""), f"{PLACE}/{n}") for n in range(9))},
            "has 11 items",
        ),
        (
            {},
            {"more_inputs": (("more", S3Folder("b-b", ""), "/opt/ml/else"),)},
            "'/opt/ml/else' does not begin with /opt/ml/processing/",
        ),
        (
            {},
            {"more_inputs": (("more", S3Folder("b-b", ""), "/opt/ml/processing/" + LONG),)},
            "has 319 characters",
        ),
        (
            {},
            {"more_inputs": (("videos", S3Folder("b-b", ""), "/opt/ml/processing/x"),)},
            "'videos' is that of ProcessingInputs[0] too",
        ),
        (
            {},
            {"more_inputs": (("more", S3Folder("b-b", ""), "/opt/ml/processing/output"),)},
            "'/opt/ml/processing/output' is that of ProcessingInputs[2] too",
        ),
    ],
)  # fmt: skip
def test_what_aws_would_refuse(settings: dict[str, Any], job: dict[str, Any], words: str) -> None:
    assert words in refused(settings, job)


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"role": None}, "--role is missing"), ({"image": None}, "--image is missing")],
)
def test_what_is_missing_and_where_it_may_be_given(settings: dict[str, Any], words: str) -> None:
    text = refused(settings, {})
    assert words in text
    assert "FRAMEFLEET_" in text
    assert "framefleet.toml" in text


def test_the_message_names_the_place_whose_value_is_in_force() -> None:
    found = ResolvedSettings(
        make_settings(instance_type="ml.c9.large"), {"instance_type": "FRAMEFLEET_INSTANCE_TYPE"}
    )
    assert refused({}, {}, found).startswith("FRAMEFLEET_INSTANCE_TYPE: 'ml.c9.large'")


def test_all_violations_are_told_at_once() -> None:
    text = refused({"max_runtime": 0}, {"instances": 500})
    assert "--instances" in text
    assert "--max-runtime" in text


GOOD = [
    {},
    {"tags": {"Équipe vidéo_1": "Größe 2/3 @x"}, "kms_key": "arn:aws:kms:us-east-1:123456789012:key/a-b"},
    {"image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/a/b-c@sha256:" + "0" * 64},
    {"role": "arn:aws-us-gov:iam::123456789012:role/service-role/A_b+c=d,e.f@g-h", "max_runtime": 777_600},
    {"subnets": ["subnet-1"] * 16, "security_groups": ["sg-1"] * 5, "encrypt_traffic": True},
    {"instance_type": "ml.r5d.large"},
    {"instance_type": "ml.m5.large", "volume_kms_key": "alias/k", "upload": "end"},
]


@pytest.mark.parametrize("settings", GOOD)
def test_nothing_is_found_in_a_good_request(settings: dict[str, Any]) -> None:
    found = make_found(**settings)
    check_request(build_request(make_job(settings=found.settings)), found, region="us-east-1")


def walk(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of all values in a request that are no containers."""
    if isinstance(value, dict):
        return [place for key, member in value.items() for place in walk(member, (*path, key))]
    if isinstance(value, list):
        return [place for index, member in enumerate(value) for place in walk(member, (*path, index))]
    return [path]


def full_request() -> Request:
    settings = make_settings(
        subnets=["s-1"], security_groups=["sg-1"], kms_key="k", volume_kms_key="k", tags={"a": "b"},
        encrypt_traffic=True,
    )  # fmt: skip
    return build_request(make_job(settings=settings, entrypoint=("x",)))


# a value that AWS refuses for every field of the request, and what the user is told to change
REFUSED: dict[str, tuple[Any, str]] = {
    "ProcessingJobName": ("under_score", "--job-name"),
    "ProcessingInputs.InputName": (3, "--input"),
    "ProcessingInputs.S3Input.S3Uri": ("ftp://bucket/videos", "--input"),
    "ProcessingInputs.S3Input.LocalPath": ("/" + LONG, "--input"),
    "ProcessingInputs.S3Input.S3DataType": ("Folder", "--input"),
    "ProcessingInputs.S3Input.S3InputMode": ("FastFile", "--input"),
    "ProcessingInputs.S3Input.S3DataDistributionType": ("Dealt", "--mode"),
    "ProcessingInputs.S3Input.S3CompressionType": ("Zip", "--input"),
    "ProcessingOutputConfig.Outputs.OutputName": (3, "--output"),
    "ProcessingOutputConfig.Outputs.S3Output.S3Uri": ("bucket/frames", "--output"),
    "ProcessingOutputConfig.Outputs.S3Output.LocalPath": ("/" + LONG, "--output"),
    "ProcessingOutputConfig.Outputs.S3Output.S3UploadMode": ("Sometimes", "--upload"),
    "ProcessingOutputConfig.KmsKeyId": ("a key", "--kms-key"),
    "ProcessingResources.ClusterConfig.InstanceCount": (101, "--instances"),
    "ProcessingResources.ClusterConfig.InstanceType": ("ml.m7g.large", "--instance-type"),
    "ProcessingResources.ClusterConfig.VolumeSizeInGB": (0, "--volume-size"),
    "ProcessingResources.ClusterConfig.VolumeKmsKeyId": ("a key", "--volume-kms-key"),
    "StoppingCondition.MaxRuntimeInSeconds": (0, "--max-runtime"),
    "AppSpecification.ImageUri": ("an image", "--image"),
    "AppSpecification.ContainerEntrypoint": (LONG, "--image"),
    "RoleArn": ("arn:aws:iam::123456789012:user/someone", "--role"),
    "NetworkConfig.EnableInterContainerTrafficEncryption": ("yes", "--encrypt-traffic"),
    "NetworkConfig.VpcConfig.SecurityGroupIds": ("sg 1", "--security-group"),
    "NetworkConfig.VpcConfig.Subnets": ("subnet 1", "--subnet"),
    "Tags.Key": ("k!", "--tag"),
    "Tags.Value": ("a;b", "--tag"),
}


def field(place: tuple[Any, ...]) -> str:
    return ".".join(step for step in place if isinstance(step, str))


# EC2 user guide, "Instance store volumes". Of g7 no page with its disks was at hand: AWS would tell.
NO_LOCAL_STORAGE = {
    *("t3", "m4", "m5", "m6i", "m7i", "m7i-flex", "m8i", "m8i-flex"),
    *("c4", "c5", "c6i", "c7i", "c7i-flex", "c8i", "c8i-flex"),
    *("r5", "r6i", "r7i", "r8i", "r8i-flex", "p2", "p3", "g7"),
}


def test_every_instance_family_that_botocore_knows_is_known_here() -> None:
    """A newer botocore has newer families: look up whether they have local disks."""
    shape = request_shape().members["ProcessingResources"].members["ClusterConfig"].members["InstanceType"]
    families = {name.split(".")[1] for name in shape.enum}
    assert families == LOCAL_STORAGE_FAMILIES | NO_LOCAL_STORAGE
    assert not LOCAL_STORAGE_FAMILIES & NO_LOCAL_STORAGE


def test_the_table_of_refused_values_has_every_field() -> None:
    assert set(REFUSED) == {field(place) for place in walk(full_request())}


@pytest.mark.parametrize("place", walk(full_request()), ids=lambda place: ".".join(map(str, place)))
def test_every_field_is_checked_and_its_message_names_the_option(place: tuple[Any, ...]) -> None:
    request = full_request()
    holder: Any = request
    for step in place[:-1]:
        holder = holder[step]
    holder[place[-1]], option = REFUSED[field(place)]
    if place[:2] == ("ProcessingInputs", 1):
        option = "--output"  # the job's specification lies there
    with pytest.raises(UserError) as caught:
        check_request(request, make_found())
    assert str(caught.value).startswith(f"{option}: ")
    assert field(place) in re.sub(r"\[\d+\]", "", str(caught.value))


@pytest.mark.parametrize("place", walk(full_request()), ids=lambda place: ".".join(map(str, place)))
def test_a_wrong_type_or_an_unknown_name_is_found_anywhere(place: tuple[Any, ...]) -> None:
    wrong, unknown = copy.deepcopy(full_request()), copy.deepcopy(full_request())
    for request, at, value in ((wrong, place[-1], object()), (unknown, "Nonsense", 1)):
        holder: Any = request
        for key in place[:-1]:
            holder = holder[key]
        if isinstance(holder, list):
            holder[0] = object()
        else:
            holder[at] = value
        found = list(violations(request, request_shape()))
        assert len(found) == 1
        assert origin_of(found[0].path, make_found()) != ""
    assert not list(violations(full_request(), request_shape()))


def test_a_truth_value_is_no_number() -> None:
    request = full_request()
    request["ProcessingResources"]["ClusterConfig"]["InstanceCount"] = True
    assert [one.path for one in violations(request, request_shape())] == [
        "ProcessingResources.ClusterConfig.InstanceCount"
    ]


def test_what_is_required_is_missed() -> None:
    request = full_request()
    del request["RoleArn"], request["ProcessingResources"]["ClusterConfig"]["VolumeSizeInGB"]
    assert {one.path for one in violations(request, request_shape())} == {
        "RoleArn",
        "ProcessingResources.ClusterConfig.VolumeSizeInGB",
    }
    request = full_request()
    del request["ProcessingResources"]["ClusterConfig"]["InstanceType"]  # not so in the model
    with pytest.raises(UserError, match="--instance-type: is missing"):
        check_request(request, make_found())
