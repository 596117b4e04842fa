from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3
import pytest

from framefleet.common.errors import UserError
from framefleet.common.job.spec import ImageOptions, SamplingOptions
from framefleet.coordinator.catalogue import list_videos
from framefleet.launcher.aws.s3 import S3Folder, parse_folder
from framefleet.launcher.sagemaker.input_listing import GB, LEAST_GB, check_sharded, read_input, volume_gb
from tests.helpers.sagemaker_jobs import INPUT, put


@pytest.fixture
def s3(aws_account: None) -> Any:
    client = boto3.client("s3")
    client.create_bucket(Bucket="bucket")
    return client


def test_s3_is_listed_as_hosts_list_their_disks(s3: Any, tmp_path: Path) -> None:
    names = [
        "b.mp4", "a/x.mp4", "a/x.mov", "a/.hidden.mp4", ".git/config", "notes.txt", "é.mkv", "a.b/c",
        "a-b/c.mp4", "UPPER.MP4",
    ]  # fmt: skip
    for size, name in enumerate(names):
        put(s3, **{f"videos/{name}": b"x" * size})
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(b"x" * size)
    put(s3, **{"videos/empty/": b"", "videos/": b"", "videos-old/z.mp4": b"", "other": b""})
    listing, sizes = read_input(s3, INPUT)
    assert listing.videos == list_videos(tmp_path).videos
    assert sorted(sizes) == list(range(len(names)))


def test_listings_of_several_pages(s3: Any) -> None:
    for number in range(1001):
        s3.put_object(Bucket="bucket", Key=f"videos/{number}.mp4", Body=b"")
    assert len(read_input(s3, INPUT)[0].videos) == 1001


@pytest.mark.parametrize(
    ("objects", "words"),
    [
        ([], "--input s3://bucket/videos holds no files: correct the name, or upload videos (aws s3 sync"),
        (["videos/"], "holds no files"),
        (["videos-2/a.mp4"], "did you mean 'videos-2/a.mp4'?"),
        (["videos"], "--input s3://bucket/videos is a file: give the folder that holds it"),
        (["videos/.a", "videos/.git/b"], "nothing but 2 hidden files"),
        (["videos/a", "videos/a/b"], "'a' is an object and a folder of others at once"),
        (["videos/a/b", "videos/a/b/c/d"], "'a/b' is an object and a folder"),
        (["videos/" + "é" * 128], "has a part of more than 255 bytes"),
        (["videos/a//b.mp4"], "'a//b.mp4' has an empty part in its path, which no disk can hold"),
    ],
)
def test_what_is_no_input(s3: Any, objects: list[str], words: str) -> None:
    put(s3, **dict.fromkeys(objects, b"x"))
    with pytest.raises(UserError) as caught:
        read_input(s3, INPUT)
    assert words in str(caught.value)


def test_sharded_hosts_must_not_give_two_videos_one_name(s3: Any) -> None:
    put(s3, **{"videos/a.mp4": b"", "videos/b.mp4": b"", "videos/c.srt": b""})
    check_sharded(read_input(s3, INPUT)[0].videos)
    put(s3, **{"videos/b.mov": b""})
    with pytest.raises(UserError, match=r"'b\.mov' shares its name without suffix"):
        check_sharded(read_input(s3, INPUT)[0].videos)


def size_of(sizes: list[int], instances: int = 4, **options: Any) -> int:
    fields: dict[str, Any] = {
        "mode": "coordinated",
        "sampling": SamplingOptions(fps="0.001"),
        "image": ImageOptions(),
        **options,
    }
    return volume_gb(sizes, instances=instances, **fields)


def test_disks_hold_the_whole_input_or_the_largest_share_and_the_frames() -> None:
    assert size_of([1000]) == LEAST_GB
    assert size_of([50 * GB, 20 * GB, 20 * GB, 10 * GB]) == 111
    assert size_of([50 * GB, 20 * GB, 20 * GB, 10 * GB], instances=2, mode="sharded") == 81
    assert size_of([50 * GB, 20 * GB, 20 * GB, 10 * GB], instances=8, mode="sharded") == 61
    # 100 GB are 200,000 s of video; at 5 a second of 400 kB that is 400 GB, of which a fourth, twice
    assert size_of([100 * GB], sampling=SamplingOptions(fps="5")) == 100 + 200 + 10
    assert size_of([100 * GB], instances=1, sampling=SamplingOptions(fps="5")) == 100 + 400 + 10
    native = size_of([100 * GB], sampling=SamplingOptions(fps="native"))
    assert native == size_of([100 * GB], sampling=SamplingOptions(fps="60")) == 100 + 1200 + 10
    assert size_of([100 * GB], sampling=SamplingOptions(every=6, fps=None)) == 100 + 200 + 10
    assert size_of([100 * GB], image=ImageOptions(format="png"), sampling=SamplingOptions(fps="5")) == 1610


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        ("s3://bucket/videos", S3Folder("bucket", "videos/")),
        ("s3://bucket/videos/", S3Folder("bucket", "videos/")),
        ("s3://bucket/a b/é", S3Folder("bucket", "a b/é/")),
        ("s3://my.bucket-1", S3Folder("my.bucket-1", "")),
        ("s3://bucket/", S3Folder("bucket", "")),
    ],
)
def test_folders(text: str, folder: S3Folder) -> None:
    assert parse_folder(text, "--input") == folder


@pytest.mark.parametrize(
    "text",
    [
        "videos", "s3://", "s3://Bucket/x", "s3://ab", "s3://a_b_c/x", "s3://b..b/x", "https://bucket/x",
        "s3://bucket/a//b", "s3://bucket//a", "s3://bucket/../a", "s3://bucket/a/.",
    ],
)  # fmt: skip
def test_what_is_no_folder(text: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_folder(text, "--input")
    assert text in str(caught.value)


def test_folders_that_lie_in_one_another() -> None:
    videos, deeper, other = S3Folder("b", "v/"), S3Folder("b", "v/w/"), S3Folder("b", "v2/")
    assert videos.overlaps(deeper)
    assert deeper.overlaps(videos)
    assert S3Folder("b", "").overlaps(videos)
    assert not videos.overlaps(other)
    assert not videos.overlaps(S3Folder("c", "v/"))
