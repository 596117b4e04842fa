"""What an earlier run of a job has done already: what the launcher tells the hosts of a resumed one."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from framefleet.common.libraries import Libraries

DONE_FILE = "done.msgpack"  # beside the job specification


class DoneRange(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Positions ``[start, stop)`` of a video (None: to its end) that lie in the output, and how many frames
    were written and displayed there."""

    start: int
    stop: int | None
    frames: int
    shown: int


class DoneVideo(msgspec.Struct, frozen=True, array_like=True):
    """What is done of a video: ranges by start, or (``is_whole``) all that is wanted of it.

    ``checksum``: of the file that it was made of (``Fingerprint``), if that is known.
    """

    name: str
    is_whole: bool
    ranges: list[DoneRange]
    frames: int
    suspect: int
    bytes: int
    dropped: int = 0
    checksum: str | None = None


class Done(msgspec.Struct, frozen=True):
    """What is done of a job, and with which libraries."""

    videos: Sequence[DoneVideo] = ()
    libraries: Libraries | None = None


NOTHING_DONE = Done()

_decoder = msgspec.msgpack.Decoder(Done)


def encode_done(done: Done) -> bytes:
    """The file that goes beside the job specification."""
    return msgspec.msgpack.encode(done)


def decode_done(data: bytes) -> Done:
    """What such a file says.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return _decoder.decode(data)
