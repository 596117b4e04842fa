"""``verify`` on outputs that are not what a job has left: a problem line each, and nothing is waited for."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from framefleet.common.host.layout import Layout
from framefleet.common.media import FrameRow
from framefleet.common.output.part_file import read_table
from framefleet.common.status import Summary
from framefleet.launcher.export.frames import Manifest
from framefleet.launcher.report.thumbnails import thumbnails
from framefleet.launcher.verify.against_videos import compare
from framefleet.launcher.verify.check_output import check_output
from framefleet.launcher.verify.storage import Folder, FolderOfVideos
from framefleet.worker.extraction.image_sink import LooseSink
from framefleet.worker.publishing.publication import Extent
from framefleet.worker.publishing.publisher import Publisher
from tests.helpers.jobs import verify
from tests.unit.common.output.test_damaged_parts import with_first, write

FRAMES = 6
OPTIONS = {"--fps": "5", "--format": "jpg"}


def publish(layout: Layout, unit: int, name: str) -> None:
    """A part of a host of its own, with the frames of a video."""
    publisher = Publisher(layout, f"algo-{unit + 1}", OPTIONS)
    folder = layout.staging / f"{unit}-1"
    folder.mkdir(parents=True)
    sink = LooseSink(folder)
    rows = []
    for sample in range(FRAMES):
        done, image = cv2.imencode(".jpg", np.full((8, 16, 3), 10 * sample + unit, np.uint8))
        assert done
        data = image.tobytes()
        file = f"{sample:08d}.jpg"
        digest, place = sink.add(file, data)
        rows.append(
            FrameRow(
                sample=sample, target_s=1 + sample / 5, pts=1000 + sample * 200, time_base="1/1000",
                time_s=1 + sample / 5, keyframe=False, pix_fmt="yuv420p", width=16, height=8, rotation=0,
                interlaced=False, file=file, bytes=len(data), sha256=digest, place=place, status="ok",
            )
        )  # fmt: skip
    sink.close()
    publisher.add(unit, 1, f"{name}.mp4", name, rows, 0, extent=Extent(shown=FRAMES, video_bytes=1000))
    publisher.flush()
    layout.remove_staging()


@pytest.fixture
def output(tmp_path: Path) -> Path:
    layout = Layout(tmp_path / "job")
    for unit, name in enumerate(("v", "w")):
        publish(layout, unit, name)
    files = list((layout.output / "frames").rglob("*.jpg"))
    summary = Summary(
        job_id="j", mode="coordinated", outcome="completed", reason="", started_at="2026-01-01T00:00:00",
        videos=2, videos_done=2, videos_failed=0, frames=2 * FRAMES, suspect_frames=0,
        bytes=sum(path.stat().st_size for path in files), units=2, retries=0, failures=0,
        frames_lost=False, makespan_s=1.0, work_s=1.0, speed=1.0, lower_bound_s=1.0, efficiency=1.0,
        hosts=[], notes=[], options={},
    )  # fmt: skip
    (layout.output / "job").mkdir()
    (layout.output / "job/summary.json").write_bytes(msgspec.json.encode(summary))
    return layout.output


def part(output: Path) -> Path:
    return output / "manifest/algo-1-0.parquet"


def problems(output: Path) -> list[str]:
    return check_output(Folder(output)).problems


def test_what_a_job_has_left_is_well(output: Path) -> None:
    assert problems(output) == []
    code, text = verify(output)
    assert code == 0
    assert "All is well" in text


FRAME = "frames/v/00000000.jpg"


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def link_to(target: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.unlink()
        path.symlink_to(target)

    return change


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (fifo, "is no regular file"),
        (link_to("/dev/zero"), "is a link"),
        (link_to("00000001.jpg"), "is a link"),
        (lambda path: os.truncate(path, 2**42), "4,398,046,511,104 bytes, and the manifest says"),
    ],
)
def test_what_is_no_image_file_is_not_read(output: Path, harm: Callable[[Path], None], words: str) -> None:
    harm(output / FRAME)
    (problem,) = problems(output)
    assert problem.startswith(f"{FRAME}: ")
    assert words in problem
    assert len(thumbnails(output, 100)) == 2 * FRAMES - 1


@pytest.mark.parametrize(
    "harm", [fifo, link_to("algo-2-0.parquet"), link_to("/dev/zero"), lambda path: os.truncate(path, 2**42)]
)
def test_what_is_no_part_is_not_read(output: Path, harm: Callable[[Path], None]) -> None:
    harm(part(output))
    found = problems(output)
    assert found[0].startswith("manifest/algo-1-0.parquet: cannot be read: it ")
    assert f"{FRAME}: no row of the manifest names it" in found
    with pytest.raises(Exception, match=r"algo-1-0\.parquet is damaged"):
        Manifest(output)
    assert len(thumbnails(output, 100)) == FRAMES


@pytest.mark.parametrize(
    "harm", [fifo, link_to("/dev/zero"), lambda path: os.truncate(path, 2**42), Path.unlink]
)
def test_without_a_summary_nothing_says_that_all_rows_are_there(
    output: Path, harm: Callable[[Path], None]
) -> None:
    harm(output / "job/summary.json")
    (problem,) = problems(output)
    assert problem.startswith("job/summary.json: ")


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("bytes", -1, "-1 bytes"),
        ("bytes", 2**62, "4,611,686,018,427,387,904 bytes"),
        ("sample", -(2**63), "its sample is -9223372036854775808"),
        ("sample", 2**62, "its sample is"),
        ("sample", 1, "sample 1 of v.mp4 has two rows"),
        ("time_base", "1/0", "divided by zero"),
        ("time_base", "x", "its time base: "),
        ("time_base", "9e999999999", "too long for a number"),
        ("time_base", "-1/1000", "is no time base"),
        ("time_base", "1/500", "time_s is 1.0, and pts x time_base 2.0"),
        ("video", "\x1b[31mred\x1b]0;t\x07", "the name of sample 0 of"),
        ("video", "w.mp4", "the name of sample 0 of w.mp4 is another"),
        ("video", "../../../../etc/passwd", "the name of sample 0 of"),
        ("file", "frames/" + "a" * 5000, "File name too long"),
        ("file", "frames/\x00x", "is not below frames/"),
        ("file", "frames/w/00000000.jpg", "the name of sample 0 of v.mp4 is another"),
        ("time_s", math.nan, "time_s is nan"),
        ("time_s", math.inf, "time_s is inf"),
        ("target_s", math.nan, "target_s is nan"),
        ("target_s", 1.01, "which is not the time of sample"),
        ("pts", 1000 + 200, "is not shown after the one before it"),
        ("width", -1, "-1x8 pixels"),
        ("place", 512, "it has the place 512, and lies in no shard"),
        ("status", "dup", "its status is 'dup'"),
        ("status", "blurred", "it is blurred, and has a file"),
        ("file", None, "it is ok, and has no file"),
        ("unit_frames", 7, "it tells of its unit 0 what other rows"),
        ("video_bytes", 7, "it tells of v.mp4 what other rows"),
        ("shard", "shards/\x00.tar", "not in shards/"),
        ("sha256", None, "its SHA-256 is not the manifest's"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_is_a_problem(output: Path, column: str, value: object, words: str) -> None:
    with_first(column, value)(part(output))
    found = problems(output)
    assert any(words in problem for problem in found), found


def test_a_part_that_is_gone_with_its_frames_is_missed(output: Path) -> None:
    part(output).unlink()
    shutil.rmtree(output / "frames/v")
    found = problems(output)
    assert found[0] == "job/summary.json: it tells of 12 frames, and the manifest of 6"


def test_rows_that_are_gone_with_their_frames_are_missed(output: Path) -> None:
    write(part(output), read_table(part(output)).slice(1))
    (output / FRAME).unlink()
    assert "manifest: unit 0 of algo-1 has 5 rows, and they tell of 6" in problems(output)


def test_a_part_that_is_there_twice_is_found(output: Path) -> None:
    shutil.copy(part(output), output / "manifest/algo-9-0.parquet")
    found = problems(output)
    assert f"{FRAME}: it has two rows" in found
    assert "manifest: sample 5 of v.mp4 has two rows" in found


@pytest.mark.parametrize(
    "options",
    [
        b'{"--fps":"1/0"}',
        b'{"--fps":"9e999999999"}',
        b'{"--fps":"nan"}',
        b'{"--fps":"5","--resize":"99999999x99999999"}',
        b'{"--fps":"5","--quality":"-3"}',
        b'{"--fps":"5","--name-template":"{video}/{k:0999999999d}.{ext}"}',
        b"nonsense",
        b"\xff",
    ],
)
def test_options_that_cannot_be_are_a_problem(output: Path, tmp_path: Path, options: bytes) -> None:
    path = part(output)
    write(path, read_table(path).replace_schema_metadata({"framefleet_options": options}))
    (problem,) = problems(output)
    assert problem.startswith("manifest/algo-1-0.parquet: it does not tell how its images were made")
    (tmp_path / "videos").mkdir()
    compared = compare(output, FolderOfVideos(tmp_path / "videos"), samples=10)
    assert any("does not tell how its images were made" in problem for problem in compared.problems)
