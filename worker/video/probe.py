"""What a file is, from its headers, its index and its first frame; never by reading all of it."""

from __future__ import annotations

import contextlib
import os
from typing import Final

import av

from framefleet.common.media import MAX_DURATION_S, MAX_HINTS, VideoInfo
from framefleet.worker.video.decode_session import open_session
from framefleet.worker.video.fingerprint import fingerprint, first_shown
from framefleet.worker.video.input_file import Cursor, InputFile
from framefleet.worker.video.open_video import OpenVideo, open_container

# Less than any film spends: the leanest of many test videos takes 2,250 bytes a second. A container
# that claims more seconds than this allows is not believed.
MIN_BYTES_PER_S: Final = 250
MAX_FRAME_RATE: Final = 999  # 1000 is what libavformat says of streams that tell nothing
INDEX_READ_BYTES: Final = 32 * 2**20  # what finding a Matroska file's index may cost


def probe(path: str | bytes | os.PathLike[str]) -> VideoInfo:
    """Open a file, read its headers and index, and decode its first frame.

    Raises:
        MediaError: it is no video, may not be read, or gives no frame.
        ReadError: the system refuses to open or read it.
    """
    with OpenVideo(path) as video:
        return probe_video(video)


def probe_video(video: OpenVideo) -> VideoInfo:
    """The same of a video that was opened just now.

    Raises:
        MediaError: it gives no frame.
        ReadError: the system refuses to read it.
    """
    session = open_session(video, None)
    found = fingerprint(video, first_shown(video, session))
    index = _index(video)
    keyframes = _keyframe_hints(video, index, first_key_pts=session.start_pts)
    # without an index, each seek in a Matroska file reads all that lies before its target
    cheap_seek = not video.is_matroska or len(index) > 1 or video.size_bytes <= INDEX_READ_BYTES
    duration_s = _duration_s(video, index)
    return VideoInfo(
        container=video.container.format.name,
        codec=video.codec,
        width=found.width,
        height=found.height,
        time_base_num=found.time_base_num,
        time_base_den=found.time_base_den,
        first_pts=found.first_pts,
        duration_s=duration_s,
        frame_rate=_frame_rate(video, duration_s),
        keyframes=keyframes,
        seekable=video.can_seek and cheap_seek and not session.untimed,
        size_bytes=video.size_bytes,
        checksum=found.checksum,
    )


def _index(video: OpenVideo) -> list[tuple[int, bool]]:
    """What the demuxer knows of the packets' times: (dts in MP4, pts in Matroska; whether a keyframe)."""
    if not video.is_matroska:
        return [(entry.timestamp, entry.is_keyframe) for entry in video.stream.index_entries]
    # Cues are loaded by the first seek; a file that has none would be read to its end for it.
    try:
        with open_container(_Frugal(video.file, INDEX_READ_BYTES)) as container:
            stream = container.streams[video.stream.index]
            assert isinstance(stream, av.VideoStream)
            with contextlib.suppress(av.FFmpegError):
                container.seek(stream.start_time or 0, stream=stream)
            return [(entry.timestamp, entry.is_keyframe) for entry in stream.index_entries]
    except (av.FFmpegError, IndexError):
        return []
    finally:
        video.file.check()


class _Frugal(Cursor):
    """A file that seems to end after a number of bytes have been read, wherever they lay."""

    def __init__(self, file: InputFile, budget_bytes: int) -> None:
        super().__init__(file)
        self._left_bytes = budget_bytes

    def read(self, size: int) -> bytes:
        data = super().read(min(size, self._left_bytes))
        self._left_bytes -= len(data)
        return data


def _keyframe_hints(
    video: OpenVideo, index: list[tuple[int, bool]], *, first_key_pts: int | None
) -> list[int]:
    """Where keyframes are expected (pts in ticks), evenly thinned to ``MAX_HINTS``."""
    if not video.can_seek:
        return []
    keys = sorted({timestamp for timestamp, is_key in index if is_key})
    if keys and video.is_mov and first_key_pts is not None:
        delay = first_key_pts - keys[0]
        later = _later_delay(video, keys, delay)
        keys = [first_key_pts, *(key + later for key in keys[1:])]
    step = -(-len(keys) // MAX_HINTS) or 1
    return keys[::step]


def _later_delay(video: OpenVideo, keys: list[int], first_delay: int) -> int:
    """pts - dts of a keyframe that is not the first: with open GOPs it is larger."""
    if len(keys) < 3:
        return first_delay
    try:
        video.seek((keys[1] + keys[2]) // 2 + first_delay)
        packet = next(video.container.demux(video.stream))
    except (av.FFmpegError, StopIteration):
        return first_delay
    finally:
        video.file.check()
    if packet.dts not in keys or packet.pts is None:
        return first_delay
    return packet.pts - packet.dts


def _duration_s(video: OpenVideo, index: list[tuple[int, bool]]) -> float:
    """Seconds of the video stream, from the most trustworthy source whose answer is possible; or 0."""
    stream, container = video.stream, video.container
    most_s = min(MAX_DURATION_S, max(1.0, video.size_bytes / MIN_BYTES_PER_S))
    claims_s = []
    times = [timestamp for timestamp, _ in index]
    if video.is_mov and len(times) > 1 and len(times) == stream.frames:
        span = max(times) - min(times)
        claims_s.append(float(span * video.time_base) * len(times) / (len(times) - 1))
    if stream.duration is not None:
        claims_s.append(float(stream.duration * video.time_base))
    if container.duration is not None:
        # these two count from time zero, the others from the first frame
        absolute = video.is_mov or video.is_matroska
        start_s = max(0, container.start_time or 0) / av.time_base if absolute else 0.0
        claims_s.append(container.duration / av.time_base - start_s)
    if stream.frames and stream.average_rate:
        claims_s.append(float(stream.frames / stream.average_rate))
    return next((claim_s for claim_s in claims_s if 0 < claim_s <= most_s), 0.0)


def _frame_rate(video: OpenVideo, duration_s: float) -> float:
    """Frames per second, or 0 if the container tells nothing that is possible."""
    stream = video.stream
    claims = [float(rate) for rate in (stream.average_rate, stream.guessed_rate) if rate]
    if stream.frames and duration_s:
        claims.insert(0, stream.frames / duration_s)
    return next((claim for claim in claims if 0 < claim <= MAX_FRAME_RATE), 0.0)
