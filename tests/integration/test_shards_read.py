"""Packed outputs, read by the loaders that they are made for: ``webdataset`` and Hugging Face's ``datasets``.

One job for each kind of shard, of videos with awkward names, several folders, rotation and suspect frames.
"""

from __future__ import annotations

import gc
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import cv2
import datasets
import numpy as np
import pytest
import webdataset
from click.testing import CliRunner

from common.spec import PackFormat, PackOptions
from tests.awkward import ROTATED, SUSPECT, make_awkward_videos
from tests.jobs import rows, run_job, tree, verify
from tests.sagemaker_jobs import keys, put
from verify.command import verify as verify_command

SHARD_BYTES = 40_000  # some shards of each host
JOB: dict[str, Any] = {"fps": "7", "image": {"resize": "short:64"}, "instances": 2}


@pytest.fixture(scope="module")
def source(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_awkward_videos(clips, tmp_path_factory.mktemp("videos"))


def packed(source: Path, folder: Path, form: PackFormat) -> Path:
    run_job(source, folder, pack=PackOptions(format=form, shard_bytes=SHARD_BYTES), **JOB)
    found = list(rows(folder))
    assert len({row["shard"] for row in found}) > 2
    assert {row["status"] for row in found if row["video"] == SUSPECT} == {"ok", "suspect"}
    assert 0 not in {row["rotation"] for row in found if row["video"] == ROTATED}
    return folder


@pytest.fixture(scope="module")
def tars(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(source, tmp_path_factory.mktemp("tar") / "out", "tar")


@pytest.fixture(scope="module")
def parquets(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(source, tmp_path_factory.mktemp("parquet") / "out", "parquet")


def shards(output: Path) -> list[str]:
    return sorted(str(path) for path in (output / "shards").iterdir())


def expected(output: Path) -> dict[tuple[str, int], tuple[str, str]]:
    """By video and sample: the image's SHA-256 and status."""
    return {(row["video"], row["sample"]): (row["sha256"], row["status"]) for row in rows(output)}


def test_a_packed_output_has_the_images_of_a_loose_one(
    source: Path, tars: Path, parquets: Path, tmp_path: Path
) -> None:
    run_job(source, tmp_path / "loose", **JOB)
    loose = {
        (row["video"], row["sample"]): (row["sha256"], row["status"]) for row in rows(tmp_path / "loose")
    }
    assert expected(tars) == expected(parquets) == loose
    names = {f"{name.rpartition('.')[0].replace('.', '%2E')}.jpg" for name in tree(tmp_path / "loose")}
    assert set(tree(tars)) == set(tree(parquets)) == names


# it leaves its files to the garbage collector
@pytest.mark.filterwarnings("ignore:Exception ignored in.*FileIO:pytest.PytestUnraisableExceptionWarning")
def test_webdataset(tars: Path) -> None:
    found = {}
    keys = set()
    for sample in webdataset.WebDataset(shards(tars), shardshuffle=False):
        told = json.loads(sample["json"])
        found[told["video"], told["sample"]] = hashlib.sha256(sample["jpg"]).hexdigest(), told["status"]
        keys.add(sample["__key__"])
    gc.collect()
    assert found == expected(tars)
    assert len(keys) == len(found)
    assert "straße/b%2Ev2/open/00000000" in keys


def test_datasets_reads_tars(tars: Path, tmp_path: Path) -> None:
    found = datasets.load_dataset(
        "webdataset", data_files=shards(tars), split="train", cache_dir=str(tmp_path)
    )
    assert type(found.features["jpg"]).__name__ == "Image"
    told = [sample["json"] for sample in found.select_columns(["json"])]
    assert {(each["video"], each["sample"]): (each["sha256"], each["status"]) for each in told} == expected(
        tars
    )
    check_pixels(found[0]["jpg"], tars, told[0])


def test_datasets_reads_parquet(parquets: Path, tmp_path: Path) -> None:
    found = datasets.load_dataset(
        "parquet", data_files=shards(parquets), split="train", cache_dir=str(tmp_path)
    )
    assert type(found.features["image"]).__name__ == "Image"
    told = list(found.remove_columns("image"))
    assert {(e["video"], e["sample"]): (e["sha256"], e["status"]) for e in told} == expected(parquets)
    check_pixels(found[0]["image"], parquets, told[0])


def check_pixels(image: Any, output: Path, told: dict[str, Any]) -> None:
    """What a loader gives decoded is, but for rounding, what OpenCV makes of the stored bytes."""
    from common.shards import Readers

    (row,) = [row for row in rows(output) if (row["video"], row["sample"]) == (told["video"], told["sample"])]
    with Readers(output) as readers:
        data = readers.read(row["shard"], row["file"], row["place"], row["bytes"])
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert image.size == (row["width"], row["height"])
    difference = np.asarray(image)[:, :, ::-1].astype(int) - picture
    assert abs(difference).max() <= 4


# ---- verify -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["tars", "parquets"])
def test_verify_finds_a_good_output_well(source: Path, form: str, request: pytest.FixtureRequest) -> None:
    output = request.getfixturevalue(form)
    code, text = verify(output, "--against", source)
    assert code == 0, text
    assert f"{len(expected(output))} frames" in text


def harm_image(data: bytearray, place: int) -> None:
    data[place + 5] ^= 1


def harm_name(data: bytearray, place: int) -> None:
    at = data.index(b"00000", place - 512)
    data[at : at + 1] = b"9"
    tar_header = data[place - 512 : place]
    tar_header[148:156] = b" " * 8
    data[place - 512 + 148 : place - 512 + 156] = f"{sum(tar_header):06o}\0 ".encode()


def harm_end(data: bytearray, place: int) -> None:
    del data[-512:]


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (harm_image, "its SHA-256 is not the manifest's"),
        (harm_name, "tells of no image"),
        (harm_end, "it has no end"),
    ],
)
def test_what_is_wrong_with_a_tar_is_named(
    tars: Path, tmp_path: Path, harm: Callable[[bytearray, int], None], words: str
) -> None:
    output = Path(shutil.copytree(tars, tmp_path / "out"))
    row = next(row for row in rows(output) if row["video"] == ROTATED)
    path = output / row["shard"]
    data = bytearray(path.read_bytes())
    harm(data, row["place"])
    path.write_bytes(data)
    code, text = verify(output)
    assert code == 1
    assert words in text
    assert row["shard"] in text or row["file"] in text


@pytest.mark.parametrize("form", ["tars", "parquets"])
def test_a_shard_too_few_and_one_too_many_are_named(
    form: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    output = Path(shutil.copytree(request.getfixturevalue(form), tmp_path / "out"))
    first, *_, last = shards(output)
    shutil.move(first, f"{first}.bak")
    shutil.copy(last, last.replace("-0000", "-0009"))
    code, text = verify(output)
    assert code == 1
    assert f"shards/{Path(first).name}: missing, with " in text
    assert f"shards/{Path(first).name}.bak: no row of the manifest names it" in text
    assert "-0009" in text


def test_shards_in_s3_are_verified(aws_account: None, tars: Path) -> None:
    client = boto3.client("s3")
    for path in sorted(path for path in tars.rglob("*") if path.is_file()):
        put(client, **{f"out/{path.relative_to(tars).as_posix()}": path.read_bytes()})
    done = CliRunner().invoke(verify_command, ["s3://bucket/out"], standalone_mode=False)
    assert (done.return_value, done.exception) == (0, None), done.output
    shard, other = keys(client, "out/shards/")[:2]
    client.delete_object(Bucket="bucket", Key=shard)
    client.copy_object(
        Bucket="bucket", Key="out/shards/algo-9-000000.tar", CopySource={"Bucket": "bucket", "Key": other}
    )
    done = CliRunner().invoke(verify_command, ["s3://bucket/out"], standalone_mode=False)
    assert done.return_value == 1
    assert f"{shard.removeprefix('out/')}: missing, with" in done.output
    assert "shards/algo-9-000000.tar: no row of the manifest names it" in done.output
    assert "2 problems" in done.output
