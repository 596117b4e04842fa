"""An output read by the tools that people use, and checked by ``launch.py verify``.

One job: names that are not ASCII, several folders, a rotated video, and one with suspect frames.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import duckdb
import pandas
import polars
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from framefleet.common.output.manifest import schema
from framefleet.common.output.video_names import video_name
from framefleet.launcher.export.frames import Manifest
from framefleet.launcher.report.thumbnails import thumbnails
from framefleet.launcher.verify.against_videos import compare
from framefleet.launcher.verify.check_output import check_output
from framefleet.launcher.verify.command import verify as verify_command
from framefleet.launcher.verify.storage import Folder, FolderOfVideos, open_videos
from tests.helpers.awkward_videos import VIDEOS, make_awkward_videos
from tests.helpers.jobs import rewrite, rows, run_job, summary, verify
from tests.helpers.sagemaker_jobs import keys, put


@pytest.fixture(scope="module")
def source(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_awkward_videos(clips, tmp_path_factory.mktemp("videos"))


@pytest.fixture(scope="module")
def output(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("job") / "out"
    run_job(source, folder, fps="7", image={"resize": "short:64"})
    statuses = Counter((row["video"], row["status"]) for row in rows(folder))
    assert statuses["kaputt.mp4", "suspect"] > 0
    assert {row["rotation"] for row in rows(folder) if row["video"] == "gedreht.mp4"} != {0}
    return folder


@pytest.fixture
def copied(output: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(output, tmp_path / "out"))


def expected(output: Path) -> Counter[tuple[str, str]]:
    return Counter((row["video"], row["status"]) for row in rows(output))


# ---- the manifest, by each reader -------------------------------------------------------------------


def test_all_parts_have_the_schema_with_descriptions(output: Path) -> None:
    dataset = pyarrow.dataset.dataset(output / "manifest")
    assert dataset.schema.equals(schema())
    for part in (output / "manifest").glob("*.parquet"):
        found = pq.read_schema(part)
        assert found.equals(schema())
        assert all(field.metadata[b"description"] for field in found)
        assert pa.types.is_dictionary(found.field("video").type)


def test_pyarrow_reads_one_video(output: Path) -> None:
    dataset = pyarrow.dataset.dataset(output / "manifest")
    name = "straße/夏の海 1.mp4"
    table = dataset.to_table(filter=pc.field("video") == name)
    assert table.num_rows == expected(output)[name, "ok"] > 0


def test_duckdb(output: Path) -> None:
    relation = duckdb.sql(
        f"SELECT video, status, count(*) FROM read_parquet('{output}/manifest/*.parquet') GROUP BY ALL"
    )
    assert relation is not None
    found = relation.fetchall()
    assert {(video, status): count for video, status, count in found} == expected(output)


def test_pandas(output: Path) -> None:
    frame = pandas.read_parquet(output / "manifest")
    assert Counter(zip(frame["video"], frame["status"], strict=True)) == expected(output)


def test_polars(output: Path) -> None:
    frame = polars.read_parquet(output / "manifest" / "*.parquet")
    found = zip(frame["video"].cast(polars.String), frame["status"].cast(polars.String), strict=True)
    assert Counter(found) == expected(output)


# ---- verify -----------------------------------------------------------------------------------------


def test_a_good_output_is_well_and_equals_a_fresh_decode(output: Path, source: Path) -> None:
    code, text = verify(output, "--against", source, "--samples", "1000")
    assert code == 0, text
    suspect = sum(count for (_, status), count in expected(output).items() if status == "suspect")
    whole = sum(expected(output).values()) - suspect
    assert f"{whole} frames of {len(VIDEOS)} videos made again, {suspect} suspect ones left out" in text


def test_what_was_left_out_is_told_and_in_nobodys_way(source: Path, output: Path, tmp_path: Path) -> None:
    chosen = tmp_path / "out"
    run_job(source, chosen, fps="7", image={"resize": "short:64", "dedup": 14, "min_sharpness": 400.0})
    every, kept = (
        {(row["video"], row["sample"]): row["sha256"] for row in rows(folder)} for folder in (output, chosen)
    )
    assert kept.keys() == every.keys()
    left_out = {key for key, digest in kept.items() if digest is None}
    assert {row["status"] for row in rows(chosen)} >= {"ok", "duplicate", "blurred"}
    assert {key: kept[key] for key in kept.keys() - left_out}.items() <= every.items()
    code, text = verify(chosen, "--against", source, "--samples", "1000")
    assert code == 0, text
    assert f"{len(kept) - len(left_out)} frames in" in text
    assert f"{len(left_out)} were left out" in text
    assert len(Manifest(chosen)) == len(kept) - len(left_out)
    assert len(thumbnails(chosen, 1000)) == len(kept) - len(left_out)
    done = summary(chosen)
    assert (done.frames, done.dropped_frames) == (len(kept), len(left_out))


def first_file(output: Path) -> Path:
    return sorted((output / "frames").rglob("*.jpg"))[0]


def change_bytes(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (Path.unlink, "missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "the manifest says"),
        (change_bytes, "its SHA-256 is not the manifest's"),
        (lambda path: shutil.copy(path, path.with_name("99999999.jpg")), "no row of the manifest names it"),
    ],
)
def test_what_is_wrong_is_named(copied: Path, harm: Callable[[Path], object], words: str) -> None:
    harm(first_file(copied))
    code, text = verify(copied)
    assert code == 1
    assert words in text
    assert "1 problems" in text


def parts(output: Path) -> list[Path]:
    return sorted((output / "manifest").glob("*.parquet"))


@pytest.mark.parametrize("column", ["time_s", "pts", "keyframe", "unit_stop", "video", "sha256"])
def test_a_damaged_manifest_is_found_whatever_column_it_is(copied: Path, column: str) -> None:
    part = parts(copied)[0]
    place = schema().names.index(column)
    told = pq.read_metadata(part).row_group(0).column(place)
    data = bytearray(part.read_bytes())
    start = told.data_page_offset if told.dictionary_page_offset is None else told.dictionary_page_offset
    data[start + told.total_compressed_size - 1] ^= 1  # the last byte of its last page
    part.write_bytes(data)
    code, text = verify(copied)
    assert code == 1
    assert f"manifest/{part.name}: cannot be read" in text


def test_another_schema_is_found(copied: Path) -> None:
    part = parts(copied)[0]
    table = pq.read_table(part)
    place = table.schema.get_field_index("width")
    table = table.set_column(place, "width", table["width"].cast(pa.int64()))
    pq.write_table(table.append_column("mood", pa.nulls(len(table))), part)
    code, text = verify(copied)
    assert code == 1
    assert f"manifest/{part.name}: width is int64, and a manifest has int32" in text
    assert f"manifest/{part.name}: 'mood' is no column of a manifest" in text
    assert "2 problems" in text
    pq.write_table(table.drop_columns(["unit_shown"]), part)
    code, text = verify(copied)
    assert code == 1
    assert "unit_shown" in text


@pytest.mark.parametrize(
    ("column", "harm", "words"),
    [
        ("sample", lambda row: int(str(row["sample"])) + 1, "a later frame is on screen at its time"),
        ("sample", lambda row: int(str(row["sample"])) - 1, "it is not on screen yet at its time"),
        ("pts", lambda row: int(str(row["pts"])) + 1, "has no frame with pts"),
    ],
)
def test_frames_of_another_time_are_found(
    copied: Path, source: Path, column: str, harm: Callable[[dict[str, object]], object], words: str
) -> None:
    rewrite(copied, column, harm)
    problems = compare(copied, FolderOfVideos(source), samples=100).problems
    assert any(words in problem for problem in problems), problems


def test_what_is_no_image_is_found(copied: Path) -> None:
    file = first_file(copied).relative_to(copied).as_posix()
    (copied / file).write_bytes(b"no image")
    told = {"bytes": 8, "sha256": hashlib.sha256(b"no image").hexdigest()}
    for column, value in told.items():
        rewrite(copied, column, lambda row: value if row["file"] == file else row[column])  # noqa: B023
    code, text = verify(copied)
    assert code == 1
    assert f"{file}: does not decode" in text
    assert "job/summary.json: it tells of" in text
    assert "2 problems" in text


def test_rows_that_are_there_twice_are_found(copied: Path) -> None:
    part = parts(copied)[0]
    table = pq.read_table(part)
    pq.write_table(pa.concat_tables([table, table.slice(0, 1)]), part)
    row = table.slice(0, 1).to_pylist()[0]
    code, text = verify(copied)
    assert code == 1
    assert f"{row['file']}: it has two rows" in text
    assert f"sample {row['sample']} of {row['video']} has two rows" in text
    assert f"unit {row['unit']} of {row['host']} has" in text
    assert "bytes, and the manifest of" in text
    assert "5 problems" in text


def test_links_are_strays_and_no_way_to_what_rows_name(copied: Path, tmp_path: Path) -> None:
    folder = first_file(copied).parent
    shutil.move(folder, tmp_path / "other disk")
    folder.symlink_to(tmp_path / "other disk")
    problems = check_output(Folder(copied)).problems
    count = len(list((tmp_path / "other disk").iterdir()))
    words = f"cannot be read: passes '{folder.name}', which is a link or no folder"
    assert sum(words in problem for problem in problems) == count
    assert f"frames/{folder.name}: no row of the manifest names it" in problems
    assert len(problems) == count + 1


def test_frames_of_another_video_are_found(copied: Path, source: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(source, tmp_path / "videos"))
    shutil.copy(other / "straße/夏の海 1.mp4", other / "gedreht.mp4")
    code, text = verify(copied, "--against", other)
    assert code == 1
    assert "a fresh decode of gedreht.mp4 gives another image" in text


def test_paths_out_of_the_output_are_not_followed(copied: Path) -> None:
    rewrite(copied, "file", lambda row: f"frames/../../{row['file']}")
    problems = check_output(Folder(copied)).problems
    assert any("is not below frames/" in problem for problem in problems)


def test_what_is_no_output_is_told(tmp_path: Path) -> None:
    code, text = verify(tmp_path)
    assert code == 2
    assert "give the --output folder of a job" in text


# ---- verify, in S3 ----------------------------------------------------------------------------------


def uploaded(folder: Path, prefix: str) -> Any:
    """A client of the account that has the files of a folder below ``s3://bucket/<prefix>``."""
    client = boto3.client("s3")
    put(client, **{
        f"{prefix}/{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in sorted(folder.rglob("*")) if path.is_file()
    })  # fmt: skip
    return client


def test_an_output_in_s3(aws_account: None, source: Path, output: Path) -> None:
    client = uploaded(output, "out")
    uploaded(source, "videos")
    arguments = ["s3://bucket/out", "--against", "s3://bucket/videos", "--samples", "20"]
    done = CliRunner().invoke(verify_command, arguments, standalone_mode=False)
    assert (done.return_value, done.exception) == (0, None), done.output
    assert f"{sum(expected(output).values())} frames in" in done.output
    assert "20 frames of" in done.output
    first, second = keys(client, "out/frames/")[:2]
    client.delete_object(Bucket="bucket", Key=first)
    client.put_object(Bucket="bucket", Key=second, Body=b"no image")
    client.put_object(Bucket="bucket", Key="out/frames/stray.jpg", Body=b"no image")
    done = CliRunner().invoke(verify_command, arguments[:1], standalone_mode=False)
    assert done.return_value == 1
    assert f"{first.removeprefix('out/')}: missing" in done.output
    assert f"{second.removeprefix('out/')}: 8 bytes, and the manifest says" in done.output
    assert "frames/stray.jpg: no row of the manifest names it" in done.output
    assert "3 problems" in done.output


@pytest.mark.parametrize("name", ["100%ABC.mp4", "100%25.mp4", "straße/夏 1.mp4"])
def test_videos_in_s3_are_found_by_the_names_that_a_manifest_shows(
    aws_account: None, tmp_path: Path, name: str
) -> None:
    put(boto3.client("s3"), **{f"videos/{name}": b"a video"})
    videos = open_videos("s3://bucket/videos", boto3.client("s3"), tmp_path)
    with videos.video(video_name(name.encode())) as path:
        assert path is not None
        assert path.read_bytes() == b"a video"
    with videos.video("another.mp4") as path:
        assert path is None


def test_what_is_no_output_in_s3_is_told(aws_account: None, source: Path) -> None:
    uploaded(source, "videos")
    done = CliRunner().invoke(verify_command, ["s3://bucket/videos"])
    assert done.exit_code == 2
    assert "s3://bucket/videos has no manifest/*.parquet" in done.output
    done = CliRunner().invoke(verify_command, ["s3://other/videos"])
    assert done.exit_code == 2
    assert "other" in done.output
