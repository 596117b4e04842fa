"""What a video is to every host that opens it: its fingerprint, and whether that is what its probe told."""

from __future__ import annotations

import zlib
from typing import Final

from framefleet.common.media import Fingerprint
from framefleet.worker.video.decode_session import Session, open_session
from framefleet.worker.video.gop import Shown
from framefleet.worker.video.input_file import InputFile
from framefleet.worker.video.open_video import MediaError, OpenVideo, check_dimensions

EDGE_BYTES: Final = 64 * 2**10  # of a file's beginning, and of its end: headers and indexes are there


class ContradictionError(Exception):
    """The video is not what its probe told; ``found`` is what it is here."""

    def __init__(self, told: Fingerprint, found: Fingerprint) -> None:
        super().__init__(f"its probe told: {told}; here it is: {found}")
        self.found: Final = found


def checksum_of(file: InputFile) -> str:
    """The CRC-32 of the first and of the last ``EDGE_BYTES`` of a file, in hexadecimal.

    It is to find copies that differ by accident, and costs a quarter of what the digests cost that withstand
    forgers: a host that lies may lie about those too.

    Raises:
        ReadError: the system refuses to read it.
    """
    head = _read(file, 0)
    tail = _read(file, max(0, file.size_bytes - EDGE_BYTES))
    file.check()
    return f"{zlib.crc32(head):08x}{zlib.crc32(tail):08x}"


def _read(file: InputFile, offset: int) -> bytes:
    data = b""
    while len(data) < EDGE_BYTES and (more := file.read_at(offset + len(data), EDGE_BYTES - len(data))):
        data += more
    return data


def first_shown(video: OpenVideo, session: Session) -> Shown:
    """The first frame of a session that began at the file's start.

    Raises:
        MediaError: there is none, or it is too large.
    """
    first = next(iter(session), None)
    if first is None or first.frame is None:
        raise MediaError(
            f"opens as {video.codec} video, but not one frame of it can be decoded: damaged or encrypted"
        )
    check_dimensions(first.frame.width, first.frame.height)
    return first


def fingerprint(video: OpenVideo, first: Shown) -> Fingerprint:
    """The fingerprint of a video whose ``first`` displayed frame is known."""
    assert first.frame is not None
    return Fingerprint(
        checksum_of(video.file),
        video.time_base.numerator,
        video.time_base.denominator,
        first.pts,
        first.frame.width,
        first.frame.height,
    )


class Check:
    """Whether a video is what its probe ``told``; None: there is nothing to check (any more)."""

    def __init__(self, video: OpenVideo, told: Fingerprint | None) -> None:
        self._video = video
        self._told = told

    def passes(self, session: Session, shown: Shown) -> bool:
        """Whether a session from the file's start shows, before anything else, what was told.

        If not, the frame may still not be the one that a probe would take for the first: look apart.
        """
        if self._told is None or shown.frame is None:
            return True
        if session.thinned and session.lowest_pts != self._told.first_pts:
            return False  # what was left out may be displayed before
        if fingerprint(self._video, shown) != self._told:
            return False
        self._told = None
        return True

    def look_apart(self) -> None:
        """Decode the first frame as a probe does; the video stands somewhere behind it then.

        Raises:
            ContradictionError: it is not what was told.
            MediaError: there is no frame.
            ReadError: the system refuses to read the file.
        """
        if self._told is None:
            return
        session = open_session(self._video, None)
        try:
            found = fingerprint(self._video, first_shown(self._video, session))
        finally:
            session.close()
        if found != self._told:
            raise ContradictionError(self._told, found)
        self._told = None
