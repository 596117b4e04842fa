from __future__ import annotations

from typing import Any

from framefleet.launcher.aws.s3 import S3Folder
from framefleet.launcher.sagemaker.request import build_request
from tests.helpers.sagemaker_jobs import IMAGE, ROLE, make_job, make_settings


def test_the_plain_request_is_complete_and_holds_nothing_else() -> None:
    def s3_input(uri: str, path: str) -> dict[str, str]:
        return {
            "S3Uri": uri,
            "LocalPath": path,
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
            "S3DataDistributionType": "FullyReplicated",
            "S3CompressionType": "None",
        }

    assert build_request(make_job()) == {
        "ProcessingJobName": "job-1",
        "ProcessingInputs": [
            {
                "InputName": "videos",
                "S3Input": s3_input("s3://bucket/videos/", "/opt/ml/processing/input/videos"),
            },
            {
                "InputName": "job",
                "S3Input": s3_input("s3://bucket/frames/.framefleet/job-1/", "/opt/ml/processing/input/job"),
            },
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "frames",
                    "S3Output": {
                        "S3Uri": "s3://bucket/frames/",
                        "LocalPath": "/opt/ml/processing/output",
                        "S3UploadMode": "Continuous",
                    },
                }
            ]
        },
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 8, "InstanceType": "ml.c5.2xlarge", "VolumeSizeInGB": 50}
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 86_400},
        "AppSpecification": {"ImageUri": IMAGE},
        "RoleArn": ROLE,
    }


def test_every_setting_has_its_place() -> None:
    settings = make_settings(
        instance_type="ml.m5.large",
        max_runtime=60,
        subnets=["subnet-1"],
        security_groups=["sg-1"],
        kms_key="alias/out",
        volume_kms_key="alias/disk",
        encrypt_traffic=True,
        tags={"a": "b"},
        upload="end",
    )
    more = (("source", S3Folder("code", "v1/"), "/opt/ml/processing/input/source"),)
    request: Any = build_request(
        make_job(settings=settings, mode="sharded", entrypoint=("python3", "go.py"), more_inputs=more)
    )
    videos, job, source = request["ProcessingInputs"]
    assert videos["S3Input"]["S3DataDistributionType"] == "ShardedByS3Key"
    assert job["S3Input"]["S3DataDistributionType"] == "FullyReplicated"
    assert (source["InputName"], source["S3Input"]["S3Uri"]) == ("source", "s3://code/v1/")
    assert source["S3Input"]["S3DataDistributionType"] == "FullyReplicated"
    assert request["ProcessingOutputConfig"]["KmsKeyId"] == "alias/out"
    assert request["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3UploadMode"] == "EndOfJob"
    assert request["ProcessingResources"]["ClusterConfig"] == {
        "InstanceCount": 8,
        "InstanceType": "ml.m5.large",
        "VolumeSizeInGB": 50,
        "VolumeKmsKeyId": "alias/disk",
    }
    assert request["NetworkConfig"] == {
        "EnableInterContainerTrafficEncryption": True,
        "VpcConfig": {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]},
    }
    assert request["Tags"] == [{"Key": "a", "Value": "b"}]
    assert request["StoppingCondition"] == {"MaxRuntimeInSeconds": 60}
    assert request["AppSpecification"]["ContainerEntrypoint"] == ["python3", "go.py"]
