"""``launch.py plan``: what it looks at, what it makes of it, and what it says."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import av
import boto3
import numpy as np
import pytest
from click.testing import CliRunner

from common.errors import UserError
from common.imaging import ImageOptions
from common.sampling import parse_sampling
from plan.command import plan
from plan.estimate import Estimate, Forecast, estimate_all, forecast, forecast_sharded, joined, knee, simulate
from plan.looking import BLOCK_BYTES, Look, RangedFile, choose, look
from plan.prices import OURS, Instance, read_prices
from targets.demo import make_demo_set
from tests.sagemaker_jobs import put

JPG = ImageOptions()
INSTANCE = Instance(price=1.0, vcpus=4, slot_speed=0.5)
SEEN = Look(
    codec="h264", width=640, height=360, duration_s=60.0, frame_rate=30.0, gop_s=2.0, size_bytes=10**6,
    decode_s=0.001, encode_s=0.004, frame_bytes=4e4,
)  # fmt: skip


def video(work_s: float, *, size_bytes: int = 10**6, duration_s: float = 60.0) -> Estimate:
    return Estimate(work_s, 300.0, 1e5, size_bytes, 2.0, duration_s)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(plan, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*arguments: str) -> str:
    result = CliRunner().invoke(plan, arguments)
    assert result.exit_code == 2, result.output
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_demo_set(tmp_path_factory.mktemp("plan") / "demo", lengths_s=(30, 3))


def test_a_look_tells_what_a_file_is(demo: Path) -> None:
    path = max(demo.iterdir(), key=lambda each: each.stat().st_size)
    seen = look(path, path.stat().st_size, JPG)
    assert seen is not None
    assert (seen.codec, seen.width, seen.height) == ("h264", 1280, 720)
    assert seen.duration_s == pytest.approx(30, abs=0.5)
    assert 0 < seen.gop_s < 30
    assert 0 < seen.decode_s < 1
    assert 0 < seen.encode_s < 1
    assert 0.05 < 8 * seen.frame_bytes / (1280 * 720) < 10


@pytest.mark.parametrize(
    ("container", "codec", "gop", "gop_s"),
    [
        ("mp4", "mpeg4", 25, 1.0),
        ("mp4", "mpeg4", 500, 10.0),  # one GOP: nothing can be cut
        ("mkv", "mpeg4", 25, 1.0),  # its index lies at its end
        ("flv", "flv1", 25, 1.0),  # the index is of what has been read, a second or two
    ],
)
def test_keyframes_are_as_far_apart_as_they_are(
    tmp_path: Path, container: str, codec: str, gop: int, gop_s: float
) -> None:
    path = tmp_path / f"x.{container}"
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, options={"g": str(gop), "sc_threshold": str(10**9)})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(250):
            picture = np.full((48, 64, 3), number % 10, np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        out.mux(stream.encode(None))
    seen = look(path, path.stat().st_size, JPG)
    assert seen is not None
    assert seen.gop_s == pytest.approx(gop_s, rel=0.05)


def test_the_range_allows_for_transfers_too() -> None:
    low_s, high_s = Forecast(4, 1000.0, 100.0, 50.0).range_s()
    assert low_s == 240 + 30 + 500 + 60
    assert high_s == 480 + 30 + 2000 + 180
    slow = Forecast(4, 0.0, 100.0, 1000.0)  # what is left of the upload decides
    assert slow.upload_s == 900
    assert slow.range_s() == (240 + 30 + 500, 480 + 30 + 2000)


def test_what_is_no_video_gives_no_look(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(b"nothing" * 1000)
    assert look(tmp_path / "x.mp4", 7000, JPG) is None


def test_a_look_into_s3_reads_a_part(aws_account: None, demo: Path) -> None:
    path = max(demo.iterdir(), key=lambda each: each.stat().st_size)
    data = path.read_bytes()
    client = boto3.client("s3", region_name="us-east-1")
    put(client, **{"videos/a.mp4": data})
    asked: list[str] = []
    client.meta.events.register(
        "provide-client-params.s3.GetObject", lambda params, **_: asked.append(params["Range"])
    )
    file = RangedFile(client, "bucket", "videos/a.mp4", len(data))
    found, here = look(file, len(data), JPG), look(path, len(data), JPG)
    assert found is not None
    assert here is not None
    assert (found.codec, found.duration_s, found.gop_s) == (here.codec, here.duration_s, here.gop_s)
    assert asked
    assert len(set(asked)) == len(asked)
    assert file.fetched_bytes < len(data)


def test_a_ranged_file_reads_as_a_file_does(aws_account: None) -> None:
    data = bytes(range(256)) * (BLOCK_BYTES // 128)
    client = boto3.client("s3", region_name="us-east-1")
    put(client, x=data)
    file = RangedFile(client, "bucket", "x", len(data))
    assert file.read(10) == data[:10]
    assert file.seek(BLOCK_BYTES - 3) == BLOCK_BYTES - 3
    assert file.read(6) == data[BLOCK_BYTES - 3 : BLOCK_BYTES + 3]
    assert file.seek(-4, 2) == len(data) - 4
    assert file.read() == data[-4:]
    assert file.read(1) == b""
    file.seek(0)
    assert file.read() == data


def test_the_largest_are_looked_at_and_some_others() -> None:
    sizes = [*range(100)]
    chosen = choose(sizes, 10)
    assert len(set(chosen)) == 10
    assert {99, 98, 97, 96, 95} <= set(chosen)
    assert choose([5, 6], 10) == [1, 0]


def test_what_was_not_looked_at_is_like_what_was() -> None:
    sampling = parse_sampling("5")
    found = estimate_all([10**6, 2 * 10**6, 10**6], {0: SEEN, 2: None}, sampling)
    assert found[0].work_s == pytest.approx(60 * (0.001 * 30 + 0.004 * 5))
    assert found[0].frames == pytest.approx(300)
    assert found[0].frame_bytes == 4e4
    assert found[1].work_s == pytest.approx(found[0].work_s)  # twice as large, and half of them are no videos
    assert found[2].frames == 0


def test_the_core_shares_out_what_sharding_does_not() -> None:
    videos = [video(400.0, duration_s=4000), *(video(10.0) for _ in range(20))]
    ours, sharded = forecast(videos, INSTANCE, 4), forecast_sharded(videos, INSTANCE, 4)
    whole_s = sum(each.work_s for each in videos) / (4 * INSTANCE.vcpus * INSTANCE.slot_speed)
    assert whole_s < ours.extraction_s < 1.15 * whole_s
    assert sharded.extraction_s == pytest.approx(400 / INSTANCE.slot_speed)
    assert sharded.download_s < ours.download_s
    assert ours.cost(INSTANCE) == pytest.approx(4 * ours.billed_s / 3600)
    low_s, high_s = ours.range_s()
    assert low_s < ours.total_s < high_s


def test_joining_keeps_the_work_and_the_largest() -> None:
    videos = [video(float(number)) for number in range(1, 101)]
    few = joined(videos, 20)
    assert len(few) == 20
    assert sum(each.work_s for each in few) == pytest.approx(sum(each.work_s for each in videos))
    assert sum(each.size_bytes for each in few) == sum(each.size_bytes for each in videos)
    assert max(each.work_s for each in few) >= 100
    assert joined(videos, 100) == videos


def test_twice_the_work_takes_twice_as_long() -> None:
    once, twice = ([video(work_s, duration_s=600) for _ in range(30)] for work_s in (20.0, 40.0))
    assert simulate(twice, INSTANCE, 2) == pytest.approx(2 * simulate(once, INSTANCE, 2), rel=0.1)


def test_the_knee_is_where_more_stops_paying() -> None:
    found = [
        Forecast(count, 10.0, seconds, 0.0) for count, seconds in ((1, 8000), (2, 4000), (4, 2000), (8, 1900))
    ]
    assert knee(found) == 4
    assert knee(found[3:]) == 8


def test_prices_say_where_they_are_from(tmp_path: Path) -> None:
    known = read_prices()
    assert known.collected
    assert "not checked with AWS" in known.source
    mine = tmp_path / "mine.toml"
    mine.write_text(OURS.read_text().replace("0.408", "free"))
    with pytest.raises(UserError, match=r"mine.toml will not do"):
        read_prices(mine)
    mine.write_text(
        'currency = "EUR"\ncollected = "today"\nsource = "me"\n[instances.x]\nprice = 2\nvcpus = -1\n'
    )
    with pytest.raises(UserError, match=r"vcpus"):
        read_prices(mine)


def test_a_plan_of_a_folder(demo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    shutil.copytree(demo, folder)
    (folder / "broken.mp4").write_bytes(b"x" * 5000)
    mine = tmp_path / "mine.toml"
    mine.write_text(
        'currency = "EUR"\ncollected = "today"\nsource = "my bill"\n[instances.big]\nprice = 2\nvcpus = 16\n'
    )
    text = run("--input", str(folder), "--fps", "5", "--instance-type", "big", "--prices", str(mine))
    assert "3 videos" in text
    assert "1 of those cannot be read" in text
    assert "big: 16 vCPUs, 2 EUR an hour" in text
    assert "collected today (my bill)" in text
    rows: list[Any] = [line.split() for line in text.splitlines() if line.count(":") >= 5]
    assert [int(row[0]) for row in rows] == [1, 2, 4, 8, 16, 32]


def test_what_cannot_be_planned_is_refused(tmp_path: Path) -> None:
    assert "holds no files" in refused("--input", str(tmp_path), "--fps", "5")
    assert "cannot list the input folder" in refused("--input", str(tmp_path / "none"), "--fps", "5")
    (tmp_path / "x.mp4").write_bytes(b"x")
    told = refused("--input", str(tmp_path), "--fps", "5", "--instance-type", "ml.q1.huge")
    assert "ml.q1.huge is not in" in told
    assert "cannot be read" in refused("--input", str(tmp_path), "--prices", str(tmp_path / "none"))
