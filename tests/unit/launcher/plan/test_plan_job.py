"""``launch.py plan``: what it looks at, what it makes of it, and what it says."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import boto3
import numpy as np
import pytest
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError
from click.testing import CliRunner

from framefleet.common.errors import UserError
from framefleet.common.job.image_options import ImageOptions
from framefleet.common.job.sampling import parse_sampling
from framefleet.common.job.selection import base_sampling
from framefleet.common.job.spec import SamplingOptions
from framefleet.launcher.demo import make_demo_set
from framefleet.launcher.plan.command import TYPES, brief_cost, brief_time, plan
from framefleet.launcher.plan.estimate import Estimate, estimate_all, is_too_long
from framefleet.launcher.plan.forecast import Forecast, forecast, forecast_sharded, knee
from framefleet.launcher.plan.inspect_videos import BLOCK_BYTES, Look, RangedFile, choose, look
from framefleet.launcher.plan.prices import OURS, Instance, read_prices
from tests.helpers.sagemaker_jobs import put

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


def rows_of(text: str) -> list[list[str]]:
    """The cells of the table's rows."""
    cells = [line.split() for line in text.splitlines()]
    return [row for row in cells if len(row) == 11 and row[0].rstrip("<").isdigit()]


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


@pytest.mark.parametrize(
    ("start", "end", "most", "wanted_s", "rolled_s"),
    [
        (None, "15", None, 15, 0),
        ("30", None, None, 30, 1),  # half a GOP is decoded before the first frame that is wanted
        ("1.5", "11.5", None, 10, 1.5),  # from the first keyframe on
        ("50", "70", None, 10, 1),
        ("61", None, None, 0, 0),
        (None, None, 50, 10, 0),
        ("30", None, 50, 10, 1),
        (None, None, 10_000, 60, 0),
    ],
)
def test_limits_leave_less_to_do(
    start: str | None, end: str | None, most: int | None, wanted_s: float, rolled_s: float
) -> None:
    sampling = base_sampling(SamplingOptions(fps="5", start=start, end=end))
    whole = estimate_all([10**6], {0: SEEN}, parse_sampling("5"))[0]
    found = estimate_all([10**6, 10**6], {0: SEEN}, sampling, most_frames=most)
    for each in found:
        assert each.frames == pytest.approx(5 * wanted_s)
        assert each.duration_s == pytest.approx(wanted_s)
        assert each.work_s == pytest.approx(whole.work_s * (wanted_s + rolled_s) / 60, abs=1.1e-3)
        assert each.size_bytes == 10**6, "it is downloaded whole"


def test_a_limit_is_one_for_each_video_however_large() -> None:
    found = estimate_all([10**6, 10**9], {0: SEEN}, parse_sampling("5"), most_frames=7)
    assert [each.frames for each in found] == pytest.approx([7, 7])


@pytest.mark.parametrize("claimed_s", [200 * 3600.0, 17e9])
def test_a_length_that_the_bytes_do_not_allow_is_not_believed(claimed_s: float) -> None:
    lying = replace(SEEN, duration_s=claimed_s, size_bytes=2 * 10**6)
    assert is_too_long(lying)
    assert not is_too_long(SEEN)
    both: list[dict[int, Look | None]] = [{0: SEEN, 1: lying}, {1: lying}]
    among, alone = (estimate_all([10**6, 2 * 10**6], looks, parse_sampling("5"))[1] for looks in both)
    assert among.duration_s == pytest.approx(120), "as long as another of that size"
    assert alone.duration_s == pytest.approx(8), "2 Mbit/s"


def test_a_still_picture_may_take_few_bytes() -> None:
    slides = replace(SEEN, duration_s=3600.0, frame_rate=25.0, size_bytes=3600 * 25 * 20)
    assert not is_too_long(slides)


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


def test_the_knee_is_where_more_stops_paying() -> None:
    found = [
        Forecast(count, 10.0, seconds, 0.0) for count, seconds in ((1, 8000), (2, 4000), (4, 2000), (8, 1900))
    ]
    assert knee(found) == 4
    assert knee(found[3:]) == 8


def test_the_knee_allows_for_steps_that_are_no_doublings() -> None:
    def two(count: int, seconds: float) -> list[Forecast]:
        return [Forecast(1, 0.0, 10_000.0, 0.0), Forecast(count, 0.0, seconds, 0.0)]

    assert knee(two(2, 6800.0)) == 2
    assert knee(two(3, 6800.0)) == 1, "three times as many, and still two thirds of the time"
    assert knee(two(3, 5000.0)) == 3


def test_the_cost_has_a_range_without_what_is_not_billed() -> None:
    made = Forecast(4, 1000.0, 100.0, 50.0)
    assert made.cost_range(INSTANCE) == pytest.approx(
        (4 * (30 + 500 + 60) / 3600, 4 * (30 + 2000 + 180) / 3600)
    )


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
    assert [int(row[0].rstrip("<")) for row in rows_of(text)] == [1, 2, 4, 8, 16, 32]


def test_a_plan_keeps_to_limits(demo: Path) -> None:
    asked = ("--input", str(demo), "--fps", "5", "--instances", "1", "--instance-type", TYPES[0])
    assert "165 frames" in run(*asked)
    assert "6 frames" in run(*asked, "--max-frames-per-video", "3")
    assert "20 frames" in run(*asked, "--start", "1", "--end", "3")


@pytest.mark.parametrize("price", [0.4, 40.0, 4000.0])
def test_every_cell_is_whole_on_80_columns(
    price: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    mine = tmp_path / "mine.toml"
    mine.write_text(
        f'currency = "EUR"\ncollected = "today"\nsource = "me"\n[instances.big]\nprice = {price}\nvcpus = 4\n'
    )
    videos = [video(9000.0, size_bytes=10**10, duration_s=90_000.0) for _ in range(100)]
    monkeypatch.setattr("framefleet.launcher.plan.estimate.estimate_all", lambda *_, **__: videos)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.mp4").write_bytes(b"x")
    counts = [word for count in (1, 32, 100) for word in ("--instances", str(count))]
    text = run("--input", str(tmp_path / "in"), "--instance-type", "big", "--prices", str(mine), *counts)
    rows = rows_of(text)
    assert "…" not in text
    assert max(len(line) for line in text.splitlines() if "<" in line or "between" in line) <= 80
    assert [row[0].rstrip("<") for row in rows] == ["1", "32", "100"]
    instance = Instance(price=price, vcpus=4)
    for count, row in zip((1, 32, 100), rows, strict=True):
        made = forecast(videos, instance, count)
        assert row[1:] == [
            "5m00", brief_time(made.download_s), brief_time(made.extraction_s), brief_time(made.upload_s),
            brief_time(made.total_s), "-".join(map(brief_time, made.range_s())),
            brief_cost(made.cost(instance)),
            "-".join(brief_cost(each, 2) for each in made.cost_range(instance)),
            brief_time(forecast_sharded(videos, instance, count).total_s),
            brief_cost(forecast_sharded(videos, instance, count).cost(instance)),
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"), (59.4, "59s"), (59.6, "1m00"), (340, "5m40"), (600, "10m"), (3569, "59m"),
        (3571, "1h00"), (25_500, "7h05"), (35_990, "10h"), (172_800, "48h"), (359_999, "4d"), (1e6, "12d"),
        (8e7, "926d"),
    ],
)  # fmt: skip
def test_times_are_brief(seconds: float, text: str) -> None:
    assert brief_time(seconds) == text


@pytest.mark.parametrize(
    ("amount", "exact", "rough"),
    [
        (0.0, "0.00", "0.00"), (0.614, "0.61", "0.61"), (1.846, "1.85", "1.8"), (12.345, "12.35", "12"),
        (123.45, "123.5", "123"), (12_345.6, "12346", "12k"), (123_456.0, "123k", "123k"),
        (1_462_000.0, "1.5M", "1.5M"), (99e6, "99M", "99M"),
    ],
)  # fmt: skip
def test_costs_are_brief(amount: float, exact: str, rough: str) -> None:
    assert brief_cost(amount + 1e-6) == exact
    assert brief_cost(amount, 2) == rough


def test_a_plan_of_videos_in_s3(aws_account: None, demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = boto3.client("s3", region_name="us-east-1")
    paths = sorted(demo.iterdir())
    put(
        client,
        **{f"videos/{path.name}": path.read_bytes() for path in paths},
        **{"videos/x.mp4": b"x" * 5000},
    )
    monkeypatch.chdir(demo.parent)
    asked = ("--fps", "5", "--instance-type", TYPES[0], "--instances", "1", "--instances", "2")
    text = run("--input", "s3://bucket/videos", "--region", "us-east-1", *asked)
    assert f"s3://bucket/videos: {len(paths) + 1} videos" in text
    assert "1 of those cannot be read" in text
    assert "165 frames" in text
    assert [row[0].rstrip("<") for row in rows_of(text)] == ["1", "2"]
    assert "holds no files" in refused("--input", "s3://bucket/none", "--region", "us-east-1")
    assert "there is no bucket elsewhere" in refused("--input", "s3://elsewhere/x", "--region", "us-east-1")


@pytest.mark.parametrize("error", [ReadTimeoutError, ConnectTimeoutError])
def test_a_network_that_fails_makes_no_video_unreadable(
    aws_account: None, demo: Path, monkeypatch: pytest.MonkeyPatch, error: Callable[..., Exception]
) -> None:
    put(boto3.client("s3", region_name="us-east-1"), **{"videos/a.mp4": next(demo.iterdir()).read_bytes()})

    def fail(*_: object, **__: object) -> bytes:
        raise error(endpoint_url="https://s3", error="slow")

    monkeypatch.setattr("botocore.response.StreamingBody.read", fail)
    told = refused("--input", "s3://bucket/videos", "--region", "us-east-1")
    assert "reading s3://bucket/videos: AWS cannot be reached" in told


def test_what_cannot_be_planned_is_refused(tmp_path: Path) -> None:
    assert "holds no files" in refused("--input", str(tmp_path), "--fps", "5")
    assert "cannot list the input folder" in refused("--input", str(tmp_path / "none"), "--fps", "5")
    (tmp_path / "x.mp4").write_bytes(b"x")
    told = refused("--input", str(tmp_path), "--fps", "5", "--instance-type", "ml.q1.huge")
    assert "ml.q1.huge is not in" in told
    assert "cannot be read" in refused("--input", str(tmp_path), "--prices", str(tmp_path / "none"))


def test_a_plan_says_whose_length_it_does_not_believe(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = {0: SEEN, 1: replace(SEEN, duration_s=17e9)}
    monkeypatch.setattr("framefleet.launcher.plan.command._look", lambda *_: ([10**6, 10**6], looks))
    text = run("--input", "x", "--instances", "1", "--instance-type", TYPES[0])
    assert "1 of those claims to be longer than their bytes allow (4722222:13:20)" in text
    assert "600 frames" in text, "of two minutes"
