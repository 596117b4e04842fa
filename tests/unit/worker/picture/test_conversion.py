"""Pixels: exact without scaling, in their place and of the right brightness with it, and never of before.

References are the definition (means of squares of pixels, linear gradients, BT.709's formula), and PyAV's own
``to_ndarray`` for what is not scaled.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from framefleet.worker.picture.conversion import convert
from framefleet.worker.picture.encoding import Picture
from framefleet.worker.picture.geometry import Box

WIDTH, HEIGHT = 64, 48
Plane = NDArray[np.uint8] | NDArray[np.uint16]


def frame_of(
    pix_fmt: str,
    planes: list[Plane],
    *,
    levels: ColorRange = ColorRange.UNSPECIFIED,
    matrix: int = 2,
) -> av.VideoFrame:
    """A frame with these planes, each [height, samples of a row]."""
    height, width = planes[0].shape
    frame = av.VideoFrame(width, height, pix_fmt)
    for plane, values in zip(frame.planes, planes, strict=True):
        lines = np.frombuffer(memoryview(plane), values.dtype).reshape(plane.height, -1)
        lines[:, : values.shape[1]] = values
    frame.color_range, frame.colorspace = levels, matrix
    return frame


def gray_frame(luma: Plane) -> av.VideoFrame:
    return frame_of("gray" if luma.dtype == np.uint8 else "gray10le", [luma])


def yuv_frame(
    luma: Plane,
    *,
    blue: int = 128,
    red: int = 128,
    levels: ColorRange = ColorRange.MPEG,
    matrix: int = 2,
    pix_fmt: str = "yuv420p",
) -> av.VideoFrame:
    height, width = luma.shape
    half = ((height + 1) // 2, (width + 1) // 2)
    chroma = [np.full(half, value, luma.dtype) for value in (blue, red)]
    return frame_of(pix_fmt, [luma, *chroma], levels=levels, matrix=matrix)


def noise(seed: int, *, low: int = 16, high: int = 236) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(low, high, (HEIGHT, WIDTH), np.uint8)


def plain(frame: av.VideoFrame) -> Picture:
    return convert(frame, crop=None, size=None, gray=False, depth=8)


def scaled(frame: av.VideoFrame, width: int, height: int, *, crop: Box | None = None) -> Picture:
    return convert(frame, crop=crop, size=(width, height), gray=False, depth=8)


def grays(frame: av.VideoFrame, size: tuple[int, int] | None = None, crop: Box | None = None) -> Picture:
    return convert(frame, crop=crop, size=size, gray=True, depth=8)


def deep(frame: av.VideoFrame, *, size: tuple[int, int] | None = None, crop: Box | None = None) -> Picture:
    return convert(frame, crop=crop, size=size, gray=False, depth=16)


def means(image: NDArray[np.number[Any]], by: int) -> NDArray[np.float64]:
    """The mean of each square of ``by`` x ``by`` pixels."""
    height, width = image.shape[0] // by, image.shape[1] // by
    squares = image.reshape(height, by, width, by, -1).mean(axis=(1, 3))
    return np.asarray(squares.reshape(height, width, *image.shape[2:]), np.float64)


# ---- not scaled ---------------------------------------------------------------------------------------


def some_frames(folder: Path) -> list[av.VideoFrame]:
    frames = []
    for path in sorted(folder.iterdir()):
        with av.open(str(path)) as container:
            frames += [frame for frame, _ in zip(container.decode(video=0), range(4), strict=False)][::3]
    return frames


def test_every_clip_gives_the_pixels_of_pyav(clips: Path) -> None:
    frames = some_frames(clips)
    assert len({frame.format.name for frame in frames}) > 1
    for frame in frames:
        assert np.array_equal(plain(frame), frame.to_ndarray(format="bgr24"))
        crop = Box(3, 5, frame.width - 10, 31)
        part = convert(frame, crop=crop, size=None, gray=False, depth=8)
        assert np.array_equal(part, frame.to_ndarray(format="bgr24")[5:36, 3 : frame.width - 7])


@pytest.mark.parametrize("levels", [ColorRange.UNSPECIFIED, ColorRange.MPEG, ColorRange.JPEG])
@pytest.mark.parametrize("matrix", [1, 2, 5, 6, 9])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuvj420p"])
def test_every_matrix_and_range_gives_the_pixels_of_pyav(
    pix_fmt: str, matrix: int, levels: ColorRange
) -> None:
    frame = yuv_frame(noise(1), blue=90, red=200, levels=levels, matrix=matrix, pix_fmt=pix_fmt)
    assert np.array_equal(plain(frame), frame.to_ndarray(format="bgr24"))


# ---- scaled: where things are, and how bright -----------------------------------------------------------


def test_a_bright_pixel_lands_in_its_square_and_nowhere_else() -> None:
    for x, y in ((0, 0), (21, 30), (63, 47)):
        luma = np.zeros((HEIGHT, WIDTH), np.uint8)
        luma[y, x] = 252
        image = scaled(gray_frame(luma), WIDTH // 3, HEIGHT // 3)[..., 1].astype(int)
        if x < 63:
            assert image.argmax() == y // 3 * image.shape[1] + x // 3
        far = np.ones_like(image, bool)
        far[max(0, y // 3 - 1) : y // 3 + 2, max(0, x // 3 - 1) : x // 3 + 2] = False
        assert image[far].max() == 0  # no halo
        assert abs(image.sum() - 252 / 9) <= 4 or x == 63


def test_shrinking_by_a_whole_number_is_the_mean() -> None:
    for by in (2, 4):
        luma = noise(by, low=0, high=256)
        image = scaled(gray_frame(luma), WIDTH // by, HEIGHT // by)
        assert np.abs(image[..., 0] - means(luma, by)).max() <= 1.01
        assert np.ptp(image, axis=2).max() == 0


@pytest.mark.parametrize(("width", "height"), [(32, 24), (50, 30), (17, 48), (128, 96), (100, 20)])
def test_gradients_stay_in_place(width: int, height: int) -> None:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    image = scaled(gray_frame((2 * x + 2 * y).astype(np.uint8)), width, height)[..., 1].astype(float)
    out_y, out_x = np.mgrid[0:height, 0:width]
    ideal = 2 * ((out_x + 0.5) * WIDTH / width - 0.5) + 2 * ((out_y + 0.5) * HEIGHT / height - 0.5)
    inner = (slice(2, -2), slice(2, -2))  # filters see no further than the edge there
    assert np.abs(image - ideal)[inner].max() <= 1.5


def test_colours_are_scaled_with_the_matrix_of_the_stream() -> None:
    luma = np.full((HEIGHT, WIDTH), 63, np.uint8)  # red in BT.709
    for size in ((20, 10), (200, 100)):
        red = scaled(yuv_frame(luma, blue=102, red=240, matrix=Colorspace.ITU709), *size)
        assert np.abs(red.astype(int) - (0, 0, 255)).max() <= 2
        other = scaled(yuv_frame(luma, blue=102, red=240, matrix=Colorspace.ITU601), *size)
        assert other[..., 2].max() < 245


def test_a_part_is_cut_before_it_is_scaled() -> None:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    luma = (16 + (x * 3) % 200).astype(np.uint8)
    chroma = [(100 + values[::2, ::2]).astype(np.uint8) for values in (x, y)]
    frame = frame_of("yuv420p", [luma, *chroma], levels=ColorRange.MPEG, matrix=1)
    crop = Box(7, 5, 32, 24)  # odd: between the samples of chroma
    part = scaled(frame, 16, 12, crop=crop).astype(float)
    whole = plain(frame)[5:29, 7:39]
    difference = np.abs(part - means(whole, 2))
    assert difference[1:-1, 1:-1].max() < 6  # PyAV's chroma is that of the nearest sample
    assert difference.mean() < 2


def test_a_gray_part_is_exact() -> None:
    luma = noise(5, low=0, high=256)
    crop = Box(7, 5, 32, 24)
    image = grays(gray_frame(luma), (16, 12), crop)
    assert np.abs(image - means(luma[5:29, 7:39], 2)).max() <= 1.01


def test_rgb_is_cut_and_scaled_too() -> None:
    green, blue, red = noise(1), noise(2), noise(3)
    image = scaled(frame_of("gbrp", [green, blue, red], matrix=0), 16, 12, crop=Box(7, 5, 32, 24))
    ideal = means(np.stack([blue, green, red], axis=-1)[5:29, 7:39], 2)
    assert np.abs(image - ideal).max() <= 3


def test_a_picture_may_become_a_pixel_and_a_pixel_a_picture() -> None:
    luma = np.full((HEIGHT, WIDTH), 200, np.uint8)
    assert scaled(gray_frame(luma), 1, 1).tolist() == [[[200] * 3]]
    assert (scaled(gray_frame(luma), 30, 20, crop=Box(5, 5, 1, 1)) == 200).all()


# ---- gray -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("matrix", [1, 2, 5, 9])
def test_gray_is_luma_whatever_the_colour_and_the_matrix(matrix: int) -> None:
    luma = noise(3, low=0, high=256)
    limited = yuv_frame(luma, blue=30, red=220, matrix=matrix)
    ideal = np.clip((luma.astype(float) - 16) * 255 / 219, 0, 255)
    assert np.abs(grays(limited) - ideal).max() <= 0.51
    full = yuv_frame(luma, blue=30, red=220, matrix=matrix, levels=ColorRange.JPEG)
    assert np.array_equal(grays(full), luma)
    assert np.abs(grays(full, (WIDTH // 2, HEIGHT // 2)) - means(luma, 2)).max() <= 1.01
    crop = Box(7, 5, 32, 24)
    assert np.array_equal(grays(full, None, crop), luma[5:29, 7:39])
    assert np.abs(grays(limited, (16, 12), crop) - means(ideal[5:29, 7:39].round(), 2)).max() <= 1.01


def test_gray_of_rgb_has_the_weights_of_bt601() -> None:
    green, blue, red = noise(1), noise(2), noise(3)
    ideal = 0.299 * red + 0.587 * green + 0.114 * blue
    assert np.abs(grays(frame_of("gbrp", [green, blue, red], matrix=0)) - ideal).max() <= 1.5


# ---- 16 bits --------------------------------------------------------------------------------------------


def test_frames_of_8_bits_stay_so() -> None:
    assert deep(yuv_frame(noise(1))).dtype == np.uint8
    assert deep(yuv_frame(noise(1)), size=(10, 10)).dtype == np.uint8


SIZES: list[tuple[tuple[int, int] | None, Box | None]] = [
    (None, None),
    ((20, 20), None),
    (None, Box(3, 3, 20, 20)),
    ((10, 10), Box(3, 3, 20, 20)),
]


@pytest.mark.parametrize(("size", "crop"), SIZES)
@pytest.mark.parametrize(
    ("pix_fmt", "levels", "black", "white"),
    [
        ("yuv420p10le", ColorRange.MPEG, 64, 940),
        ("yuv420p10le", ColorRange.JPEG, 0, 1023),
        ("yuv420p12le", ColorRange.MPEG, 256, 3760),
        ("yuv420p12le", ColorRange.JPEG, 0, 4095),
    ],
)
def test_white_and_all_below_it_have_their_place_in_16_bits(
    pix_fmt: str, levels: ColorRange, black: int, white: int, size: tuple[int, int] | None, crop: Box | None
) -> None:
    middle = 2048 if "12" in pix_fmt else 512
    for value in (black, white, middle, middle + 1, black + 1):
        luma = np.full((HEIGHT, WIDTH), value, np.uint16)
        frame = yuv_frame(luma, blue=middle, red=middle, levels=levels, pix_fmt=pix_fmt)
        ideal = (value - black) / (white - black) * 65535
        for image in (
            deep(frame, size=size, crop=crop),
            convert(frame, crop=crop, size=size, gray=True, depth=16),
        ):
            assert image.dtype == np.uint16
            assert np.abs(image - ideal).max() <= 3
        assert deep(frame, size=size, crop=crop).shape[2] == 3


@pytest.mark.parametrize(("size", "crop"), SIZES)
def test_gray_and_rgb_frames_have_16_bits_too(size: tuple[int, int] | None, crop: Box | None) -> None:
    for value in (0, 512, 1023):
        plane = np.full((HEIGHT, WIDTH), value, np.uint16)
        for frame in (gray_frame(plane), frame_of("gbrp10le", [plane] * 3, matrix=0)):
            assert np.abs(deep(frame, size=size, crop=crop) - value / 1023 * 65535).max() <= 64


# ---- nothing of before ------------------------------------------------------------------------------------


def test_a_frame_is_converted_the_same_whatever_came_before() -> None:
    frames = [
        yuv_frame(noise(1), blue=90, red=170, matrix=1),
        yuv_frame(noise(1), blue=90, red=170, matrix=5),
        yuv_frame(noise(1), blue=90, red=170, matrix=1, levels=ColorRange.JPEG),
        yuv_frame(noise(2)[:21, :33], blue=60, matrix=9),
        gray_frame(noise(3)),
        frame_of("gbrp", [noise(4), noise(5), noise(6)], matrix=0),
        yuv_frame(noise(7).astype(np.uint16) * 4, blue=300, red=600, pix_fmt="yuv420p10le"),
    ]
    ways: list[tuple[Box | None, tuple[int, int] | None, bool, int]] = [
        (None, None, False, 8),
        (None, (20, 17), False, 8),
        (None, (90, 81), False, 16),
        (Box(3, 4, 15, 16), (9, 8), False, 8),
        (Box(1, 2, 15, 13), (9, 8), True, 16),
        (None, None, True, 8),
    ]

    def run(frame: av.VideoFrame, way: tuple[Box | None, tuple[int, int] | None, bool, int]) -> bytes:
        crop, size, gray, depth = way
        return convert(frame, crop=crop, size=size, gray=gray, depth=depth).tobytes()

    def alone(frame: av.VideoFrame, way: tuple[Box | None, tuple[int, int] | None, bool, int]) -> bytes:
        with ThreadPoolExecutor(1) as pool:  # contexts are each thread's own: these are new
            return pool.submit(run, frame, way).result()

    pairs = [(frame, way) for frame in frames for way in ways]
    fresh = [alone(*pair) for pair in pairs]
    assert len(set(fresh)) >= 5 * len(frames)  # gray knows no matrix
    order = np.random.default_rng(0).permutation(3 * len(pairs)) % len(pairs)
    assert all(run(*pairs[index]) == fresh[index] for index in order)


def test_a_picture_that_failed_leaves_nothing_behind() -> None:
    good, odd = yuv_frame(noise(1)), yuv_frame(noise(1), matrix=8)  # YCgCo, which swscale does not know
    before = scaled(good, 20, 20).copy()
    with pytest.raises(av.FFmpegError):
        scaled(odd, 20, 20)
    assert np.array_equal(scaled(good, 20, 20), before)
