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

from framefleet.worker.slot_limits import check_memory
from framefleet.worker.video.input_file import Cursor, InputFile

MAX_FRAME_PIXELS: Final = 2**28  # 16384 x 16384: more is a damaged header or an attack, not a film
ENCRYPTION_SCAN_BYTES: Final = 2**20
BUFFER_BYTES: Final = 32 * 2**10  # as libavformat itself

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
        "vobsub",
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
            ReadError: the system refuses to open or read it.
        """
        self.path: Final = Path(os.fsdecode(path))
        self.file: Final = open_file(self.path)
        try:
            self._open()
        except BaseException:
            self.file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; calling it again does nothing."""
        self.container.close()
        self.file.close()

    def rewind(self) -> None:
        """Start afresh: the next packet is the file's first and the decoder knows nothing.

        It opens the container again, because a seek to the start may miss packets of negative time.

        Raises:
            MediaError: the file has changed since.
            ReadError: the system refuses to read it.
        """
        if self.touched:
            self.container.close()
            self._open()

    def seek(self, tick: int) -> None:
        """Go to a keyframe at or before pts ``tick``, as far as the demuxer can tell; flush the decoder.

        Raises:
            av.FFmpegError: the demuxer cannot.
            ReadError: the system refuses to read the file.
        """
        self.touched = True
        try:
            self.container.seek(tick, stream=self.stream)
        finally:
            self.file.check()

    @property
    def size_bytes(self) -> int:
        """The file's size when it was opened."""
        return self.file.size_bytes

    @property
    def read_to(self) -> int:
        """The byte up to which libav has read, from wherever it last went; its buffer is filled to there."""
        return self._cursor.tell()

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
            self._cursor = Cursor(self.file)
            self.container = open_container(self._cursor)
        except (av.FFmpegError, ValueError) as error:
            self.file.check()
            check_memory(error)
            raise MediaError(_why_not_media(self.file, error)) from error
        try:
            self.file.check()
            self.stream = _video_stream(self.container)
            for other in self.container.streams:
                if other.index != self.stream.index:
                    other.discard = Discard.all  # demuxers that can need not even read it
        except BaseException:
            self.container.close()
            raise
        self.touched = False


def open_container(file: object) -> InputContainer:
    """Open a readable file object as media. Nothing but this one file is ever read: libav is given no path,
    and may use no protocol by which it could open another.

    Raises:
        av.FFmpegError: libavformat does not know what it is, or could not read on.
    """
    container: InputContainer = av.open(
        file,
        "r",
        buffer_size=BUFFER_BYTES,
        options={"protocol_whitelist": "none", "format_whitelist": _film_formats()},
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


def open_file(path: Path) -> InputFile:
    """Open a regular file that is not empty.

    Raises:
        MediaError: it is none, or may not be read.
        ReadError: the system refuses to open it, or it is not there any more.
    """
    try:
        file = InputFile(path)
    except OSError as error:
        raise MediaError(_why_not_open(error)) from error
    except ValueError as error:  # a null byte in the name
        raise MediaError(f"not a valid file name: {error}") from error
    if stat.S_ISREG(file.status.st_mode) and file.size_bytes:
        return file
    file.close()
    if stat.S_ISREG(file.status.st_mode):
        raise MediaError("is empty (0 bytes)")
    kind: Literal["a folder", "a pipe, socket or device"] = (
        "a folder" if stat.S_ISDIR(file.status.st_mode) else "a pipe, socket or device"
    )
    raise MediaError(f"not a video: it is {kind}")


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


def _why_not_open(error: OSError) -> str:
    reasons = {
        errno.EACCES: "permission denied: this process may not read it",
        errno.EPERM: "permission denied: this process may not read it",
        errno.ELOOP: "a symbolic link that leads to itself",
        errno.ENAMETOOLONG: "its name is too long for the system",
        errno.ENXIO: "not a video: it is a pipe, socket or device",
    }
    return reasons.get(error.errno or 0, f"cannot be opened: {error.strerror}")


def _why_not_media(file: InputFile, error: Exception) -> str:
    head = file.read_at(0, ENCRYPTION_SCAN_BYTES)
    file.check()
    if head[4:8] in (b"ftyp", b"moov") and (b"encv" in head or b"pssh" in head):
        return "is encrypted (DRM), or so damaged that its header cannot be read"
    if not head.strip(b"\0"):
        return "not a video: it begins with nothing but zero bytes"
    if isinstance(error, av.error.EOFError):
        return "is cut short: the file ends within its header"
    reason = getattr(error, "strerror", None) or str(error)
    return f"not a video, or its header is damaged: {reason}"
