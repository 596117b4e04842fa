"""Going on in S3: what is taken over of what several hosts have uploaded, and what becomes of the rest."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest
from botocore.stub import Stubber

from framefleet.common.errors import UserError
from framefleet.common.host.layout import Layout
from framefleet.common.job.completed import DoneRange
from framefleet.common.job.spec import SamplingOptions
from framefleet.coordinator.simulation.hosts import LIBRARIES
from framefleet.launcher.aws.clients import Aws, open_aws
from framefleet.launcher.options.sampling import SamplingRequest
from framefleet.launcher.output.job_fingerprint import options_of
from framefleet.launcher.sagemaker.prepare import draft
from framefleet.launcher.sagemaker.resume import Taken, clear, look
from framefleet.launcher.sagemaker.submit import submit
from framefleet.worker.publishing.publication import Extent
from framefleet.worker.publishing.publisher import Publisher
from tests.helpers.publishing_hosts import stage
from tests.helpers.sagemaker_jobs import keys, make_found, make_sagemaker_request, put

REQUEST = make_sagemaker_request(resume=True)
SIZES = {"a.mp4": 1000, "b.mp4": 2000}


class Host:
    """A host of an earlier job, whose output is uploaded as it is."""

    def __init__(self, aws: Aws, folder: Path, name: str, *, job: str = "job-1", **options: str) -> None:
        self.aws = aws
        self.layout = Layout(folder / name).of_run(job)
        self.publisher = Publisher(self.layout, name, {**options_of(REQUEST), **options})
        self.publisher.made_with(LIBRARIES)

    def do(
        self, unit: int, video: str, start: int, stop: int | None, frames: int, *, attempt: int = 1
    ) -> Host:
        """Commit a unit of so many frames."""
        rows = stage(self.layout, unit, attempt, range(start, start + frames))
        extent = Extent(start=start, stop=stop, video_bytes=SIZES[video])
        self.publisher.add(unit, attempt, video, video.partition(".")[0], rows, 0, extent=extent)
        self.publisher.flush()
        return self

    def upload(self, *, without: str = "") -> None:
        """Put all in the bucket but the files whose names hold ``without``."""
        for path in self.layout.output.rglob("*"):
            name = path.relative_to(self.layout.output)
            if path.is_file() and not (without and without in str(name)):
                put(self.aws.s3, **{f"frames/{name}": path.read_bytes()})


@pytest.fixture
def aws(aws_account: None) -> Aws:
    made = open_aws(make_found())
    put(made.s3, **{f"videos/{name}": b"x" * size for name, size in SIZES.items()})
    return made


def taken_over(aws: Aws, **changes: Any) -> Taken:
    """What is taken over, after the output was cleared."""
    request = make_sagemaker_request(resume=True, **changes)
    taken = look(aws, request, draft(request, aws).videos or [])
    clear(aws, request, taken)
    return taken


def ranges(taken: Taken) -> dict[str, list[tuple[int, int | None]]]:
    return {video.name: [(one.start, one.stop) for one in video.ranges] for video in taken.done}


def check_whole(aws: Aws, folder: Path) -> None:
    """A row exists if and only if its file does."""
    files: list[str] = []
    for key in keys(aws.s3, "frames/manifest/"):
        path = folder / "part.parquet"
        path.write_bytes(aws.s3.get_object(Bucket="bucket", Key=key)["Body"].read())
        files += pq.ParquetFile(path).read(columns=["file"]).column("file").to_pylist()
    assert sorted(files) == [key.removeprefix("frames/") for key in keys(aws.s3, "frames/frames/")]


def test_what_hosts_of_several_jobs_have_committed_is_taken_over(aws: Aws, tmp_path: Path) -> None:
    Host(aws, tmp_path, "algo-1").do(1, "a.mp4", 0, 5, 5).do(2, "b.mp4", 0, 4, 4).upload()
    Host(aws, tmp_path, "algo-2").do(3, "a.mp4", 5, None, 2).upload()
    Host(aws, tmp_path, "algo-1b", job="job-2").do(1, "b.mp4", 9, None, 1).upload()
    before = keys(aws.s3)
    taken = taken_over(aws)
    assert ranges(taken) == {"a.mp4": [(0, 5), (5, None)], "b.mp4": [(0, 4), (9, None)]}
    assert [(video.is_whole, video.frames) for video in taken.done] == [(True, 7), (False, 5)]
    assert taken.done[0].ranges[0] == DoneRange(0, 5, 5, 0)
    assert taken.notes == ("12 frames of 2 videos are taken over",)
    assert keys(aws.s3) == before
    assert not taken.is_all_of(draft(REQUEST, aws).videos or [])
    check_whole(aws, tmp_path)


def test_only_what_the_listing_bears_out_counts(aws: Aws, tmp_path: Path) -> None:
    """A file that was not uploaded, one of another size, and one that no row names."""
    Host(aws, tmp_path, "algo-1").do(1, "a.mp4", 0, 5, 5).do(2, "a.mp4", 5, 9, 4).do(
        3, "a.mp4", 9, None, 3
    ).upload(without="00000006.jpg")
    put(aws.s3, **{"frames/frames/a/00000010.jpg": b"a longer file than the row says"})
    put(aws.s3, **{"frames/frames/b/00000000.jpg": b"uploaded before its row was written"})
    put(aws.s3, **{"frames/frames/b/notes.txt": b"the user's own", "frames/.staging/1-1/1.jpg": b"half"})
    taken = taken_over(aws)
    assert ranges(taken) == {"a.mp4": [(0, 5)]}
    assert set(keys(aws.s3, "frames/frames/")) == {f"frames/frames/a/{n:08d}.jpg" for n in range(5)} | {
        "frames/frames/b/notes.txt"
    }
    assert keys(aws.s3, "frames/.staging/") == []
    assert taken.notes[1] == "7 frames that the manifest does not prove are removed"
    aws.s3.delete_object(Bucket="bucket", Key="frames/frames/b/notes.txt")
    check_whole(aws, tmp_path)
    assert ranges(taken_over(aws)) == {
        "a.mp4": [(0, 5)]
    }  # parts that were rewritten tell their options still


def test_two_attempts_at_one_range_are_one_and_their_frames_stay(aws: Aws, tmp_path: Path) -> None:
    """A host that was given up had published already; the other's frames have the same names and bytes."""
    Host(aws, tmp_path, "algo-1").do(1, "a.mp4", 0, 5, 5).upload()
    Host(aws, tmp_path, "algo-2").do(1, "a.mp4", 0, 5, 5, attempt=2).do(2, "a.mp4", 5, None, 2).upload()
    taken = taken_over(aws)
    assert ranges(taken) == {"a.mp4": [(0, 5), (5, None)]}
    check_whole(aws, tmp_path)
    assert len(keys(aws.s3, "frames/frames/")) == 7


@pytest.mark.parametrize("parts", [1, 2])
def test_a_video_that_was_replaced_is_done_again(aws: Aws, tmp_path: Path, parts: int) -> None:
    """Whether its rows share a part of the manifest with others or not."""
    hosts = [Host(aws, tmp_path, f"algo-{number}") for number in range(parts)]
    hosts[0].do(1, "a.mp4", 0, None, 5)
    hosts[-1].do(2, "b.mp4", 0, None, 4)
    for host in hosts:
        host.upload()
    put(aws.s3, **{"videos/a.mp4": b"another"})
    assert ranges(taken_over(aws)) == {"b.mp4": [(0, None)]}
    assert {key.split("/")[2] for key in keys(aws.s3, "frames/frames/")} == {"b"}
    assert len(keys(aws.s3, "frames/manifest/")) == 1
    check_whole(aws, tmp_path)


def test_a_unit_that_lacks_a_row_proves_nothing(aws: Aws, tmp_path: Path) -> None:
    host = Host(aws, tmp_path, "algo-1").do(1, "a.mp4", 0, None, 5).do(2, "b.mp4", 0, None, 4)
    (part,) = host.layout.manifest.iterdir()
    pq.write_table(pq.ParquetFile(part).read().slice(1), part)
    host.upload()
    assert ranges(taken_over(aws)) == {"b.mp4": [(0, None)]}
    check_whole(aws, tmp_path)


def test_any_number_of_files_is_removed(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framefleet.launcher.aws.s3.MAX_REMOVED", 2)
    put(aws.s3, **{f"frames/frames/b/{number:08d}.jpg": b"no row" for number in range(5)})
    taken_over(aws)
    assert keys(aws.s3, "frames/") == []


def test_a_video_that_is_gone_keeps_its_frames(aws: Aws, tmp_path: Path) -> None:
    Host(aws, tmp_path, "algo-1").do(1, "a.mp4", 0, None, 5).do(2, "b.mp4", 0, None, 4).upload()
    aws.s3.delete_object(Bucket="bucket", Key="videos/a.mp4")
    taken = taken_over(aws)
    assert ranges(taken) == {"b.mp4": [(0, None)]}
    assert taken.is_all_of(draft(REQUEST, aws).videos or [])
    check_whole(aws, tmp_path)
    assert len(keys(aws.s3, "frames/frames/")) == 9


def test_a_damaged_part_proves_nothing_and_goes(aws: Aws, tmp_path: Path) -> None:
    Host(aws, tmp_path, "algo-1").do(1, "a.mp4", 0, None, 5).upload()
    Host(aws, tmp_path, "algo-2").do(2, "b.mp4", 0, None, 4).upload()
    put(aws.s3, **{"frames/manifest/job-1/algo-2-0.parquet": b"PAR1 torn"})
    taken = taken_over(aws)
    assert ranges(taken) == {"a.mp4": [(0, None)]}
    assert (
        "1 damaged parts of the manifest are removed, the first: manifest/job-1/algo-2-0.parquet"
        in taken.notes
    )
    check_whole(aws, tmp_path)


def test_frames_made_otherwise_are_refused_and_nothing_is_changed(aws: Aws, tmp_path: Path) -> None:
    Host(aws, tmp_path, "algo-1", **{"--resize": "64x64"}).do(1, "a.mp4", 0, None, 5).upload()
    put(aws.s3, **{"frames/frames/b/00000000.jpg": b"no row"})
    before = keys(aws.s3)
    words = "--resume: the frames in s3://bucket/frames were made with --resize 64x64, and now it is left out"
    with pytest.raises(UserError, match=words):
        taken_over(aws)
    sampling = SamplingRequest(SamplingOptions(fps="3"))
    with pytest.raises(UserError, match="were made with --fps 5, and now it is 3"):
        taken_over(aws, sampling=sampling)
    assert keys(aws.s3) == before


def test_what_made_the_frames_goes_with_what_is_done(aws: Aws, tmp_path: Path) -> None:
    Host(aws, tmp_path, "algo-1").do(0, "a.mp4", 0, None, 3).upload()
    assert taken_over(aws).libraries == LIBRARIES


def test_frames_of_different_libraries_are_not_gone_on_with(aws: Aws, tmp_path: Path) -> None:
    Host(aws, tmp_path, "algo-1").do(0, "a.mp4", 0, None, 3).upload()
    other = Host(aws, tmp_path, "algo-2")
    other.publisher.libraries = None
    other.publisher.made_with(msgspec.structs.replace(LIBRARIES, libswscale="0.9"))
    other.do(1, "b.mp4", 0, None, 3).upload()
    with pytest.raises(UserError, match=r"algo-1-0.parquet with libswscale 1.0 and .* libswscale 0.9"):
        look(aws, REQUEST, draft(REQUEST, aws).videos or [])


def test_an_output_without_anything_is_a_new_start(aws: Aws) -> None:
    taken = taken_over(aws)
    assert taken.done == []
    assert not taken.is_all_of(draft(REQUEST, aws).videos or [])


def test_keys_of_jobs_that_are_over_are_removed_and_those_of_unknown_ones_stay(aws: Aws) -> None:
    """A pipeline runs them in steps with names of their own."""
    for name in ("job-1", "job-2"):
        request = make_sagemaker_request(job_name=name)
        submit(aws, request, draft(request, aws))  # moto completes it at once
    pipeline = "frames/.framefleet/job-3/job.json"
    put(aws.s3, **{pipeline: b"keys"})
    assert len(keys(aws.s3, "frames/")) == 3
    taken_over(aws)
    assert keys(aws.s3, "frames/") == [pipeline]


def test_throttling_while_the_output_is_cleared_is_told(aws: Aws) -> None:
    taken = look(aws, REQUEST, draft(REQUEST, aws).videos or [])
    with Stubber(aws.s3) as stub:
        stub.add_client_error("list_objects_v2", "SlowDown", "Reduce your request rate")
        with pytest.raises(UserError, match="--resume: clearing s3://bucket/frames: AWS takes no more calls"):
            clear(aws, REQUEST, taken)


def test_what_s3_will_not_remove_is_told(aws: Aws, tmp_path: Path) -> None:
    put(aws.s3, **{"frames/frames/b/00000000.jpg": b"no row"})
    taken = look(aws, REQUEST, draft(REQUEST, aws).videos or [])
    with Stubber(aws.s3) as stub:
        for _ in range(2):
            stub.add_response("list_objects_v2", {"KeyCount": 0})
        told = {"Key": "frames/frames/b/00000000.jpg", "Code": "AccessDenied", "Message": "Access Denied"}
        stub.add_response("delete_objects", {"Errors": [told]})
        wanted = re.escape("S3 does not remove s3://bucket/frames/frames/b/00000000.jpg: Access Denied")
        with pytest.raises(UserError, match=wanted):
            clear(aws, REQUEST, taken)
