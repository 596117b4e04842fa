"""The one place where a video is opened, and where libav's errors become words.

A video is read with one decoder thread: a fleet runs a process per core, and one thread is what makes
the outcome of damaged data repeatable.
"""

from __future__ import annotations

import errno
import os
import stat
from fractions import Fraction
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

import av
from av.container import InputContainer
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from worker.limits import check_memory

MAX_FRAME_PIXELS: Final = 2**28  # 16384 x 16384: more is a damaged header or an attack, not a film
ENCRYPTION_SCAN_BYTES: Final = 2**20

# Titles need not be UTF-8: PyAV 19 takes any bytes, 18 must be told to, by an argument that 19 lacks.
_ANY_METADATA: Final[dict[str, Any]] = (
    {"metadata_errors": "surrogateescape"} if av.__version__.startswith("18.") else {}
)

# Demuxers that open other files or the network, or that make a "video" of text and still images.
_NO_FILMS: Final = frozenset(
    [
        "hls",
        "dash",
        "concat",
        "imf",
        "sdp",
        "rtsp",
        "sap",
        "webvtt",
        "lavfi",
        "image2",
        "image2pipe",
        "tty",
        "bin",
        "xbin",
        "adf",
        "idf",
        "ico",
        "libmodplug",
    ]
)


class MediaError(Exception):
    """The file cannot give frames, here or anywhere; the text says why, for the user."""

    kind: Final = "input"


class ShortListError(Exception):
    """The file is larger than the coordinator's copy, which so is no measure of it; the text says so."""


class OpenVideo:
    """A file open for reading, with its first real video stream (no cover picture) and its decoder.

    It is reusable for any range, forwards and backwards.

    Attributes:
        touched: it may no longer stand at the file's first packet with a decoder that knows nothing;
            whoever reads packets sets it.
        has_false_keys: some of its keyframes are no places to begin at. What is learned costs or saves
            time, and changes no frame.
        is_regular: as far as is known, each packet gives one frame.
    """

    container: InputContainer
    stream: VideoStream
    touched: bool
    has_false_keys: bool = False
    is_regular: bool = True

    def __init__(self, path: str | bytes | os.PathLike[str]) -> None:
        """Open ``path``, whose name may be any bytes.

        Raises:
            MediaError: it is no regular file, unreadable, no video, or has no decoder here.
        """
        self.path: Final = Path(os.fsdecode(path))
        self.size_bytes: Final = _regular_size(self.path)
        self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; calling it again does nothing."""
        self.container.close()

    def rewind(self) -> None:
        """Start afresh: the next packet is the file's first and the decoder knows nothing.

        It opens the file again, because a seek to the start may miss packets of negative time.

        Raises:
            MediaError: the file has vanished or changed since.
        """
        if self.touched:
            self.close()
            self._open()

    def seek(self, tick: int) -> None:
        """Go to a keyframe at or before pts ``tick``, as far as the demuxer can tell; flush the decoder.

        Raises:
            av.FFmpegError: the demuxer cannot.
        """
        self.touched = True
        self.container.seek(tick, stream=self.stream)

    @property
    def time_base(self) -> Fraction:
        """Seconds per tick of the stream."""
        time_base = self.stream.time_base
        assert time_base is not None  # checked at the opening
        # PyAV 19's own kind of fraction rounds what is no quotient of two 32-bit numbers
        return Fraction(time_base.numerator, time_base.denominator)

    @property
    def can_seek(self) -> bool:
        """Whether a seek in this kind of container is worth trying (and, verified, gives exact frames)."""
        return self.is_mov or self.is_matroska

    @property
    def codec(self) -> str:
        return self.stream.codec_context.name

    @property
    def is_mov(self) -> bool:
        """Whether the container is of the QuickTime and MP4 family."""
        return "mp4" in self.container.format.name.split(",")

    @property
    def is_matroska(self) -> bool:
        """Whether the container is Matroska or WebM."""
        return "matroska" in self.container.format.name.split(",")

    def _open(self) -> None:
        try:
            self.container = open_container(str(self.path))
        except OSError as error:
            check_memory(error)
            raise MediaError(_why_not_open(self.path, error)) from error
        except (av.FFmpegError, ValueError) as error:
            check_memory(error)
            raise MediaError(_why_not_media(self.path, error)) from error
        try:
            self.stream = _video_stream(self.container)
            for other in self.container.streams:
                if other.index != self.stream.index:
                    other.discard = Discard.all  # demuxers that can need not even read it
        except BaseException:
            self.container.close()
            raise
        self.touched = False


def open_container(file: object) -> InputContainer:
    """Open a path (str), or a readable file object, as media. Nothing but this one file is ever read.

    Raises:
        OSError: the file cannot be read.
        av.FFmpegError: libavformat does not know what it is.
    """
    container: InputContainer = av.open(
        file,
        "r",
        options={"protocol_whitelist": "file", "format_whitelist": _film_formats()},
        **_ANY_METADATA,
    )
    return container


@cache
def _film_formats() -> str:
    names = {
        demuxer
        for name in av.formats_available
        for demuxer in name.split(",")
        if demuxer not in _NO_FILMS and not demuxer.endswith("_pipe")
    }
    return ",".join(sorted(names))


def _regular_size(path: Path) -> int:
    try:
        status = path.stat()
    except OSError as error:
        raise MediaError(_why_not_open(path, error)) from error
    except ValueError as error:  # a null byte in the name
        raise MediaError(f"not a valid file name: {error}") from error
    if not stat.S_ISREG(status.st_mode):
        kind: Literal["a folder", "a pipe, socket or device"] = (
            "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
        )
        raise MediaError(f"not a video: it is {kind}")
    if status.st_size == 0:
        raise MediaError("is empty (0 bytes)")
    return status.st_size


def _video_stream(container: InputContainer) -> VideoStream:
    streams = [
        stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic
    ]
    if not streams:
        others = sorted({stream.type for stream in container.streams})
        if not others:
            raise MediaError("its header is damaged or cut short: it tells of no streams")
        raise MediaError(f"holds no video stream ({' and '.join(others)} only)")
    stream = streams[0]
    # PyAV gives a stream without a decoder no codec context, or one that cannot be opened
    context = stream.codec_context
    if context is None:
        raise MediaError("its video stream is encrypted, or of a kind that no decoder here knows")
    if not stream.time_base:
        raise MediaError("damaged: its video stream has no time base")
    check_dimensions(context.width, context.height)
    context.thread_count = 1
    try:
        context.open(strict=False)
    except (av.FFmpegError, ValueError, RuntimeError) as error:
        raise MediaError(f"no decoder for {context.name}, the codec of its video stream ({error})") from error
    return stream


def check_dimensions(width: int, height: int) -> None:
    """Refuse frames that would take gigabytes.

    Raises:
        MediaError: the frame has more than ``MAX_FRAME_PIXELS`` pixels.
    """
    if width * height > MAX_FRAME_PIXELS:
        raise MediaError(
            f"its frames are {width} x {height} pixels, above the limit of {MAX_FRAME_PIXELS} pixels"
        )


def _why_not_open(path: Path, error: OSError) -> str:
    reasons = {
        errno.ENOENT: "file vanished: it is no longer there",
        errno.EACCES: "permission denied: this process may not read it",
        errno.EPERM: "permission denied: this process may not read it",
        errno.ELOOP: "a symbolic link that leads to itself",
        errno.ENAMETOOLONG: "its name is too long for the system",
    }
    if error.errno in reasons:
        return reasons[error.errno]
    if isinstance(error, av.FFmpegError):
        return _why_not_media(path, error)
    return f"cannot be read: {error.strerror or error}"


def _why_not_media(path: Path, error: Exception) -> str:
    try:
        with path.open("rb") as file:
            head = file.read(ENCRYPTION_SCAN_BYTES)
    except OSError as again:
        return _why_not_open(path, again)
    if head[4:8] in (b"ftyp", b"moov") and (b"encv" in head or b"pssh" in head):
        return "is encrypted (DRM), or so damaged that its header cannot be read"
    if not head.strip(b"\0"):
        return "not a video: it begins with nothing but zero bytes"
    if isinstance(error, av.error.EOFError):
        return "is cut short: the file ends within its header"
    reason = getattr(error, "strerror", None) or str(error)
    return f"not a video, or its header is damaged: {reason}"
