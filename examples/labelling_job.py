"""A labelling job of SageMaker Ground Truth on a job's frames: tracking objects in video frames.

    python launch.py export out --format ground-truth --s3-uri s3://BUCKET/frames
    aws s3 cp --recursive out/export s3://BUCKET/frames/export
    python examples/labelling_job.py --name people --labels s3://BUCKET/labels.json \\
        --manifest s3://BUCKET/frames/export/ground-truth/0001.manifest --output s3://BUCKET/labelled \\
        --role ROLE_ARN --workteam WORKTEAM_ARN

Each ``.manifest`` is a job of its own, as one takes ten sequences at most.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import boto3

# AWS's own page and functions for this kind of task, in us-east-1. Those of other regions are listed with
# HumanTaskConfig in the API reference.
UI = "arn:aws:sagemaker:us-east-1:394669845002:human-task-ui/VideoObjectTracking"
BEFORE = "arn:aws:lambda:us-east-1:432418664414:function:PRE-VideoObjectTracking"
AFTER = "arn:aws:lambda:us-east-1:432418664414:function:ACS-VideoObjectTracking"


def request(options: argparse.Namespace) -> dict[str, Any]:
    """What ``create_labeling_job`` is called with."""
    return {
        "LabelingJobName": options.name,
        "LabelAttributeName": f"{options.name}-ref",  # labels of video frames are files, so it ends so
        "InputConfig": {"DataSource": {"S3DataSource": {"ManifestS3Uri": options.manifest}}},
        "OutputConfig": {"S3OutputPath": options.output},
        "RoleArn": options.role,
        "LabelCategoryConfigS3Uri": options.labels,
        "HumanTaskConfig": {
            "WorkteamArn": options.workteam,
            "UiConfig": {"HumanTaskUiArn": UI},
            "PreHumanTaskLambdaArn": BEFORE,
            "AnnotationConsolidationConfig": {"AnnotationConsolidationLambdaArn": AFTER},
            "TaskTitle": f"Track objects: {options.name}",
            "TaskDescription": "Draw a box around each object, and follow it through the frames",
            "NumberOfHumanWorkersPerDataObject": 1,
            "TaskTimeLimitInSeconds": 8 * 3600,
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Start a labelling job on frames in S3.")
    for name in ("name", "manifest", "labels", "output", "role", "workteam"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--dry-run", action="store_true", help="print the request, and send nothing")
    options = parser.parse_args()
    if options.dry_run:
        print(json.dumps(request(options), indent=2))
        return
    told = boto3.client("sagemaker").create_labeling_job(**request(options))
    print(told["LabelingJobArn"])


if __name__ == "__main__":
    main()
