"""Files: what the formats hold, nothing else, and the same bytes from every process."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from typing import Any, cast

import cv2
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from framefleet.common.job.image_options import ImageOptions
from framefleet.worker.picture.encoding import Picture, encode
from framefleet.worker.video.open_video import MediaError

WITH_AVIF = cv2.haveImageWriter("image.avif")


def picture(width: int = 90, height: int = 70) -> NDArray[np.uint8]:
    """Waves with a little noise: something like film."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [128 + 100 * np.sin((x + 2 * y * channel) / (9 + 4 * channel)) for channel in range(3)]
    grain = np.random.default_rng(7).integers(-4, 5, (height, width, 3))
    return np.clip(np.stack(waves, axis=-1) + grain, 0, 255).astype(np.uint8)


def decoded(data: bytes) -> Picture:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return cast("Picture", image)


def psnr(image: Picture, other: Picture) -> float:
    return float(10 * np.log10(255**2 / np.mean((image.astype(float) - other) ** 2)))


EVERY: list[dict[str, Any]] = [
    {},
    {"quality": 50, "subsampling": "4:4:4"},
    {"progressive": True},
    {"gray": True},
    {"format": "png"},
    {"format": "png", "png_level": 6},
    {"format": "png", "gray": True},
    {"format": "png", "depth": 16},
    {"format": "webp"},
    {"format": "webp", "lossless": True},
]
if WITH_AVIF:
    EVERY += [{"format": "avif"}, {"format": "avif", "gray": True}]


def picture_for(options: ImageOptions) -> Picture:
    image: Picture = picture()
    if options.gray:
        image = image[..., 1]
    return image.astype(np.uint16) * 257 if options.depth == 16 else image


@pytest.mark.parametrize("values", EVERY)
def test_a_file_holds_the_picture(values: dict[str, Any]) -> None:
    options = ImageOptions(**values)
    image = picture_for(options)
    again = decoded(encode(image, options))
    assert again.shape == image.shape
    assert again.dtype == image.dtype
    if options.format == "png" or options.lossless:
        assert np.array_equal(again, image)
    else:
        assert psnr(again, image) > 30


def test_the_default_is_opencvs_jpeg_of_quality_95() -> None:
    image = picture()
    plain = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    assert encode(image, ImageOptions()) == plain
    assert encode(image, ImageOptions(quality=95, subsampling="4:2:0")) == plain


@pytest.mark.parametrize("form", ["jpg", "webp", *(["avif"] if WITH_AVIF else [])])
def test_quality_costs_bytes_and_gives_fidelity(form: Any) -> None:
    image = picture()
    files = [encode(image, ImageOptions(format=form, quality=quality)) for quality in (20, 60, 95)]
    assert sorted(map(len, files)) == [len(data) for data in files]
    fidelities = [psnr(decoded(data), image) for data in files]
    assert sorted(fidelities) == fidelities
    assert encode(image, ImageOptions(format=form)) == files[-1]


def test_jpeg_markers_say_subsampling_and_progression() -> None:
    def frame_header(**values: Any) -> tuple[int, list[int]]:
        data = encode(picture(), ImageOptions(**values))
        marker, body = next((marker, body) for marker, body in jpeg_segments(data) if marker in (0xC0, 0xC2))
        return marker, [body[7 + 3 * component] for component in range(body[5])]

    assert frame_header() == (0xC0, [0x22, 0x11, 0x11])
    assert frame_header(subsampling="4:4:4") == (0xC0, [0x11, 0x11, 0x11])
    assert frame_header(progressive=True) == (0xC2, [0x22, 0x11, 0x11])
    plain, progressive = (
        decoded(encode(picture(), ImageOptions(progressive=value))) for value in (False, True)
    )
    assert np.array_equal(plain, progressive)


def test_png_levels_trade_time_for_bytes() -> None:
    image = picture()
    sizes = [len(encode(image, ImageOptions(format="png", png_level=level))) for level in (0, 1, 9)]
    assert sizes[0] > sizes[1] > sizes[2]
    assert sizes[0] > image.nbytes
    assert len(encode(image, ImageOptions(format="png"))) < sizes[1] * 1.05


@pytest.mark.parametrize("values", EVERY)
def test_rows_may_be_apart(values: dict[str, Any]) -> None:
    options = ImageOptions(**values)
    image = picture_for(options)
    part = image[5:40, 7:50]
    assert not part.flags.c_contiguous
    assert encode(part, options) == encode(np.ascontiguousarray(part), options)


def jpeg_segments(data: bytes) -> list[tuple[int, bytes]]:
    """Markers and their contents, up to the first scan."""
    segments, place = [], 2
    while data[place + 1] != 0xDA:
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        segments.append((data[place + 1], data[place + 4 : place + 2 + length]))
        place += 2 + length
    return segments


def test_there_is_no_metadata() -> None:
    image = picture()
    for progressive in (False, True):
        segments = jpeg_segments(encode(image, ImageOptions(progressive=progressive)))
        others = [(marker, body) for marker, body in segments if 0xE0 <= marker <= 0xEF or marker == 0xFE]
        assert others == [(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")]  # no density, no thumbnail
    data, place, chunks = encode(image, ImageOptions(format="png")), 8, []
    while place < len(data):
        chunks.append(data[place + 4 : place + 8])
        place += 12 + int.from_bytes(data[place : place + 4], "big")
    assert set(chunks) == {b"IHDR", b"IDAT", b"IEND"}
    assert encode(image, ImageOptions(format="webp"))[12:16] == b"VP8 "
    assert encode(image, ImageOptions(format="webp", lossless=True))[12:16] == b"VP8L"
    if WITH_AVIF:
        data = encode(image, ImageOptions(format="avif"))
        assert not any(kind in data for kind in (b"Exif", b"mime", b"prof", b"rICC"))


PROGRAM = """
import json, sys, hashlib, msgspec
from framefleet.common.job.image_options import ImageOptions
from tests.unit.worker.picture.test_encoding import picture_for
from framefleet.worker.picture.encoding import encode
every = [msgspec.convert(values, ImageOptions) for values in json.loads(sys.argv[1])]
print(*(hashlib.sha256(encode(picture_for(options), options)).hexdigest() for options in every))
"""


def test_another_process_makes_the_same_bytes() -> None:
    every = [msgspec.convert(values, ImageOptions) for values in EVERY]
    here = [hashlib.sha256(encode(picture_for(options), options)).hexdigest() for options in every]
    here_again = [
        hashlib.sha256(encode(picture_for(options).copy(), options)).hexdigest() for options in every
    ]
    command = [sys.executable, "-c", PROGRAM, json.dumps(EVERY)]
    there = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert here == here_again == there


@pytest.mark.parametrize("form", ["jpg", "webp"])
def test_a_picture_that_no_file_can_hold_is_an_error_of_the_video(form: Any) -> None:
    with pytest.raises(MediaError, match=f"frames of 65536 x 1 pixels do not fit a {form} file"):
        encode(np.zeros((1, 65536, 3), np.uint8), ImageOptions(format=form))


def test_a_lack_of_memory_is_not_blamed_on_the_video(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        error = cv2.error("Insufficient memory")
        error.code = cv2.Error.StsNoMem
        raise error

    monkeypatch.setattr(cv2, "imencode", fail)
    with pytest.raises(MemoryError, match="OpenCV has no memory"):
        encode(picture(), ImageOptions())
