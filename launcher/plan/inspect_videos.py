"""A look at some of the videos: headers, indexes and first frames, by ranged reads where they lie in S3."""

from __future__ import annotations

import io
import itertools
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import av
import av.container
import numpy as np

from framefleet.common.job.image_options import ImageOptions
from framefleet.worker.picture.encoding import encode
from framefleet.worker.video.input_file import Cursor, ReadError
from framefleet.worker.video.open_video import MediaError, open_container, open_file

SEED: Final = 1
LARGEST: Final = 0.5  # of those that are looked at; the others by chance
BLOCK_BYTES: Final = 2**20  # of a ranged read: an index is often as large
MOST_BLOCKS: Final = 64  # of one video that are read before it is given up
TRIED_S: Final = 0.4  # of CPU time for the first frames of each
TRIED_FRAMES: Final = 60
ENCODED: Final = 3
COVERED: Final = 0.8  # of a video's length: an index that ends before is of its beginning only


@dataclass(frozen=True, slots=True)
class Look:
    """What headers and the first frames tell.

    Attributes:
        gop_s: between keyframes; 0 where no index tells.
        decode_s: CPU seconds of this machine for decoding a frame.
        encode_s: the same for making a frame an image.
        frame_bytes: of an image.
    """

    codec: str
    width: int
    height: int
    duration_s: float
    frame_rate: float
    gop_s: float
    size_bytes: int
    decode_s: float
    encode_s: float
    frame_bytes: float


class RangedFile(io.RawIOBase):
    """An object in S3 as a file that is read in blocks, each once.

    Attributes:
        failure: what its client raised, if anything; PyAV may have kept it to itself.

    Raises:
        OSError: more of it is wanted than a look is worth.
    """

    failure: Exception | None = None

    def __init__(self, client: Any, bucket: str, key: str, size_bytes: int) -> None:
        super().__init__()
        self._client, self._bucket, self._key = client, bucket, key
        self._size = size_bytes
        self._at = 0
        self._blocks: dict[int, bytes] = {}

    @property
    def fetched_bytes(self) -> int:
        """What has been read over the network."""
        return sum(map(len, self._blocks.values()))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        if self._at >= self._size:
            return 0
        number, offset = divmod(self._at, BLOCK_BYTES)
        data = self._block(number)[offset : offset + len(buffer)]
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def read(self, size: int = -1) -> bytes:  # PyAV asks for no more than it wants
        wanted = self._size - self._at if size < 0 else size
        pieces = []
        while wanted > 0:
            buffer = bytearray(min(wanted, BLOCK_BYTES))
            count = self.readinto(buffer)
            if not count:
                break
            pieces.append(bytes(buffer[:count]))
            wanted -= count
        return b"".join(pieces)

    def _block(self, number: int) -> bytes:
        if number not in self._blocks:
            if len(self._blocks) >= MOST_BLOCKS:
                raise OSError(f"{self._key}: its index cannot be found within {MOST_BLOCKS} MB")
            first = number * BLOCK_BYTES
            last = min(self._size, first + BLOCK_BYTES) - 1
            try:
                got = self._client.get_object(
                    Bucket=self._bucket, Key=self._key, Range=f"bytes={first}-{last}"
                )
                self._blocks[number] = got["Body"].read()
            except Exception as error:
                self.failure = error
                raise
        return self._blocks[number]


def choose(sizes: Sequence[int], count: int) -> list[int]:
    """The places of those that are worth a look: the largest, which decide, and some by chance."""
    by_size = sorted(range(len(sizes)), key=lambda place: -sizes[place])
    largest = by_size[: max(1, round(count * LARGEST))]
    rest = by_size[len(largest) :]
    return largest + random.Random(SEED).sample(rest, min(len(rest), count - len(largest)))


def look(file: Path | RangedFile, size_bytes: int, image: ImageOptions) -> Look | None:
    """What a file tells; None if it is no video that can be decoded, or does not tell how long it is.

    Raises:
        Exception: botocore's, if S3 could not be asked; some of its errors are OSErrors, as a file's are.
    """
    if isinstance(file, Path):
        try:
            with open_file(file) as opened:
                return _look(Cursor(opened), size_bytes, image)
        except (MediaError, ReadError):
            return None
    seen = _look(file, size_bytes, image)
    if file.failure is not None:
        raise file.failure
    return seen


def _look(file: Cursor | RangedFile, size_bytes: int, image: ImageOptions) -> Look | None:
    try:
        with open_container(file) as container:
            stream = next((each for each in container.streams.video if not _is_cover(each)), None)
            if stream is None:
                return None
            duration_s = _duration_s(container, stream)
            if duration_s <= 0 or not stream.width or not stream.height:
                return None
            gop_s = _gop_s(container, stream, duration_s)
            decode_s, encode_s, frame_bytes = _costs(container, stream, image)
            return Look(
                codec=stream.codec_context.name,
                width=stream.width,
                height=stream.height,
                duration_s=duration_s,
                frame_rate=float(stream.average_rate or stream.guessed_rate or 0),
                gop_s=gop_s,
                size_bytes=size_bytes,
                decode_s=decode_s,
                encode_s=encode_s,
                frame_bytes=frame_bytes,
            )
    except (av.FFmpegError, OSError, ValueError, MediaError):
        return None


def _is_cover(stream: av.VideoStream) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _duration_s(container: av.container.InputContainer, stream: av.VideoStream) -> float:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base


def _gop_s(container: av.container.InputContainer, stream: av.VideoStream, duration_s: float) -> float:
    """Seconds between keyframes; 0 if what is read of the index holds one only, and ends before the video."""
    if "matroska" in container.format.name:  # which reads its index when it is first needed
        container.seek(container.duration or 0)
        container.seek(0)
    entries = [(entry.timestamp, entry.is_keyframe) for entry in stream.index_entries]
    keys = [timestamp for timestamp, is_keyframe in entries if is_keyframe]
    if not keys or stream.time_base is None:
        return 0.0
    last_s = float((max(timestamp for timestamp, _ in entries) - keys[0]) * stream.time_base)
    if last_s >= COVERED * duration_s:
        return duration_s / len(keys)
    return float((keys[-1] - keys[0]) * stream.time_base) / max(1, len(keys) - 1)


def _costs(
    container: av.container.InputContainer, stream: av.VideoStream, image: ImageOptions
) -> tuple[float, float, float]:
    """CPU seconds for decoding a frame and for making it an image, and an image's bytes, from the first ones.

    The first frame is left out, as it takes what opening a decoder takes.

    Raises:
        ValueError: not one frame can be decoded.
    """
    stream.codec_context.thread_count = 1
    frames = container.decode(stream)
    frame = next(frames, None)
    if frame is None:
        raise ValueError("no frame")
    decoded = 0
    began = time.process_time()
    for later in itertools.islice(frames, TRIED_FRAMES):
        decoded, frame = decoded + 1, later
        if time.process_time() - began > TRIED_S:
            break
    decode_s = (time.process_time() - began) / max(1, decoded)
    began = time.process_time()
    made_bytes = 0
    for _ in range(ENCODED):
        made_bytes += len(encode(np.asarray(frame.to_ndarray(format="bgr24"), np.uint8), image))
    return decode_s, (time.process_time() - began) / ENCODED, made_bytes / ENCODED
