"""Exports of a real job's output, read by the tools that they are made for where these run, and compared with
the images themselves.

One job: names that are not ASCII, several folders, a rotated video, and one with suspect frames.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from pycocotools.coco import COCO

from framefleet.launcher.export.command import FORMATS, export
from tests.helpers.awkward_videos import ROTATED, SUSPECT, VIDEOS, make_awkward_videos
from tests.helpers.jobs import REPOSITORY, rows, run_job

URI = "s3://bucket/my frames/"
FIFTYONE = REPOSITORY / ".venv-fiftyone"
PATIENCE_S = 200


@pytest.fixture(scope="module")
def output(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job's output with all exports."""
    folder = tmp_path_factory.mktemp("exports")
    output = folder / "out"
    run_job(make_awkward_videos(clips, folder / "videos"), output, fps="7", image={"resize": "short:64"})
    formats = [word for name in FORMATS for word in ("--format", name)]
    CliRunner().invoke(
        export, [str(output), *formats, "--s3-uri", URI], standalone_mode=False, catch_exceptions=False
    )
    return output


@pytest.fixture(scope="module")
def expected(output: Path) -> dict[Path, dict[str, Any]]:
    """The manifest's rows by the images, by video and sample; each is as its row says."""
    found = sorted(rows(output), key=lambda row: (row["video"], row["sample"]))
    by_path = {(output / row["file"]).resolve(): row for row in found}
    assert {row["video"] for row in found} == set(VIDEOS.values())
    assert {row["status"] for row in found if row["video"] == SUSPECT} == {"ok", "suspect"}
    assert all(row["width"] < row["height"] for row in found if row["video"] == ROTATED)
    assert len({(row["width"], row["height"]) for row in found}) > 1
    assert {path: (row["width"], row["height"]) for path, row in by_path.items()} == {
        path: size_of(path) for path in by_path
    }
    return by_path


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of an image on disk."""
    picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    assert picture is not None
    return picture.shape[1], picture.shape[0]


def read_lines(path: Path) -> Iterator[Any]:
    for line in path.read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


def here(output: Path, uri: str) -> Path:
    """What a URI of the output is on disk."""
    assert uri.startswith(URI)
    return (output / uri.removeprefix(URI)).resolve()


def test_pycocotools_reads_coco_vid(output: Path, expected: dict[Path, dict[str, Any]]) -> None:
    dataset = COCO(output / "export" / "coco-vid.json")
    videos = {video["id"]: video for video in dataset.dataset["videos"]}
    assert {video["name"] for video in videos.values()} == set(VIDEOS.values())
    found = dataset.loadImgs(sorted(dataset.getImgIds()))
    paths = [(output / "frames" / image["file_name"]).resolve() for image in found]
    assert paths == list(expected)
    counts = dict.fromkeys(videos, 0)
    for path, image in zip(paths, found, strict=True):
        row, video = expected[path], videos[image["video_id"]]
        assert (image["width"], image["height"]) == size_of(path) == (video["width"], video["height"])
        assert video["name"] == row["video"]
        assert image["frame_id"] == counts[video["id"]]
        counts[video["id"]] += 1
        assert (image["sample"], image["time_s"], image["status"]) == (
            row["sample"], row["time_s"], row["status"],
        )  # fmt: skip
    assert counts == {number: video["length"] for number, video in videos.items()}


def test_cvat_manifest_names_the_images(output: Path, expected: dict[Path, dict[str, Any]]) -> None:
    _, _, *found = read_lines(output / "manifest.jsonl")
    sizes = {
        (output / (image["name"] + image["extension"])).resolve(): (image["width"], image["height"])
        for image in found
    }
    assert list(sizes) == list(expected)
    assert sizes == {path: size_of(path) for path in expected}
    assert [image["meta"]["status"] for image in found] == [row["status"] for row in expected.values()]


def test_ground_truth_names_the_images(output: Path, expected: dict[Path, dict[str, Any]]) -> None:
    found: list[Path] = []
    for line in read_lines(output / "export" / "ground-truth" / "0001.manifest"):
        sequence = json.loads(here(output, line["source-ref"]).read_text(encoding="utf-8"))
        assert [frame["frame-no"] for frame in sequence["frames"]] == [
            *range(1, sequence["number-of-frames"] + 1)
        ]
        found += [here(output, sequence["prefix"] + frame["frame"]) for frame in sequence["frames"]]
    assert found == list(expected)
    single = [here(output, line["source-ref"]) for line in read_lines(output / "export" / "images.manifest")]
    assert single == list(expected)


@pytest.mark.skipif(
    not (FIFTYONE / ".installed").exists(),
    reason="FiftyOne is not installed: tests/fiftyone-env.sh .venv-fiftyone",
)
def test_fiftyone_reads_its_export(
    output: Path, expected: dict[Path, dict[str, Any]], tmp_path: Path
) -> None:
    done = subprocess.run(
        [
            FIFTYONE / "bin" / "python",
            REPOSITORY / "tests" / "helpers" / "fiftyone_reader.py",
            "export/fiftyone",
        ],
        cwd=output,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "FIFTYONE_DATABASE_DIR": str(tmp_path / "database"),
            "FIFTYONE_DO_NOT_TRACK": "true",
        },
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert [Path(sample["filepath"]) for sample in told["samples"]] == list(expected), "absolute, and there"
    numbers = dict.fromkeys(VIDEOS.values(), 0)
    for sample, row in zip(told["samples"], expected.values(), strict=True):
        numbers[row["video"]] += 1
        assert sample["tags"] == (["suspect"] if row["status"] == "suspect" else [])
        assert sample["timestamp"] == row["time_s"]
        assert sample["frame_number"] == numbers[row["video"]]
        assert {name: sample[name] for name in ("video", "sample", "status")} == {
            name: row[name] for name in ("video", "sample", "status")
        }
        assert [sample["metadata"][name] for name in ("width", "height", "size_bytes")] == [
            row["width"], row["height"], row["bytes"],
        ]  # fmt: skip
    assert told["measured"] == [[*size_of(path), row["bytes"]] for path, row in expected.items()]
    assert told["suspect"] == sum(row["status"] == "suspect" for row in expected.values())
    assert sorted(told["groups"]) == sorted([*range(1, count + 1)] for count in numbers.values())
