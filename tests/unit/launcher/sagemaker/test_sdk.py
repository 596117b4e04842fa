"""What the SageMaker SDK sends for a job is what the launcher sends."""

from __future__ import annotations

from typing import Any

import boto3
import msgspec
import pytest

from framefleet import processor
from framefleet.common.errors import UserError
from framefleet.common.job.spec import JobSpec, SamplingOptions
from framefleet.launcher.sagemaker.sdk import SdkJob
from framefleet.launcher.sagemaker.source_bundle import ENTRYPOINT
from tests.helpers.sagemaker_jobs import IMAGE, ROLE, keys, put

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # the SDK's own
    pytest.mark.usefixtures("aws_account"),
]

EVERYTHING: dict[str, Any] = {
    "instance_type": "ml.m5.xlarge",
    "volume_size": 77,
    "max_runtime": 3600,
    "subnets": ["subnet-0123456789abcdef0"],
    "security_groups": ["sg-0123456789abcdef0"],
    "kms_key": "alias/mine",
    "volume_kms_key": "alias/disk",
    "encrypt_traffic": True,
    "tags": {"team": "vision"},
    "upload": "end",
}


@pytest.fixture
def session() -> Any:
    from sagemaker.core.helper.session_helper import Session

    made = Session(boto_session=boto3.Session(region_name="us-east-1"))
    put(made.boto_session.client("s3"), **{"videos/a.mp4": b"x" * 1000, "videos/b.mp4": b"y"})
    return made


def make(session: Any, **options: Any) -> SdkJob:
    given = {"role": ROLE, "image": IMAGE, "region": "us-east-1", "job_name": "job-1", **options}
    made: SdkJob = processor("s3://bucket/videos", "s3://bucket/frames", session=session, **given)
    return made


def sent(job: SdkJob, session: Any) -> dict[str, Any]:
    """What reaches AWS when the SDK runs the job."""
    caught: list[dict[str, Any]] = []
    name = "provide-client-params.sagemaker.CreateProcessingJob"

    def catch(params: dict[str, Any], **_: Any) -> None:
        caught.append(params)

    for client in {id(each): each for each in _clients(session)}.values():
        client.meta.events.register(name, catch)
    job.run(wait=False, logs=False)
    assert len(caught) == 1
    return caught[0]


def _clients(session: Any) -> list[Any]:
    from sagemaker.core.utils.utils import SageMakerClient

    return [
        session.sagemaker_client,
        SageMakerClient(session=session.boto_session, region_name="us-east-1").sagemaker_client,
    ]


@pytest.mark.parametrize("options", [{}, {"instances": 3, **EVERYTHING}, {"mode": "sharded"}])
def test_the_request_is_the_launchers(session: Any, options: dict[str, Any]) -> None:
    job = make(session, **options)
    expected = dict(job.request)
    if "NetworkConfig" in expected:  # the SDK says what is so by default
        expected["NetworkConfig"] = {"EnableNetworkIsolation": False, **expected["NetworkConfig"]}
    assert sent(job, session) == expected


def test_the_request_without_an_image_is_the_launchers_too(
    session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploaded: list[str] = []
    monkeypatch.setattr(
        "framefleet.launcher.sagemaker.submit.upload_bundle",
        lambda aws, folder, say, **_: uploaded.append(folder.uri),
    )
    job = make(session, image="none")
    request = sent(job, session)
    assert request == job.request
    assert request["AppSpecification"]["ContainerEntrypoint"] == list(ENTRYPOINT)
    assert [one["S3Input"]["S3Uri"] for one in request["ProcessingInputs"][2:]] == uploaded


def test_the_specification_is_there_before_the_job(session: Any) -> None:
    job = make(session, sampling={"every": 10}, slots_per_instance=2)
    (path,) = [key for key in keys(session.boto_session.client("s3"), "frames/") if key.endswith(".json")]
    assert f"s3://bucket/{path}".startswith(job.inputs[1].s3_input.s3_uri)
    body = session.boto_session.client("s3").get_object(Bucket="bucket", Key=path)["Body"].read()
    spec = msgspec.json.decode(body, type=JobSpec)
    assert (spec.sampling.every, spec.slots_per_host, spec.job_id) == (10, 2, "job-1")


def test_the_region_may_come_from_aws_region_alone(session: Any) -> None:
    """Which boto3 does not read; the fixture sets no other."""
    put(session.boto_session.client("s3"))
    made = make(None, region=None)
    assert made.processor.sagemaker_session.boto_session.region_name == "us-east-1"
    assert sent(made, made.processor.sagemaker_session) == made.request


def test_a_processor_that_cannot_be_made_leaves_no_keys_behind(
    session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> None:
        raise ValueError("Must setup local AWS configuration with a region supported by SageMaker.")

    monkeypatch.setattr("sagemaker.core.processing.Processor", refuse)
    with pytest.raises(ValueError, match="Must setup"):
        make(session)
    assert keys(session.boto_session.client("s3"), "frames/") == []


def test_a_pipeline_takes_the_job_as_a_step(session: Any) -> None:
    from sagemaker.core.workflow.pipeline_context import PipelineSession
    from sagemaker.core.workflow.utilities import execute_job_functions

    pipelines = PipelineSession(boto_session=session.boto_session)
    job = make(pipelines, instances=2)
    execute_job_functions(job.run())  # as a ProcessingStep does with its step_args
    told = {name: value for name, value in pipelines.context.args.items() if value is not None}
    assert {**told, "ProcessingJobName": "job-1"} == job.request


def test_what_aws_would_refuse_is_refused(session: Any) -> None:
    with pytest.raises(UserError, match="--instance-type"):
        make(session, instance_type="c5.xlarge")
    with pytest.raises(UserError, match="lie in one another"):
        processor("s3://bucket/a", "s3://bucket/a/b", role=ROLE, image=IMAGE, session=session)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sampling": {"FPS": "1"}}, "'FPS' is no option of sampling"),
        ({"sampling": {"keyframe": True}}, "did you mean 'keyframes'"),
        ({"sampling": {"every": 0}}, "whole number from 1"),
        ({"sampling": {"every": True}}, "give a text or a number"),
        ({"sampling": {"keyframes": "yes"}}, "True or False"),
        ({"sampling": {"fps": ["5"]}}, "give a text or a number"),
        ({"instance_typ": "ml.c5.large"}, "did you mean 'instance_type'"),
    ],
)
def test_what_is_no_option_is_refused(session: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        make(session, **options)


@pytest.mark.parametrize(
    ("sampling", "options"),
    [
        ({"fps": 5}, SamplingOptions(fps="5")),
        ({"fps": 0.5, "start": 5}, SamplingOptions(fps="0.5", start="5")),
        ({"every": "10", "max_frames_per_video": "3"}, SamplingOptions(every=10, max_frames_per_video=3)),
    ],
)
def test_numbers_may_be_numbers_or_texts(
    session: Any, sampling: dict[str, Any], options: SamplingOptions
) -> None:
    make(session, sampling=sampling)
    data = (
        session.boto_session.client("s3")
        .get_object(
            Bucket="bucket",
            Key=next(key for key in keys(session.boto_session.client("s3")) if "job.json" in key),
        )["Body"]
        .read()
    )
    assert msgspec.json.decode(data, type=JobSpec).sampling == options


def test_a_variable_of_a_pipeline_is_refused(session: Any) -> None:
    from sagemaker.core.workflow.parameters import ParameterString

    with pytest.raises(UserError, match="source is a ParameterString of the SDK"):
        processor(ParameterString("where"), "s3://bucket/frames", role=ROLE, image=IMAGE, session=session)
    with pytest.raises(UserError, match="instance_type is a ParameterString"):
        make(session, instance_type=ParameterString("kind"))
