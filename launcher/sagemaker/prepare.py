"""What a job would be, before anything is sent: look at the input and the output, check the request whole."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from framefleet.common.errors import UserError
from framefleet.common.job.selection import RANGES_FILE, TIMESTAMPS_FILE, Selection
from framefleet.common.output.frame_names import DEFAULT_TEMPLATE, FrameNames
from framefleet.coordinator.catalogue import select
from framefleet.coordinator.listed_video import ListedVideo
from framefleet.launcher.aws.clients import Aws, code_of, translated
from framefleet.launcher.aws.s3 import MAX_KEY_BYTES, S3Folder, parse_folder
from framefleet.launcher.aws.settings import ResolvedSettings
from framefleet.launcher.job import JobOptions
from framefleet.launcher.output.check_frame_names import check_names
from framefleet.launcher.packing_advice import MANY_FRAMES
from framefleet.launcher.sagemaker.input_listing import (
    LEAST_GB,
    check_sharded,
    expected_frames,
    read_input,
    volume_gb,
)
from framefleet.launcher.sagemaker.output_in_use import check_idle
from framefleet.launcher.sagemaker.prebuilt_image import NO_IMAGE, image_uri
from framefleet.launcher.sagemaker.request import Job, Request, build_request
from framefleet.launcher.sagemaker.source_bundle import ENTRYPOINT, LOCAL_PATH, bundle_folder
from framefleet.launcher.sagemaker.source_bundle import NAME as BUNDLE
from framefleet.launcher.sagemaker.validate import check_region, check_request
from framefleet.launcher.sagemaker.validation_rules import ECR_IMAGE

MAX_NAMES_SHOWN: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SageMakerRequest(JobOptions):
    """A job on SageMaker, checked as far as that goes without AWS."""

    input: S3Folder
    output: S3Folder
    found: ResolvedSettings
    job_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A job and its request before anything is sent; ``videos``: None where the input was not listed."""

    job: Job
    request: Request
    videos: list[ListedVideo] | None
    notes: tuple[str, ...] = ()


def make_request(
    *, source: str | None, destination: str, found: ResolvedSettings, **others: Any
) -> SageMakerRequest:
    """Check where input and output are; ``others`` are further fields of ``SageMakerRequest``.

    Raises:
        UserError: one is missing or lies in the other, or images cannot be packed so.
    """
    if source is None:
        raise UserError("--input is missing: on SageMaker, videos come from a folder in S3")
    input_folder, output_folder = parse_folder(source, "--input"), parse_folder(destination, "--output")
    if input_folder.overlaps(output_folder):
        raise UserError(
            f"--input {source} and --output {destination} lie in one another: choose another --output"
        )
    if others.get("pack") is not None and found.settings.upload != "end":
        raise UserError(
            "--pack goes with --upload end: while a job runs, it would upload the files of which shards "
            "are made, and they would stay"
        )
    return SageMakerRequest(input=input_folder, output=output_folder, found=found, **others)


def draft(request: SageMakerRequest, aws: Aws | None, region: str | None = None) -> Draft:
    """Build and check the job; reads the input's listing unless ``aws`` is None.

    Args:
        region: where the job would run, if AWS cannot be asked.

    Raises:
        UserError: AWS would refuse the request, or the input or the output will not do.
    """
    settings = request.found.settings
    region = (region or settings.region) if aws is None else aws.region
    check_region(region, request.found)
    job = Job(
        name=request.job_name or _new_name(),
        input=request.input,
        output=request.output,
        instances=request.instances,
        mode=request.mode,
        volume_gb=settings.volume_size or LEAST_GB,
        settings=settings,
    )
    if settings.image == NO_IMAGE:
        job = replace(
            job,
            settings=msgspec.structs.replace(settings, image=image_uri(region)),
            entrypoint=ENTRYPOINT,
            more_inputs=((BUNDLE, bundle_folder(request.output), LOCAL_PATH),),
        )
    check_request(build_request(job), request.found, region=region)  # before it takes time
    videos: list[ListedVideo] | None = None
    notes: list[str] = []
    if aws is not None:
        check_buckets(aws, request)
        check_idle(aws, request.output)
        with translated(f"listing {job.input}", bucket=job.input.bucket):
            listing, sizes = read_input(aws.s3, job.input)
        videos, missing = _wanted(request, listing)
        check_names(request.image, videos)
        if request.pack is None:
            _check_keys(request, videos)
        if missing:
            shown = ", ".join(missing[:MAX_NAMES_SHOWN]) + (" ..." if len(missing) > MAX_NAMES_SHOWN else "")
            notes.append(f"{len(missing)} videos that --timestamps or --ranges name are not there: {shown}")
        if request.mode == "sharded":
            check_sharded(videos)
            if len(videos) < request.instances:
                notes.append(
                    f"{request.instances - len(videos)} of {request.instances} instances will get no video, "
                    "and are paid for all the same"
                )
        expected = expected_frames(sum(sizes), request.sampling.options)
        if request.pack is None and expected > MANY_FRAMES:
            notes.append(
                f"some {expected:,.0f} frames may come of it, each a file of its own: --pack tar --upload "
                "end puts them into shards, which are quicker to upload, list and read"
            )
        if settings.volume_size is None:
            size = volume_gb(
                sizes,
                instances=request.instances,
                mode=request.mode,
                sampling=request.sampling.options,
                image=request.image,
            )
            job = replace(job, volume_gb=size)
    elif settings.volume_size is None:
        notes.append(f"the input was not listed: a volume of {LEAST_GB} GB is assumed (--volume-size)")
    built = build_request(job)
    check_request(built, request.found, region=region)
    return Draft(job=job, request=built, videos=videos, notes=tuple(notes))


def _check_keys(request: SageMakerRequest, videos: Iterable[ListedVideo]) -> None:
    """See that frames' keys in the output's bucket will not be too long.

    Raises:
        UserError: one may be; which is known before a name is.
    """
    names = FrameNames(request.image.name_template or DEFAULT_TEMPLATE)
    frames, suffix = request.output.key("frames/"), request.image.suffix
    for video in videos:
        most = len(f"{frames}{video.folder}/".encode()) + names.most_bytes(video.folder, suffix)
        if most > MAX_KEY_BYTES:
            raise UserError(
                f"--output {request.output}: keys of the frames of {video.name!r} may have {most:,} bytes, "
                f"and S3 takes {MAX_KEY_BYTES:,}: choose a shorter --output, rename that video, or use --pack"
            )


def check_buckets(aws: Aws, request: SageMakerRequest) -> None:
    """See that both buckets are there and in the job's region, and that the output holds no frames yet.

    Raises:
        UserError: that is not so.
    """
    for option, folder in (("--input", request.input), ("--output", request.output)):
        with translated(f"{option} {folder}", bucket=folder.bucket):
            try:
                told = aws.s3.head_bucket(Bucket=folder.bucket)
            except Exception as error:
                headers = (
                    (getattr(error, "response", None) or {})
                    .get("ResponseMetadata", {})
                    .get("HTTPHeaders", {})
                )
                if code_of(error) != "301" or "x-amz-bucket-region" not in headers:
                    raise
                told = {"BucketRegion": headers["x-amz-bucket-region"]}
        where = told.get("BucketRegion", aws.region)
        if where != aws.region:  # API reference, S3DataSource: the bucket must be in the job's region
            raise UserError(
                f"{option} {folder} lies in {where}, the job would run in {aws.region}: "
                f"give --region {where}, or copy the videos"
            )
    if request.resume:
        return
    for name in ("frames/", "manifest/", "shards/"):
        with translated(f"listing {request.output}", bucket=request.output.bucket):
            found = aws.s3.list_objects_v2(
                Bucket=request.output.bucket, Prefix=request.output.key(name), MaxKeys=1
            )
        if found.get("KeyCount"):
            raise UserError(
                f"--output {request.output} already holds {name.rstrip('/')}: choose another folder, or go "
                "on with that job (--resume)"
            )


def check_taken(aws: Aws, request: SageMakerRequest) -> None:
    """See that the image is in its repository and the name is free, as far as the launcher may look.

    Raises:
        UserError: the image is not there, or a job has that name.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    uri = request.found.settings.image or ""
    image = ECR_IMAGE.fullmatch(uri)
    if image is not None:
        which = (
            {"imageDigest": image["digest"]} if image["digest"] else {"imageTag": image["tag"] or "latest"}
        )
        try:
            aws.client("ecr").describe_images(
                registryId=image["account"], repositoryName=image["repository"], imageIds=[which]
            )
        except ClientError as error:
            if code_of(error) in ("RepositoryNotFoundException", "ImageNotFoundException"):
                raise UserError(
                    f"{request.found.origin('image')} {uri}: there is no such image in Amazon ECR "
                    f"({error.response['Error']['Message']}): push it there (docs/sagemaker.md)"
                ) from error
        except BotoCoreError:
            pass  # the job will tell
    if request.job_name is not None:
        with contextlib.suppress(BotoCoreError, ClientError):  # not found, one hopes; AWS tells the rest
            aws.sagemaker.describe_processing_job(ProcessingJobName=request.job_name)
            raise UserError(f"--job-name {request.job_name} is taken: choose another, or leave it out")


def selection_of(request: SageMakerRequest) -> Selection:
    """Which frames of which videos are wanted."""
    files = request.sampling.files
    return Selection(
        request.sampling.options,
        timestamps=files.get(TIMESTAMPS_FILE, b""),
        ranges=files.get(RANGES_FILE, b""),
    )


def _wanted(request: SageMakerRequest, listing: Any) -> tuple[list[ListedVideo], list[str]]:
    chosen = select(listing, selection_of(request))
    missing = [problem.video for problem in chosen.problems]
    if not chosen.videos:
        raise UserError(
            f"--input {request.input} holds none of the videos that --timestamps names: "
            "names are paths below that folder"
        )
    return chosen.videos, missing


def _new_name() -> str:
    return f"framefleet-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
