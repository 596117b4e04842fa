"""Pictures: turned as displayed, encoded the same every time, written whole."""

from __future__ import annotations

import hashlib
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace

from common.spec import ImageOptions
from tests.clips import number_of
from tests.oracle_reference import bgr_md5
from worker.geometry import orientation_of, rotation_of
from worker.images import Image, display_matrix, encode, to_bgr, turned, write
from worker.media import MediaError

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


def test_png_loses_nothing_and_jpeg_little(clips: Path) -> None:
    image, _ = to_bgr(first_frame(clips / "h264-closed.mp4"))
    png = cv2.imdecode(np.frombuffer(encode(image, ImageOptions(format="png")), np.uint8), cv2.IMREAD_COLOR)
    assert png is not None
    assert bgr_md5(png.astype(np.uint8)) == bgr_md5(image)
    jpg = cv2.imdecode(np.frombuffer(encode(image, ImageOptions()), np.uint8), cv2.IMREAD_COLOR)
    assert jpg is not None
    assert np.abs(jpg.astype(int) - image).mean() < 3


def test_encoding_is_a_function_of_the_picture_and_the_options(clips: Path) -> None:
    image, _ = to_bgr(first_frame(clips / "h264-closed.mp4"))
    for options in (ImageOptions(), ImageOptions(format="png")):
        assert encode(image, options) == encode(image.copy(), options)
    sizes = [len(encode(image, ImageOptions(quality=quality))) for quality in (30, 80, 100)]
    assert sizes == sorted(set(sizes))


def test_a_picture_that_no_file_can_hold_is_an_error_of_the_video() -> None:
    with pytest.raises(MediaError, match="65536 x 1"):
        encode(np.zeros((1, 65536, 3), np.uint8), ImageOptions())


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
