from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import boto3
import msgspec
import pytest
from botocore.exceptions import ConnectionClosedError
from botocore.stub import Stubber

from framefleet.common.errors import UserError
from framefleet.common.job.completed import DONE_FILE, Done, DoneVideo, decode_done
from framefleet.common.job.selection import TIMESTAMPS_FILE
from framefleet.common.job.spec import ImageOptions, JobSpec, SamplingOptions
from framefleet.common.output.shard_fields import PackOptions
from framefleet.coordinator.simulation.hosts import LIBRARIES
from framefleet.launcher.aws.clients import Aws, NoAccessError, open_aws
from framefleet.launcher.aws.s3 import S3Folder
from framefleet.launcher.options.sampling import SamplingRequest
from framefleet.launcher.options.sampling_files import read_timestamps
from framefleet.launcher.sagemaker.prepare import Draft, SageMakerRequest, check_taken, draft, make_request
from framefleet.launcher.sagemaker.submit import remove_spec, spec_files, submit
from tests.helpers.sagemaker_jobs import (
    IMAGE,
    INPUT,
    OUTPUT,
    ROLE,
    keys,
    make_found,
    make_sagemaker_request,
    put,
)

MANIFEST = '{"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json"}'


@pytest.fixture
def aws(aws_account: None) -> Aws:
    made = open_aws(make_found())
    put(made.s3, **{"videos/a.mp4": b"x" * 1000, "videos/b.mp4": b"y"})
    return made


def why(aws: Aws, **changes: Any) -> str:
    with pytest.raises(UserError) as caught:
        draft(make_sagemaker_request(**changes), aws)
    return str(caught.value)


def test_a_job_is_created_as_its_draft_says(aws: Aws) -> None:
    request = make_sagemaker_request(job_name="job-1", slots_per_instance=3)
    made = draft(request, aws)
    assert [video.name for video in made.videos or []] == ["a.mp4", "b.mp4"]
    submit(aws, request, made)
    told = aws.sagemaker.describe_processing_job(ProcessingJobName="job-1")
    for name in ("ProcessingInputs", "ProcessingOutputConfig", "AppSpecification", "RoleArn"):
        assert told[name] == made.request[name]
    body = aws.s3.get_object(Bucket="bucket", Key="frames/.framefleet/job-1/job.json")["Body"].read()
    spec = msgspec.json.decode(body, type=JobSpec)
    assert (spec.job_id, spec.run, spec.slots_per_host, spec.is_dealt_out) == ("job-1", "job-1", 3, False)
    assert spec.frame_options == {"--fps": "5", "--format": "jpg", "--quality": "95"}
    assert spec.endpoint is None
    assert spec.metrics.lines == "emf"
    assert spec.link_keys()
    remove_spec(aws, made.job.spec_folder)
    assert keys(aws.s3, "frames/") == []


def test_files_of_the_job_go_beside_its_specification() -> None:
    sampling = SamplingRequest(SamplingOptions(timestamps="timestamps.msgpack"), {"timestamps.msgpack": b"T"})
    request = make_sagemaker_request(sampling=sampling, mode="sharded")
    done = Done([DoneVideo("a.mp4", True, [], 3, 0, 9)], LIBRARIES)
    files = spec_files(request, draft(make_sagemaker_request(mode="sharded"), None).job, done)
    assert set(files) == {"job.json", "timestamps.msgpack", DONE_FILE}
    assert decode_done(files[DONE_FILE]) == done
    assert msgspec.json.decode(files["job.json"], type=JobSpec).is_dealt_out


def test_the_specification_is_encrypted_with_the_given_key(aws: Aws) -> None:
    request = make_sagemaker_request(found=make_found(kms_key="alias/mine"))
    made = draft(request, aws)
    submit(aws, request, made)
    told = aws.s3.head_object(Bucket="bucket", Key=made.job.spec_folder.key("job.json"))
    assert (told["ServerSideEncryption"], told["SSEKMSKeyId"]) == ("aws:kms", "alias/mine")


def test_without_aws_a_volume_is_assumed() -> None:
    made = draft(make_sagemaker_request(), None)
    assert made.request["ProcessingResources"]["ClusterConfig"]["VolumeSizeInGB"] == 30
    assert "a volume of 30 GB is assumed" in made.notes[0]
    given = draft(make_sagemaker_request(found=make_found(volume_size=77)), None)
    assert given.request["ProcessingResources"]["ClusterConfig"]["VolumeSizeInGB"] == 77
    assert given.notes == ()


def test_what_the_buckets_must_be(aws: Aws) -> None:
    nowhere = S3Folder("nowhere-1", "x/")
    assert why(aws, input=nowhere) == (
        "--input s3://nowhere-1/x: there is no bucket nowhere-1: create it, or correct the name"
    )
    assert "--output s3://nowhere-1/x: there is no bucket" in why(aws, output=nowhere)
    boto3.client("s3", region_name="eu-west-1").create_bucket(
        Bucket="far-away", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    text = why(aws, input=S3Folder("far-away", ""))
    assert "lies in eu-west-1, the job would run in us-east-1: give --region eu-west-1" in text


@pytest.mark.parametrize("name", ["frames/v/00000000.jpg", "manifest/job/algo-1-0.parquet", "shards/x.tar"])
def test_the_output_must_hold_no_frames_unless_resumed(aws: Aws, name: str) -> None:
    put(aws.s3, **{f"frames/{name}": b"x"})
    text = why(aws)
    assert f"--output s3://bucket/frames already holds {name.split('/')[0]}" in text
    assert "--resume" in text
    draft(make_sagemaker_request(resume=True), aws)


def test_the_input_must_hold_what_the_files_name(aws: Aws, tmp_path: Path) -> None:
    def timed(*names: str) -> SamplingRequest:
        path = tmp_path / "times.csv"
        path.write_text("video,seconds\n" + "".join(f"{name},1\n" for name in names))
        return SamplingRequest(
            SamplingOptions(timestamps=TIMESTAMPS_FILE), {TIMESTAMPS_FILE: read_timestamps(path)}
        )

    made = draft(make_sagemaker_request(sampling=timed("a.mp4", "gone.mp4")), aws)
    assert [video.name for video in made.videos or []] == ["a.mp4"]
    assert made.notes == ("1 videos that --timestamps or --ranges name are not there: gone.mp4",)
    assert "none of the videos that --timestamps names" in why(aws, sampling=timed("gone.mp4"))


def test_names_that_will_not_do_are_refused(aws: Aws) -> None:
    put(aws.s3, **{"videos/a/img_00005.jpg/c.mp4": b"z"})
    names = ImageOptions(name_template="mmaction2")
    assert "the folder 'a/img_00005.jpg': use another template" in why(aws, image=names)
    draft(make_sagemaker_request(image=msgspec.structs.replace(names, format="png")), aws)


def test_many_frames_are_better_packed(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framefleet.launcher.sagemaker.prepare.MANY_FRAMES", 0)
    (note,) = draft(make_sagemaker_request(), aws).notes
    assert "--pack tar --upload end" in note
    packed = make_sagemaker_request(pack=PackOptions())
    assert draft(packed, aws).notes == ()


def test_more_hosts_than_videos_are_noted_if_sharded(aws: Aws) -> None:
    made = draft(make_sagemaker_request(mode="sharded", instances=5), aws)
    assert made.notes == ("3 of 5 instances will get no video, and are paid for all the same",)


def test_an_image_that_is_not_there_and_a_name_that_is_taken(aws: Aws) -> None:
    with pytest.raises(UserError, match=f"--image {IMAGE}: there is no such image in Amazon ECR"):
        check_taken(aws, make_sagemaker_request())
    ecr = boto3.client("ecr", region_name="us-east-1")
    ecr.create_repository(repositoryName="framefleet")
    ecr.put_image(repositoryName="framefleet", imageTag="0.1", imageManifest=MANIFEST)
    check_taken(aws, make_sagemaker_request())
    request = make_sagemaker_request(job_name="job-1")
    check_taken(aws, request)
    submit(aws, request, draft(request, aws))
    with pytest.raises(UserError, match="--job-name job-1 is taken: choose another"):
        check_taken(aws, request)


@pytest.mark.parametrize(
    ("code", "message", "words"),
    [
        ("ResourceInUse", "Job name must be unique", "the name job-1 is taken: choose another --job-name"),
        (
            "ResourceLimitExceeded",
            "limit 'ml.c5.2xlarge for processing job usage' is 0 Instances",
            "is 0 Instances): ask for more of 'ml.c5.2xlarge for processing job usage' in Service Quotas",
        ),
        ("ThrottlingException", "Rate exceeded", "takes no more calls of CreateProcessingJob for now"),
        ("AccessDeniedException", "not authorized: iam:PassRole", "iam:PassRole): --dry-run prints the IAM"),
        ("ValidationException", "Could not assume role", "AWS refuses CreateProcessingJob: Could not assume"),
        ("ValidationException", "", "without a reason (ValidationException)"),
        ("ExpiredTokenException", "expired", "the AWS credentials have expired: log in again"),
        ("UnrecognizedClientException", "bad", "AWS does not know these credentials"),
        ("InternalFailure", "oops", "AWS has trouble of its own with CreateProcessingJob"),
    ],
)
def test_what_aws_refuses_leaves_nothing_behind(aws: Aws, code: str, message: str, words: str) -> None:
    request = make_sagemaker_request(job_name="job-1")
    made = draft(request, aws)
    with Stubber(aws.sagemaker) as stub:
        stub.add_client_error("create_processing_job", code, message)
        stub.add_client_error(
            "describe_processing_job", "ValidationException", "Could not find requested job"
        )
        with pytest.raises(UserError) as caught:
            submit(aws, request, made)
    assert words in str(caught.value)
    assert keys(aws.s3, "frames/") == []


def described(made: Draft, **changes: Any) -> dict[str, Any]:
    """What SageMaker tells of a job while it runs."""
    return {
        "ProcessingJobName": made.job.name,
        "ProcessingJobArn": "arn:aws:sagemaker:us-east-1:123456789012:processing-job/job-1",
        "ProcessingJobStatus": "InProgress",
        "CreationTime": 0,
        **{
            name: made.request[name]
            for name in (
                "ProcessingInputs",
                "ProcessingOutputConfig",
                "ProcessingResources",
                "AppSpecification",
            )
        },
        **changes,
    }


@pytest.mark.parametrize(
    ("change", "is_ours"),
    [({}, True), ({"ProcessingJobStatus": "Failed"}, False), ({"ProcessingInputs": []}, False)],
)
def test_a_job_whose_answer_was_lost_is_not_taken_for_somebody_elses(
    aws: Aws, change: dict[str, Any], is_ours: bool
) -> None:
    """botocore asks again when a connection breaks, and hears that the name is taken: by its first call."""
    request = make_sagemaker_request(job_name="job-1")
    made = draft(request, aws)
    with Stubber(aws.sagemaker) as stub:
        stub.add_client_error("create_processing_job", "ResourceInUse", "Job name must be unique")
        stub.add_response("describe_processing_job", described(made, **change))
        with contextlib.nullcontext() if is_ours else pytest.raises(UserError, match="is taken"):
            submit(aws, request, made)
    assert (keys(aws.s3, "frames/.framefleet/") != []) == is_ours


def test_a_connection_that_stays_lost_leaves_the_specification_of_what_may_run(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(**_: Any) -> None:
        raise ConnectionClosedError(endpoint_url="https://api.sagemaker.us-east-1.amazonaws.com")

    request = make_sagemaker_request(job_name="job-1")
    made = draft(request, aws)
    monkeypatch.setattr(aws.sagemaker, "create_processing_job", lost)
    with Stubber(aws.sagemaker) as stub:
        stub.add_response("describe_processing_job", described(made))
        submit(aws, request, made)
    monkeypatch.setattr(aws.sagemaker, "describe_processing_job", lost)
    with pytest.raises(UserError, match="which may have succeeded"):
        submit(aws, request, made)
    assert keys(aws.s3, "frames/.framefleet/job-1/") == ["frames/.framefleet/job-1/job.json"]


def test_ctrl_c_while_a_job_is_being_created_leaves_none(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    request = make_sagemaker_request(job_name="job-1")
    made = draft(request, aws)
    create = aws.sagemaker.create_processing_job

    def interrupted(**told: Any) -> None:
        create(**told)
        raise KeyboardInterrupt

    monkeypatch.setattr(aws.sagemaker, "create_processing_job", interrupted)
    with pytest.raises(KeyboardInterrupt):
        submit(aws, request, made)
    told = aws.sagemaker.describe_processing_job(ProcessingJobName="job-1")
    assert told["ProcessingJobStatus"] == "Stopped"
    assert keys(aws.s3, "frames/") == []


def add_list(stub: Stubber, *names: str) -> None:
    """Answers to which jobs run; those of ``names`` on a second page, and being stopped."""
    jobs = [
        {
            "ProcessingJobName": name,
            "ProcessingJobArn": "a" * 20,
            "CreationTime": 0,
            "ProcessingJobStatus": "x",
        }
        for name in names
    ]
    status = {"StatusEquals": "InProgress"}
    stub.add_response("list_processing_jobs", {"ProcessingJobSummaries": [], "NextToken": "2"}, status)
    stub.add_response("list_processing_jobs", {"ProcessingJobSummaries": []}, {**status, "NextToken": "2"})
    stub.add_response("list_processing_jobs", {"ProcessingJobSummaries": jobs}, {"StatusEquals": "Stopping"})


@pytest.mark.parametrize("place", ["frames/.framefleet/job-1/job.json", "frames/manifest/job-1/a-0.parquet"])
def test_two_jobs_do_not_write_to_one_output(aws: Aws, place: str) -> None:
    put(aws.s3, **{place: b"x"})
    for status in ("InProgress", "Stopping", "Stopped"):
        with Stubber(aws.sagemaker) as stub:
            told = described(draft(make_sagemaker_request(job_name="job-1"), None))
            add_list(stub)
            stub.add_response("describe_processing_job", {**told, "ProcessingJobStatus": status})
            if status == "Stopped":
                draft(make_sagemaker_request(resume=True), aws)
            else:
                assert "job job-1 is running in --output" in why(aws, resume=True)
    draft(make_sagemaker_request(resume=True), aws)  # such a job is not known: another account's, or long ago


@pytest.mark.parametrize(
    ("output", "inputs", "is_in_the_way"),
    [
        ("s3://bucket/frames", None, True),  # as the SDK may have it
        ("s3://bucket/frames/", None, True),
        ("s3://bucket/", None, True),
        ("s3://bucket/frames/part/", None, True),
        ("s3://bucket/frames-2/", None, False),
        ("s3://other/frames/", None, False),
        ("s3://bucket/frames/", [], False),  # no job of ours
    ],
)
def test_a_pipelines_step_is_known_by_its_output(
    aws: Aws, output: str, inputs: list[Any] | None, is_in_the_way: bool
) -> None:
    """Its name is in none of the folders: it runs the specification of job-1 as another job."""
    put(aws.s3, **{"frames/.framefleet/job-1/job.json": b"keys"})
    made = draft(make_sagemaker_request(job_name="job-1"), None)
    step = described(made, ProcessingJobName="pipelines-x-Frames-y")
    (told,) = made.request["ProcessingOutputConfig"]["Outputs"]
    told = {**told, "S3Output": {**told["S3Output"], "S3Uri": output}}
    step["ProcessingOutputConfig"] = {"Outputs": [told]}
    if inputs is not None:
        step["ProcessingInputs"] = inputs
    with Stubber(aws.sagemaker) as stub:
        add_list(stub, "pipelines-x-Frames-y")
        stub.add_client_error("describe_processing_job", "ValidationException", "Could not find job-1")
        stub.add_response("describe_processing_job", step, {"ProcessingJobName": "pipelines-x-Frames-y"})
        if is_in_the_way:
            assert "job pipelines-x-Frames-y is running in --output" in why(aws, resume=True)
        else:
            draft(make_sagemaker_request(resume=True), aws)
        stub.assert_no_pending_responses()


def test_a_throttled_listing_says_so(aws: Aws) -> None:
    with Stubber(aws.s3) as stub:
        stub.add_client_error("head_bucket", "SlowDown", "Reduce your request rate")
        assert "takes no more calls of HeadBucket for now (SlowDown)" in why(aws)


def test_a_bucket_that_may_not_be_read(aws: Aws) -> None:
    with Stubber(aws.s3) as stub:
        stub.add_client_error("head_bucket", "403", "Forbidden", http_status_code=403)
        with pytest.raises(NoAccessError, match="AWS denies HeadBucket"):
            draft(make_sagemaker_request(), aws)


def made(source: str | None, destination: str, *, upload: str = "", **more: Any) -> SageMakerRequest:
    wanted = make_sagemaker_request()
    others = {
        name: getattr(wanted, name)
        for name in ("instances", "slots_per_instance", "image", "mode", "on_error", "metrics")
    }
    return make_request(
        source=source,
        destination=destination,
        sampling=wanted.sampling,
        found=make_found(role=ROLE, **({"upload": upload} if upload else {})),
        **others,
        **more,
    )


def test_where_input_and_output_may_be() -> None:
    request = made("s3://bucket/videos", "s3://bucket/frames")
    assert (request.input, request.output) == (INPUT, OUTPUT)
    for source, destination, words in [
        (None, "s3://b-1/frames", "--input is missing"),
        ("s3://b-1/videos", "output", "--output output is no folder in S3"),
        ("videos", "s3://b-1/frames", "--input videos is no folder in S3"),
        ("s3://b-1/videos", "s3://b-1/videos/frames", "lie in one another"),
        ("s3://b-1", "s3://b-1/frames", "lie in one another"),
    ]:
        with pytest.raises(UserError, match=words):
            made(source, destination)


def test_shards_are_uploaded_at_the_end() -> None:
    folders, pack = ("s3://bucket/videos", "s3://bucket/frames"), PackOptions(shard_bytes=1000)
    request = made(*folders, upload="end", pack=pack)
    spec = msgspec.json.decode(spec_files(request, draft(request, None).job)["job.json"], type=JobSpec)
    assert spec.pack == pack
    assert spec.frame_options["--pack"] == "tar"
    with pytest.raises(UserError, match="--upload end"):
        made(*folders, pack=pack)
    assert made(*folders, upload="end", pack=pack, resume=True).resume
