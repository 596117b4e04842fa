"""Pictures: turned as displayed, cropped, resized and padded in this order, written whole."""

from __future__ import annotations

import hashlib
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace
from msgspec.structs import replace

from framefleet.common.job.spec import ImageOptions
from framefleet.worker.picture.geometry import orientation_of, rotation_of
from framefleet.worker.picture.render import Image, display_matrix, render, to_bgr, turned, write
from framefleet.worker.video.open_video import MediaError
from tests.helpers.clips import number_of

ONE = 0x10000

# what a viewer would see of the letters "ab / cd / ef", for each display matrix (a, b, c, d)
SEEN = {
    (ONE, 0, 0, ONE): (0, ["ab", "cd", "ef"]),
    (0, ONE, -ONE, 0): (90, ["eca", "fdb"]),
    (-ONE, 0, 0, -ONE): (180, ["fe", "dc", "ba"]),
    (0, -ONE, ONE, 0): (270, ["bdf", "ace"]),
    (-ONE, 0, 0, ONE): (0, ["ba", "dc", "fe"]),
    (ONE, 0, 0, -ONE): (180, ["ef", "cd", "ab"]),
    (0, ONE, ONE, 0): (270, ["ace", "bdf"]),
    (0, -ONE, -ONE, 0): (90, ["fdb", "eca"]),
}


def letters(rows: list[str]) -> Image:
    return np.array([[[ord(letter)] * 3 for letter in row] for row in rows], np.uint8)


@pytest.mark.parametrize("matrix", SEEN)
def test_every_quarter_turn_and_mirroring(matrix: tuple[int, int, int, int]) -> None:
    rotation, rows = SEEN[matrix]
    image = turned(letters(["ab", "cd", "ef"]), orientation_of(matrix))
    assert image.tolist() == letters(rows).tolist()
    assert rotation_of(matrix) == rotation


def test_the_angle_and_a_mirroring_tell_how_the_picture_was_turned() -> None:
    stored = letters(["ab", "cd", "ef"])
    for matrix, (rotation, rows) in SEEN.items():
        a, b, c, d = matrix
        mirrored = a * d < b * c
        image = np.rot90(np.fliplr(stored) if mirrored else stored, -rotation // 90)
        assert image.tolist() == letters(rows).tolist(), matrix


def first_frame(path: Path) -> av.VideoFrame:
    with av.open(str(path)) as container:
        return next(container.decode(video=0))


@pytest.mark.parametrize(
    ("clip", "rotation"),
    [("rotated-90.mp4", 270), ("rotated-180.mp4", 180), ("rotated-270.mov", 90), ("mirrored.mp4", 0)],
)
def test_the_display_matrix_of_a_file_is_applied(clips: Path, clip: str, rotation: int) -> None:
    frame = first_frame(clips / clip)
    stored = frame.to_ndarray(format="bgr24")
    image, angle = to_bgr(frame)
    assert angle == rotation
    assert display_matrix(frame) is not None
    if clip == "mirrored.mp4":
        assert (image == stored[:, ::-1]).all()
    else:
        assert (image == np.rot90(stored, -rotation // 90)).all()
    assert image.flags.c_contiguous


@pytest.mark.parametrize("clip", ["h264-odd.mp4", "vp9-odd.webm", "h264-10bit.mp4"])
def test_a_picture_has_no_padding(clips: Path, clip: str) -> None:
    frame = first_frame(clips / clip)
    image, _ = to_bgr(frame)
    assert image.shape == (frame.height, frame.width, 3)
    assert image.dtype == np.uint8
    assert number_of(frame) == 0


def test_the_colour_matrix_of_the_stream_is_honoured() -> None:
    reds = {}
    for matrix in (Colorspace.ITU709, Colorspace.ITU601):
        frame = av.VideoFrame(16, 16, "yuv420p")
        for plane, value in zip(frame.planes, (63, 102, 240), strict=True):  # red in BT.709, limited range
            plane.update(bytes([value]) * plane.buffer_size)
        frame.colorspace = matrix
        frame.color_range = ColorRange.MPEG
        image, _ = to_bgr(frame)
        reds[matrix] = int(image[0, 0, 2])
    assert reds[Colorspace.ITU709] >= 250
    assert reds[Colorspace.ITU601] < 245


TURNED = ["rotated-90.mp4", "rotated-180.mp4", "rotated-270.mov", "mirrored.mp4"]


@pytest.mark.parametrize("clip", TURNED)
def test_crop_and_resize_see_the_picture_as_displayed(clips: Path, clip: str) -> None:
    frame = first_frame(clips / clip)
    displayed, rotation = to_bgr(frame)
    part, angle = render(frame, ImageOptions(crop="10,20,50,61"))
    assert np.array_equal(part, displayed[20:81, 10:60])
    assert angle == rotation
    small, _ = render(frame, ImageOptions(resize="30x50"))
    assert small.shape == (50, 30, 3)
    stored, nought = render(frame, ImageOptions(resize="50x30" if rotation % 180 else "30x50", rotate="none"))
    assert nought == 0
    assert np.array_equal(
        small, np.fliplr(stored) if clip == "mirrored.mp4" else np.rot90(stored, -rotation // 90)
    )
    both, _ = render(frame, ImageOptions(crop="10,20,50,60", resize="25x30"))
    means = displayed[20:80, 10:60].reshape(30, 2, 25, 2, 3).mean(axis=(1, 3))
    assert np.abs(both - means).mean() < 5


def test_a_picture_can_be_left_as_it_is_stored(clips: Path) -> None:
    frame = first_frame(clips / "rotated-90.mp4")
    image, rotation = render(frame, ImageOptions(rotate="none"))
    assert rotation == 0
    assert np.array_equal(image, frame.to_ndarray(format="bgr24"))


def test_padding_is_around_the_centre_in_its_colour(clips: Path) -> None:
    frame = first_frame(clips / "h264-odd.mp4")  # 161 x 121
    image, _ = render(frame, ImageOptions(pad="170x124:#0180ff"))
    assert image.shape == (124, 170, 3)
    assert np.array_equal(image[1:122, 4:165], to_bgr(frame)[0])  # the odd pixel is on the right and below
    image[1:122, 4:165] = (0xFF, 0x80, 0x01)
    assert (image == (0xFF, 0x80, 0x01)).all()


def test_every_picture_gets_the_size_that_is_asked_for(clips: Path) -> None:
    options = ImageOptions(resize="fit:99x99", pad="99x99", gray=True)
    for clip in ("h264-closed.mp4", "rotated-90.mp4", "h264-odd.mp4", "h264-10bit.mp4"):
        image, _ = render(first_frame(clips / clip), options)
        assert image.shape == (99, 99)
        assert image.dtype == np.uint8
        assert image[50].any() or image[:, 50].any()


def test_padding_of_16_bits_has_the_same_colour(clips: Path) -> None:
    options = ImageOptions(format="png", depth=16, pad="200x200:#ff8001")
    image, _ = render(first_frame(clips / "h264-10bit.mp4"), options)
    assert image.dtype == np.uint16
    assert image[0, 0].tolist() == [0x0101, 0x8080, 0xFFFF]
    gray, _ = render(
        first_frame(clips / "h264-10bit.mp4"), replace(options, gray=True, pad="200x200:#808080")
    )
    assert gray[0, 0] == 0x8080


def test_gray_and_deep_pictures_are_turned_too(clips: Path) -> None:
    for options in (ImageOptions(gray=True), ImageOptions(format="png", depth=16)):
        frame = first_frame(clips / "rotated-90.mp4")
        stored, _ = render(frame, replace(options, rotate="none"))
        assert np.array_equal(render(frame, options)[0], np.rot90(stored))


def test_a_part_outside_is_an_error_of_the_video(clips: Path) -> None:
    frame = first_frame(clips / "rotated-90.mp4")  # 120 x 160 when turned
    render(frame, ImageOptions(crop="0,100,120,60"))
    with pytest.raises(
        MediaError, match="its pictures of 120 x 160 do not hold the --crop of 121 x 60 at 0,0"
    ):
        render(frame, ImageOptions(crop="0,0,121,60"))


def test_a_picture_that_swscale_cannot_convert_is_an_error_of_the_video() -> None:
    frame = av.VideoFrame(16, 16, "yuv420p")
    frame.colorspace = 8  # YCgCo
    with pytest.raises(MediaError, match="cannot convert its pixel format yuv420p"):
        render(frame, ImageOptions())


def test_writing_gives_the_digest_of_what_lies_there(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"older and longer")
    assert write(path, b"picture") == hashlib.sha256(b"picture").hexdigest()
    assert path.read_bytes() == b"picture"


def test_output_trouble_stays_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "gone" / "a.jpg", b"picture")
    if Path("/dev/full").exists():
        with pytest.raises(OSError, match="No space left"):
            write(Path("/dev/full"), b"picture")
