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
import pyarrow.parquet as pq
import pytest
import webdataset
from click.testing import CliRunner

from framefleet.common.output.shard_fields import TOLD, PackFormat, PackOptions
from framefleet.launcher.verify.check_output import check_output
from framefleet.launcher.verify.command import verify as verify_command
from framefleet.launcher.verify.storage import Folder
from tests.helpers.awkward_videos import ROTATED, SUSPECT, make_awkward_videos
from tests.helpers.jobs import rewrite, rows, run_job, tree, verify
from tests.helpers.sagemaker_jobs import keys, put

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
    check_images(found, "jpg", [sample["json"] for sample in found.select_columns(["json"])], tars)


def test_datasets_reads_parquet(parquets: Path, tmp_path: Path) -> None:
    found = datasets.load_dataset(
        "parquet", data_files=shards(parquets), split="train", cache_dir=str(tmp_path)
    )
    assert type(found.features["image"]).__name__ == "Image"
    check_images(found, "image", list(found.remove_columns("image")), parquets)


def check_images(found: Any, column: str, told: list[dict[str, Any]], output: Path) -> None:
    """Every sample has the stored bytes, and what the loader makes of them is, but for rounding, what OpenCV
    does."""
    raw = found.cast_column(column, datasets.Image(decode=False))
    hashes = [hashlib.sha256(sample[column]["bytes"]).hexdigest() for sample in raw]
    assert hashes == [each["sha256"] for each in told]
    assert {(e["video"], e["sample"]): (e["sha256"], e["status"]) for e in told} == expected(output)
    for sample, stored, each in zip(found, raw, told, strict=True):
        picture = cv2.imdecode(np.frombuffer(stored[column]["bytes"], np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        assert sample[column].size == (each["width"], each["height"])
        assert abs(np.asarray(sample[column])[:, :, ::-1].astype(int) - picture).max() <= 4
    sizes = {(each["width"], each["height"]) for each in told if each["video"] == ROTATED}
    assert all(width < height for width, height in sizes), "it is upright"


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


def cut_little(data: bytearray, place: int) -> None:
    del data[-7:]


def add_zeros(data: bytearray, place: int) -> None:
    data += bytes(10_240)


def add_behind_the_end(data: bytearray, place: int) -> None:
    data += b"x" * 512 + bytes(1024)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (harm_image, "its SHA-256 is not the manifest's"),
        (harm_name, "tells of no image"),
        *((harm, "does not end behind its last image") for harm in (harm_end, cut_little, add_zeros)),
        (add_behind_the_end, "does not end behind its last image"),
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


@pytest.mark.parametrize("form", ["tars", "parquets"])
@pytest.mark.parametrize("field", TOLD)
def test_what_a_shard_tells_of_an_image_is_compared(
    form: str, field: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    output = Path(shutil.copytree(request.getfixturevalue(form), tmp_path / "out"))
    chosen = next(row for row in rows(output) if row["video"] == SUSPECT)

    def changed(row: dict[str, Any]) -> object:
        value = row[field]
        if row["file"] != chosen["file"]:
            return value
        return f"{value}x" if isinstance(value, str) else not value if isinstance(value, bool) else value + 1

    rewrite(output, field, changed)
    problems = check_output(Folder(output)).problems
    words = f"{chosen['shard']}: what it tells of {chosen['file']} is not what the manifest says: {field}"
    assert words in problems


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def damage_image(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(b"\xff\xd8\xff") + 30] ^= 1
    path.write_bytes(data)


def lose_rows(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.slice(0, len(table) - 1), path)


def swap_rows(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.take(list(reversed(range(len(table))))), path)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (cut, "cannot be read to its end"),
        (damage_image, "its SHA-256 is not the manifest's"),
        (lose_rows, "is not in it"),
        (swap_rows, ", and the manifest says 0"),
    ],
)
def test_what_is_wrong_with_a_parquet_shard_is_named(
    parquets: Path, tmp_path: Path, harm: Callable[[Path], None], words: str
) -> None:
    output = Path(shutil.copytree(parquets, tmp_path / "out"))
    harm(Path(shards(output)[0]))
    problems = check_output(Folder(output)).problems
    assert any(words in problem for problem in problems), problems


def test_images_that_wait_in_a_bundle_are_a_problem(tars: Path, tmp_path: Path) -> None:
    output = Path(shutil.copytree(tars, tmp_path / "out"))
    shard = Path(shards(output)[0])
    name = f"shards/{shard.name}"
    count = sum(row["shard"] == name for row in rows(output))
    bundle = shard.rename(shard.with_suffix(".images"))
    rewrite(output, "shard", lambda row: str(row["shard"]).replace(name, f"shards/{bundle.name}"))
    problems = check_output(Folder(output)).problems
    assert f"shards/{bundle.name}: {count} images wait in it for a shard: their job was cut short" in problems


def test_no_memory_is_taken_for_what_cannot_be_there(tars: Path, tmp_path: Path) -> None:
    output = Path(shutil.copytree(tars, tmp_path / "out"))
    rewrite(output, "bytes", lambda row: 2**60)
    *problems, last = check_output(Folder(output)).problems
    assert len(problems) == len(expected(tars))
    assert all("says that it has 1,152,921,504,606" in problem for problem in problems)
    assert last.startswith("job/summary.json: it tells of ")


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
