"""Labelling formats, read by their tools or, where those cannot be had, held against their documentation."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from framefleet.common.output.manifest import schema
from framefleet.launcher.export.command import export
from framefleet.launcher.export.frames import Manifest

VIDEOS = ("ordner/Grüße 1", "видео.v2", "rotated")
FRAMES = 3
URI = "s3://bucket/my frames/"


def row(video: str, sample: int, *, suffix: str = "jpg", status: str = "ok") -> dict[str, Any]:
    """A row of the manifest; those of the rotated video are upright."""
    upright = video == "rotated"
    return {
        "video": f"{video}.mp4",
        "sample": sample,
        "target_s": sample / 5,
        "pts": sample * 200,
        "time_base": "1/1000",
        "time_s": sample / 5,
        "keyframe": sample == 0,
        "file": f"frames/{video}/{sample:08}.{suffix}",
        "pix_fmt": "yuv420p",
        "width": 48 if upright else 64,
        "height": 64 if upright else 48,
        "rotation": 90 if upright else 0,
        "interlaced": False,
        "bytes": 1000 + sample,
        "sha256": "0" * 64,
        "status": status,
        "unit": 0,
        "attempt": 1,
        "host": "algo-1",
        "unit_start": 0,
        "unit_stop": None,
        "unit_frames": 1,
        "unit_shown": 1,
        "video_bytes": 1,
    }


def write_manifest(output: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """An output whose rows lie in two parts, in disorder."""
    (output / "manifest").mkdir(parents=True)
    for number in range(2):
        part = pa.Table.from_pylist(list(reversed(rows[number::2])), schema=schema())
        pq.write_table(part, output / "manifest" / f"algo-{number + 1}-0.parquet")
    return output


def rows() -> list[dict[str, Any]]:
    found = [row(video, sample) for video in VIDEOS for sample in range(FRAMES)]
    found[1]["status"] = "suspect"
    return found


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return write_manifest(tmp_path / "out", rows())


def run(*arguments: object) -> str:
    result = CliRunner().invoke(export, [str(each) for each in arguments], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.output


def refused(*arguments: object) -> str:
    result = CliRunner().invoke(export, [str(each) for each in arguments])
    assert result.exit_code == 2
    return " ".join(result.output.split())


def read_lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_frames_come_by_video_and_sample(output: Path) -> None:
    found = [(video.name, [frame.sample for frame in video.frames]) for video in Manifest(output).videos()]
    assert found == [(f"{name}.mp4", [0, 1, 2]) for name in sorted(VIDEOS)]


def test_suspect_frames_may_be_left_out(output: Path) -> None:
    assert len(Manifest(output, suspect=False)) == len(Manifest(output)) - 1
    run(output, "--format", "coco-vid", "--drop-suspect")
    images = json.loads((output / "export" / "coco-vid.json").read_text())["images"]
    assert len(images) == len(VIDEOS) * FRAMES - 1
    assert {image["status"] for image in images} == {"ok"}


def test_ground_truth_sequences_are_as_documented(output: Path) -> None:
    assert "0001.manifest" in run(output, "--format", "ground-truth", "--s3-uri", URI.rstrip("/"))
    folder = output / "export" / "ground-truth"
    references = read_lines(folder / "0001.manifest")
    assert [set(each) for each in references] == [{"source-ref"}] * len(VIDEOS)
    for number, (reference, video) in enumerate(zip(references, sorted(VIDEOS), strict=True), start=1):
        below = reference["source-ref"].removeprefix(URI)
        sequence = json.loads((output / below).read_text(encoding="utf-8"))
        assert set(sequence) == {"seq-no", "prefix", "number-of-frames", "frames"}
        assert sequence["seq-no"] == number
        assert sequence["prefix"] == f"{URI}frames/{video}/"
        assert sequence["number-of-frames"] == len(sequence["frames"]) == FRAMES
        assert sequence["frames"] == [
            {"frame-no": count + 1, "frame": f"{count:08}.jpg"} for count in range(FRAMES)
        ]


def test_a_labelling_job_gets_ten_sequences_at_most(tmp_path: Path) -> None:
    many = [row(f"v{number:02}", 0) for number in range(23)]
    output = write_manifest(tmp_path / "out", many)
    run(output, "--format", "ground-truth", "--s3-uri", URI)
    parts = sorted((output / "export" / "ground-truth").glob("*.manifest"))
    references = [read_lines(part) for part in parts]
    assert [len(each) for each in references] == [10, 10, 3]
    assert len({line["source-ref"] for each in references for line in each}) == 23
    assert len(list(parts[0].parent.glob("sequence-*.json"))) == 23


def test_an_export_replaces_the_one_before_it(tmp_path: Path) -> None:
    first = write_manifest(tmp_path / "a", [row(f"v{number:02}", 0) for number in range(12)])
    run(first, "--format", "ground-truth", "--s3-uri", URI)
    for part in (first / "manifest").iterdir():
        part.unlink()
    (first / "manifest").rmdir()
    write_manifest(first, [row("v00", 0)])
    run(first, "--format", "ground-truth", "--s3-uri", URI)
    names = sorted(path.name for path in (first / "export" / "ground-truth").iterdir())
    assert names == ["0001.manifest", "sequence-000001.json"]


def test_frames_in_several_folders_share_a_prefix(tmp_path: Path) -> None:
    spread = [row("v", sample) for sample in range(2)]
    spread[1]["file"] = "frames/v/more/00000001.jpg"
    output = write_manifest(tmp_path / "out", spread)
    run(output, "--format", "ground-truth", "--s3-uri", URI)
    sequence = json.loads((output / "export" / "ground-truth" / "sequence-000001.json").read_text())
    assert sequence["prefix"] == f"{URI}frames/v/"
    assert [frame["frame"] for frame in sequence["frames"]] == ["00000000.jpg", "more/00000001.jpg"]


def test_source_ref_names_each_image(output: Path) -> None:
    run(output, "--format", "source-ref", "--s3-uri", URI)
    lines = read_lines(output / "export" / "images.manifest")
    expected = {URI + each["file"] for each in rows()}
    assert {line["source-ref"] for line in lines} == expected
    assert len(lines) == len(expected)


def test_cvat_manifest_is_as_documented(output: Path) -> None:
    run(output, "--format", "cvat")
    version, kind, *images = read_lines(output / "manifest.jsonl")
    assert (version, kind) == ({"version": "1.1"}, {"type": "images"})
    assert {image["name"] + image["extension"] for image in images} == {each["file"] for each in rows()}
    rotated = [image for image in images if image["meta"]["video"] == "rotated.mp4"]
    assert [(image["width"], image["height"]) for image in rotated] == [(48, 64)] * FRAMES
    assert [image["meta"]["status"] for image in images].count("suspect") == 1


def test_fiftyone_dataset_is_as_documented(output: Path) -> None:
    run(output, "--format", "fiftyone")
    folder = output / "export" / "fiftyone"
    assert json.loads((folder / "metadata.json").read_text())["media_type"] == "image"
    samples = json.loads((folder / "samples.json").read_text(encoding="utf-8"))["samples"]
    found = {(folder / sample["filepath"]).resolve() for sample in samples}
    assert found == {(output / each["file"]).resolve() for each in rows()}
    first = next(each for each in samples if each["video"] == "rotated.mp4" and each["frame_number"] == 3)
    assert first["timestamp"] == pytest.approx(0.4)
    assert (first["metadata"]["width"], first["metadata"]["height"]) == (48, 64)


def test_what_cannot_be_exported_is_refused(output: Path, tmp_path: Path) -> None:
    assert "--s3-uri s3://BUCKET/PREFIX" in refused(output, "--format", "ground-truth")
    assert "--s3-uri http://x/ is no folder in S3" in refused(
        output, "--format", "source-ref", "--s3-uri", "http://x/"
    )
    assert "goes with --format ground-truth" in refused(output, "--format", "cvat", "--s3-uri", URI)
    assert "has no manifest" in refused(tmp_path, "--format", "cvat")
    assert "aws s3 cp" in refused("s3://bucket/out", "--format", "cvat")
    webp = write_manifest(tmp_path / "webp", [row("v", 0, suffix="webp"), row("v", 1, suffix="webp")])
    assert "--format jpg or png" in refused(webp, "--format", "source-ref", "--s3-uri", URI)
    (tmp_path / "bad" / "manifest").mkdir(parents=True)
    (tmp_path / "bad" / "manifest" / "x.parquet").write_bytes(b"nothing")
    assert "is damaged: " in refused(tmp_path / "bad", "--format", "cvat")
    packed = [row("v", sample) for sample in range(2)]
    for each in packed:
        each["shard"], each["place"] = "shards/algo-1-000000.tar", 512
    shards = write_manifest(tmp_path / "packed", packed)
    assert "without --pack" in refused(shards, "--format", "cvat")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("file", "frames/../../etc/x.jpg"),
        ("file", "frames/v/\x00.jpg"),
        ("file", "/etc/x.jpg"),
        ("file", "frames/v/"),
        ("time_s", math.nan),
        ("time_s", math.inf),
        ("sample", -1),
        ("width", 0),
        ("height", -7),
    ],
)
def test_rows_that_cannot_be_are_not_exported(tmp_path: Path, column: str, value: object) -> None:
    made = [row("v", sample) for sample in range(3)]
    made[1][column] = value
    bad = write_manifest(tmp_path / "bad", made)
    assert "tells of" in refused(bad, "--format", "cvat")
    assert not (bad / "manifest.jsonl").exists()


def test_a_frame_with_two_rows_is_not_exported(tmp_path: Path) -> None:
    twice = write_manifest(tmp_path / "twice", [row("v", 0), row("v", 1), row("v", 0)])
    assert "more than one row of 'frames/v/00000000.jpg'" in refused(twice, "--format", "cvat")
    assert not (twice / "manifest.jsonl").exists()


def test_an_export_is_not_written_through_what_lies_in_its_place(output: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("mine")
    (output / "manifest.jsonl.part").symlink_to(tmp_path / "elsewhere")
    run(output, "--format", "cvat")
    assert (tmp_path / "elsewhere").read_text() == "mine"
