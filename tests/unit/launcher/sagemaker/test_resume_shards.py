"""Going on in S3 with shards: which of those that hosts have uploaded stay, and what is done again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from framefleet.common.errors import UserError
from framefleet.common.host.layout import Layout
from framefleet.common.job.spec import SamplingOptions
from framefleet.common.output.shard_fields import PackFormat, PackOptions
from framefleet.coordinator.simulation.hosts import LIBRARIES
from framefleet.launcher.aws.clients import Aws, open_aws
from framefleet.launcher.options.sampling import SamplingRequest
from framefleet.launcher.output.job_fingerprint import options_of
from framefleet.launcher.sagemaker.prepare import draft
from framefleet.launcher.sagemaker.resume import Taken, clear, look
from framefleet.worker.publishing.publication import Extent
from framefleet.worker.publishing.publisher import Publisher
from tests.helpers.packed_outputs import check_packed
from tests.helpers.publishing_hosts import stage
from tests.helpers.sagemaker_jobs import keys, make_found, make_sagemaker_request, put

SIZES = {"a.mp4": 1000, "b.mp4": 2000}
FORMATS: list[PackFormat] = ["tar", "parquet"]
UNENDING = 10**9  # bytes of a shard: a part has one


def options(form: PackFormat, **changes: Any) -> dict[str, Any]:
    return {"resume": True, "pack": PackOptions(format=form), "found": make_found(upload="end"), **changes}


class Host:
    """A host of an earlier job, whose output is uploaded as it is."""

    def __init__(
        self,
        aws: Aws,
        folder: Path,
        name: str,
        form: PackFormat,
        *,
        job: str = "job-1",
        shard_bytes: int = UNENDING,
        **changes: Any,
    ) -> None:
        self.aws = aws
        self.layout = Layout(folder / job / name).of_run(job)
        told = options_of(make_sagemaker_request(**options(form, **changes)))
        self.publisher = Publisher(
            self.layout, name, told, pack=PackOptions(format=form, shard_bytes=shard_bytes)
        )
        self.publisher.made_with(LIBRARIES)

    def do(
        self, unit: int, video: str, start: int, stop: int | None, frames: int, *, attempt: int = 1
    ) -> Host:
        """Commit a unit of so many frames."""
        rows = stage(self.layout, unit, attempt, range(start, start + frames), bundled=True)
        extent = Extent(start=start, stop=stop, video_bytes=SIZES[video])
        self.publisher.add(unit, attempt, video, video.partition(".")[0], rows, 0, extent=extent)
        self.publisher.flush()
        return self

    def upload(self, *, is_killed: bool = False) -> None:
        """Put all in the bucket, after packing the rest if the host could leave."""
        if not is_killed:
            self.publisher.close()
        for path in self.layout.output.rglob("*"):
            if path.is_file():
                put(self.aws.s3, **{f"frames/{path.relative_to(self.layout.output)}": path.read_bytes()})


@pytest.fixture
def aws(aws_account: None) -> Aws:
    made = open_aws(make_found())
    put(made.s3, **{f"videos/{name}": b"x" * size for name, size in SIZES.items()})
    return made


@pytest.fixture(params=FORMATS)
def form(request: pytest.FixtureRequest) -> PackFormat:
    return request.param  # type: ignore[no-any-return]


def taken_over(aws: Aws, form: PackFormat, **changes: Any) -> Taken:
    """What is taken over, after the output was cleared."""
    request = make_sagemaker_request(**options(form, **changes))
    taken = look(aws, request, draft(request, aws).videos or [])
    clear(aws, request, taken)
    return taken


def ranges(taken: Taken) -> dict[str, list[tuple[int, int | None]]]:
    return {video.name: [(one.start, one.stop) for one in video.ranges] for video in taken.done}


def shards(aws: Aws) -> list[str]:
    return [key.removeprefix("frames/shards/") for key in keys(aws.s3, "frames/shards/")]


def content(aws: Aws, name: str) -> bytes:
    data: bytes = aws.s3.get_object(Bucket="bucket", Key=f"frames/{name}")["Body"].read()
    return data


def check_whole(aws: Aws, folder: Path, taken: Taken) -> None:
    """Each image has its row and each row its image, and there are none but those taken over."""
    folder = folder / "got"
    shutil.rmtree(folder, ignore_errors=True)
    for above in ("manifest", "shards"):
        (folder / above).mkdir(parents=True)
        for key in keys(aws.s3, f"frames/{above}/"):
            data = content(aws, key.removeprefix("frames/"))
            (folder / above / key.rpartition("/")[2]).write_bytes(data)
    assert len(check_packed(folder)) == sum(video.frames for video in taken.done)


def test_what_hosts_have_packed_is_taken_over(aws: Aws, tmp_path: Path, form: PackFormat) -> None:
    Host(aws, tmp_path, "algo-1", form, shard_bytes=1).do(1, "a.mp4", 0, 5, 5).do(
        2, "b.mp4", 0, 4, 4
    ).upload()
    Host(aws, tmp_path, "algo-2", form).do(3, "a.mp4", 5, None, 2).upload()
    before = keys(aws.s3)
    taken = taken_over(aws, form)
    assert ranges(taken) == {"a.mp4": [(0, 5), (5, None)], "b.mp4": [(0, 4)]}
    assert taken.notes == ("11 frames of 2 videos are taken over",)
    assert keys(aws.s3) == before
    assert len(shards(aws)) == 10  # nine of one image each, and one
    check_whole(aws, tmp_path, taken)


@pytest.mark.parametrize("fault", ["missing", "first half", "last byte", "no end", "empty"])
def test_a_shard_that_is_cut_or_missing_is_done_again(
    aws: Aws, tmp_path: Path, form: PackFormat, fault: str
) -> None:
    Host(aws, tmp_path, "algo-1", form).do(1, "a.mp4", 0, 5, 5).do(2, "b.mp4", 0, 4, 4).upload()
    Host(aws, tmp_path, "algo-2", form).do(3, "a.mp4", 5, None, 2).upload()
    name = f"shards/job-1-algo-1-000000.{form}"
    data = content(aws, name)
    if fault == "missing":
        aws.s3.delete_object(Bucket="bucket", Key=f"frames/{name}")
    else:
        cut = {"first half": len(data) // 2, "last byte": 1, "no end": 1024, "empty": len(data)}[fault]
        put(aws.s3, **{f"frames/{name}": data[: len(data) - cut]})
    taken = taken_over(aws, form)
    assert ranges(taken) == {"a.mp4": [(5, None)]}
    assert shards(aws) == [f"job-1-algo-2-000000.{form}"]
    assert keys(aws.s3, "frames/manifest/") == ["frames/manifest/job-1/algo-2-0.parquet"]
    check_whole(aws, tmp_path, taken)


def test_a_footer_of_other_rows_does_not_count(aws: Aws, tmp_path: Path) -> None:
    """One that lacks a row, and one whose images are not all before it."""
    Host(aws, tmp_path, "algo-1", "parquet").do(1, "a.mp4", 0, None, 50).upload()
    name = "shards/job-1-algo-1-000000.parquet"
    data = content(aws, name)
    fewer = tmp_path / "fewer.parquet"
    pq.write_table(pq.read_table(tmp_path / "job-1/algo-1/processing/output" / name).slice(1), fewer)
    length = int.from_bytes(data[-8:-4], "little") + 8
    for spoiled in (fewer.read_bytes(), data[:-length][:200] + data[-length:]):
        put(aws.s3, **{f"frames/{name}": spoiled})
        request = make_sagemaker_request(**options("parquet"))
        assert ranges(look(aws, request, draft(request, aws).videos or [])) == {}
    put(aws.s3, **{f"frames/{name}": data})
    assert ranges(taken_over(aws, "parquet")) == {"a.mp4": [(0, None)]}


def test_a_footer_may_be_large(aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framefleet.launcher.sagemaker.resume_shards.TAIL_BYTES", 16)
    Host(aws, tmp_path, "algo-1", "parquet").do(1, "a.mp4", 0, None, 5).upload()
    assert ranges(taken_over(aws, "parquet")) == {"a.mp4": [(0, None)]}


def test_what_a_host_that_was_killed_had_not_packed_is_done_again(
    aws: Aws, tmp_path: Path, form: PackFormat
) -> None:
    """Loaders do not read bundles. What is in a shard stays, and what is the user's own."""
    host = Host(aws, tmp_path, "algo-1", form).do(1, "a.mp4", 0, 5, 5)
    host.publisher.close()
    Host(aws, tmp_path, "algo-2", form).do(2, "b.mp4", 0, 4, 4).upload(is_killed=True)
    host.upload()
    put(
        aws.s3, **{"frames/shards/of my own.tar": b"", f"frames/shards/job-1-algo-1-000009.{form}": b"no row"}
    )
    taken = taken_over(aws, form)
    assert ranges(taken) == {"a.mp4": [(0, 5)]}
    assert shards(aws) == [f"job-1-algo-1-000000.{form}", "of my own.tar"]
    assert taken.notes[1] == "2 shards with images that the manifest does not prove are removed"
    aws.s3.delete_object(Bucket="bucket", Key="frames/shards/of my own.tar")
    check_whole(aws, tmp_path, taken)


def test_a_shard_with_an_image_that_does_not_count_goes_as_a_whole(
    aws: Aws, tmp_path: Path, form: PackFormat
) -> None:
    """A second attempt at a range, beside a unit that is done again for it; no sample is there twice."""
    Host(aws, tmp_path, "algo-1", form).do(1, "a.mp4", 0, 5, 5).upload()
    Host(aws, tmp_path, "algo-2", form).do(1, "a.mp4", 0, 5, 5, attempt=2).do(2, "b.mp4", 0, 4, 4).upload()
    taken = taken_over(aws, form)
    assert ranges(taken) == {"a.mp4": [(0, 5)]}
    assert len(shards(aws)) == 1
    check_whole(aws, tmp_path, taken)
    assert taken_over(aws, form) == Taken(done=taken.done, libraries=LIBRARIES, notes=taken.notes[:1])


def test_what_is_given_up_for_a_shard_makes_room_for_another_attempt(
    aws: Aws, tmp_path: Path, form: PackFormat
) -> None:
    """The first attempt at a range shares its shard with a video that was replaced."""
    Host(aws, tmp_path, "algo-1", form).do(1, "a.mp4", 0, 5, 5).do(2, "b.mp4", 0, None, 4).upload()
    Host(aws, tmp_path, "algo-2", form).do(1, "a.mp4", 0, 5, 5, attempt=2).upload()
    put(aws.s3, **{"videos/b.mp4": b"another"})
    Host(aws, tmp_path, "algo-1", form, job="job-2").do(3, "a.mp4", 5, None, 2).upload()
    taken = taken_over(aws, form)
    assert ranges(taken) == {"a.mp4": [(0, 5), (5, None)]}
    check_whole(aws, tmp_path, taken)


def test_frames_that_are_numbered_in_order_count_up_to_the_first_shard_that_lacks(
    aws: Aws, tmp_path: Path, form: PackFormat
) -> None:
    sampling = SamplingRequest(SamplingOptions(fps="native"))
    for number in range(3):
        host = Host(aws, tmp_path, f"algo-{number}", form, sampling=sampling)
        host.do(number, "a.mp4", number * 5, number * 5 + 5, 5).upload()
    aws.s3.delete_object(Bucket="bucket", Key=f"frames/shards/job-1-algo-1-000000.{form}")
    taken = taken_over(aws, form, sampling=sampling)
    assert ranges(taken) == {"a.mp4": [(0, 5)]}
    assert shards(aws) == [f"job-1-algo-0-000000.{form}"]
    check_whole(aws, tmp_path, taken)


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_video_that_is_gone_keeps_its_frames(
    aws: Aws, tmp_path: Path, form: PackFormat, is_killed: bool
) -> None:
    """In a shard or a bundle. They cannot be done again, so no shard of theirs is removed."""
    Host(aws, tmp_path, "algo-1", form).do(1, "a.mp4", 0, None, 5).upload(is_killed=is_killed)
    Host(aws, tmp_path, "algo-2", form).do(2, "b.mp4", 0, None, 4).upload()
    aws.s3.delete_object(Bucket="bucket", Key="videos/a.mp4")
    before = keys(aws.s3)
    assert ranges(taken_over(aws, form)) == {"b.mp4": [(0, None)]}
    assert [key for key in keys(aws.s3) if ".staging" not in key] == [
        key for key in before if ".staging" not in key
    ]


def test_frames_that_could_not_be_done_again_are_not_removed_for_others(
    aws: Aws, tmp_path: Path, form: PackFormat
) -> None:
    Host(aws, tmp_path, "algo-1", form).do(1, "a.mp4", 0, None, 5).do(2, "b.mp4", 0, None, 4).upload()
    aws.s3.delete_object(Bucket="bucket", Key="videos/a.mp4")
    put(aws.s3, **{"videos/b.mp4": b"another"})
    before = keys(aws.s3)
    words = (
        rf"shards/job-1-algo-1-000000\.{form} holds frames that do not count, and frames of a\.mp4, which is"
    )
    with pytest.raises(UserError, match=words):
        taken_over(aws, form)
    assert keys(aws.s3) == before


def test_loose_frames_and_shards_are_no_one_output(aws: Aws, tmp_path: Path) -> None:
    Host(aws, tmp_path, "algo-1", "tar").do(1, "a.mp4", 0, None, 5).upload()
    before = keys(aws.s3)
    with pytest.raises(UserError, match="were made with --pack tar, and now it is parquet"):
        taken_over(aws, "parquet")
    with pytest.raises(UserError, match="were made with --pack tar, and now it is left out"):
        taken_over(aws, "tar", pack=None)
    assert keys(aws.s3) == before
